"""Claims: which assignments and which words of a lender about difficulty are taken."""

from datetime import date

from services.claims.model import ApprovedLoan, Assignment, Difficulty
from services.kernel.errors import Refused, invalid_field
from services.programmes.schema.values import known
from services.programmes.terms import Terms


def check_loan(
    loan: ApprovedLoan | None, loan_open: bool, institution_id: str, loan_id: object
) -> ApprovedLoan:
    """The lender's own open loan, or a refusal."""
    if loan is None or loan.lender_id != institution_id:
        raise Refused(
            "ASSIGNEE_WITHOUT_LOAN",
            f"{institution_id} has no loan {loan_id}",
            message_zh="该机构无此贷款,不得受让保险权益",
        )
    if not loan_open:
        raise Refused("LOAN_CLOSED", f"loan {loan_id} is closed", message_zh="贷款已结清或未发放")
    return loan


def check_assignment(assignment: Assignment, loan: ApprovedLoan, terms: Terms) -> None:
    """Refuse an assignment of what cannot be assigned, or of a time before the loan."""
    cover = terms.cover(assignment.cover_id)
    if not known(cover.assigned):
        raise Refused(
            "COVER_NOT_ASSIGNABLE",
            f"payouts of {cover.id} are owed to the household or to others (S06)",
            message_zh="该险种赔款不得转让",
        )
    if assignment.from_date < loan.approved_on:
        raise Refused(
            "ASSIGNMENT_BEFORE_LOAN",
            f"{assignment.from_date} is before the loan was approved on {loan.approved_on}",
            message_zh="权益转让不得早于贷款审批日",
        )


def assignment_exists(assignment: Assignment) -> Refused:
    """A loan has one assignment a cover at a time."""
    return Refused(
        "ASSIGNMENT_EXISTS",
        f"{assignment.cover_id} is assigned to loan {assignment.loan_id} already",
        message_zh="该险种已转让给此贷款",
    )


def check_revocation(assignment: Assignment, revoked_from: date, today: date) -> None:
    """Refuse a second revocation, and one of days that are over."""
    if assignment.revoked_from is not None:
        raise Refused(
            "ASSIGNMENT_REVOKED",
            f"it stands no more from {assignment.revoked_from}",
            message_zh="该权益转让已撤销",
        )
    if revoked_from < max(today, assignment.from_date):
        raise Refused(
            "REVOCATION_IN_THE_PAST",
            f"{revoked_from} is before {max(today, assignment.from_date)}",
            message_zh="撤销生效日不得早于当日",
        )


def check_difficulty(difficulty: Difficulty, today: date) -> None:
    """A difficulty is confirmed once it is there, not before."""
    if difficulty.from_date > today:
        rule = f"must not be after the business date {today}"
        raise invalid_field("DIFFICULTY_AHEAD", "from_date", difficulty.from_date, rule)


def check_end(difficulty: Difficulty, ended_from: date, today: date) -> None:
    """Refuse to end what is ended, and to change days that are over."""
    if difficulty.ended_from is not None:
        raise Refused(
            "DIFFICULTY_ENDED",
            f"it holds no more from {difficulty.ended_from}",
            message_zh="该困难确认已终止",
        )
    if ended_from < max(today, difficulty.from_date):
        rule = f"must not be before {max(today, difficulty.from_date)}"
        raise invalid_field("DIFFICULTY_ENDS_IN_THE_PAST", "ended_from", ended_from, rule)
