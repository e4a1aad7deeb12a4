"""Claims: what is taken in, who decides, and what is paid by when."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.claims.model import (
    NOTHING,
    Actor,
    Check,
    Claim,
    ClaimLine,
    ClaimState,
    Decision,
    EntryState,
    Report,
    Standing,
    Used,
)
from services.claims.rules.policies import cap_fen
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes import covers
from services.programmes.schema.insurance import LOAN_LINKED, Cover
from services.programmes.schema.values import Open, OrOpen, known
from services.programmes.terms import Terms

DOCUMENT_CHARACTERS_MAX = 200

KEPT_REFUSALS = frozenset({"ABOVE_CAP", "CAP_REACHED", "NOTHING_PAYABLE", "NOT_ASSESSED"})
"""Decisions that change nothing and are kept in the claim's history."""
NO_USE = Used()


def choose_entry(
    standings: Sequence[Standing], loss_date: date, person_id: UUID | None = None
) -> Standing:
    """
    The entry that a claim is made under: it must cover the day of the loss.

    A household with several loans has an entry for each; the oldest open loan's is taken, and the
    oldest of all when none is open any more. Every open assigned loan is a payee in any case.
    """
    if not standings:
        raise Refused(
            "NOT_INSURED",
            "the household is on no insured list of this cover",
            message_zh="该户未投保此险种",
        )
    # An entry of a file may insure one person; the others insure the household.
    standings = [s for s in standings if s.entry.member_id in (None, person_id)]
    if not standings:
        raise Refused(
            "PERSON_NOT_INSURED",
            "the list names persons of the household, and this one is not among them",
            message_zh="该成员不在被保险人名单内",
        )
    in_term = [s for s in standings if s.entry.from_date <= loss_date <= s.entry.until_date]
    if not in_term:
        terms = ", ".join(f"{s.entry.from_date} to {s.entry.until_date}" for s in standings[:5])
        raise Refused(
            "LOSS_OUTSIDE_TERM",
            f"the loss of {loss_date} is outside {terms}",
            message_zh="出险日不在保险期间内",
        )
    begun = [s for s in in_term if s.entry.state is not EntryState.WAITING]
    if not begun:
        raise Refused(
            "PREMIUM_UNPAID",
            "the cover is not in force: its premium is not paid",
            message_zh="保费未缴,保险未生效",
        )
    return min(begun, key=_place)


def _place(standing: Standing) -> tuple[bool, date, str]:
    since = standing.loan_approved_on or standing.entry.from_date
    return not standing.loan_open, since, str(standing.entry.loan_id or "")


def report(
    report: Report,
    standing: Standing,
    cover: Cover,
    *,
    reporter: Actor,
    on: date,
    claim_id: UUID,
) -> Claim:
    """Take in a claim under an insured entry."""
    check_report(report, on)
    if cover.kind in LOAN_LINKED:
        raise Refused(
            "COVER_NOT_CLAIMED_HERE",
            f"a claim on {cover.id} is a compensation case of the fund",
            message_zh="贷款保证类险种经补偿基金代偿,不在此报案",
        )
    if not report.documents and not report.typed_documents:
        raise Refused(
            "NO_DOCUMENTS", "a claim needs a document at least", message_zh="报案须附材料"
        )
    if report.whole_claimed_fen == 0:
        raise Refused("NOTHING_CLAIMED", "no loss is stated", message_zh="未填写损失金额")
    entry = standing.entry
    return Claim(
        county_code=entry.county_code,
        claim_id=claim_id,
        version=1,
        household_id=entry.household_id,
        area_code=standing.area_code,
        cover_id=entry.cover_id,
        policy_id=entry.policy_id,
        insured_id=entry.insured_id,
        loan_id=entry.loan_id,
        insurer_id=standing.insurer_id,
        lender_id=standing.lender_id,
        programme=standing.programme,
        loss_date=report.loss_date,
        cause=report.cause,
        assessed_fen=report.assessed_fen,
        documents=_hashes(report),
        reported_by=reporter,
        reported_on=on,
        claimed_fen=report.whole_claimed_fen,
        event_code=report.event_code,
        person_id=report.person_id,
        reporter_kind=report.reporter_kind,
        accepted_on=on,
    )


def check_report(report: Report, on: date) -> None:
    """Refuse what cannot even be kept: it is not a report of a loss."""
    if report.loss_date > on:
        rule = f"must not be after the business date {on}"
        raise invalid_field("LOSS_DATE_AHEAD", "loss_date", report.loss_date, rule, "出险日在未来")
    for place, document in enumerate(report.documents):
        if not 0 < len(document) <= DOCUMENT_CHARACTERS_MAX:
            rule = f"must have 1 to {DOCUMENT_CHARACTERS_MAX} characters"
            raise invalid_field("MALFORMED_DOCUMENT", f"documents[{place}]", document[:40], rule)


def _hashes(report: Report) -> tuple[str, ...]:
    return (*report.documents, *(each.hash for each in report.typed_documents))


