"""
Ties: where an event belongs and who is party to it, of what it says and what was said before. Pure.

Most events name only the aggregate that they are about: a repayment its loan, a decision its claim.
Who the lender is, and in which village it is, an earlier event of that aggregate said.
"""

import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway import resources
from services.kernel.cloudevents import Envelope

PARTIES_MAX = 64

PARTY_FIELDS = frozenset(
    {
        *("lender_id", "insurer_id", "institution_id", "bank_id", "receiver_id", "source_id"),
        *("keeper_id", "payee_id"),
    }
)
"""Fields that name an institution; it is a party to the event."""

ROLE_FIELDS = frozenset({"payer", "department"})
"""Fields that name a role, as which a department is party to the event."""
ROLE = "role:"

REFERENCES: Mapping[str, str] = {
    "loan_id": "loans.loan",
    "payout_id": "claims.payout",
    "claim_id": "claims.claim",
    "case_id": "funds.compensation_case",
    "insured_id": "claims.insured",
    "facility_id": "loans.relending_facility",
    "issue_id": "loans.issue",
    "task_id": "loans.task",
}
"""Field of an event to the aggregate that it names; whoever is party to that, is party to this."""

# Ids and codes, and nothing that a service let through in their place.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

HOUSEHOLD = "households.household"

Key = tuple[str, str]
"""Aggregate type and id."""


@dataclass(frozen=True, slots=True)
class Tie:
    """What is known of an aggregate, as far as access turns on it."""

    area_code: str = ""
    household_id: str = ""
    parties: frozenset[str] = frozenset()

    def with_(self, other: "Tie") -> "Tie":
        """What was known and what is new; the newer place counts, and nobody stops being party."""
        if other is NOTHING:
            return self
        parties = self.parties | other.parties
        if len(parties) > PARTIES_MAX:
            parties = self.parties
        return Tie(
            area_code=other.area_code or self.area_code,
            household_id=other.household_id or self.household_id,
            parties=parties,
        )


NOTHING = Tie()

Ties = MutableMapping[Key, Tie]


@dataclass(frozen=True, slots=True)
class _Reading:
    """Where the messages of a type say what an event has to do with; every event is read so."""

    references: tuple[tuple[str, str], ...]
    """Field and the type of the aggregate that it names."""
    has_area: bool
    has_household: bool
    parties: resources.Fields
    """Field to what goes before the name in it."""


@cache
def _reading(message: Descriptor) -> _Reading:
    texts = [field.name for field in message.fields if _is_text(field)]
    return _Reading(
        references=tuple((name, REFERENCES[name]) for name in texts if name in REFERENCES),
        has_area="area_code" in texts,
        has_household="household_id" in texts,
        parties=resources.fields_of(message, _party),
    )


def _is_text(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated


def _party(field: FieldDescriptor) -> str | None:
    if not _is_text(field) or field.name not in PARTY_FIELDS | ROLE_FIELDS:
        return None
    return ROLE if field.name in ROLE_FIELDS else ""


def keys(envelope: Envelope, message: Message) -> list[Key]:
    """The aggregates of which an event's ties may come, its own first."""
    reading = _reading(message.DESCRIPTOR)
    found = [envelope.aggregate]
    for field, kind in reading.references:
        if name := getattr(message, field):
            found.append((kind, name))
    if reading.has_household and (household_id := _plain(message.household_id)):  # type: ignore[attr-defined]
        found.append((HOUSEHOLD, household_id))
    return list(dict.fromkeys(found))


def learn(envelope: Envelope, message: Message, known: Ties) -> tuple[Tie, bool]:
    """
    The ties of an event, and whether more is known of its aggregate now.

    An aggregate learns what its own events name, and no more: an insurer that covers a loan is
    party to the cover, not to the loan.
    """
    own = _own(message)
    before = known.get(envelope.aggregate, NOTHING)
    after = before.with_(own)
    known[envelope.aggregate] = after
    tie = own.with_(after)
    # Its own place counts before what others have.
    for key in keys(envelope, message):
        other = known.get(key, NOTHING)
        if other.parties and key[0] == HOUSEHOLD:
            other = replace(other, parties=frozenset())
        tie = other.with_(tie)
    return tie, after != before


def _own(message: Message) -> Tie:
    reading = _reading(message.DESCRIPTOR)
    return Tie(
        area_code=_plain(message.area_code) if reading.has_area else "",  # type: ignore[attr-defined]
        household_id=_plain(message.household_id) if reading.has_household else "",  # type: ignore[attr-defined]
        parties=frozenset(_parties(message, reading)),
    )


def _parties(message: Message, reading: _Reading) -> Iterator[str]:
    """The institutions that a message and its parts name."""
    for before, name in resources.texts(message, reading.parties):
        if _PLAIN.fullmatch(name):
            yield f"{before}{name}"


def _plain(text: str) -> str:
    """A text that is an id or code; else nothing."""
    return text if _PLAIN.fullmatch(text) else ""
