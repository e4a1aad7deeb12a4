"""
Ties: where an event belongs and who is party to it, of what it says and what was said before. Pure.

Most events name only the aggregate that they are about: a repayment its loan, a decision its claim.
Who the lender is, and in which village it is, an earlier event of that aggregate said.
"""

import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace

from google.protobuf.message import Message

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
        parties = self.parties | other.parties
        if len(parties) > PARTIES_MAX:
            parties = self.parties
        return Tie(
            area_code=other.area_code or self.area_code,
            household_id=other.household_id or self.household_id,
            parties=parties,
        )


Ties = MutableMapping[Key, Tie]


def keys(envelope: Envelope, message: Message) -> list[Key]:
    """The aggregates of which an event's ties may come, its own first."""
    found = [envelope.aggregate]
    for field, value in message.ListFields():
        if field.name in REFERENCES and not field.is_repeated and value:
            found.append((REFERENCES[field.name], value))
    if household_id := _text(message, "household_id"):
        found.append((HOUSEHOLD, household_id))
    return list(dict.fromkeys(found))


def learn(envelope: Envelope, message: Message, known: Ties) -> tuple[Tie, bool]:
    """
    The ties of an event, and whether more is known of its aggregate now.

    An aggregate learns what its own events name, and no more: an insurer that covers a loan is
    party to the cover, not to the loan.
    """
    own = _own(message)
    before = known.get(envelope.aggregate, Tie())
    after = before.with_(own)
    known[envelope.aggregate] = after
    tie = own.with_(after)
    # Its own place counts before what others have.
    for kind, name in keys(envelope, message):
        other = known.get((kind, name), Tie())
        if kind == HOUSEHOLD:
            other = replace(other, parties=frozenset())
        tie = other.with_(tie)
    return tie, after != before


def _own(message: Message) -> Tie:
    return Tie(
        area_code=_text(message, "area_code"),
        household_id=_text(message, "household_id"),
        parties=frozenset(parties_named(message)),
    )


def parties_named(message: Message) -> Iterator[str]:
    """The institutions that a message and its parts name."""
    for field, value in message.ListFields():
        if isinstance(value, str):
            if field.name in PARTY_FIELDS and _PLAIN.fullmatch(value):
                yield value
            elif field.name in ROLE_FIELDS and _PLAIN.fullmatch(value):
                yield f"{ROLE}{value}"
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else (value,):
                yield from parties_named(each)


def _text(message: Message, name: str) -> str:
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None or field.is_repeated or field.message_type is not None:
        return ""
    value = getattr(message, name)
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else ""
