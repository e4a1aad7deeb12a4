"""Updates by file: what lines change of a household that exists. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple

from services.households.model import (
    Known,
    Leaver,
    LeaveReason,
    Line,
    Refusal,
    Relation,
    Revision,
    Roll,
    Seat,
    Wish,
)
from services.households.rules import people
from services.households.rules import registration as rules
from services.households.rules.standing import STEPS
from services.kernel.values import replace

_RELATIONS: Final = {**rules.RELATION_WORDS, **{each.value: each for each in Relation}}
_STATUSES: Final = {
    **rules.STANDING_WORDS,
    **{each.value: each for each in rules.STANDING_WORDS.values()},
}
_HONOURS: Final = {
    **rules.HONOUR_WORDS,
    **{each.value: each for each in rules.HONOUR_WORDS.values()},
}
_LABOURS: Final = {
    **rules.LABOUR_WORDS,
    **{each.value: each for each in rules.LABOUR_WORDS.values()},
}
_REASONS: Final = {
    **rules.LEAVE_WORDS,
    **{each.value: each for each in rules.LEAVE_WORDS.values()},
}


@dataclass(slots=True)
class People:
    """Where the people of a chunk are while its lines are decided one household after another."""

    seated: set[str]
    """By identity number: those in some household."""
    idle: set[str]
    """Those who left one and are in none."""
    dead: set[str]


class Refused(NamedTuple):
    """A line that cannot be, its column and the rule."""

    line: Line
    column: str
    reason: str


class _Move(NamedTuple):
    """What a line makes of a person's place."""

    wish: Wish
    before: Seat | None
    after: Seat | None

    @property
    def structural(self) -> bool:
        """Whether the family is another one by it."""
        return (
            self.before is None
            or self.after is None
            or self.before.relation is not self.after.relation
        )

    @property
    def of_head(self) -> bool:
        """Whether it makes or unmakes a head."""
        return any(seat and seat.relation is Relation.HEAD for seat in (self.before, self.after))


@dataclass(slots=True)
class _Work:
    """One household while its lines are held against it."""

    roll: Roll
    moves: list[_Move] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    stated: dict[str, object] = field(default_factory=dict)
    named: dict[str, Wish] = field(default_factory=dict)
    """Right lines by identity number."""


# --- one line -------------------------------------------------------------------------------------


def read_wish(line: Line, today: date) -> Wish | Refusal:
    """Hold a line against what can be said of it alone; an empty cell states nothing."""
    fault = _column_fault(line, today)
    if fault is not None:
        return rules.refuse(line, *fault)
    return Wish(
        line=line,
        identity_number=line.identity_number,
        area_code=line.village_code or None,
        name=line.name.strip() or None,
        phone=line.phone or None,
        relation=_RELATIONS.get(line.relation),
        status=_STATUSES.get(line.registration_status),
        honour=_HONOURS.get(line.honour),
        labour=_LABOURS.get(line.labour),
        registered_on=rules.calendar_day(line.registered_on),
        left_on=rules.calendar_day(line.left_on),
        leave_reason=_REASONS.get(line.leave_reason),
    )


def _column_fault(line: Line, today: date) -> tuple[str, str] | None:
    """The first wrong column and its reason."""
    if line.unreadable:
        return rules.lacking(line), "LINE_UNREADABLE"
    if reason := rules.identity_fault(line.identity_number, today):
        return "identity_number", reason
    name = line.name.strip()
    if name and (reason := rules.name_fault(name)):
        return "name", reason
    words: tuple[tuple[str, str, Mapping[str, object], str], ...] = (
        ("relation", line.relation, _RELATIONS, "RELATION_UNKNOWN"),
        ("registration_status", line.registration_status, _STATUSES, "STATUS_UNKNOWN"),
        ("honour", line.honour, _HONOURS, "HONOUR_UNKNOWN"),
        ("labour", line.labour, _LABOURS, "LABOUR_UNKNOWN"),
        ("leave_reason", line.leave_reason, _REASONS, "LEAVE_REASON_UNKNOWN"),
    )
    for column, word, known, reason in words:
        if word and word not in known:
            return column, reason
    for column, text in (("registered_on", line.registered_on), ("left_on", line.left_on)):
        day = rules.calendar_day(text)
        if text and day is None:
            return column, "DATE_MALFORMED"
        if day is not None and day > today:
            return column, "DATE_IN_FUTURE"
    if bool(line.left_on) is not bool(line.leave_reason):
        return (
            ("leave_reason", "LEAVE_REASON_UNKNOWN")
            if line.left_on
            else (
                "left_on",
                "DATE_MALFORMED",
            )
        )
    if reason := rules.phone_fault(line.phone):
        return "phone", reason
    return None


