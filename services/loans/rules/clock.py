"""Loans: the clock of an application, from acceptance to the money. Pure."""

from datetime import UTC, date, datetime, time

from services.kernel.errors import Refused
from services.kernel.values import replace
from services.loans.model import File, Loan, LoanState, Pause
from services.loans.rules.chain import chain
from services.programmes import sla
from services.programmes.schema.loans import LoanProduct
from services.programmes.schema.values import known
from services.programmes.sla import SlaDeadline
from services.programmes.terms import Terms


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def deadline(
    product: LoanProduct,
    terms: Terms,
    *,
    clock_on: date,
    clock_at: datetime | None,
    pauses: tuple[Pause, ...] = (),
    done_on: date | None = None,
    done_at: datetime | None = None,
) -> SlaDeadline | None:
    """
    The deadline by the programme; None where it sets none.

    Days go by the county's business date, minutes by the recorded time.
    """
    if product.sla is None:
        return None
    rule = known(product.sla)
    if rule.unit == "minutes":
        if clock_at is None:
            return None
        ended = [(p.asked_at, p.supplied_at) for p in pauses if p.supplied_at is not None]
        found = sla.sla_deadline(rule, terms.calendar, clock_at, done_at=done_at, pauses=ended)
        # The day in the county's own count: minutes may pass midnight.
        return replace(found, due_on=clock_on + (found.due_on - clock_at.date()))
    stood = [(_noon(p.asked_on), _noon(p.supplied_on)) for p in pauses if p.supplied_on is not None]
    return sla.sla_deadline(
        rule,
        terms.calendar,
        _noon(clock_on),
        done_at=None if done_on is None else _noon(done_on),
        pauses=stood,
    )


def start(loan: Loan, file: File, terms: Terms, *, today: date, now: datetime) -> tuple[Loan, File]:
    """Let the clock run once the step is open that starts it: no later than the first decision."""
    if file.clock_on is not None or loan.state is LoanState.REFUSED:
        return loan, file
    product = terms.product(loan.product_id)
    starters = [step.step for step in chain(product) if step.starts_sla]
    reached = {step for step, _ in loan.decided} | {loan.next_step}
    if starters and starters[0] not in reached:
        return loan, file
    return _due_again(loan, replace(file, clock_on=today, clock_at=now), terms)


def suspend(loan: Loan, file: File, wanted: str, *, today: date, now: datetime) -> File:
    """Stop the clock: the borrower must supply something."""
    if loan.state is not LoanState.IN_REVIEW or file.paused:
        raise Refused(
            "CANNOT_SUSPEND",
            f"the loan is {loan.state}, suspended already: {file.paused}",
            message_zh="该申请不能中止计时",
        )
    return replace(file, pauses=(*file.pauses, Pause(wanted, today, now)))


def resume(
    loan: Loan, file: File, terms: Terms, *, today: date, now: datetime
) -> tuple[Loan, File]:
    """Let the clock run again: the days or minutes in between do not count (S31)."""
    if not file.paused:
        raise Refused(
            "NOT_SUSPENDED", "nothing is asked of the borrower", message_zh="该申请未中止"
        )
    ended = replace(file.pauses[-1], supplied_on=today, supplied_at=now)
    return _due_again(loan, replace(file, pauses=(*file.pauses[:-1], ended)), terms)


def stop(loan: Loan, file: File, terms: Terms, *, today: date, now: datetime) -> File:
    """The money is out: whether that was in time."""
    if file.clock_on is None or file.done_on is not None:
        return file
    found = deadline(
        terms.product(loan.product_id),
        terms,
        clock_on=file.clock_on,
        clock_at=file.clock_at,
        pauses=file.pauses,
        done_on=today,
        done_at=now,
    )
    return replace(file, done_on=today, done_at=now, late=found is not None and found.breached)


def _due_again(loan: Loan, file: File, terms: Terms) -> tuple[Loan, File]:
    assert file.clock_on is not None
    found = deadline(
        terms.product(loan.product_id),
        terms,
        clock_on=file.clock_on,
        clock_at=file.clock_at,
        pauses=file.pauses,
    )
    if found is None:
        return loan, file
    return replace(loan, sla_due_on=found.due_on), replace(file, due_at=found.due_at)
