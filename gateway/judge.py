"""
Judge: whether a household is the caller's to know of, and what of an answer it may see.

A household that is not the caller's is asked for under an id that nobody has, so that the service
answers as it does for one that is missing, to the byte and in the same time. Answers lose what is
of other households, and the fields that nothing lets the caller see. Organs of the county see what
lies in their areas; to that the services hold them.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from typing import Any
from uuid import UUID

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from gateway import access, tie_store
from gateway.access import Conditions, Resource, Subject
from gateway.forward import Failure
from gateway.groups import GOVERNMENT, PEOPLE
from gateway.identity import ABOVE_COUNTIES, Institution
from gateway.routes import ROUTES, Route
from gateway.rules import RULES, category_of
from gateway.tie_store import NOTHING, Standing
from services.kernel.database import Database
from services.programmes.loader import Catalogue

NEEDED: Mapping[str, str] = {
    "household": "identity",
    "credit_grade": "credit_records",
    "credit_report": "credit_records",
    "indicator": "credit_records",
    "payee_account": "accounts",
    "debt_snapshot": "",
    "entitlement": "",
    "policy": "",
}
"""Resource to the category that a consent must name to open it; none opens the others."""

NO_GROUND = "NO_GROUND"
"""Why a call was answered as if its household were missing, in the access log."""

_DEPTH_MAX = 8
_INSURES = frozenset({"cover", "claim"})
_LENDS = frozenset({"application", "debt"})


@dataclass(frozen=True, slots=True)
class Shape:
    """Where in a message households and guarded fields stand."""

    household: bool = False
    guarded: Mapping[str, str] = field(default_factory=dict)
    """Field to category."""
    parts: Mapping[str, "Shape"] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Nothing in it is judged."""
        return not (self.household or self.guarded or self.parts)


def shape_of(message: Descriptor, depth: int = 0) -> Shape:
    """The shape of a message, read by its descriptor."""
    if depth > _DEPTH_MAX:
        return Shape()
    parts = {
        each.name: shape
        for each in message.fields
        if each.message_type is not None
        and not each.message_type.GetOptions().map_entry
        and not (shape := shape_of(each.message_type, depth + 1)).empty
    }
    return Shape(
        household="household_id" in message.fields_by_name,
        guarded={each.name: found for each in message.fields if (found := category_of(each))},
        parts=parts,
    )


@dataclass(slots=True)
class Sight:
    """What one call asks of whom, and under which other ids it asks for what is not its own."""

    route: Route
    institution: Institution
    purpose: str
    county_code: str
    conditions: Conditions
    standings: dict[UUID, Standing] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)
    """Household to the id that stands for it."""
    asked: tuple[str, ...] = ()
    body: bytes = b""
    """What the service is asked."""

    def sees(self, household_id: str) -> bool:
        """Whether some ground lets the caller know of a household; of one that nobody has, any."""
        return (
            household_id in self.hidden.values()
            or access.decide(
                self._subject(), self._action(), self._thing(household_id), self.conditions
            ).allow
        )

    def sees_category(self, household_id: str, category: str) -> bool:
        """Whether a consent, or more, opens a category of a household's data."""
        return category in self._standing(household_id).categories

    def named(self, answer: bytes) -> bytes:
        """An answer that names what was asked for, not what stood for it, in its texts too."""
        for household_id, stand_in in self.hidden.items():
            # Ids are of one length, so that a message keeps its lengths.
            answer = answer.replace(stand_in.encode(), household_id.encode())
        return answer

    def worded(self, failure: Failure) -> Failure:
        """A refusal that names what was asked for, not what stood for it."""
        details = failure.details
        trailers = list(failure.trailers)
        for household_id, stand_in in self.hidden.items():
            details = details.replace(stand_in, household_id)
            trailers = [(key, _swap(value, stand_in, household_id)) for key, value in trailers]
        return replace(failure, details=details, trailers=tuple(trailers))

    def _subject(self) -> Subject:
        areas = self.institution.areas or (self.institution.county_code,)
        return Subject(self.institution.role, self.institution.institution_id, tuple(areas))

    def _action(self) -> str:
        return f"{RULES[self.route.method].resource}.read"

    def _thing(self, household_id: str) -> Resource:
        own = self.institution.institution_id
        standing = self._standing(household_id)
        needed = NEEDED[RULES[self.route.method].resource]
        return Resource(
            area=self.county_code,
            household_id=household_id,
            lender=own if "debt" in standing.kinds else None,
            insurer=own if standing.kinds & _INSURES else None,
            application_to=own if standing.kinds & _LENDS else None,
            open_claim_insurer=own if "claim" in standing.kinds else None,
            insured_by=own if "cover" in standing.kinds else None,
            consented=needed in standing.categories,
        )

    def _standing(self, household_id: str) -> Standing:
        found = tie_store.id_of(household_id)
        return NOTHING if found is None else self.standings.get(found, NOTHING)