# --- one household --------------------------------------------------------------------------------


def revise(
    roll: Roll,
    wishes: Sequence[Wish],
    known: Known,
    where: People,
    *,
    today: date,
    may_change_status: bool,
) -> tuple[Revision | None, list[Refusal]]:
    """
    Decide what lines make of a household; None when that is nothing.

    Who is named is changed, joins or leaves; who is not named stays as is. A wrong line does not
    sink the others. `where` follows, so that who left here may join there.
    """
    work = _Work(roll)
    closed = _closed(roll, known)
    head_first = sorted(wishes, key=lambda wish: wish.relation is not Relation.HEAD)
    for wish in head_first:
        fault = closed or _line_fault(work, wish, known, where, may_change_status)
        if fault is not None:
            work.refused.append(Refused(wish.line, *fault))
            continue
        work.named[wish.identity_number] = wish
        for column, value in _of_household(wish):
            work.stated.setdefault(column, value)
        _move(work, wish, today)
    _settle_family(work)
    revision = _revision(work)
    if revision is not None:
        left = {leaver.seat.identity_number: leaver.reason for leaver in revision.left}
        where.seated -= left.keys()
        where.dead |= {number for number, why in left.items() if why is LeaveReason.DIED}
        where.idle |= left.keys() - where.dead
        where.seated |= {seat.identity_number for seat in revision.joined}
        where.idle -= where.seated
    return revision, [rules.refuse(*each) for each in work.refused]


def _closed(roll: Roll, known: Known) -> tuple[str, str] | None:
    """Why no line may change this household at all."""
    if roll.household.area_code not in known.areas_of_caller:
        return "village_code", "AREA_NOT_YOURS"
    if roll.household.survivor_id is not None:
        return "household_number", "HOUSEHOLD_IS_ALIAS"
    return None


def _of_household(wish: Wish) -> list[tuple[str, object]]:
    """What a line states about the household as a whole."""
    stated = (
        ("village_code", wish.area_code),
        ("registration_status", wish.status),
        ("honour", wish.honour),
    )
    return [(column, value) for column, value in stated if value is not None]


_FIELDS: Final = {
    "village_code": "area_code",
    "registration_status": "status",
    "honour": "honour",
}
_DIFFERS: Final = {
    "village_code": "VILLAGE_DIFFERS",
    "registration_status": "STATUS_DIFFERS",
    "honour": "HONOUR_DIFFERS",
}


def _line_fault(
    work: _Work, wish: Wish, known: Known, where: People, may_change_status: bool
) -> tuple[str, str] | None:
    """What is wrong with a line beside the household and the lines before."""
    household = work.roll.household
    if wish.identity_number in work.named:
        return "identity_number", "DUPLICATE_LINE"
    if wish.area_code is not None and wish.area_code not in known.areas_of_caller:
        there = wish.area_code in known.areas
        return "village_code", "AREA_NOT_YOURS" if there else "VILLAGE_UNKNOWN"
    for column, value in _of_household(wish):
        if work.stated.get(column, value) != value:
            return column, _DIFFERS[column]
    if wish.status not in {None, household.status}:
        if not may_change_status:
            return "registration_status", "STATUS_NOT_YOURS"
        if wish.status not in STEPS[household.status]:
            return "registration_status", "STATUS_STEP_FORBIDDEN"
    seat = _seat_of(work.roll, wish.identity_number)
    if seat is None:
        return _stranger_fault(wish, where)
    own = seat.household_id == household.household_id
    if wish.left_on is not None:
        if not own:
            return "household_number", "HOUSEHOLD_IS_ALIAS"
        return ("left_on", "DATE_TOO_EARLY") if wish.left_on < seat.joined_on else None
    if wish.registered_on not in {None, seat.joined_on}:
        return "registered_on", "DATE_DIFFERS"
    moved = (wish.relation or seat.relation, wish.labour or seat.labour)
    if not own and moved != (seat.relation, seat.labour):
        return "household_number", "HOUSEHOLD_IS_ALIAS"
    return None