def refused_report(
    report: Report,
    refusal: Refused,
    *,
    county_code: str,
    area_code: str,
    insurer_id: str,
    reporter: Actor,
    on: date,
    claim_id: UUID,
) -> Claim:
    """A report that was refused, kept with its reason; it stands for no loss."""
    return Claim(
        county_code=county_code,
        claim_id=claim_id,
        version=1,
        household_id=report.household_id,
        area_code=area_code,
        cover_id=report.cover_id,
        policy_id=None,
        insured_id=None,
        loan_id=None,
        insurer_id=insurer_id,
        lender_id="",
        programme="",
        loss_date=report.loss_date,
        cause=report.cause,
        assessed_fen=report.assessed_fen,
        documents=_hashes(report),
        reported_by=reporter,
        reported_on=on,
        state=ClaimState.REFUSED,
        reason=refusal.message,
        reason_code=refusal.reason,
        decided_on=on,
        claimed_fen=report.whole_claimed_fen,
        event_code=report.event_code,
        person_id=report.person_id,
        reporter_kind=report.reporter_kind,
        taken_in=False,
    )


def claim_duplicate(report: Report) -> Refused:
    """One event, one claim."""
    loss = report.event_code or report.loss_date.isoformat()
    return Refused(
        "CLAIM_DUPLICATE",
        f"the loss of {loss} has a claim on {report.cover_id} already",
        message_zh="同一事故已报案",
    )


def check_adjudicator(claim: Claim, decision: Decision, adjudicator: Actor) -> None:
    """Only the policy's insurer decides, once, by another person than the one who reported."""
    if claim.insurer_id != adjudicator.institution_id:
        raise claim_not_found(claim.claim_id)
    if claim.state is not ClaimState.REPORTED:
        raise Refused(
            "CLAIM_NOT_OPEN", f"the claim is {claim.state}", message_zh="该案不在待核赔状态"
        )
    if claim.reported_by == adjudicator:
        raise Refused(
            "SAME_PERSON",
            "the person who reported a claim cannot decide it",
            message_zh="报案人与核赔人不得为同一人",
        )
    if not decision.approve and not decision.reason:
        rule = "must say why the claim is refused"
        raise invalid_field("REASON_NEEDED", "reason", "", rule, "拒赔须说明理由")
    _check_lines(decision.lines)


def _check_lines(lines: Sequence[ClaimLine]) -> None:
    for place, line in enumerate(lines):
        if line.payable_fen > line.assessed_fen:
            rule = f"must not be above the {line.assessed_fen} fen assessed"
            field = f"lines[{place}].payable_fen"
            raise invalid_field("PAYABLE_ABOVE_ASSESSED", field, line.payable_fen, rule)
        if line.payable_fen < line.assessed_fen and not line.reason_code:
            rule = "must say why less is paid than assessed"
            raise invalid_field("REASON_NEEDED", f"lines[{place}].reason_code", "", rule)


def claim_not_found(claim_id: UUID) -> NotFound:
    """No such claim, or none of the asker's."""
    return NotFound("CLAIM_NOT_FOUND", f"no claim {claim_id}", message_zh="无此案件")


def household_not_found(household_id: UUID) -> NotFound:
    """No such household, as far as the caller may know."""
    return NotFound("HOUSEHOLD_NOT_FOUND", f"no household {household_id}", message_zh="无此农户")


def refuse(claim: Claim, decision: Decision, *, adjudicator: Actor, on: date) -> Claim:
    """Decide that a claim pays nothing."""
    return replace(
        claim,
        version=claim.version + 1,
        steps=claim.steps + 1,
        state=ClaimState.REFUSED,
        reason=decision.reason,
        reason_code=decision.reason_code or "REFUSED",
        decided_by=adjudicator,
        decided_on=on,
    )


def payable_of(
    claim: Claim, decision: Decision, terms: Terms, *, sum_insured_fen: Fen, used: Used = NO_USE
) -> covers.Payable:
    """
    What an approval pays: at most the assessed loss, the sum insured and what the caps leave (S38).

    Lines say less than that, never more; a rule of an event is cut to it.
    """
    assessed = assessed_of(claim, decision)
    if assessed == 0:
        raise Refused("NOT_ASSESSED", "nobody has assessed the loss", message_zh="损失尚未核定")
    cover = terms.cover(claim.cover_id)
    allowed = covers.payable(
        assessed,
        sum_insured_fen=Fen(max(0, sum_insured_fen - used.event_fen)),
        cap_fen=covers.cap_left_fen(cap_fen(cover), Fen(used.event_fen)),
        person_left_fen=_left(cover.person_cap_fen, used.person_fen),
        period_left_fen=_left(cover.period_cap_fen, used.period_fen),
    )
    if allowed.payable_fen == 0:
        reason = "CAP_REACHED" if used != NO_USE else "NOTHING_PAYABLE"
        raise Refused(reason, allowed.working, message_zh="无可赔付金额")
    if decision.rule is not None:
        return _by_rule(assessed, decision, allowed)
    if not decision.lines:
        return allowed
    asked = Fen(sum(line.payable_fen for line in decision.lines))
    if asked > allowed.payable_fen:
        raise Refused(
            "ABOVE_CAP",
            f"{asked} fen is above {allowed.working}",
            message_zh="核定赔付超过保额或限额",
            facts={"asked_fen": str(asked), "allowed_fen": str(allowed.payable_fen)},
        )
    if asked == 0:
        raise Refused("NOTHING_PAYABLE", "no line pays anything", message_zh="无可赔付金额")
    return covers.Payable(asked, "lines", f"lines {asked} of {allowed.working}")


