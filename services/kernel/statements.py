"""Statements: an institution's list held against ours; every difference has its cause. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.kernel.errors import Conflict, NotFound, Refused, invalid_field

NO_LINE: Final = 0


class Cause(StrEnum):
    """Why a list and ours differ."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    DOUBLED = "doubled"
    WRONG_LENDER = "wrong_lender"
    BORROWER = "borrower"
    VILLAGE = "village"
    PRODUCT = "product"
    PRINCIPAL = "principal"
    OUTSTANDING = "outstanding"
    INTEREST = "interest"
    RATE = "rate"
    TERM = "term"
    DISBURSED_ON = "disbursed_on"
    MATURES_ON = "matures_on"
    STATE = "state"
    CLASS = "class"
    OVERDUE_DAYS = "overdue_days"
    SUBSIDY = "subsidy"
    PURPOSE = "purpose"
    HEAD = "head"
    NUMBER = "number"
    STATUS = "status"
    PEOPLE = "people"
    REGISTERED_ON = "registered_on"
    HONOUR = "honour"
    MEMBER_MISSING_HERE = "member_missing_here"
    MEMBER_MISSING_THERE = "member_missing_there"
    MEMBER_ELSEWHERE = "member_elsewhere"
    MERGED = "merged"


class Resolution(StrEnum):
    """What becomes of a difference."""

    OURS_STANDS = "ours_stands"
    THEIRS_STANDS = "theirs_stands"
    EXPLAINED = "explained"


class Kind(StrEnum):
    """Whose list it is, and so how much of ours it should show."""

    OWN = "own"
    """An institution's own things."""
    NATIONAL = "national"
    """A national system's: everybody's."""


class DifferenceState(StrEnum):
    """How far a difference is."""

    OPEN = "open"
    PROPOSED = "proposed"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Who:
    """An institution and the person who acts for it."""

    institution_id: str
    person_id: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A list as it was announced."""

    county_code: str
    statement_id: UUID
    institution_id: str
    kind: Kind
    reference: str
    as_of: date
    stated_lines: int
    stated_sum: int
    started_by: Who
    started_on: date

    def terms(self) -> tuple[object, ...]:
        """What the institution said of it."""
        return (
            self.county_code,
            self.institution_id,
            self.reference,
            self.as_of,
            self.stated_lines,
            self.stated_sum,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list: what it counts for, and what else it says, by name."""

    line_number: int
    record_id: str
    amount: int
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """What we have of a thing that a list may name."""

    record_id: str
    cells: Mapping[str, str]
    expected: bool = True
    """Whether a list that leaves it out misses it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that both sides may say of a record."""

    name: str
    cause: Cause
    is_money: bool = False
    same: Callable[[str, str], bool] = str.__eq__
    """Theirs against ours."""
    hidden: bool = False
    """Whether what differs is never shown: a person's data."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a list and ours part."""

    record_id: str
    line_number: int
    cause: Cause
    theirs_fen: int = 0
    ours_fen: int = 0
    theirs: str = ""
    ours: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A list held against ours."""

    agreeing: int
    differences: tuple[Difference, ...]


def within(theirs: str, ours: str) -> bool:
    """Whether two codes are of one area, where one side may name it less exactly."""
    return ours.startswith(theirs) or theirs.startswith(ours)


# --- a list ---------------------------------------------------------------------------------------


def check_statement(statement: Statement, *, today: date) -> None:
    """Refuse a list of a day that is not yet."""
    if statement.as_of > today:
        raise invalid_field(
            "STATEMENT_AHEAD",
            "as_of",
            statement.as_of,
            f"must not be after the business date {today}",
            "对账日期晚于营业日",
        )


def check_own(statement: Statement, announced: Statement) -> Statement:
    """The list that was announced first under this reference; other terms are refused."""
    if announced.terms() != statement.terms():
        raise Conflict(
            "STATEMENT_EXISTS",
            f"{statement.reference} was announced before with other terms",
            message_zh="该对账单已登记,内容不同",
        )
    return announced


def check_file(statement: Statement, institution_id: str, as_of: date) -> None:
    """Refuse a file that names another institution or another day than was announced."""
    if institution_id != statement.institution_id:
        raise invalid_field(
            "FILE_OF_ANOTHER_INSTITUTION",
            "institution_id",
            institution_id,
            f"the list was announced as one of {statement.institution_id}",
            "文件所属机构与对账单不符",
        )
    if as_of != statement.as_of:
        raise invalid_field(
            "FILE_OF_ANOTHER_DAY",
            "as_of",
            as_of,
            f"the list was announced as of {statement.as_of}",
            "文件日期与对账单不符",
        )


def check_same_line(line: Line, before: Line) -> None:
    """Refuse another line under a number that came before."""
    if line != before:
        raise Conflict(
            "LINE_NUMBER_REUSED",
            f"line {line.line_number} came before with another content",
            message_zh="该行号已用于另一行",
        )


def check_whole(statement: Statement, *, lines: int, total: int) -> None:
    """Refuse to compare a list whose lines do not come to what was stated."""
    if (lines, total) != (statement.stated_lines, statement.stated_sum):
        raise Refused(
            "STATEMENT_TOTALS_DIFFER",
            f"{lines} lines with {total} were posted, {statement.stated_lines} with"
            f" {statement.stated_sum} were stated",
            message_zh="对账单笔数或合计与登记不符",
            facts={
                "posted_lines": str(lines),
                "posted_sum": str(total),
                "stated_lines": str(statement.stated_lines),
                "stated_sum": str(statement.stated_sum),
            },
        )


def reconciliation_not_found(statement_id: UUID) -> NotFound:
    """No such reconciliation, or none of the asker's."""
    return NotFound(
        "RECONCILIATION_NOT_FOUND", f"no reconciliation {statement_id}", message_zh="无此对账"
    )


