"""Lists held against ours, as values: each line agrees or says why, and nothing is lost."""

from datetime import date
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel import statements as rules
from services.kernel.errors import LiandongError
from services.kernel.statements import (
    Cause,
    Comparison,
    DifferenceState,
    Field,
    Kind,
    Line,
    Record,
    Statement,
    Who,
)

FIELDS = (
    Field("lender", Cause.WRONG_LENDER),
    Field("owed", Cause.OUTSTANDING, is_money=True),
    Field("village", Cause.VILLAGE, same=rules.within),
    Field("head", Cause.HEAD, hidden=True),
)
TODAY = date(2021, 1, 4)

cells = st.fixed_dictionaries(
    {},
    optional={
        "lender": st.sampled_from(["a", "b"]),
        "owed": st.sampled_from(["0", "5"]),
        "village": st.sampled_from(["99", "9901", "98"]),
        "head": st.sampled_from(["x", "y"]),
    },
)
names = st.sampled_from([f"r{number}" for number in range(6)])
lists = st.lists(st.tuples(names, cells), max_size=8)
books = st.dictionaries(names, st.tuples(cells, st.booleans()), max_size=6)


def compare(said: list[tuple[str, dict[str, str]]], ours: dict[str, Record]) -> Comparison:
    lines = [Line(place, name, 0, has) for place, (name, has) in enumerate(said, 1)]
    return rules.compare(lines, ours, partial(rules.of_cells, fields=FIELDS))


@given(lists, books)
def test_each_line_agrees_or_says_why_and_what_it_misses_is_named(
    said: list[tuple[str, dict[str, str]]], ours: dict[str, tuple[dict[str, str], bool]]
) -> None:
    records = {key: Record(key, has, expected) for key, (has, expected) in ours.items()}
    found = compare(said, records)

    differing = {each.line_number for each in found.differences if each.line_number}
    assert found.agreeing + len(differing) == len(said)
    missed = [each.record_id for each in found.differences if not each.line_number]
    named = {name for name, _ in said}
    assert missed == sorted(key for key, (_, due) in ours.items() if due and key not in named)
    for each in found.differences:
        assert each.cause is not Cause.HEAD or (each.theirs, each.ours) == ("", "")
    # What another lender has is compared no further.
    for line in differing:
        causes = [each.cause for each in found.differences if each.line_number == line]
        assert Cause.WRONG_LENDER not in causes or len(causes) == 1


@given(books)
def test_our_own_book_agrees_with_itself(
    ours: dict[str, tuple[dict[str, str], bool]],
) -> None:
    records = {key: Record(key, has, expected) for key, (has, expected) in ours.items()}

    found = compare([(key, dict(has)) for key, (has, _) in ours.items()], records)

    assert (found.agreeing, found.differences) == (len(ours), ())


@pytest.mark.parametrize(
    ("state", "resolves", "confirms"),
    [
        (DifferenceState.OPEN, "", "DIFFERENCE_NOT_PROPOSED"),
        (DifferenceState.PROPOSED, "DIFFERENCE_PROPOSED", ""),
        (DifferenceState.RESOLVED, "DIFFERENCE_RESOLVED", "DIFFERENCE_NOT_PROPOSED"),
    ],
)
def test_one_word_then_an_agreement_and_never_ones_own(
    state: DifferenceState, resolves: str, confirms: str
) -> None:
    poster, other = Who("b", "p1"), Who("b", "p2")

    def reason(check: partial[None]) -> str:
        try:
            check()
        except LiandongError as error:
            return error.reason
        return ""

    for who, same in ((other, ""), (poster, "SAME_PERSON")):
        resolve = partial(rules.check_resolver, 1, who, posters={poster}, state=state)
        confirm = partial(rules.check_confirmer, 1, who, others={poster}, state=state)
        assert reason(resolve) == (resolves or same)
        assert reason(confirm) == (confirms or same)


def test_a_file_that_says_otherwise_names_field_value_and_rule() -> None:
    announced = Statement(
        "990101", UUID(int=1), "b", Kind.OWN, "s-1", TODAY, 0, 0, Who("b", "p"), TODAY
    )
    with pytest.raises(LiandongError) as refused:
        rules.check_file(announced, "c", TODAY)

    (violation,) = refused.value.violations
    assert (violation.field, violation.value) == ("institution_id", "c")
    assert violation.rule == "the list was announced as one of b"