def _stranger_fault(wish: Wish, where: People) -> tuple[str, str] | None:
    """Why somebody who is not of the household cannot be named so."""
    number = wish.identity_number
    if wish.left_on is not None:
        # Who is gone already is gone: the line was sent before.
        gone = number in where.seated or number in where.idle or number in where.dead
        return None if gone else ("identity_number", "NOT_A_MEMBER")
    if number in where.seated:
        return "identity_number", "MEMBER_ELSEWHERE"
    if number in where.dead:
        return "identity_number", "PERSON_DIED"
    if wish.name is None:
        return "name", "NAME_MISSING"
    if wish.relation is None:
        return "relation", "RELATION_UNKNOWN"
    return None


def _seat_of(roll: Roll, number: str) -> Seat | None:
    return next((seat for seat in roll.seats if seat.identity_number == number), None)


def _move(work: _Work, wish: Wish, today: date) -> None:
    """Note what a right line makes of the person's place."""
    seat = _seat_of(work.roll, wish.identity_number)
    if wish.left_on is not None:
        if seat is not None:
            work.moves.append(_Move(wish, seat, None))
        return
    if seat is None:
        assert wish.name is not None
        assert wish.relation is not None
        joined = sum(move.before is None for move in work.moves)
        seat = Seat(
            person_id=None,
            household_id=work.roll.household.household_id,
            position=work.roll.last_position + 1 + joined,
            relation=wish.relation,
            labour=wish.labour,
            joined_on=wish.registered_on or today,
            name=wish.name,
            identity_number=wish.identity_number,
            phone=wish.phone or "",
        )
        work.moves.append(_Move(wish, None, seat))
        return
    after = replace(
        seat,
        name=wish.name or seat.name,
        phone=wish.phone or seat.phone,
        relation=wish.relation or seat.relation,
        labour=wish.labour or seat.labour,
    )
    work.moves.append(_Move(wish, seat, after))


# --- the family -----------------------------------------------------------------------------------


def _settle_family(work: _Work) -> None:
    """Take back the moves after which the people could be no household, until none is left."""
    while any(move.structural for move in work.moves):
        moves = len(work.moves)
        _keep_one_head(work)
        _keep_somebody(work)
        _keep_kin(work)
        _keep_room(work)
        # What was taken back may be what another move stood on.
        if len(work.moves) == moves:
            return


def _seats(work: _Work) -> dict[str, Seat]:
    """The household's own people after the moves."""
    own = work.roll.household.household_id
    seats = {seat.identity_number: seat for seat in work.roll.seats if seat.household_id == own}
    for move in work.moves:
        if move.after is None:
            seats.pop(move.wish.identity_number, None)
        elif move.after.household_id == own:
            seats[move.wish.identity_number] = move.after
    return seats


def _head(work: _Work) -> Seat | None:
    heads = [seat for seat in _seats(work).values() if seat.relation is Relation.HEAD]
    return heads[0] if heads else None


def _take_back(work: _Work, moves: Sequence[_Move], column: str, reason: str) -> None:
    work.refused += [Refused(move.wish.line, column, reason) for move in moves]
    work.moves = [move for move in work.moves if move not in moves]


def _keep_one_head(work: _Work) -> None:
    seats = _seats(work)
    heads = sum(seat.relation is Relation.HEAD for seat in seats.values())
    if not seats or heads == 1:
        return
    reason = "SECOND_HEAD" if heads else "HEAD_MISSING"
    _take_back(work, [move for move in work.moves if move.of_head], "relation", reason)
    if _head(work) is None:
        joining = [move for move in work.moves if move.before is None]
        _take_back(work, joining, "relation", "HEAD_MISSING")


