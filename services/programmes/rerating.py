"""Rerating: when data and grades fall due again, and when a barred household may return."""

from dataclasses import dataclass
from datetime import date

from services.programmes.calendars import add_months
from services.programmes.schema.registry import BlacklistReason
from services.programmes.schema.scoring import Refresh, ScoringRules
from services.programmes.schema.values import Every, known

MONTHS = {Every.MONTH: 1, Every.QUARTER: 3, Every.YEAR: 12}
DAYS = {Every.DAY: 1, Every.WEEK: 7}


@dataclass(frozen=True, slots=True)
class Due:
    """Whether something is due again, and on which day it is; None where only an event asks."""

    due: bool
    due_on: date | None
    working: str


@dataclass(frozen=True, slots=True)
class Readmission:
    """Whether a barred household may be rated or granted again, and the first day it may."""

    allowed: bool
    first_on: date | None
    working: str


def refresh_due(refresh: Refresh, *, last_on: date, changed: bool = False, on: date) -> Due:
    """What is renewed on every event is due when something changed; the rest by the calendar."""
    if refresh.every is Every.EVENT:
        return Due(changed, None, f"{refresh.id}: {'changed' if changed else 'nothing changed'}")
    if refresh.every in DAYS:
        due_on = date.fromordinal(last_on.toordinal() + DAYS[refresh.every])
    else:
        due_on = add_months(last_on, MONTHS[refresh.every])
    return Due(on >= due_on, due_on, f"{refresh.id}: every {refresh.every.value} from {last_on}")


def after_veto(scheme: ScoringRules, *, cause_ended_on: date, on: date) -> Readmission:
    """A vetoed household may be granted anew once it was observed long enough (S11)."""
    months = scheme.observation_months
    if months is None:
        return Readmission(True, cause_ended_on, "the programme observes nobody")
    first = add_months(cause_ended_on, known(months))
    return Readmission(on >= first, first, f"{known(months)} months from {cause_ended_on}")


def after_default(scheme: ScoringRules, *, bad_loans_repaid_on: date | None) -> Readmission:
    """A household that repaid all its bad loans is rated anew where the programme says so."""
    clause = scheme.rehabilitation
    if clause is None or not clause.after_full_repayment:
        return Readmission(False, None, "the programme has no way back")
    if bad_loans_repaid_on is None:
        return Readmission(False, None, "bad loans are still owed")
    return Readmission(True, bad_loans_repaid_on, f"all repaid on {bad_loans_repaid_on}")


def off_the_blacklist(
    reason: BlacklistReason, *, repaid_on: date | None, evidence_by: frozenset[str] = frozenset()
) -> Readmission:
    """A listed household comes off by repaying, or is granted again on others' evidence (S48)."""
    if reason.released_after_full_repayment and repaid_on is not None:
        return Readmission(True, repaid_on, f"{reason.id}: repaid on {repaid_on}")
    if not reason.second_grant:
        return Readmission(False, None, f"{reason.id}: no way back on these facts")
    missing = [organ.value for organ in reason.evidence_by if organ.value not in evidence_by]
    if missing:
        return Readmission(False, None, f"{reason.id}: no evidence by {', '.join(missing)}")
    return Readmission(True, None, f"{reason.id}: second grant")
