"""Swaps: every id of every request for another tenant's, held against an id that is nobody's."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from deploy.local.client import Institution
from gateway import access
from gateway.forward import DETAILS_KEY
from gateway.identity import PERSON_KEY, PURPOSE_KEY
from gateway.routes import NAMED_BY_CALLER, OWN, ROUTES, Route
from gateway.rules import RULES
from services.kernel import wire
from services.programmes.schema.deployment import InstitutionRole as Role
from tests.attack.ids import UUID, Owner, Registry
from tests.attack.requests import Place, Writer, places, put
from tests.attack.world import COVER, World, short_of
from tests.live.county import County

AT_ONCE = 16
PURPOSE = "lending"
PORTAL = f"{short_of(Role.HOUSEHOLD)}-"
A_CITIZEN = str(uuid4())
"""Whom a portal names: nobody of the registry."""
CALL_SECONDS = 60
_CLOCK = re.compile(r"^\s*(seconds|nanos): \d+\n", re.MULTILINE)
_ANY = "<id>"
SERVICE_METADATA = {"liandong-service": "loans"}

NOT_CALLED = (
    *("/AdvanceDay", "/EnterInstitutions", "/ProposeStanding", "/DecideStanding"),
    *("/RegisterCertificate", "/RevokeCertificate", "/RegisterPersonKey", "/RevokePersonKey"),
    *("/SetLimit", "/SetNatsFeed", "/DropParkedEvent", "/ReplayParkedEvents", "/RepublishEvents"),
)
"""Commands of the platform itself: they name no tenant's things, and would end the world."""


@dataclass(frozen=True, slots=True)
class Attacker:
    """An institution that asks, and whose things it must not see."""

    county: County
    short: str
    role: str
    victim: County
    owner: str = ""
    """The institution whose things are another's, within one county; empty for all of them."""
    area: str = ""
    """The area whose things are another's, within one county."""

    @property
    def institution_id(self) -> str:
        """Who it is on the wire."""
        return self.county.institution(self.short)

    @property
    def key(self) -> tuple[str, ...]:
        """What tells two attackers apart, by which to keep what was found for one."""
        return (self.institution_id, self.role, self.victim.code, self.owner, self.area)

    @property
    def across(self) -> bool:
        """Whether the victim is another county."""
        return self.county.code != self.victim.code

    def owns(self, owner: Owner) -> bool:
        """Whether an id is one that it may well know."""
        if owner.county != self.county.code:
            return False
        if self.role in {"bank", "insurer", "mutual_aid_society"}:
            return not owner.institutions or self.institution_id in owner.institutions
        return not self.is_foreign(owner)

    def is_foreign(self, owner: Owner) -> bool:
        """Whether an id is the victim's and nobody else's."""
        if owner.county != self.victim.code:
            return False
        if self.across:
            return True
        if not (self.owner or self.area):
            return False
        if self.owner:
            return owner.institutions == {self.victim.institution(self.owner)}
        return bool(owner.areas) and all(area.startswith(self.area) for area in owner.areas)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: body or refusal, with every id made alike."""

    code: grpc.StatusCode
    text: str
    raw: bytes

    def same_as(self, other: "Answer") -> bool:
        """Whether a client cannot tell the two apart."""
        return (self.code, self.text) == (other.code, other.text)

    def short(self) -> str:
        """For a reader."""
        return f"{self.code.name} {' '.join(self.text.split())[:140]!r}"


@dataclass(slots=True)
class Findings:
    """What came of all swaps."""

    swapped: int = 0
    reached: int = 0
    """Those where the own id is answered otherwise than nobody's: the object was looked for."""
    written: int = 0
    told: dict[str, str] = field(default_factory=dict)
    """Method and field to what was told that must not be."""
    without: set[str] = field(default_factory=set)
    """Kinds of which the victim has none."""
    codes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def line(self) -> str:
        """The last line, read by machines."""
        return f"swapped={self.swapped} reached={self.reached} leaks={len(self.told)}"


