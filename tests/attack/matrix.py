"""The access matrix: who asks × method × whose thing it is × what the household consents to."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import uuid4

import grpc

from gateway.groups import GOVERNMENT
from gateway.routes import OWN, Route
from gateway.rules import RULES
from services.programmes.schema.deployment import InstitutionRole as Role
from tests.attack.bola import PURPOSE, Answer, Attack, Attacker, allowed, nobody, routes
from tests.attack.requests import Place, places, put
from tests.attack.world import World, short_of
from tests.live.county import County
from tests.live.folder import OPERATOR

DENIED = grpc.StatusCode.PERMISSION_DENIED
CREDIT_AND_WHO = (1, 10)
"""`DataCategory` as on the wire."""
SIGNATURE = 2
"""`EvidenceKind` as on the wire."""
STATION_SIGNATURE = 2
"""`ConsentMedium` as on the wire."""


class Whose(StrEnum):
    """Whose thing it is that is asked for."""

    OWN = "own"
    PARTY = "party"
    OTHER_INSTITUTION = "other_institution"
    OTHER_COUNTY = "other_county"


class Consent(StrEnum):
    """What the household of the thing consented to."""

    LIVE = "live"
    MISSING = "missing"
    WITHDRAWN = "withdrawn"
    WRONG_PURPOSE = "wrong_purpose"


@dataclass(frozen=True, slots=True)
class Cell:
    """One question of the matrix."""

    role: str
    route: Route
    whose: Whose
    consent: Consent

    def __str__(self) -> str:
        method = self.route.method.rpartition(".")[2]
        return f"{self.role} {method} {self.whose.value} {self.consent.value}"


class Expected(StrEnum):
    """What the rule says of a cell."""

    ROLE_DENIED = "role_denied"
    AS_MISSING = "as_missing"
    NOT_ROLE_DENIED = "not_role_denied"
    SEEN = "seen"


OPENED = ("CreditService/GetCreditFile", "CreditService/GetLimit")
"""Methods that a live consent opens, and that always have something to tell."""


def expectation(cell: Cell) -> Expected:
    """What must come back: the one place that reads the rule of a method."""
    if not allowed(cell.role, cell.route):
        return Expected.ROLE_DENIED
    if cell.whose in {Whose.OTHER_INSTITUTION, Whose.OTHER_COUNTY}:
        return Expected.AS_MISSING
    # Nothing ties the households of the matrix to anybody but their consents.
    rule = RULES[cell.route.method]
    judged = rule.ownership == "household" and cell.role not in GOVERNMENT
    if cell.role == Role.GUARANTOR and rule.resource == "household":
        # It knows of the households of its county; the fields it sees turn on consent.
        return Expected.NOT_ROLE_DENIED
    if judged and cell.consent is not Consent.LIVE:
        return Expected.AS_MISSING
    if judged and cell.role == Role.BANK and cell.route.method.endswith(OPENED):
        return Expected.SEEN
    return Expected.NOT_ROLE_DENIED


NEIGHBOURS: Mapping[str, tuple[str, str]] = {
    Role.BANK: ("bank", "bank2"),
    Role.INSURER: ("insurer", "insurer2"),
    Role.VILLAGE_DEPARTMENT: ("village", ""),
    Role.TOWNSHIP_STATION: ("station", ""),
}
"""Role to who asks and whose things are another institution's; empty for another area's."""


@dataclass
class Outcome:
    """What the matrix saw."""

    cells: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    without: int = 0
    """Cells that need a thing of which the world has none."""
    expected: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """The last line, read by machines."""
        return f"cells={self.cells} wrong={len(self.wrong)} without_object={self.without}"


def cells(*, whole: bool) -> Iterator[Cell]:
    """
    Every cell; the short form asks a role that no rule names once for each method.

    Consent turns on a household, so a method whose request names none has no cell for it.
    """
    for route in routes():
        about = _household_place(route) is not None
        for role in sorted(Role):
            permitted = allowed(role, route)
            for whose in Whose if permitted or whole else (Whose.OWN,):
                for consent in Consent if about and (permitted or whole) else (Consent.LIVE,):
                    yield Cell(role, route, whose, consent)


def _household_place(route: Route) -> Place | None:
    return next(
        (each for each in places(route.descriptor.input_type) if each.kind == "household"), None
    )


def _first_place(route: Route) -> Place | None:
    """The thing that a request is about: the first id that is no institution's or programme's."""
    found = [
        each
        for each in places(route.descriptor.input_type)
        if each.kind not in {"request", "cursor", "mask", "programme", "product", "cover"}
        and each.kind not in {"institution", "lender", "insurer", "bank", "person", "custodian"}
    ]
    return found[0] if found else None


@dataclass
class Matrix:
    """The matrix on a world."""

    attack: Attack
    households: Mapping[tuple[str, Consent], str]
    """County and consent to a household that stands so."""
    outcome: Outcome = field(default_factory=Outcome)

    async def run(self, asked: Sequence[Cell]) -> Outcome:
        """Ask every cell; a bounded number at a time."""
        at_once = 2_000
        for start in range(0, len(asked), at_once):
            await asyncio.gather(*(self._ask(cell) for cell in asked[start : start + at_once]))
        return self.outcome

    async def _ask(self, cell: Cell) -> None:
        who = self._who(cell)
        request = self.attack.request(who, cell.route.descriptor.input_type)
        expected = expectation(cell)
        about = _household_place(cell.route)
        household_id = self.households[who.county.code, cell.consent]
        if about is not None and (cell.consent is not Consent.LIVE or expected is Expected.SEEN):
            request = put(request, about, household_id)
        thing, missing = "", None
        if expected in {Expected.AS_MISSING, Expected.SEEN}:
            own = cell.whose in {Whose.OWN, Whose.PARTY}
            place = about if own else _first_place(cell.route)
            thing = household_id if own else self._thing(cell, who, place) if place else ""
            if not place or not thing:
                self.outcome.without += 1
                return
            institution_id = self._institution(who)
            missing = await self.attack.ask(
                cell.route, institution_id, put(request, place, nobody(thing))
            )
            request = put(request, place, thing)
        answer = await self.attack.ask(cell.route, self._institution(who), request)
        self.outcome.cells += 1
        self.outcome.expected[expected.value] += 1
        wrong = _wrong(expected, answer, missing, cell.route)
        if wrong:
            self.outcome.wrong[str(cell)] = wrong

    def _who(self, cell: Cell) -> Attacker:
        first, other = self.attack.world.counties()
        county = other if cell.whose is Whose.OTHER_COUNTY else first
        short, neighbour = NEIGHBOURS.get(cell.role) or (_short(cell.role), "")
        return Attacker(county, short, cell.role, first, owner=neighbour, area=f"{first.code}102")

    def _institution(self, who: Attacker) -> str:
        return OPERATOR if who.role == Role.OPERATOR else who.institution_id

    def _thing(self, cell: Cell, who: Attacker, place: Place) -> str:
        if cell.whose is Whose.OTHER_INSTITUTION and cell.role not in NEIGHBOURS:
            return ""
        if cell.route.noun == OWN or cell.role == Role.OPERATOR:
            return ""
        return self.attack.foreign_id(who, cell.route.noun, place.kind)


def _short(role: str) -> str:
    return OPERATOR if role == Role.OPERATOR else short_of(role)


def _wrong(expected: Expected, answer: Answer, missing: Answer | None, route: Route) -> str:
    refused_role = answer.code is DENIED and "ROLE_NOT_ALLOWED" in answer.text
    if expected is Expected.ROLE_DENIED:
        return "" if refused_role else f"the rule names it not, and yet: {answer.short()}"
    if expected is Expected.NOT_ROLE_DENIED:
        # A service may know finer rules of roles than a method's; the gateway must let it through.
        denied = refused_role and f"may not call {route.method}" in answer.text
        return f"the rule names it, and yet: {answer.short()}" if denied else ""
    assert missing is not None
    if expected is Expected.SEEN:
        return "a live consent opens nothing" if answer.same_as(missing) else ""
    if answer.same_as(missing):
        return ""
    return f"nobody's: {missing.short()}; another's: {answer.short()}"


# --- households with every kind of consent --------------------------------------------------------


async def consents(world: World) -> dict[tuple[str, Consent], str]:
    """In each county a household for every state of consent, given to its bank for loans."""
    made: dict[tuple[str, Consent], str] = {}
    for county in world.counties():
        for consent in Consent:
            household_id = await county.household()
            made[county.code, consent] = household_id
            if consent is not Consent.MISSING:
                await _give(county, household_id, consent)
        await county.rate()
    return made


async def _give(county: County, household_id: str, consent: Consent) -> None:
    wrong = consent is Consent.WRONG_PURPOSE
    found = await county.ask("households.GetHousehold", "centre", household_id=household_id)
    paper = {"kind": SIGNATURE, "reference": uuid4().hex, "sha256": bytes(32)}
    values: dict[str, Any] = {
        "household_id": household_id,
        "person_id": found.household.members[0].person_id,
        "receiver_id": county.institution("bank"),
        "purpose": "statistics" if wrong else PURPOSE,
        "categories": CREDIT_AND_WHO,
        "valid_from": county.today,
        "valid_to": county.today.replace(year=county.today.year + 1),
        "wording_version": "1",
        "medium": STATION_SIGNATURE,
        "evidence": paper,
    }
    given = await county.ask("households.GiveConsent", "village", **values)
    if consent is Consent.WITHDRAWN:
        await county.ask(
            "households.WithdrawConsent",
            "village",
            consent_id=given.consent_id,
            medium=STATION_SIGNATURE,
            evidence=paper,
        )
