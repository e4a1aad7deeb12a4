"""Services that answer what a test tells them to, behind the kernel's own server and guard."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.protobuf import message_factory
from google.protobuf.message import Message

from deploy.local.ca import LocalCA
from gateway.onward import BY_METHOD
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, NotFound
from services.kernel.rpc import Context, caller_of
from tests.gateway.conftest import INSTITUTIONS, House, a_house
from tests.gateway.fakes import a_target
from tests.servers import NatsServer, Schemas

COUNTY = "123456"
VILLAGE = "123456101201"
NOUNS = ("households", "credit", "loans", "claims", "funds")
PORTAL, STATION, FAR_STATION = "portal-1", "village-1", "village-2"

PARTIES = {
    "henan-lushi@2": {
        "bank": "bank-1",
        "insurer": "insurer-1",
        "county_fund": "centre-1",
        "agri_guarantee": "centre-1",
        "guarantee_group": "centre-1",
        "enterprise_mutual_fund": "centre-1",
    }
}

Says = Callable[[Any, Caller], Message | LiandongError]


def _always(said: "Message | LiandongError | Says") -> Says:
    """A function of the request, also where the answer is always the same."""
    if isinstance(said, Message | LiandongError):
        return lambda _request, _caller: said
    return said


@dataclass
class Script:
    """What the services answer, by method; what is not here is not there."""

    says: dict[str, Says] = field(default_factory=dict)
    asked: list[tuple[str, Any, Caller]] = field(default_factory=list)

    def answer(self, **says: "Message | LiandongError | Says") -> None:
        """From now on answer so, by the method's own name; nothing else is there."""
        of = {route.method.rpartition("/")[2]: route.method for route in BY_METHOD.values()}
        self.says = {of[name]: _always(said) for name, said in says.items()}

    def methods(self) -> list[str]:
        """What was asked, in order."""
        return [method.rpartition("/")[2] for method, _, _ in self.asked]


class Answering(grpc.GenericRpcHandler):
    """Every unary method of every service, as the script says."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of any method that we know of."""
        route = BY_METHOD.get(handler_call_details.method.removeprefix("/"))
        if route is None or route.streams:
            return None
        kind: Any = message_factory.GetMessageClass(route.descriptor.input_type)

        async def serve(request: Any, context: Context) -> Message:
            caller = caller_of(context)
            self._script.asked.append((route.method, request, caller))
            says = self._script.says.get(route.method)
            answer = (
                says(request, caller)
                if says
                else NotFound("NOTHING_SAID", f"the script says nothing of {route.method}")
            )
            if isinstance(answer, LiandongError):
                raise answer
            return answer

        return grpc.unary_unary_rpc_method_handler(
            serve,
            request_deserializer=kind.FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )


def a_county(folder: Path, *, programme: str, since: str = "2020-06-01") -> Mapping[str, Any]:
    """A county's institutions, with a portal and two stations, and the programme it follows."""
    listed = yaml.safe_load(INSTITUTIONS.read_text(encoding="utf-8"))
    for institution_id, role, area in (
        (PORTAL, "household", COUNTY),
        (STATION, "village_department", VILLAGE),
        (FAR_STATION, "village_department", "123456102201"),
    ):
        listed["institutions"].append(
            {
                "institution_id": institution_id,
                "name": {"zh": f"机构{institution_id}", "en": institution_id},
                "role": role,
                "county_code": COUNTY,
                "areas": [area],
                "persons": [
                    {
                        "person_id": f"{institution_id}-p{place}",
                        "title": {"zh": "经办", "en": "Officer"},
                        "duty": duty,
                    }
                    for place, duty in enumerate(("maker", "checker"), 1)
                ],
            }
        )
    packs = folder / "packs"
    packs.mkdir()
    institutions = packs / "institutions.yaml"
    institutions.write_text(yaml.safe_dump(listed, allow_unicode=True), encoding="utf-8")
    followed = {
        "adoption": {
            "county": COUNTY,
            "entries": [
                {
                    "programme": programme,
                    "from": since,
                    "to": None,
                    "parties": PARTIES.get(programme, {}),
                },
            ],
        }
    }
    text = yaml.safe_dump(followed).replace(f"'{since}'", since)
    (packs / "adoption.yaml").write_text(text, encoding="utf-8")
    return {"institutions_path": institutions, "programmes_dirs": str(packs)}


@asynccontextmanager
async def an_answering_house(
    schemas: Schemas,
    nats: NatsServer,
    certificates: LocalCA,
    script: Script,
    **changes: Any,
) -> AsyncIterator[House]:
    """The gateway before services that answer as the script says."""
    async with AsyncExitStack() as stack:
        addresses = {}
        for noun in NOUNS:
            target = a_target(
                certificates,
                noun,
                lambda server: server.add_generic_rpc_handlers((Answering(script),)),
            )
            stack.push_async_callback(target.stop)
            addresses[f"{noun}_address"] = target.address
        house = await stack.enter_async_context(
            a_house(schemas, nats, certificates, **addresses, **changes)
        )
        yield house