@dataclass
class Attack:
    """Everything that is needed to swap."""

    world: World
    registry: Registry
    address: str
    """The gateway that is asked."""
    clients: dict[str, Institution] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def client(self, institution_id: str) -> Institution:
        """One connection for each institution."""
        if institution_id not in self.clients:
            own = self.world.stack.institution(institution_id)
            self.clients[institution_id] = Institution(self.address, own, institution_id)
        return self.clients[institution_id]

    async def close(self) -> None:
        """Close all connections."""
        for client in self.clients.values():
            await client.close()
        self.clients.clear()

    async def ask(
        self,
        route: Route,
        institution_id: str,
        request: Any,
        *,
        purpose: str = "",
        request_id: str = "",
    ) -> Answer:
        """One call; what comes back, without what differs between any two calls."""
        client = self.client(institution_id)
        named = dict(SERVICE_METADATA) if route.noun == NAMED_BY_CALLER else {}
        named |= {PURPOSE_KEY: purpose or purpose_of(route)}
        if institution_id.startswith(PORTAL):
            named[PERSON_KEY] = A_CITIZEN
        if route.command:
            request.request_id = request_id or str(uuid4())
        call: Any = client._channel.unary_unary(route.path)
        async with self._gate:
            try:
                body: bytes = await call(
                    request.SerializeToString(),
                    timeout=CALL_SECONDS,
                    metadata=client.metadata(1, named),
                    wait_for_ready=True,
                )
            except grpc.aio.AioRpcError as error:
                return self._refusal(error)
        answer = GetMessageClass(route.descriptor.output_type).FromString(body)
        text = _CLOCK.sub("", text_format.MessageToString(answer))
        return Answer(grpc.StatusCode.OK, UUID.sub(_ANY, text), body)

    def _refusal(self, error: grpc.aio.AioRpcError) -> Answer:
        raw = self.world.heard(error)
        details = b"".join(
            value
            for key, value in error.trailing_metadata() or ()
            if key == DETAILS_KEY and isinstance(value, bytes)
        )
        text = f"{error.details()}\n{details.decode('latin-1')}"
        return Answer(error.code(), UUID.sub(_ANY, text), raw)

    def writer(self, attacker: Attacker) -> Writer:
        """Requests of an institution about its own things."""

        def give(place: Place, each: FieldDescriptor) -> str:
            if place.kind in {"cursor", "mask", "request"}:
                return ""
            named = self._institution(attacker, each.name)
            if named:
                return named
            return self.own_id(attacker, _noun_of(each), place.kind)

        county = attacker.county
        return Writer(give, county.today, texts(county))

    def request(self, attacker: Attacker, descriptor: Descriptor) -> Any:
        """A request about its own things, made once: to hold it against its rules takes long."""
        key = (attacker.key, descriptor.full_name)
        if key not in self._requests:
            self._requests[key] = self.writer(attacker).request(descriptor)
        made = type(self._requests[key])()
        made.CopyFrom(self._requests[key])
        return made

    def own_id(self, attacker: Attacker, noun: str, kind: str) -> str:
        """An id of a kind that an attacker may well know; empty where there is none."""
        return self._first("own", attacker, (noun, ""), kind)

    def foreign_id(self, attacker: Attacker, noun: str, kind: str) -> str:
        """An id of a kind that is the victim's alone; empty where there is none."""
        return self._first("foreign", attacker, (noun,), kind)

    def _first(self, whose: str, attacker: Attacker, nouns: Sequence[str], kind: str) -> str:
        key = (whose, attacker.key, nouns, kind)
        if key not in self._ids:
            fits = attacker.owns if whose == "own" else attacker.is_foreign
            self._ids[key] = next(
                (
                    found
                    for noun in nouns
                    for found, owner in self.registry.ids(noun, kind).items()
                    if fits(owner)
                ),
                "",
            )
        return self._ids[key]

    def _institution(self, attacker: Attacker, name: str) -> str:
        own = attacker.institution_id
        county = attacker.county
        if name in {"lender_id", "bank_id", "payee_id", "custodian_id"}:
            return own if attacker.role == "bank" else county.institution("bank")
        if name == "insurer_id":
            return own if attacker.role == "insurer" else county.institution("insurer")
        if name in {"institution_id", "receiver_id", "keeper_id", "source_id"}:
            return own
        return {
            "programme_id": county.programme_id,
            "product_id": "microcredit",
            "cover_id": COVER,
        }.get(name, "")

    # --- swapping ---------------------------------------------------------------------------------

    async def run(self, attackers: Mapping[Route, Sequence[Attacker]]) -> Findings:
        """Every place of every request of these attackers; in turn by method, so order is kept."""
        await asyncio.gather(
            *(
                self._swap_all(route, attacker)
                for route, each in attackers.items()
                for attacker in each
            )
        )
        return self.findings

    async def _swap_all(self, route: Route, attacker: Attacker) -> None:
        base = self.request(attacker, route.descriptor.input_type)
        foreign_county = attacker.across and "county_code" in base.DESCRIPTOR.fields_by_name
        for place in places(route.descriptor.input_type):
            if place.kind in {"request", "mask"}:
                continue
            foreign = self._foreign(route, place, attacker)
            if not foreign:
                self.findings.without.add(f"{route.noun}.{place.kind}")
                continue
            await self._swap(route, attacker, place, base, foreign)
            if foreign_county:
                there = type(base)()
                there.CopyFrom(base)
                there.county_code = attacker.victim.code
                await self._swap(route, attacker, place, there, foreign)

    def _foreign(self, route: Route, place: Place, attacker: Attacker) -> str:
        kind = "loan" if place.kind == "cursor" else place.kind
        found = self.foreign_id(attacker, route.noun, kind)
        return wire.page_token(found) if found and place.kind == "cursor" else found

    async def _swap(
        self, route: Route, attacker: Attacker, place: Place, base: Any, foreign: str
    ) -> None:
        nobodys = nobody(foreign)
        missing = await self.ask(route, attacker.institution_id, put(base, place, nobodys))
        found = await self.ask(route, attacker.institution_id, put(base, place, foreign))
        looked = await self._looked(route, attacker, base, missing)
        findings = self.findings
        findings.swapped += 1
        findings.reached += looked
        findings.codes[found.code.name] += 1
        where = f"{route.method.rpartition('.')[2]} {place.name} by {attacker.role}"
        where += " of another county" if attacker.across else ""
        # A later page of one's own differs by where it begins; so does the own log of accesses.
        alike = place.kind != "cursor" and route.noun != OWN
        if (
            alike
            and not found.same_as(missing)
            and not found.same_as(
                # Two swaps may ask the same of one object: then nobody's twice is told as much.
                await self.ask(route, attacker.institution_id, put(base, place, nobodys))
            )
        ):
            findings.told[where] = f"nobody's: {missing.short()}; another's: {found.short()}"
        # What was asked may be named back.
        known = {foreign, *UUID.findall(str(base))}
        if place.kind == "cursor":
            known.add(wire.page_start(foreign))
        said = {each for each in UUID.findall(found.raw.decode("latin-1")) if each not in known}
        for each in said:
            owner = self.foreign_ids(attacker).get(each)
            if owner is not None:
                findings.told[where] = f"{each} of {owner.institutions or owner.county} is told"

    async def _looked(self, route: Route, attacker: Attacker, base: Any, missing: Answer) -> bool:
        """Whether an object was looked for at all; a command is not done to find that out."""
        if route.command:
            return missing.code is grpc.StatusCode.NOT_FOUND or "_NOT_FOUND" in missing.text
        own = await self.ask(route, attacker.institution_id, base)
        return not own.same_as(missing)

    def foreign_ids(self, attacker: Attacker) -> Mapping[str, Owner]:
        """All that is the victim's alone."""
        key = (attacker.institution_id, attacker.victim.code, attacker.owner, attacker.area)
        if key not in self._foreign_ids:
            self._foreign_ids[key] = {
                each: owner
                for each, owner in self.registry.everywhere().items()
                if attacker.is_foreign(owner)
            }
        return self._foreign_ids[key]

    _foreign_ids: dict[Any, Mapping[str, Owner]] = field(default_factory=dict)
    _ids: dict[Any, str] = field(default_factory=dict)
    _requests: dict[Any, Any] = field(default_factory=dict)


