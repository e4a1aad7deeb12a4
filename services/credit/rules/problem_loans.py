"""Credit: what a programme orders on problem loans: a lower grade, the blacklist, court. Pure."""

from collections.abc import Sequence
from uuid import UUID

from services.credit.model import Actor, CreditFile, LoanAction, Measure, MeasureKind, MeasureState
from services.credit.rules.standing import BLACKLIST, clause_of
from services.kernel.money import Fen
from services.programmes.calendars import last_valid_day
from services.programmes.terms import Terms

LOWER_GRADE, COURT = "lower_grade", "court"
HEARD = (LOWER_GRADE, BLACKLIST, COURT)
"""Ordered actions that are credit's business; the others are done where the loan is."""
KINDS = {LOWER_GRADE: MeasureKind.DEMOTION, BLACKLIST: MeasureKind.SANCTION}
ORDERED = "ordered_by_programme"


def measure_of(
    action: LoanAction,
    file: CreditFile,
    live: Sequence[Measure],
    *,
    terms: Terms,
    measure_id: UUID,
) -> Measure | None:
    """
    The measure that an action orders: the programme decides it, and nobody proposed it.

    None for what orders none, and for a household that is on the blacklist already.
    """
    kind = KINDS.get(action.action)
    if kind is None:
        return None
    if kind is MeasureKind.SANCTION and any(_same(each, action.action) for each in live):
        return None
    clause = clause_of(terms, action.action) if kind is MeasureKind.SANCTION else None
    months = clause.months if clause else None
    return Measure(
        county_code=file.county_code,
        measure_id=measure_id,
        household_id=file.household_id,
        area_code=file.household.area_code,
        kind=kind,
        code=action.action,
        programme=terms.ref,
        state=MeasureState.IN_FORCE,
        reason=f"loan {action.loan_id} is non-performing since {action.since}",
        evidence_sha256="",
        effects=clause.effects if clause else (),
        amount_fen=Fen(0),
        proposed_on=action.taken_on,
        from_on=action.taken_on,
        until_on=None if months is None else last_valid_day(action.taken_on, months),
        relation="self",
        origin_id=None,
        proposed=Actor("", "", ""),
        decided_person=terms.ref,
        decision_reason=ORDERED,
    )


def _same(measure: Measure, code: str) -> bool:
    return measure.kind is MeasureKind.SANCTION and measure.code == code


def words(actions: Sequence[LoanAction]) -> tuple[str, ...]:
    """What was ordered, for people."""
    return tuple(
        f"{each.action} was ordered on {each.taken_on}: loan {each.loan_id} is non-performing"
        f" since {each.since} ({each.rule_version})"
        for each in actions
    )


WORDS_ZH = {LOWER_GRADE: "降低信用等级", BLACKLIST: "列入黑名单", COURT: "依法起诉"}


def words_zh(actions: Sequence[LoanAction]) -> tuple[str, ...]:
    """The same in Chinese."""
    return tuple(
        f"{each.taken_on} 按方案 {each.rule_version} {WORDS_ZH[each.action]}:"
        f"贷款 {each.loan_id} 自 {each.since} 起不良"
        for each in actions
    )
