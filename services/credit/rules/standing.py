"""Credit: measures beyond the score: who may set them, what they do, what ends them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.credit.model import (
    Actor,
    CreditFile,
    Exposure,
    Hold,
    Measure,
    MeasureKind,
    MeasureState,
    Pins,
)
from services.kernel.errors import Denied, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.calendars import last_valid_day
from services.programmes.rewards import rewards_earned
from services.programmes.schema.collection import NplAction
from services.programmes.schema.scoring import BasePointsScoring
from services.programmes.schema.values import known
from services.programmes.scoring import deduction_waiver_of
from services.programmes.terms import Terms

HELD_BY = ("no_rating", "no_credit")
"""Effects of a sanction that keep a limit back; the others are for those who hear of it."""
HELPERS = frozenset({"village_department", "township_station"})
LENDERS = frozenset({"bank", "mutual_aid_society"})
SIDES = {"assigned_helper": HELPERS, "lender": LENDERS}
"""Organs whose evidence is asked for, and the roles that give it."""
SELF = "self"
REPAID_ON_TIME = "repaid_on_time"
"""A condition of rewards that loans' events answer: loans were settled, and none was ever late."""
TERM_OVER = "term_over"
WRONGLY_LISTED = "wrongly_listed"
FULL_REPAYMENT = "full_repayment"
BLACKLIST = "blacklist"
"""The listing that a programme orders on non-performing loans without naming a sanction."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What was found about the cause of a deduction (S48)."""

    cause: str
    subjective: bool
    repaid_on_time_before: bool


@dataclass(frozen=True, slots=True)
class Proposal:
    """A measure as it is proposed."""

    household_id: UUID
    programme_id: str
    kind: MeasureKind
    code: str
    reason: str
    evidence_sha256: str
    amount_fen: Fen
    relatives: tuple[tuple[UUID, str], ...]
    """Households that a sanction reaches too, and how they stand to this one."""
    fault: Fault | None
    until_on: date | None


def drafted(
    proposal: Proposal, file: CreditFile, *, ref: str, measure_id: UUID, by: Actor, on: date
) -> Measure:
    """The measure that a proposal would make."""
    return Measure(
        county_code=file.county_code,
        measure_id=measure_id,
        household_id=file.household_id,
        area_code=file.household.area_code,
        kind=proposal.kind,
        code=proposal.code,
        programme=ref,
        state=MeasureState.PROPOSED,
        reason=proposal.reason,
        evidence_sha256=proposal.evidence_sha256,
        effects=(),
        amount_fen=proposal.amount_fen,
        proposed_on=on,
        from_on=None,
        until_on=proposal.until_on,
        relation=SELF,
        origin_id=None,
        proposed=by,
    )


@dataclass(frozen=True, slots=True)
class Clause:
    """What the programme says of one sanction or reward."""

    effects: tuple[str, ...]
    months: int | None
    relations: tuple[str, ...]
    lifted_by: tuple[str, ...]


def standing_of(measures: Sequence[Measure], on: date) -> Pins:
    """What a household's measures make of a rating on a day."""
    live = [each for each in measures if each.holds_on(on)]
    second = [each for each in live if each.kind is MeasureKind.SECOND_GRANT]
    caps = [each.amount_fen for each in second if each.amount_fen]
    return Pins(
        waived=tuple(sorted({m.code for m in live if m.kind is MeasureKind.WAIVER})),
        holds=() if second else _holds(live),
        reward_fen=Fen(sum(m.amount_fen for m in live if m.kind is MeasureKind.REWARD)),
        cap_fen=min(caps, default=None),
        demoted=sum(m.kind is MeasureKind.DEMOTION for m in live),
    )


def _holds(live: Sequence[Measure]) -> tuple[Hold, ...]:
    return tuple(
        Hold(f"sanction:{each.code}", "no_rating" in each.effects, each.until_on)
        for each in sorted(live, key=lambda each: each.measure_id)
        if each.kind is MeasureKind.SANCTION and set(each.effects) & set(HELD_BY)
    )