def _keep_somebody(work: _Work) -> None:
    if _seats(work):
        return
    alive = [
        move
        for move in work.moves
        if move.after is None and move.wish.leave_reason is not LeaveReason.DIED
    ]
    _take_back(work, alive, "leave_reason", "LAST_MEMBER")
    if _seats(work):
        _keep_one_head(work)


def _keep_kin(work: _Work) -> None:
    """Nobody moves into a relation that the head, or the others, do not allow."""
    head = _head(work)
    if head is None:
        return
    chief = people.kin(Relation.HEAD, head.identity_number)
    for move in [each for each in work.moves if each.structural]:
        seat = move.after
        if seat is None or seat.relation is Relation.HEAD:
            continue
        others = [
            each.relation
            for each in _seats(work).values()
            if each.identity_number != seat.identity_number
        ]
        person = people.kin(seat.relation, seat.identity_number)
        if people.relation_full(seat.relation, others) or people.kin_fault(person, chief):
            _take_back(work, [move], "relation", "FAMILY_IMPOSSIBLE")
            return
    was_head = _head(_Work(work.roll))
    if was_head is None or was_head.identity_number == head.identity_number:
        return
    family = [people.kin(seat.relation, seat.identity_number) for seat in _seats(work).values()]
    if people.family_fault(family):
        moved = [move for move in work.moves if move.structural]
        _take_back(work, moved, "relation", "FAMILY_IMPOSSIBLE")


def _keep_room(work: _Work) -> None:
    joined = [move for move in work.moves if move.before is None]
    if joined and len(_seats(work)) > rules.PEOPLE_MAX:
        _take_back(work, joined[-1:], "household_number", "HOUSEHOLD_TOO_LARGE")


# --- what comes of it -----------------------------------------------------------------------------


def _revision(work: _Work) -> Revision | None:
    before = work.roll.household
    seats = _seats(work)
    refused = {each.line.line_number for each in work.refused}
    stand = [wish for wish in work.named.values() if wish.line.line_number not in refused]
    fine = [move for move in work.moves if move.before != move.after]
    household = replace(before, member_count=before.member_count + len(seats) - _own_count(work))
    changed = {move.wish.line.line_number for move in fine}
    for wish in stand:
        stated = {
            "area_code": wish.area_code or household.area_code,
            "status": wish.status or household.status,
            "honour": wish.honour or household.honour,
        }
        household = replace(household, **stated)  # type: ignore[arg-type]
        if any(value != getattr(before, _FIELDS[column]) for column, value in _of_household(wish)):
            changed.add(wish.line.line_number)
    if household == before and not fine:
        return None
    stays = [(move.before, move.after) for move in fine if move.before and move.after]
    foreign = [seat for seat in work.roll.seats if seat.household_id != before.household_id]
    ordered = sorted(
        seats.values(), key=lambda seat: (seat.relation is not Relation.HEAD, seat.position)
    )
    return Revision(
        before=before,
        after=Roll(
            household,
            (*ordered, *foreign),
            max([work.roll.last_position, *(seat.position for seat in seats.values())]),
        ),
        joined=tuple(m.after for m in fine if m.before is None and m.after is not None),
        left=tuple(
            Leaver(m.before, m.wish.left_on, m.wish.leave_reason)
            for m in fine
            if m.before and m.after is None and m.wish.left_on and m.wish.leave_reason
        ),
        reseated=tuple(
            now for then, now in stays if (then.relation, then.labour) != (now.relation, now.labour)
        ),
        corrected=tuple(
            now for then, now in stays if (then.name, then.phone) != (now.name, now.phone)
        ),
        changed_lines=tuple(sorted(changed)),
        says=household != before or any(move.structural for move in fine),
    )


def _own_count(work: _Work) -> int:
    return len(_seats(_Work(work.roll)))