class Judge:
    """Judges calls about households by ties and consents, as they stand."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue
        self._requests = {r.method: shape_of(r.descriptor.input_type) for r in _judged()}
        self._answers = {r.method: shape_of(r.descriptor.output_type) for r in _judged()}
        self._conditions = lru_cache(1_000)(self._conditions_of)

    def concerns(self, institution: Institution, method: str) -> bool:
        """
        Whether a caller must have a ground for every household that a method names.

        A portal calls no service by itself: the gateway asks for a person it has identified.
        """
        return method in self._requests and institution.role not in GOVERNMENT | PEOPLE

    async def ask(self, route: Route, institution: Institution, purpose: str, body: bytes) -> Sight:
        """How the caller stands to whom it asks for, and what the service is to be asked."""
        request = _parsed(route.descriptor.input_type, body)
        shape = self._requests[route.method]
        county_code = institution.county_code
        if county_code == ABOVE_COUNTIES and request is not None:
            county_code = getattr(request, "county_code", county_code)
        named = tuple(dict.fromkeys(_households(request, shape))) if request else ()
        day, standings = await self._look(institution, purpose, county_code, named)
        sight = Sight(
            route=route,
            institution=institution,
            purpose=purpose,
            county_code=county_code,
            conditions=self._conditions(county_code, day),
            standings=standings,
            asked=named,
            body=body,
        )
        sight.hidden = {h: str(uuid.uuid4()) for h in named if not sight.sees(h)}
        if request is not None and sight.hidden:
            _rename(request, shape, sight.hidden)
            sight.body = request.SerializeToString()
        return sight

    async def show(self, sight: Sight, answer: bytes) -> bytes:
        """The answer as the caller may see it."""
        shape = self._answers[sight.route.method]
        if shape.empty:
            return sight.named(answer)
        message = _parsed(sight.route.descriptor.output_type, answer)
        assert message is not None, "a service answers in its proto"
        named = set(_households(message, shape)) - set(sight.asked)
        if named:
            _, more = await self._look(
                sight.institution, sight.purpose, sight.county_code, sorted(named)
            )
            sight.standings |= more
        whose = sight.asked[0] if len(sight.asked) == 1 else ""
        if not mask(message, shape, lru_cache(None)(sight.sees), sight.sees_category, whose):
            message.Clear()
        return sight.named(message.SerializeToString())

    async def _look(
        self, institution: Institution, purpose: str, county_code: str, named: Sequence[str]
    ) -> tuple[date | None, dict[UUID, Standing]]:
        ids = [found for each in named if (found := tie_store.id_of(each)) is not None]
        async with self._database.transaction() as session:
            day = await tie_store.day_of(session, county_code)
            if not ids:
                return day, {}
            return day, await tie_store.standings(session, institution.institution_id, purpose, ids)

    def conditions(self, county_code: str, day: date | None) -> Conditions:
        """What the programmes that a county follows on a day add."""
        return self._conditions(county_code, day)

    def _conditions_of(self, county_code: str, day: date | None) -> Conditions:
        """What the programmes that a county follows on a day add."""
        if day is None:
            return Conditions()
        adopted = self._catalogue.adoptions(county_code, day)
        packs = [self._catalogue.terms(county_code, entry.programme).pack for entry in adopted]
        rules = [pack.gateway for pack in packs if pack.gateway is not None]
        return access.together([access.conditions_of(each) for each in rules])


def _judged() -> Iterator[Route]:
    return (route for route in ROUTES if RULES[route.method].ownership == "household")


def _parsed(descriptor: Descriptor, body: bytes) -> Message | None:
    made: Any = message_factory.GetMessageClass(descriptor)
    try:
        message: Message = made.FromString(body)
    except DecodeError:
        return None
    return message


def _swap(value: str | bytes, old: str, new: str) -> str | bytes:
    if isinstance(value, bytes):
        return value.replace(old.encode(), new.encode())
    return value.replace(old, new)


def _parts(message: Message, shape: Shape) -> Iterator[tuple[Message, Shape]]:
    for name, inner in shape.parts.items():
        value = getattr(message, name)
        if isinstance(value, Message):
            if message.HasField(name):
                yield value, inner
        else:
            yield from ((each, inner) for each in value)


def _households(message: Message, shape: Shape) -> Iterator[str]:
    if shape.household:
        value = message.household_id  # type: ignore[attr-defined]
        if value:
            yield value
    for part, inner in _parts(message, shape):
        yield from _households(part, inner)


def _rename(message: Message, shape: Shape, names: Mapping[str, str]) -> None:
    if shape.household and (new := names.get(message.household_id)):  # type: ignore[attr-defined]
        message.household_id = new  # type: ignore[attr-defined]
    for part, inner in _parts(message, shape):
        _rename(part, inner, names)


def mask(
    message: Message,
    shape: Shape,
    sees: Callable[[str], bool],
    sees_category: Callable[[str, str], bool],
    whose: str,
) -> bool:
    """Take out what may not be seen; whether the message itself may be."""
    if shape.household:
        own = message.household_id  # type: ignore[attr-defined]
        if own and not sees(own):
            return False
        whose = own or whose
    for name, category in shape.guarded.items():
        if not sees_category(whose, category):
            message.ClearField(name)
    for name, inner in shape.parts.items():
        value = getattr(message, name)
        if isinstance(value, Message):
            if message.HasField(name) and not mask(value, inner, sees, sees_category, whose):
                message.ClearField(name)
            continue
        kept = [each for each in value if mask(each, inner, sees, sees_category, whose)]
        if len(kept) < len(value):
            copies = [type(each).FromString(each.SerializeToString()) for each in kept]
            del value[:]
            value.extend(copies)
    return True