def check_proposal(
    measure: Measure,
    *,
    terms: Terms,
    live: Sequence[Measure],
    exposure: Exposure,
    barred: Collection[str],
    fault: Fault | None,
    met: Collection[str] = (),
) -> Measure:
    """
    Refuse what the programme does not know or the facts do not bear; else what it comes to.

    `met` names the conditions of rewards that hold (`conditions_met`).
    """
    if measure.kind is MeasureKind.SANCTION:
        return replace(measure, effects=clause_of(terms, measure.code).effects)
    if measure.kind is MeasureKind.REWARD:
        return _check_reward(measure, terms, live, exposure, met)
    if measure.kind is MeasureKind.SECOND_GRANT:
        _check_second_grant(measure, terms, live)
    elif measure.kind is MeasureKind.WAIVER:
        return replace(measure, effects=_check_waiver(measure, terms, fault))
    elif measure.kind is MeasureKind.DEMOTION:
        raise Refused(
            "ORDERED_BY_PROGRAMME",
            "a grade is lowered by the programme, on a loan that became non-performing",
            message_zh="降级由方案规定自动执行,不得申报",
        )
    else:
        _check_rehabilitation(measure, terms, exposure, barred)
    return measure


def conditions_met(values: Mapping[str, int], exposure: Exposure) -> frozenset[str]:
    """Conditions of rewards that hold: what was observed, and what loans told of the payments."""
    met = {code for code, value in values.items() if value >= 1}
    if exposure.late_loans:
        met.discard(REPAID_ON_TIME)
    elif exposure.settled_loans:
        met.add(REPAID_ON_TIME)
    return frozenset(met)


def relatives_of(
    measure: Measure, relatives: Sequence[tuple[Measure, str]], *, terms: Terms
) -> list[Measure]:
    """The sanction on relatives' households, where the programme reaches them (YY.loa.8)."""
    reached = clause_of(terms, measure.code).relations if relatives else ()
    found = []
    for each, relation in relatives:
        if relation not in reached:
            raise invalid_field(
                "RELATION_NOT_REACHED",
                "relatives.relation",
                relation,
                f"{measure.programme} reaches {', '.join(reached) or SELF} with {measure.code}",
                "方案未规定及于该亲属",
            )
        found.append(
            replace(
                each,
                relation=relation,
                origin_id=measure.measure_id,
                effects=measure.effects,
            )
        )
    return found


def decide(
    measure: Measure, *, by: Actor, approve: bool, reason: str, terms: Terms, on: date
) -> Measure:
    """Put a proposed measure in force, or refuse it; never by the one who proposed it."""
    if measure.state is not MeasureState.PROPOSED:
        raise Refused(
            "MEASURE_NOT_PROPOSED",
            f"the measure is {measure.state}",
            message_zh="该措施不在待决状态",
        )
    if by.person_id == measure.proposed.person_id:
        raise Denied(
            "SECOND_PERSON_NEEDED",
            "who proposed a measure does not decide it",
            message_zh="须由另一人决定",
        )
    decided = replace(
        measure,
        decided_by=by.institution_id,
        decided_person=by.person_id,
        decision_reason=reason,
    )
    if not approve:
        return replace(decided, state=MeasureState.REFUSED)
    _require_sides(measure, by, terms)
    until = measure.until_on
    if measure.kind is MeasureKind.SANCTION:
        months = clause_of(terms, measure.code).months
        until = None if months is None else last_valid_day(on, months)
    if measure.kind is MeasureKind.REHABILITATION:
        # It is done at once: what is left is the next rating.
        return replace(
            decided, state=MeasureState.ENDED, from_on=on, ended_on=on, end_reason="done"
        )
    return replace(decided, state=MeasureState.IN_FORCE, from_on=on, until_on=until)


