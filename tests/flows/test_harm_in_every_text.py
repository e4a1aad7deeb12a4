"""On a platform: text that means harm in every field, and the commands that keep the registry."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.type.date_pb2 import Date
from liandong.common.v1 import operator_pb2
from typer.testing import CliRunner

from deploy.local import audit as audits
from deploy.local import cli_institutions
from deploy.local.cli import app
from deploy.local.client import Institution
from deploy.local.remote import Operator, Remote
from deploy.nats import topology
from gateway.routes import NAMED_BY_CALLER, ROUTES, Route
from gateway.rules import RULES
from tests.eventually import eventually
from tests.platforms import a_platform

pytestmark = pytest.mark.stack

COUNTY = "411224"
CODES_INSIDE = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
INSIDE = ("Traceback", "asyncpg", "sqlalchemy", "SELECT", "INSERT", "syntax error", "internal")
TEXTS = (
    "'; DELETE FROM outbox; --",
    "１１０１０５１９４９１２３１００２Ｘ",
    "11010519491231002Х",
    "\u202e١٢٣\u200b$1%s{0}\\",
    "a\x00b",
)
DEPTH_MAX = 4
AT_ONCE = 4
"""Methods that are called beside each other."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def remote() -> AsyncIterator[Remote]:
    """The example county's platform, where it is."""
    async with a_platform("flows") as stack:
        yield Remote.read(stack.folder)


def text_for(field: FieldDescriptor, text: str) -> str:
    """What a field's rules let pass: the text where it may be any, else something plausible."""
    rules = field.GetOptions().Extensions[validate_pb2.field].string
    if rules.uuid:
        return str(uuid.uuid4())
    if "in" in {each.name for each, _ in rules.ListFields()}:
        return str(getattr(rules, "in")[-1])
    if rules.pattern:
        return COUNTY if "{6}" in rules.pattern else ""
    most = rules.max_len or 200
    return (text * (1 + rules.min_len // len(text)))[:most]


def filled(descriptor: Descriptor, text: str, depth: int = 0) -> Message:
    """A message with something in every field."""
    message: Any = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is not None:
            if field.message_type.full_name == "google.type.Date":
                value: Any = Date(year=2018, month=5, day=6)
            elif depth >= DEPTH_MAX or field.message_type.GetOptions().map_entry:
                continue
            else:
                value = filled(field.message_type, text, depth + 1)
        elif field.type == FieldDescriptor.TYPE_STRING:
            value = text_for(field, text)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            value = text.encode()[:32]
        elif field.type == FieldDescriptor.TYPE_BOOL:
            value = True
        else:
            value = 1
        if field.is_repeated:
            getattr(message, field.name).extend([value])
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    made: Message = message
    return made


def callers(remote: Remote) -> Iterator[tuple[Route, str]]:
    """Every method with one answer, and an institution that may call it."""
    for route in ROUTES:
        allowed = RULES[route.method].roles
        who = next((one for one, role in remote.institutions.items() if role in allowed), None)
        # A day that was closed cannot be opened again.
        if who is None or route.streams or route.method.endswith("/AdvanceDay"):
            continue
        yield route, who


async def test_text_that_means_harm_is_refused_or_is_only_text(remote: Remote) -> None:
    clients: dict[str, Institution] = {}
    wrong: list[str] = []
    asked = 0

    async def ask(route: Route, who: str, text: str) -> None:
        client = clients[who]
        body = filled(route.descriptor.input_type, text).SerializeToString()
        named = {"liandong-service": "loans"} if route.noun == NAMED_BY_CALLER else {}
        try:
            call: Any = client._channel.unary_unary(route.path)
            await call(body, timeout=60, metadata=client.metadata(1, named))
        except grpc.aio.AioRpcError as error:
            said = f"{error.details()} {error.trailing_metadata()}"
            if error.code() in CODES_INSIDE or any(word in said for word in INSIDE):
                wrong.append(f"{route.method} {text!r}: {error.code().name} {said[:300]}")

    called = list(callers(remote))
    try:
        clients |= {who: remote.institution(who) for who in {who for _, who in called}}
        for start in range(0, len(called), AT_ONCE):
            some = called[start : start + AT_ONCE]
            await asyncio.gather(*(ask(*each, text) for each in some for text in TEXTS))
            asked += len(some) * len(TEXTS)
    finally:
        for client in clients.values():
            await client.close()

    assert asked > 1_000
    assert wrong == []
    async with remote.institution(remote.with_role("operator")) as client:
        operator = Operator(client)

        async def totals(noun: str, positions_only: bool) -> operator_pb2.GetTotalsResponse:
            return await operator.totals(noun, COUNTY, positions_only=positions_only)

        assert await audits.quiet(totals, topology.load(), seconds_max=60)
        books = await audits.audit(totals)
    assert (books.unbalanced_fen, books.parked_events) == (0, 0)


async def test_the_registry_is_kept_from_the_command_line(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A console that was made where COLUMNS is set, as in a worker, keeps that width.
    monkeypatch.setattr(cli_institutions.console, "width", 240)
    folder = Path(remote.certificates).parent.name

    async def command(*arguments: str) -> str:
        line = ["institutions", *arguments, "--folder", folder]
        result = await asyncio.to_thread(CliRunner().invoke, app, line)
        assert result.exit_code == 0, f"{line}: {result.output} {result.exception}"
        return result.output

    file = tmp_path / "more.yaml"
    file.write_text(
        "institutions:\n"
        "  - institution_id: hlp-0001\n"
        "    name: {zh: 帮扶责任人, en: Helper}\n"
        "    role: assigned_helper\n"
        f'    county_code: "{COUNTY}"\n'
        f'    areas: ["{COUNTY}"]\n'
        "    persons:\n"
        "      - {person_id: hlp-0001-p1, title: {zh: 帮扶人, en: Helper}, duty: maker}\n"
        "    contracts: [{contract_id: c-1, from: 2020-01-01}]\n",
        encoding="utf-8",
    )
    assert "hlp-0001" in await command("add", str(file))
    await command("list")
    first = await issued(command, "issue")
    second = await issued(command, "rotate")
    assert first != second
    listed = await command("list", "hlp-0001")
    assert first[:12] in listed
    assert second[:12] in listed

    async def status() -> str:
        line = ["institutions", "status", "hlp-0001", "--folder", folder]
        return (await asyncio.to_thread(CliRunner().invoke, app, line)).output

    # The gateway reads its directory once a second.
    await eventually(status, lambda said: "read" in said)
    await command("revoke", "hlp-0001", "--fingerprint", first, "--reason", "it was replaced")
    order = await command("suspend", "hlp-0001", "--reason", "it was only a trial")
    await command("confirm", order.split()[1].rstrip(":"))
    assert "suspended" in await command("list", "hlp-0001")


async def issued(command: Any, name: str) -> str:
    """The fingerprint of the certificate that a command registered."""
    said = (await command(name, "hlp-0001")).split()
    return str(said[said.index("fingerprint") + 1])