def assessed_of(claim: Claim, decision: Decision) -> Fen:
    """The loss as assessed: by the decision's lines, where it has some."""
    if not decision.lines:
        return claim.assessed_fen
    return Fen(sum(line.assessed_fen for line in decision.lines))


def _left(cap: OrOpen[Fen] | None, used_fen: int) -> Fen | None:
    return covers.cap_left_fen(None if cap is None else known(cap), Fen(used_fen))


def _by_rule(assessed: Fen, decision: Decision, allowed: covers.Payable) -> covers.Payable:
    assert decision.rule is not None
    wanted = covers.payable_by_rule(
        assessed,
        share_ppm=decision.rule.share_ppm,
        max_fen=decision.rule.max_fen,
        min_assessed_fen=decision.rule.min_assessed_fen,
    )
    working = f"{wanted.working}; {allowed.working}"
    if wanted.payable_fen <= allowed.payable_fen:
        return covers.Payable(wanted.payable_fen, wanted.binding, working)
    return covers.Payable(allowed.payable_fen, allowed.binding, working)


def approve(
    claim: Claim,
    decision: Decision,
    terms: Terms,
    *,
    sum_insured_fen: Fen,
    adjudicator: Actor,
    on: date,
    payout_id: UUID,
    used: Used = NO_USE,
) -> Claim:
    """
    Decide what a claim pays, and by when: the clock starts with the documents (S39).

    Above the programme's limit it is only proposed: a second person confirms it.
    """
    payable = payable_of(claim, decision, terms, sum_insured_fen=sum_insured_fen, used=used)
    decided = replace(
        claim,
        steps=claim.steps + 1,
        reason=decision.reason,
        reason_code=decision.reason_code,
        assessed_fen=assessed_of(claim, decision),
        payable_fen=payable.payable_fen,
        due_on=due_on(claim, payable.payable_fen, terms),
    )
    limit = terms.insurance.second_person_above_fen
    if limit is not None and payable.payable_fen > known(limit):
        return replace(decided, state=ClaimState.PROPOSED, proposed_by=adjudicator)
    return _approved(decided, adjudicator=adjudicator, on=on, payout_id=payout_id)


def _approved(claim: Claim, *, adjudicator: Actor, on: date, payout_id: UUID) -> Claim:
    late = claim.due_on is not None and claim.due_on < on
    return replace(
        claim,
        version=claim.version + 1,
        state=ClaimState.APPROVED,
        payout_id=payout_id,
        overdue_since=claim.overdue_since or (on if late else None),
        decided_by=adjudicator,
        decided_on=on,
    )


def check_proposal(
    claim: Claim, check: Check, *, checker: Actor, on: date, payout_id: UUID
) -> Claim:
    """The second person confirms a proposal, or sends it back."""
    if claim.insurer_id != checker.institution_id:
        raise claim_not_found(claim.claim_id)
    if claim.state is not ClaimState.PROPOSED:
        raise Refused(
            "CLAIM_NOT_PROPOSED", f"the claim is {claim.state}", message_zh="该案没有待复核的核赔"
        )
    if checker in (claim.proposed_by, claim.reported_by):
        raise Refused(
            "SAME_PERSON",
            "whoever reported or proposed cannot confirm",
            message_zh="报案人、核赔人与复核人不得为同一人",
        )
    after = replace(claim, steps=claim.steps + 1)
    if check.confirm:
        return _approved(after, adjudicator=checker, on=on, payout_id=payout_id)
    if not check.reason:
        raise invalid_field("REASON_NEEDED", "reason", "", "must say why it is sent back")
    return replace(after, state=ClaimState.REPORTED, payable_fen=NOTHING, proposed_by=None)


def step_on(claim: Claim) -> Claim:
    """A step that changes nothing else."""
    return replace(claim, steps=claim.steps + 1)


def due_on(claim: Claim, amount_fen: Fen, terms: Terms) -> date | None:
    """By when the tier of an amount wants a claim paid; None where the programme gives no tier."""
    tiers = terms.insurance.claim_tiers
    if isinstance(tiers, Open) or claim.paused_from is not None:
        return None
    return covers.claim_deadline(
        amount_fen,
        tiers,
        accepted_on=claim.accepted_on or claim.reported_on,
        calendar=terms.calendar,
        pauses=claim.pauses,
    ).due_on


def expected_due_on(claim: Claim, terms: Terms) -> date | None:
    """The same before a decision, by what is assessed or claimed; None without a calendar."""
    amount = claim.assessed_fen or claim.claimed_fen
    cap = cap_fen(terms.cover(claim.cover_id))
    try:
        return due_on(claim, amount if cap is None else min(amount, cap), terms)
    except Refused:
        return None
