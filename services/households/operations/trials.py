"""A dry run: what it would have written so far, which the registry does not know of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from services.households.model import Draft, Household, Known, LeaveReason, Revision, Roll, Seat
from services.kernel.errors import Exhausted
from services.kernel.values import replace

PEOPLE_MAX: Final = 500_000
"""A dry run remembers whom it met: a few hundred MB at this bound."""

_NOWHERE: Final = ""
_DEAD: Final = "†"


@dataclass(slots=True)
class Trial:
    """Households as a dry run left them, and where their people are."""

    update: bool = False
    touched: dict[str, Roll | None] = field(default_factory=dict)
    """By the household's number; the people only where an update may meet them again."""
    people: dict[str, str] = field(default_factory=dict)
    """By identity number: the household's number, nowhere, or dead."""
    person_ids: dict[str, UUID] = field(default_factory=dict)
    """Of those who left a household."""

    def rolls(self, numbers: Iterable[str]) -> dict[str, Roll]:
        """Those of the households that the trial touched."""
        met = ((number, self.touched.get(number)) for number in numbers)
        return {number: roll for number, roll in met if roll is not None}

    def beside(
        self, known: Known, numbers: Iterable[str], identity_numbers: Iterable[str]
    ) -> Known:
        """What is known with what the trial did."""
        met = {n: self.people[n] for n in identity_numbers if n in self.people}
        seated = {n for n, place in met.items() if place not in {_NOWHERE, _DEAD}}
        idle = {n: self.person_ids[n] for n, place in met.items() if place == _NOWHERE}
        return replace(
            known,
            household_numbers=known.household_numbers | (self.touched.keys() & set(numbers)),
            identity_numbers=(known.identity_numbers - met.keys()) | seated,
            dead_numbers=known.dead_numbers | {n for n, place in met.items() if place == _DEAD},
            idle={n: i for n, i in known.idle.items() if n not in met} | idle,
        )

    def take(
        self,
        households: Sequence[Household],
        drafts: Sequence[Draft],
        revisions: Sequence[Revision],
    ) -> None:
        """Remember what a chunk would have written."""
        for revision in revisions:
            number = revision.before.household_number
            self.touched[number] = revision.after
            for leaver in revision.left:
                gone = leaver.seat.identity_number
                self.people[gone] = _DEAD if leaver.reason is LeaveReason.DIED else _NOWHERE
                if leaver.seat.person_id is not None:
                    self.person_ids[gone] = leaver.seat.person_id
        for revision in revisions:
            for seat in revision.joined:
                self.people[seat.identity_number] = revision.before.household_number
        for household, draft in zip(households, drafts, strict=True):
            roll = _roll(household, draft, self.person_ids) if self.update else None
            self.touched[draft.household_number] = roll
            for entry in draft.entries:
                self.people[entry.line.identity_number] = draft.household_number
        if len(self.people) > PEOPLE_MAX:
            raise Exhausted("TRIAL_TOO_LONG", f"a dry run takes at most {PEOPLE_MAX} people")


def _roll(household: Household, draft: Draft, known_ids: Mapping[str, UUID]) -> Roll:
    seats = tuple(
        Seat(
            person_id=known_ids.get(entry.line.identity_number, household.household_id),
            household_id=household.household_id,
            position=position,
            relation=entry.relation,
            labour=entry.labour,
            joined_on=entry.registered_on,
            name=entry.name,
            identity_number=entry.line.identity_number,
            phone=entry.line.phone,
        )
        for position, entry in enumerate(draft.entries, 1)
    )
    return Roll(household, seats, len(seats))
