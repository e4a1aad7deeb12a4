"""Updates by file, as rules alone: whatever lines say, a family stays one, and twice is once."""

from datetime import date
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.households.model import (
    Household,
    Known,
    Line,
    RegistrationStatus,
    Relation,
    Roll,
    Seat,
    Wish,
)
from services.households.rules import people, registration, updates
from tests.households.builders import TODAY, VILLAGE, an_identity

HOME = UUID(int=1)
NUMBERS = tuple(
    an_identity(901 + place, born)
    for place, born in enumerate(
        ("19500101", "19510101", "19750101", "19760101", "20000101", "20010101")
    )
)
WORDS = st.sampled_from(["", *registration.RELATION_WORDS])
LEAVES = st.sampled_from(
    [("", ""), ("", ""), ("", ""), ("2018-01-01", "迁出"), ("2018-01-01", "死亡")]
)


def a_roll() -> Roll:
    """A head, a spouse and a son."""
    relations = (Relation.HEAD, Relation.SPOUSE, Relation.SON)
    seats = tuple(
        Seat(UUID(int=10 + at), HOME, 1 + at, relation, None, TODAY, "王某", NUMBERS[at], "")
        for at, relation in enumerate(relations)
    )
    household = Household("411224", HOME, 1, "H-1", VILLAGE, RegistrationStatus.NON_POOR, None, 3)
    return Roll(household, seats, 3)


@st.composite
def lines(draw: st.DrawFn) -> list[Line]:
    numbers = draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=6, unique=True))
    made = []
    for at, number in enumerate(numbers):
        left_on, reason = draw(LEAVES)
        made.append(
            Line(
                line_number=2 + at,
                household_number="H-1",
                village_code="",
                relation=draw(WORDS),
                name=draw(st.sampled_from(["", "王某", "李某"])),
                identity_number=number,
                phone=draw(st.sampled_from(["", "15412345678"])),
                registration_status=draw(st.sampled_from(["", "脱贫户", "标注户", "清退户"])),
                honour="",
                labour=draw(st.sampled_from(["", "普通劳动力"])),
                registered_on="",
                unreadable="",
                left_on=left_on,
                leave_reason=reason,
            )
        )
    return made


def revised(roll: Roll, file: list[Line], where: updates.People) -> tuple[Roll, set[int], bool]:
    """The household afterwards, the lines refused, and whether anything changed."""
    areas = frozenset({VILLAGE})
    known = Known(areas, areas, frozenset(), frozenset(where.seated))
    read = [updates.read_wish(line, TODAY) for line in file]
    wishes = [each for each in read if isinstance(each, Wish)]
    revision, refusals = updates.revise(
        roll, wishes, known, where, today=TODAY, may_change_status=True
    )
    assert len({refusal.line_number for refusal in refusals}) == len(refusals)
    after = revision.after if revision else roll
    return after, {refusal.line_number for refusal in refusals}, revision is not None


@given(lines())
def test_a_family_stays_one_and_is_counted(file: list[Line]) -> None:
    where = updates.People(set(NUMBERS[:3]), set(), set())

    after, refused, _ = revised(a_roll(), file, where)

    kin = [people.kin(seat.relation, seat.identity_number) for seat in after.seats]
    assert people.family_fault(kin) == ""
    assert after.household.member_count == len(after.seats)
    assert len({seat.position for seat in after.seats}) == len(after.seats)
    assert {seat.identity_number for seat in after.seats} == where.seated
    assert not where.seated & (where.idle | where.dead)
    # Whoever is not named, or whose line is refused, is as before.
    spoken = {line.identity_number for line in file if line.line_number not in refused}
    for seat in a_roll().seats:
        if seat.identity_number not in spoken:
            assert seat in after.seats


@given(lines())
def test_the_same_lines_twice_change_nothing_more(file: list[Line]) -> None:
    where = updates.People(set(NUMBERS[:3]), set(), set())
    after, refused, _ = revised(a_roll(), file, where)
    fine = [line for line in file if line.line_number not in refused]

    again, refused_again, changed = revised(after, fine, where)

    assert (changed, refused_again, again) == (False, set(), after)


def test_a_day_that_has_not_come_is_no_day_of_leaving() -> None:
    (line, *_) = [
        Line(2, "H-1", "", "", "", NUMBERS[0], "", "", "", "", "", "", "2018-01-02", "迁出")
    ]

    read = updates.read_wish(line, date(2018, 1, 1))

    assert not isinstance(read, Wish)
    assert (read.column, read.reason) == ("left_on", "DATE_IN_FUTURE")
