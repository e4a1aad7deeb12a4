"""Claims: what is taken in, who decides, and what is paid by when."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

from services.claims.model import Actor, Claim, ClaimState, Decision, Report, Standing
from services.claims.rules.policies import cap_fen
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.programmes import covers
from services.programmes.schema.insurance import LOAN_LINKED, Cover
from services.programmes.schema.values import Open
from services.programmes.terms import Terms

DOCUMENT_CHARACTERS_MAX = 200


def choose_entry(standings: Sequence[Standing], loss_date: date) -> Standing:
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
    in_term = [s for s in standings if s.entry.from_date <= loss_date <= s.entry.until_date]
    if not in_term:
        terms = ", ".join(f"{s.entry.from_date} to {s.entry.until_date}" for s in standings[:5])
        raise Refused(
            "LOSS_OUTSIDE_TERM",
            f"the loss of {loss_date} is outside {terms}",
            message_zh="出险日不在保险期间内",
        )
    return min(in_term, key=_place)


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
    if report.loss_date > on:
        rule = f"must not be after the business date {on}"
        raise invalid_field("LOSS_DATE_AHEAD", "loss_date", report.loss_date, rule, "出险日在未来")
    if cover.kind in LOAN_LINKED:
        raise Refused(
            "COVER_NOT_CLAIMED_HERE",
            f"a claim on {cover.id} is a compensation case of the fund",
            message_zh="贷款保证类险种经补偿基金代偿,不在此报案",
        )
    for place, document in enumerate(report.documents):
        if not 0 < len(document) <= DOCUMENT_CHARACTERS_MAX:
            rule = f"must have 1 to {DOCUMENT_CHARACTERS_MAX} characters"
            raise invalid_field("MALFORMED_DOCUMENT", f"documents[{place}]", document[:40], rule)
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
        documents=report.documents,
        reported_by=reporter,
        reported_on=on,
    )


def claim_exists(report: Report) -> Refused:
    """One event, one claim."""
    return Refused(
        "CLAIM_EXISTS",
        f"the loss of {report.loss_date} has a claim on {report.cover_id} already",
        message_zh="同一事故已报案",
    )


def check_adjudicator(claim: Claim, decision: Decision, adjudicator: Actor) -> None:
    """Only the policy's insurer decides, once, by another person than the one who reported."""
    if claim.insurer_id != adjudicator.institution_id:
        raise claim_not_found(claim.claim_id)
    if claim.state is not ClaimState.REPORTED:
        raise Refused(
            "CLAIM_NOT_OPEN", f"the claim is {claim.state}", message_zh="该案已作出核赔决定"
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


def claim_not_found(claim_id: UUID) -> NotFound:
    """No such claim, or none of the asker's."""
    return NotFound("CLAIM_NOT_FOUND", f"no claim {claim_id}", message_zh="无此案件")


def refuse(claim: Claim, decision: Decision, *, adjudicator: Actor, on: date) -> Claim:
    """Decide that a claim pays nothing."""
    return replace(
        claim,
        version=claim.version + 1,
        state=ClaimState.REFUSED,
        reason=decision.reason,
        decided_by=adjudicator,
        decided_on=on,
    )


def approve(
    claim: Claim,
    decision: Decision,
    terms: Terms,
    *,
    sum_insured_fen: Fen,
    adjudicator: Actor,
    on: date,
    payout_id: UUID,
) -> Claim:
    """Decide what a claim pays (S38), and by when: the clock starts with the documents (S39)."""
    payable = covers.payable(
        claim.assessed_fen,
        sum_insured_fen=sum_insured_fen,
        cap_fen=cap_fen(terms.cover(claim.cover_id)),
    )
    if payable.payable_fen == 0:
        raise Refused("NOTHING_PAYABLE", payable.working, message_zh="无可赔付金额")
    return replace(
        claim,
        version=claim.version + 1,
        state=ClaimState.APPROVED,
        reason=decision.reason,
        payable_fen=payable.payable_fen,
        payout_id=payout_id,
        due_on=_due_on(claim, payable.payable_fen, terms),
        decided_by=adjudicator,
        decided_on=on,
    )


def _due_on(claim: Claim, payable_fen: Fen, terms: Terms) -> date | None:
    tiers = terms.insurance.claim_tiers
    if isinstance(tiers, Open):
        return None
    return covers.claim_deadline(
        payable_fen, tiers, accepted_on=claim.reported_on, calendar=terms.calendar
    ).due_on