def end(
    measure: Measure,
    *,
    by: Actor,
    reason: str,
    evidence_sha256: str,
    terms: Terms,
    exposure: Exposure,
    on: date,
) -> Measure:
    """Release a sanction on one of its terms, or withdraw another measure."""
    if measure.state is not MeasureState.IN_FORCE:
        raise Refused(
            "MEASURE_NOT_IN_FORCE", f"the measure is {measure.state}", message_zh="该措施未生效"
        )
    if by.person_id == measure.proposed.person_id:
        raise Denied(
            "SECOND_PERSON_NEEDED",
            "who proposed a measure does not end it",
            message_zh="须由另一人解除",
        )
    if measure.kind in (MeasureKind.SANCTION, MeasureKind.DEMOTION):
        _check_release(measure, reason, terms, exposure)
    return replace(
        measure,
        state=MeasureState.ENDED,
        ended_on=on,
        end_reason=reason,
        end_evidence_sha256=evidence_sha256,
        ended_by=by.institution_id,
    )


def run_out(measure: Measure, on: date) -> Measure:
    """A measure whose last day has passed."""
    return replace(measure, state=MeasureState.ENDED, ended_on=on, end_reason=TERM_OVER)


def clause_of(terms: Terms, code: str) -> Clause:
    """A sanction of the programme, or a reason of its blacklist, which bars from credit."""
    lifted = []
    registry = terms.pack.registry
    reason = next((r for r in registry.blacklist if r.id == code), None) if registry else None
    if reason is not None and reason.released_after_full_repayment:
        lifted.append(FULL_REPAYMENT)
    loans = terms.pack.loans
    for each in loans.sanctions if loans else ():
        if each.id == code:
            lifted += [end.value for end in each.lifted_by if end.value not in lifted]
            return Clause(
                effects=tuple(effect.value for effect in each.effects),
                months=None if each.ban_months is None else known(each.ban_months),
                relations=tuple(relation.value for relation in each.relations),
                lifted_by=tuple(lifted),
            )
    if reason is None and code == BLACKLIST and loans and NplAction.BLACKLIST in loans.npl_actions:
        back = loans.rehabilitation
        return Clause(("no_credit",), None, (SELF,), (back.after.value,) if back else ())
    if reason is None:
        raise Refused(
            "UNKNOWN_SANCTION",
            f"{terms.ref} has no sanction {code}",
            message_zh=f"方案未规定惩戒 {code}",
        )
    return Clause(("no_credit",), None, (SELF,), tuple(lifted))


def _check_reward(
    measure: Measure,
    terms: Terms,
    live: Sequence[Measure],
    exposure: Exposure,
    met: Collection[str],
) -> Measure:
    rewards = terms.pack.loans.rewards if terms.pack.loans else ()
    clause = next((each for each in rewards if each.id == measure.code), None)
    if clause is None:
        raise Refused(
            "UNKNOWN_REWARD",
            f"{terms.ref} has no reward {measure.code}",
            message_zh=f"方案未规定奖励 {measure.code}",
        )
    effects: tuple[str, ...] = clause.effects
    if measure.amount_fen and "higher_limit" not in effects:
        raise invalid_field(
            "REWARD_WITHOUT_LIMIT",
            "amount_fen",
            measure.amount_fen,
            f"{measure.code} does not raise a limit",
            "该奖励不提高额度",
        )
    if exposure.overdue_loans or any(m.kind is MeasureKind.SANCTION for m in live):
        raise Refused(
            "GOOD_STANDING_NEEDED",
            "a reward is for who owes nothing overdue and is under no sanction",
            message_zh="存在逾期或惩戒,不予奖励",
        )
    if not rewards_earned([clause], met=met):
        lacking = sorted(set(clause.requires) - set(met))
        raise Refused(
            "CONDITION_NOT_MET",
            f"{measure.code} asks for {', '.join(lacking)}",
            message_zh=f"未满足奖励条件:{'、'.join(lacking)}",
            facts={"lacking": ",".join(lacking)},
        )
    return replace(measure, effects=(*effects, *(("card",) if clause.card else ())))


