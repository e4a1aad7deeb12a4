"""Claims: an institution's statement held against ours; every difference has its cause. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.claims.model import Actor, ClaimState, InstructionState, PayoutState
from services.kernel.errors import Conflict, NotFound, Refused, invalid_field
from services.kernel.money import Fen

NOTHING: Final = Fen(0)


class Kind(StrEnum):
    """What a statement lists."""

    POLICIES = "policies"
    INSURED = "insured"
    CLAIMS = "claims"
    PAYOUTS = "payouts"
    PAYMENTS = "payments"


class Cause(StrEnum):
    """Why a statement and ours differ."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    AMOUNT = "amount"
    DATE = "date"
    STATE = "state"
    PAYEE = "payee"
    DOUBLED = "doubled"


class Resolution(StrEnum):
    """What becomes of a difference."""

    OURS_STANDS = "ours_stands"
    THEIRS_STANDS = "theirs_stands"
    EXPLAINED = "explained"


class CoverState(StrEnum):
    """Where a policy or an insured entry is on the last day of a statement."""

    IN_FORCE = "in_force"
    ENDED = "ended"


STATES: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.POLICIES: frozenset(CoverState),
    Kind.INSURED: frozenset(CoverState),
    Kind.CLAIMS: frozenset(ClaimState),
    Kind.PAYOUTS: frozenset(PayoutState),
    Kind.PAYMENTS: frozenset(InstructionState),
}
"""The states that a line of each kind may say."""

