"""Claims: what happens to a claim between report and decision, and against the decision."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.claims.model import (
    NOTHING,
    OPEN_CLAIMS,
    Actor,
    Claim,
    ClaimLine,
    ClaimState,
    Dispute,
    Document,
    Used,
)
from services.claims.rules.claims import expected_due_on
from services.kernel.errors import Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.calendars import working_days_after
from services.programmes.terms import Terms

ANSWER_WORKING_DAYS = 5
"""In which a dispute is answered; as long as the longest claim tier in use."""


def check_open(claim: Claim) -> None:
    """Refuse what only an open claim bears."""
    if claim.state not in OPEN_CLAIMS:
        raise Refused("CLAIM_NOT_OPEN", f"the claim is {claim.state}", message_zh="该案已结案")


def add_documents(claim: Claim, documents: Sequence[Document]) -> Claim:
    """More documents, also while the clock stands still."""
    check_open(claim)
    return with_documents(replace(claim, steps=claim.steps + 1), documents)


def with_documents(claim: Claim, documents: Sequence[Document]) -> Claim:
    """The documents that come with a step."""
    return replace(claim, documents=(*claim.documents, *(each.hash for each in documents)))


def survey(
    claim: Claim, lines: Sequence[ClaimLine], terms: Terms, *, surveyed_on: date, on: date
) -> Claim:
    """The loss is what the survey's lines sum to; the tier may be another then."""
    if claim.state not in (ClaimState.REPORTED, ClaimState.SUSPENDED):
        raise Refused("CLAIM_NOT_OPEN", f"the claim is {claim.state}", message_zh="该案已作出决定")
    if not claim.loss_date <= surveyed_on <= on:
        rule = f"must be from the loss {claim.loss_date} to the business date {on}"
        raise invalid_field("SURVEY_DATE_OUT_OF_RANGE", "surveyed_on", surveyed_on, rule)
    assessed = Fen(sum(line.assessed_fen for line in lines))
    if assessed == 0:
        rule = "must assess something; a loss of nothing is a refusal"
        raise invalid_field("NOTHING_ASSESSED", "lines", 0, rule)
    surveyed = replace(claim, steps=claim.steps + 1, assessed_fen=assessed)
    return replace(surveyed, due_on=expected_due_on(surveyed, terms))


def suspend(claim: Claim, *, on: date) -> Claim:
    """The household must supply something: the clock stands still."""
    if claim.state is not ClaimState.REPORTED:
        raise Refused("CLAIM_NOT_OPEN", f"the claim is {claim.state}", message_zh="该案不在处理中")
    return replace(
        claim, steps=claim.steps + 1, state=ClaimState.SUSPENDED, paused_from=on, due_on=None
    )


def resume(claim: Claim, documents: Sequence[Document], terms: Terms, *, on: date) -> Claim:
    """The clock goes on; the pause's days do not count."""
    if claim.state is not ClaimState.SUSPENDED or claim.paused_from is None:
        raise Refused(
            "CLAIM_NOT_SUSPENDED", f"the claim is {claim.state}", message_zh="该案未中止计时"
        )
    resumed = replace(
        claim,
        steps=claim.steps + 1,
        state=ClaimState.REPORTED,
        paused_from=None,
        pauses=(*claim.pauses, (claim.paused_from, on)),
        documents=(*claim.documents, *(each.hash for each in documents)),
    )
    return replace(resumed, due_on=expected_due_on(resumed, terms))


def withdraw(claim: Claim) -> Claim:
    """Whoever reported it takes it back."""
    check_open(claim)
    return replace(
        claim,
        version=claim.version + 1,
        steps=claim.steps + 1,
        state=ClaimState.WITHDRAWN,
        payable_fen=NOTHING,
        proposed_by=None,
        paused_from=None,
        due_on=None,
    )


def reopen(claim: Claim, terms: Terms | None, *, on: date) -> Claim:
    """A claim that ended without money is open again; its clock begins anew."""
    if claim.state not in (ClaimState.REFUSED, ClaimState.WITHDRAWN):
        raise Refused(
            "CLAIM_NOT_CLOSED",
            f"the claim is {claim.state}",
            message_zh="只有已拒赔或已撤销的案件可以重开",
        )
    if not claim.taken_in or terms is None:
        raise Refused(
            "NEVER_TAKEN_IN",
            "the report was refused at once; report it again",
            message_zh="该报案未受理,请重新报案",
        )
    reopened = replace(
        claim,
        version=claim.version + 1,
        steps=claim.steps + 1,
        state=ClaimState.REPORTED,
        reason="",
        reason_code="",
        decided_by=None,
        decided_on=None,
        accepted_on=on,
        pauses=(),
        overdue_since=None,
    )
    return replace(reopened, due_on=expected_due_on(reopened, terms))


def late(claim: Claim, *, on: date) -> Claim:
    """Not paid by its day."""
    return replace(claim, version=claim.version + 1, steps=claim.steps + 1, overdue_since=on)


# --- disputes -------------------------------------------------------------------------------------


def dispute(
    claim: Claim, said: str, terms: Terms | None, *, by: Actor, on: date, dispute_id: UUID
) -> Dispute:
    """The household contests a decision."""
    if claim.state not in (ClaimState.APPROVED, ClaimState.REFUSED) or not claim.taken_in:
        raise Refused(
            "CLAIM_NOT_DECIDED", f"the claim is {claim.state}", message_zh="该案尚无核赔决定"
        )
    assert terms is not None
    return Dispute(
        county_code=claim.county_code,
        dispute_id=dispute_id,
        claim_id=claim.claim_id,
        said=said,
        opened_by=by,
        opened_on=on,
        due_on=working_days_after(terms.calendar, on, ANSWER_WORKING_DAYS),
    )


def answer(
    claim: Claim, open_dispute: Dispute | None, text: str, *, upheld: bool, by: Actor, on: date
) -> Dispute:
    """The insurer answers, by another person than decided."""
    if open_dispute is None:
        raise Refused("NO_DISPUTE", "no dispute is open", message_zh="没有待答复的争议")
    if by in (claim.decided_by, claim.proposed_by):
        raise Refused(
            "SAME_PERSON",
            "whoever decided cannot answer the dispute",
            message_zh="核赔人不得答复本人案件的争议",
        )
    return replace(open_dispute, answer=text, upheld=upheld, answered_by=by, answered_on=on)


def with_supplement(answered: Dispute, claim_id: UUID) -> Dispute:
    """An answer that opened a supplement."""
    return replace(answered, supplement_claim_id=claim_id)


def supplement(
    claim: Claim, terms: Terms, *, by: Actor, on: date, claim_id: UUID, number: int, used: Used
) -> Claim:
    """What was claimed and not paid, decided anew beside the payout that stands."""
    left = Fen(claim.claimed_fen - used.event_fen - claim.payable_fen)
    if left <= 0:
        raise Refused(
            "NOTHING_LEFT", "all that was claimed is paid", message_zh="索赔金额已全部赔付"
        )
    opened = replace(
        claim,
        claim_id=claim_id,
        version=1,
        steps=1,
        supplement=number,
        state=ClaimState.REPORTED,
        reported_by=by,
        reported_on=on,
        claimed_fen=left,
        assessed_fen=NOTHING,
        payable_fen=NOTHING,
        reason="",
        reason_code="",
        payout_id=None,
        proposed_by=None,
        decided_by=None,
        decided_on=None,
        accepted_on=on,
        pauses=(),
        overdue_since=None,
    )
    return replace(opened, due_on=expected_due_on(opened, terms))