def _check_second_grant(measure: Measure, terms: Terms, live: Sequence[Measure]) -> None:
    if not any(each.kind is MeasureKind.SANCTION for each in live):
        raise Refused(
            "NOT_SANCTIONED",
            "a second grant is for a household under a sanction",
            message_zh="该农户未受惩戒",
        )
    registry = terms.pack.registry
    allowed = [r.id for r in registry.blacklist if r.second_grant] if registry else []
    if measure.code not in allowed:
        raise Refused(
            "NO_SECOND_GRANT",
            f"{terms.ref} grants again for {', '.join(allowed) or 'no reason'}",
            message_zh="方案未规定二次授信",
        )


def _check_waiver(measure: Measure, terms: Terms, fault: Fault | None) -> tuple[str, ...]:
    scoring = terms.scoring
    points = 0
    if isinstance(scoring, BasePointsScoring):
        adjustments = {each.id: each.points_centi for each in known(scoring.adjustments)}
        points = adjustments.get(measure.code, 0)
    if points >= 0:
        raise invalid_field(
            "NOT_A_DEDUCTION",
            "code",
            measure.code,
            f"must be a deduction of {terms.ref}",
            "不是扣分项",
        )
    if fault is None:
        raise invalid_field("FAULT_NEEDED", "fault", "", "must say what was found", "须说明原因")
    waiver = deduction_waiver_of(
        scoring.waivers,
        points,
        cause=fault.cause,
        subjective=fault.subjective,
        repaid_on_time_before=fault.repaid_on_time_before,
    )
    if not waiver.waived:
        raise Refused("DEDUCTION_COUNTS", waiver.working, message_zh="不符合免予扣分条件")
    blame = "with_fault" if fault.subjective else "without_fault"
    before = "repaid_on_time_before" if fault.repaid_on_time_before else "not_always_repaid_before"
    return (fault.cause, blame, before)


def _check_rehabilitation(
    measure: Measure, terms: Terms, exposure: Exposure, barred: Collection[str]
) -> None:
    clause = terms.scoring.rehabilitation
    if clause is None or not clause.after_full_repayment:
        raise Refused(
            "NO_REHABILITATION",
            f"{terms.ref} has no way back but observation",
            message_zh="方案未规定信用修复",
        )
    if measure.code not in barred:
        raise invalid_field(
            "NOT_BARRED", "code", measure.code, "must be a veto that is watched", "该项未在考察"
        )
    _require_repaid(exposure)


def _check_release(measure: Measure, reason: str, terms: Terms, exposure: Exposure) -> None:
    demotion = measure.kind is MeasureKind.DEMOTION
    lifted_by = (FULL_REPAYMENT,) if demotion else clause_of(terms, measure.code).lifted_by
    terms_of_release = (*lifted_by, WRONGLY_LISTED)
    if reason not in terms_of_release:
        raise invalid_field(
            "RELEASE_TERM_UNKNOWN",
            "reason",
            reason,
            f"must be one of {', '.join(terms_of_release)}",
            "不符合解除条件",
        )
    if reason == FULL_REPAYMENT:
        _require_repaid(exposure)


def _require_repaid(exposure: Exposure) -> None:
    if exposure.bad_loans or exposure.overdue_loans:
        raise Refused(
            "BAD_LOANS_REMAIN",
            f"{max(exposure.bad_loans, exposure.overdue_loans)} loans are not repaid",
            message_zh="仍有不良或逾期贷款未还",
        )


def _require_sides(measure: Measure, by: Actor, terms: Terms) -> None:
    """Evidence of several organs: the two who act stand for all of them (S48)."""
    if measure.kind is MeasureKind.WAIVER:
        asked = {organ.value for w in terms.scoring.waivers for organ in w.evidence_by}
    elif measure.kind is MeasureKind.SECOND_GRANT and terms.pack.registry is not None:
        reasons = [r for r in terms.pack.registry.blacklist if r.id == measure.code]
        asked = {organ.value for r in reasons for organ in r.evidence_by}
    else:
        return
    roles = {measure.proposed.role, by.role}
    missing = sorted(organ for organ in asked if not SIDES.get(organ, {organ}) & roles)
    if missing:
        raise Denied(
            "EVIDENCE_BY_MISSING",
            f"the programme asks for the evidence of {', '.join(missing)} too",
            message_zh=f"尚缺{'、'.join(missing)}的证明",
        )