LENDERS_KINDS: Final = frozenset({Kind.PAYMENTS})
"""What a lender's statement may list; an insurer's may list everything."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as it was announced."""

    county_code: str
    reconciliation_id: UUID
    institution_id: str
    kind: Kind
    reference: str
    from_date: date
    until_date: date
    stated_lines: int
    stated_fen: int
    started_by: Actor
    started_on: date

    def is_same(self, other: "Statement") -> bool:
        """Whether another announcement says the same of this statement."""
        return self.terms() == other.terms()

    def terms(self) -> tuple[object, ...]:
        """What the institution said of it."""
        return (
            self.county_code,
            self.institution_id,
            self.kind,
            self.reference,
            self.from_date,
            self.until_date,
            self.stated_lines,
            self.stated_fen,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a statement; what it does not say is empty."""

    line_number: int
    record_id: str
    amount_fen: Fen
    value_date: date
    state: str = ""
    payee_id: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What we have of a thing that a statement of its kind lists."""

    record_id: str
    amount_fen: Fen
    value_date: date | None
    """None while it has none, e.g. of a payment that nobody confirmed."""
    state: str
    payee_id: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a statement and ours part."""

    record_id: str
    line_number: int
    cause: Cause
    theirs_fen: Fen = NOTHING
    ours_fen: Fen = NOTHING
    theirs: str = ""
    ours: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A statement held against ours."""

    agreeing: int
    differences: tuple[Difference, ...]


def id_of(record_id: str) -> UUID | None:
    """The id of ours that a line names; None where the institution has only its own number."""
    try:
        return UUID(record_id)
    except ValueError:
        return None


def canonical(record_id: str) -> str:
    """What a line names, in the one form in which we write an id."""
    ours = id_of(record_id)
    return record_id.strip() if ours is None else str(ours)


def check_statement(statement: Statement, *, today: date) -> None:
    """Refuse a statement of days that are not over, or that end before they begin."""
    if statement.until_date < statement.from_date:
        raise invalid_field(
            "PERIOD_ENDS_BEFORE_IT_STARTS",
            "until_date",
            statement.until_date,
            f"must not be before from_date {statement.from_date}",
            "对账期间有误",
        )
    if statement.until_date > today:
        raise Refused(
            "STATEMENT_AHEAD",
            f"{statement.until_date} is after the business date {today}",
            message_zh="对账期间晚于营业日",
            facts={"latest": str(today)},
        )


def check_own(statement: Statement, announced: Statement) -> Statement:
    """The statement that was announced first under this reference; other terms are refused."""
    if not announced.is_same(statement):
        raise Conflict(
            "STATEMENT_EXISTS",
            f"{statement.reference} was announced before with other terms",
            message_zh="该对账单已登记,内容不同",
        )
    return announced


def reconciliation_not_found(reconciliation_id: UUID) -> NotFound:
    """No such reconciliation, or none of the asker's."""
    return NotFound(
        "RECONCILIATION_NOT_FOUND",
        f"no reconciliation {reconciliation_id}",
        message_zh="无此对账",
    )


def check_file(statement: Statement, institution_id: str, until_date: date) -> None:
    """Refuse a file that names another institution or another day than was announced."""
    if institution_id != statement.institution_id:
        raise Refused(
            "FILE_OF_ANOTHER_INSTITUTION",
            f"the file is of {institution_id}, the statement of {statement.institution_id}",
            message_zh="文件所属机构与对账单不符",
        )
    if until_date != statement.until_date:
        raise Refused(
            "FILE_OF_ANOTHER_DAY",
            f"the file is of {until_date}, the statement of {statement.until_date}",
            message_zh="文件日期与对账单不符",
        )


def check_line(statement: Statement, line: Line) -> None:
    """Refuse a line of other days, or with a state that its kind does not have."""
    if not statement.from_date <= line.value_date <= statement.until_date:
        raise invalid_field(
            "LINE_OUTSIDE_PERIOD",
            "value_date",
            line.value_date,
            f"must be from {statement.from_date} to {statement.until_date}",
            "日期不在对账期间内",
        )
    if line.state and line.state not in STATES[statement.kind]:
        raise invalid_field(
            "STATE_UNKNOWN",
            "state",
            line.state,
            f"must be one of {', '.join(sorted(STATES[statement.kind]))}",
            "状态有误",
        )


def check_same_line(line: Line, before: Line) -> None:
    """Refuse another line under a number that came before."""
    if line != before:
        raise Conflict(
            "LINE_NUMBER_REUSED",
            f"line {line.line_number} came before with another content",
            message_zh="该行号已用于另一行",
        )


def check_whole(statement: Statement, *, lines: int, amount_fen: int) -> None:
    """Refuse to compare a statement whose lines do not come to what was stated."""
    if (lines, amount_fen) != (statement.stated_lines, statement.stated_fen):
        raise Refused(
            "STATEMENT_TOTALS_DIFFER",
            f"{lines} lines with {amount_fen} fen were posted, {statement.stated_lines} with"
            f" {statement.stated_fen} were stated",
            message_zh="对账单笔数或金额与登记不符",
            facts={
                "posted_lines": str(lines),
                "posted_fen": str(amount_fen),
                "stated_lines": str(statement.stated_lines),
                "stated_fen": str(statement.stated_fen),
            },
        )


def compare(kind: Kind, lines: Sequence[Line], ours: Mapping[str, Record]) -> Comparison:
    """Every difference with its cause: in the order of the lines, then what they miss."""
    found: list[Difference] = []
    seen: set[str] = set()
    agreeing = 0
    for line in sorted(lines, key=lambda each: each.line_number):
        record = ours.get(line.record_id)
        if line.record_id in seen:
            of_line = [_whole(line, record, Cause.DOUBLED)]
        elif record is None:
            of_line = [_whole(line, None, Cause.MISSING_HERE)]
        else:
            of_line = _of_line(kind, line, record)
        seen.add(line.record_id)
        agreeing += not of_line
        found += of_line
    missing = [
        Difference(key, 0, Cause.MISSING_THERE, NOTHING, ours[key].amount_fen)
        for key in sorted(set(ours) - seen)
    ]
    return Comparison(agreeing, (*found, *missing))


def _whole(line: Line, record: Record | None, cause: Cause) -> Difference:
    ours_fen = NOTHING if record is None else record.amount_fen
    return Difference(line.record_id, line.line_number, cause, line.amount_fen, ours_fen)


def _of_line(kind: Kind, line: Line, record: Record) -> list[Difference]:
    # A payment that stands in a statement of payments was made, whether or not a column says so.
    state = line.state or (InstructionState.CONFIRMED if kind is Kind.PAYMENTS else "")
    found: list[Difference] = []
    if line.amount_fen != record.amount_fen:
        found.append(_whole(line, record, Cause.AMOUNT))
    said = (
        (Cause.DATE, str(line.value_date), str(record.value_date or "")),
        (Cause.STATE, str(state), record.state),
        (Cause.PAYEE, line.payee_id, record.payee_id),
    )
    for cause, theirs, ours in said:
        # What one side does not say cannot differ; a day that we do not have shows as a state.
        if theirs and ours and theirs != ours:
            found.append(
                Difference(
                    line.record_id,
                    line.line_number,
                    cause,
                    line.amount_fen,
                    record.amount_fen,
                    theirs,
                    ours,
                )
            )
    return found


def check_resolver(
    number: int, resolver: Actor, *, posters: Collection[Actor], resolved: bool
) -> None:
    """Refuse a second word, and the word of whoever brought the statement."""
    if resolved:
        raise Refused(
            "DIFFERENCE_RESOLVED",
            f"difference {number} is resolved already",
            message_zh="该差异已处理",
        )
    if resolver in posters:
        raise Refused(
            "SAME_PERSON",
            "the person who brought a statement cannot resolve its differences",
            message_zh="提交对账单的人不得处理差异",
        )


def difference_not_found(number: int) -> NotFound:
    """No such difference, or none of the asker's."""
    return NotFound("DIFFERENCE_NOT_FOUND", f"no difference {number}", message_zh="无此差异")