# --- the comparison -------------------------------------------------------------------------------


Parts = Callable[[Line, Record], Sequence[Difference]]
"""Where one line and our record part."""


def compare(lines: Sequence[Line], ours: Mapping[str, Record], parts: Parts) -> Comparison:
    """Every difference with its cause: in the order of the lines, then what they miss."""
    found: list[Difference] = []
    seen: set[str] = set()
    agreeing = 0
    of_line: Sequence[Difference]
    for line in sorted(lines, key=lambda each: each.line_number):
        record = ours.get(line.record_id)
        if line.record_id in seen:
            of_line = [Difference(line.record_id, line.line_number, Cause.DOUBLED)]
        elif record is None:
            of_line = [Difference(line.record_id, line.line_number, Cause.MISSING_HERE)]
        else:
            of_line = parts(line, record)
        seen.add(line.record_id)
        agreeing += not of_line
        found += of_line
    missing = [
        Difference(key, NO_LINE, Cause.MISSING_THERE)
        for key in sorted(set(ours) - seen)
        if ours[key].expected
    ]
    return Comparison(agreeing, (*found, *missing))


def of_cells(line: Line, record: Record, fields: Sequence[Field]) -> list[Difference]:
    """
    Where a line and our record part; what one side does not say cannot differ.

    What is another lender's is compared no further.
    """
    found: list[Difference] = []
    for each in fields:
        theirs, ours = line.cells.get(each.name), record.cells.get(each.name)
        if theirs is None or ours is None or each.same(theirs, ours):
            continue
        found.append(_difference(line, each, theirs, ours))
        if each.cause is Cause.WRONG_LENDER:
            break
    return found


def _difference(line: Line, of: Field, theirs: str, ours: str) -> Difference:
    if of.hidden:
        return Difference(line.record_id, line.line_number, of.cause)
    if of.is_money:
        return Difference(line.record_id, line.line_number, of.cause, int(theirs), int(ours))
    return Difference(line.record_id, line.line_number, of.cause, theirs=theirs, ours=ours)


# --- resolving ------------------------------------------------------------------------------------


def check_resolver(
    number: int, resolver: Who, *, posters: Collection[Who], state: DifferenceState
) -> None:
    """Refuse a second word, and the word of whoever brought the list."""
    if state is DifferenceState.RESOLVED:
        raise Refused(
            "DIFFERENCE_RESOLVED",
            f"difference {number} is resolved already",
            message_zh="该差异已处理",
        )
    if state is DifferenceState.PROPOSED:
        raise Refused(
            "DIFFERENCE_PROPOSED",
            f"difference {number} waits for a second person",
            message_zh="该差异待第二人复核",
        )
    _check_other_person(resolver, posters)


def check_confirmer(
    number: int, confirmer: Who, *, others: Collection[Who], state: DifferenceState
) -> None:
    """Refuse to agree to what nobody proposed, or to what one said or brought oneself."""
    if state is not DifferenceState.PROPOSED:
        raise Refused(
            "DIFFERENCE_NOT_PROPOSED",
            f"difference {number} is {state}",
            message_zh="该差异无待复核的处理意见",
        )
    _check_other_person(confirmer, others)


def _check_other_person(person: Who, others: Collection[Who]) -> None:
    if person in others:
        raise Refused(
            "SAME_PERSON",
            "who brought a list or spoke first cannot decide its differences",
            message_zh="提交对账单或提出处理意见的人不得处理该差异",
        )


def difference_not_found(number: int) -> NotFound:
    """No such difference, or none of the asker's."""
    return NotFound("DIFFERENCE_NOT_FOUND", f"no difference {number}", message_zh="无此差异")