def _noun_of(each: FieldDescriptor) -> str:
    owner = each.containing_type
    parts = owner.file.package.split(".") if owner is not None else []
    return parts[1] if len(parts) > 1 else ""


def nobody(foreign: str) -> str:
    """An id of the same shape that nothing has: made by the same clock, or a page behind it."""
    if UUID.fullmatch(foreign):
        return foreign[:24] + uuid4().hex[:12]
    return wire.page_token(str(uuid4()))


def texts(county: County) -> dict[str, str]:
    """What stands in fields that are no ids, so that a request is about this county."""
    village = county.village()
    return {
        "county_code": county.code,
        **dict.fromkeys(("area_code", "village_code", "used_in_area", "to_area_code"), village),
        "purpose": "beekeeping",
        "cause": "accident",
        "step": "village_reviews",
        "name": "王芳",
        "relation": "户主",
    }


def routes() -> Iterator[Route]:
    """Every method with one answer that is somebody's to call."""
    for route in ROUTES:
        if not (route.streams or route.tells) and not route.method.endswith(NOT_CALLED):
            yield route


def purpose_of(route: Route) -> str:
    """A purpose for which a method may be called."""
    wanted = RULES[route.method].purposes
    return PURPOSE if not wanted or PURPOSE in wanted else min(wanted)


def allowed(role: str, route: Route) -> bool:
    """Whether the rule lets a role call: the one place that knows where rules stand."""
    return access.may_call(role, route.method)


PREFERRED = ("bank", "insurer", "village_department", "county_centre", "finance_bureau", "auditor")
"""Roles that see in different ways; of those that a rule names the first ones attack."""


def attackers(
    world: World, *, each: int, permitted: bool = True, across: bool = True, within: bool = True
) -> dict[Route, list[Attacker]]:
    """For each method those who attack: `each` of another county, and all within one."""
    first, other = world.counties()
    chosen: dict[Route, list[Attacker]] = {}
    for route in routes():
        if route.noun == OWN and not permitted:
            continue
        roles = [role for role in PREFERRED if allowed(role, route) is permitted]
        more = [role for role in sorted(Role) if allowed(role, route) is permitted]
        ordered = list(dict.fromkeys([*roles, *more]))
        found = [
            Attacker(other, short_of(role), role, first)
            for role in ordered[:each]
            if across and role != "operator"
        ]
        if within:
            found += _within(first, roles)
        if found:
            chosen[route] = found
    return chosen


def _within(county: County, roles: Sequence[str]) -> Iterator[Attacker]:
    if "bank" in roles:
        yield Attacker(county, "bank", "bank", county, owner="bank2")
    if "insurer" in roles:
        yield Attacker(county, "insurer", "insurer", county, owner="insurer2")
    if "village_department" in roles:
        far = f"{county.code}102"
        yield Attacker(county, "village", "village_department", county, area=far)
