"""The life of a claim through the door: surveys, pauses, second persons, disasters, disputes."""

from datetime import date
from uuid import uuid4

import pytest
from liandong.claims.v1 import claims_pb2, events_pb2

from services.claims import reports
from services.claims.servicer import ClaimsServicer
from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError, NotFound
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.claims.county import (
    ADJUSTER,
    CENTRE,
    COUNTY,
    OPENED,
    PACK,
    SURVEYOR,
    VILLAGE_DEPARTMENT,
    House,
    Loan,
    a_caller,
    a_catalogue,
    calling,
)
from tests.claims.steps import (
    a_decision,
    a_policy,
    a_report,
    books_are_whole,
    decide,
    issue,
    report,
    rows,
    said,
    take,
)

pytestmark = pytest.mark.postgres

STATES = claims_pb2.ClaimState
CHIEF = a_caller("insurer", institution_id="ins-1", person_id="ins-1-p3")
FRIDAY = date(2021, 1, 8)
TYPED = claims_pb2.ClaimDocument(document_type="photo", reference="box 7", hash="sha256:ee")

LIMITED = PACK.replace(
    "  sweep_trigger: always",
    "  second_person_above_fen: 1000000\n  sweep_trigger: always",
).replace(
    "      sum_insured: {of: fixed, amount_fen: 2000000}\n",
    "      sum_insured: {of: fixed, amount_fen: 2000000}\n      period_cap_fen: 500000\n",
)


@pytest.fixture(scope="session")
def limited() -> Catalogue:
    return a_catalogue(LIMITED)


async def lent(
    servicer: ClaimsServicer, consumer: Consumer, *covers: str, principal_fen: int = 5_000_000
) -> House:
    """A household with a loan, on the lists of covers."""
    for cover_id in covers:
        await issue(servicer, a_policy(cover_id))
    loan = Loan(House(), covers=covers, principal_fen=principal_fen)
    await take(consumer, loan.house.registered(), loan.approved())
    return loan.house


def of(claim: claims_pb2.Claim) -> dict[str, str]:
    return {"request_id": str(uuid4()), "county_code": COUNTY, "claim_id": claim.claim_id}


async def history(
    servicer: ClaimsServicer, claim: claims_pb2.Claim, *, caller: Caller = CENTRE
) -> claims_pb2.GetClaimResponse:
    request = claims_pb2.GetClaimRequest(county_code=COUNTY, claim_id=claim.claim_id)
    return await servicer.GetClaim(request, calling(caller, request))


async def kinds(servicer: ClaimsServicer, claim: claims_pb2.Claim) -> list[str]:
    return [step.kind for step in (await history(servicer, claim)).steps]


async def close(db: Database, catalogue: Catalogue, day: date, until: date) -> None:
    """Close days as the operator's surface does."""
    books = reports.books(catalogue)
    while day < until:
        assert books.work_day is not None
        await books.work_day(db, COUNTY, day)
        following = date.fromordinal(day.toordinal() + 1)
        async with db.transaction(EVERY_COUNTY) as session:
            await books.close_day(session, COUNTY, day)
            await business_day.open_day(session, COUNTY, following)
        day = following


async def survey(
    servicer: ClaimsServicer,
    claim: claims_pb2.Claim,
    *amounts: int,
    caller: Caller = SURVEYOR,
) -> claims_pb2.Claim:
    lines = [
        claims_pb2.ClaimLine(item=f"thing_{place}", claimed_fen=fen, assessed_fen=fen)
        for place, fen in enumerate(amounts)
    ]
    request = claims_pb2.SurveyClaimRequest(
        **of(claim), surveyed_on=wire.date_to_proto(OPENED), lines=lines, documents=[TYPED]
    )
    return (await servicer.SurveyClaim(request, calling(caller, request))).claim


async def test_every_amount_and_step_of_a_claim_is_kept(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    house = await lent(servicer, consumer, "accident")
    asked = a_report(house, assessed_fen=0)
    asked.claimed_fen = 4_000_000
    asked.reporter_kind = claims_pb2.REPORTER_KIND_HOUSEHOLD
    asked.typed_documents.append(TYPED)
    claim = await report(servicer, asked)
    with pytest.raises(LiandongError):
        await decide(servicer, a_decision(claim), caller=CENTRE)
    unassessed = await servicer.AdjudicateClaim(
        a_decision(claim), calling(ADJUSTER, a_decision(claim))
    )
    await survey(servicer, claim, 2_000_000, 1_000_000, caller=VILLAGE_DEPARTMENT)
    partial = a_decision(claim)
    for item, assessed, paid, reason in (("a", 2_000_000, 2_000_000, ""), ("b", 10, 4, "WORN")):
        partial.lines.append(
            claims_pb2.ClaimLine(
                item=item, assessed_fen=assessed, payable_fen=paid, reason_code=reason
            )
        )
    decided = await decide(servicer, partial)

    told = await history(servicer, claim)

    assert unassessed.refusal_reason == "NOT_ASSESSED"
    assert [step.kind for step in told.steps] == [
        "reported",
        "decision_refused",
        "surveyed",
        "approved",
    ]
    assert [s.assessed_fen for s in told.steps] == [0, 0, 3_000_000, 2_000_010]
    assert told.claim.claimed_fen == 4_000_000
    assert (decided.payable_fen, told.claim.paid_fen) == (2_000_004, 0)
    assert [line.reason_code for line in told.steps[-1].lines] == ["", "WORN"]
    assert "2000004" in told.steps[-1].working
    assert [d.document_type for d in told.documents] == ["document", "photo", "photo"]
    assert told.claim.reporter_kind == claims_pb2.REPORTER_KIND_HOUSEHOLD
    await books_are_whole(db)
    with pytest.raises(Exception, match="permission denied"):
        await rows(db, "UPDATE claim_step SET note = '' RETURNING note")


async def test_a_report_without_documents_or_loss_is_refused_and_kept(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    house = await lent(servicer, consumer, "accident", "guarantee")
    bare = a_report(house)
    del bare.documents[:]
    reasons = {
        "NO_DOCUMENTS": bare,
        "NOTHING_CLAIMED": a_report(house, assessed_fen=0),
        "COVER_NOT_CLAIMED_HERE": a_report(house, cover_id="guarantee"),
    }
    for reason, request in reasons.items():
        claim = await report(servicer, request)
        assert (claim.state, claim.reason_code) == (STATES.CLAIM_STATE_REFUSED, reason)
        assert await kinds(servicer, claim) == ["report_refused"]
    first = await report(servicer, a_report(house))

    listing = claims_pb2.ListClaimsRequest(
        county_code=COUNTY, state=STATES.CLAIM_STATE_REFUSED, page_size=10
    )
    found = await servicer.ListClaims(listing, calling(VILLAGE_DEPARTMENT, listing))
    reopening = claims_pb2.ReopenClaimRequest(**of(found.claims[0]), reason="look again")
    with pytest.raises(LiandongError) as refusal:
        await servicer.ReopenClaim(reopening, calling(CENTRE, reopening))

    assert [c.reason_code for c in found.claims] == list(reasons)
    assert refusal.value.reason == "NEVER_TAKEN_IN"
    assert first.state == STATES.CLAIM_STATE_REPORTED
    assert len(await said(db, "claim_refused", events_pb2.ClaimRefused)) == 3


async def test_the_same_disaster_twice_is_a_duplicate_and_another_cover_an_overlap(
    servicer: ClaimsServicer, consumer: Consumer
) -> None:
    house = await lent(servicer, consumer, "accident", "disaster")
    first, later, other = (
        a_report(house),
        a_report(house, loss_date=date(2021, 1, 4)),
        a_report(house, cover_id="disaster"),
    )
    for each in (first, later, other):
        each.event_code = "storm-1"
    one = await report(servicer, first)
    two = await report(servicer, later)
    three = await report(servicer, other)

    assert two.reason_code == "CLAIM_DUPLICATE"
    assert list(three.overlapping_claim_ids) == [one.claim_id]
    assert list((await history(servicer, one)).claim.overlapping_claim_ids) == [three.claim_id]


async def test_the_clock_stands_still_while_the_household_must_supply_something(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = await lent(servicer, consumer, "accident")
    claim = await report(servicer, a_report(house, assessed_fen=400_000))
    assert wire.date_from_proto("due_on", claim.due_on) == date(2021, 1, 7)
    await close(db, catalogue, OPENED, date(2021, 1, 5))
    stop = claims_pb2.SuspendClaimRequest(**of(claim), missing="hospital bill")
    stopped = (await servicer.SuspendClaim(stop, calling(ADJUSTER, stop))).claim
    await close(db, catalogue, date(2021, 1, 5), date(2021, 1, 12))
    with pytest.raises(LiandongError) as closed:
        await decide(servicer, a_decision(claim))
    go_on = claims_pb2.ResumeClaimRequest(**of(claim), documents=[TYPED])
    resumed = (await servicer.ResumeClaim(go_on, calling(VILLAGE_DEPARTMENT, go_on))).claim

    assert stopped.state == STATES.CLAIM_STATE_SUSPENDED
    assert not stopped.HasField("due_on")
    assert closed.value.reason == "CLAIM_NOT_OPEN"
    assert wire.date_from_proto("due_on", resumed.due_on) == date(2021, 1, 15)
    assert not resumed.HasField("overdue_since")
    again = claims_pb2.ResumeClaimRequest(
        request_id=str(uuid4()), county_code=COUNTY, claim_id=claim.claim_id
    )
    with pytest.raises(LiandongError) as twice:
        await servicer.ResumeClaim(again, calling(ADJUSTER, again))
    assert twice.value.reason == "CLAIM_NOT_SUSPENDED"


async def test_the_day_close_finds_what_is_late_once(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = await lent(servicer, consumer, "accident", "disaster")
    waits = await report(servicer, a_report(house, assessed_fen=400_000))
    unpaid = await report(servicer, a_report(house, cover_id="disaster", assessed_fen=400_000))
    await decide(servicer, a_decision(unpaid))

    await close(db, catalogue, OPENED, FRIDAY)
    await close(db, catalogue, FRIDAY, date(2021, 1, 11))

    listing = claims_pb2.ListClaimsRequest(county_code=COUNTY, overdue_only=True)
    found = await servicer.ListClaims(listing, calling(CENTRE, listing))
    assert [c.claim_id for c in found.claims] == [waits.claim_id, unpaid.claim_id]
    assert await kinds(servicer, waits) == ["reported", "overdue"]
    assert len(await said(db, "claim_overdue", events_pb2.ClaimOverdue)) == 2


async def test_above_the_limit_a_second_person_confirms_or_sends_back(
    db: Database, consumer: Consumer, limited: Catalogue
) -> None:
    servicer = ClaimsServicer(db, limited)
    house = await lent(servicer, consumer, "accident", "disaster")
    claim = await report(servicer, a_report(house, assessed_fen=1_000_001))
    small = await report(servicer, a_report(house, cover_id="disaster", assessed_fen=1_000_000))
    proposed = await decide(servicer, a_decision(claim))
    at_once = await decide(servicer, a_decision(small))

    async def check(caller: Caller, *, confirm: bool, reason: str = "") -> str:
        item = claims_pb2.AdjudicationCheck(claim_id=claim.claim_id, confirm=confirm, reason=reason)
        request = claims_pb2.ConfirmAdjudicationsRequest(
            request_id=str(uuid4()), county_code=COUNTY, items=[item]
        )
        answer = await servicer.ConfirmAdjudications(request, calling(caller, request))
        return answer.verdicts[0].reason

    assert (proposed.state, proposed.payout_id) == (STATES.CLAIM_STATE_PROPOSED, "")
    assert at_once.state == STATES.CLAIM_STATE_APPROVED
    assert await check(ADJUSTER, confirm=True) == "SAME_PERSON"
    assert await check(CHIEF, confirm=False) == "REASON_NEEDED"
    assert await check(CHIEF, confirm=False, reason="no survey") == ""
    await decide(servicer, a_decision(claim))
    assert await check(CHIEF, confirm=True) == ""
    assert await check(CHIEF, confirm=True) == "CLAIM_NOT_PROPOSED"
    assert (await history(servicer, claim)).claim.payout_id
    expected = ["reported", "proposed", "sent_back", "proposed", "approved"]
    assert await kinds(servicer, claim) == expected
    await books_are_whole(db)


async def test_caps_are_kept_over_claims_and_a_decision_above_them_too(
    db: Database, consumer: Consumer, limited: Catalogue
) -> None:
    servicer = ClaimsServicer(db, limited)
    house = await lent(servicer, consumer, "medical")
    days = [date(2021, 1, 4), date(2021, 1, 5), date(2021, 1, 6)]
    await close(db, limited, OPENED, days[-1])
    claims = [
        await report(
            servicer, a_report(house, cover_id="medical", loss_date=day, assessed_fen=300_000)
        )
        for day in days
    ]
    above = a_decision(claims[1])
    above.lines.append(
        claims_pb2.ClaimLine(item="ward_fee", assessed_fen=300_000, payable_fen=300_000)
    )
    first = await decide(servicer, a_decision(claims[0]))
    refused = await servicer.AdjudicateClaim(above, calling(ADJUSTER, above))
    second = await decide(servicer, a_decision(claims[1]))
    third = await servicer.AdjudicateClaim(
        a_decision(claims[2]), calling(ADJUSTER, a_decision(claims[2]))
    )

    assert (first.payable_fen, second.payable_fen) == (300_000, 200_000)
    assert (refused.refusal_reason, refused.claim.state) == (
        "ABOVE_CAP",
        STATES.CLAIM_STATE_REPORTED,
    )
    assert (third.refusal_reason, third.claim.payable_fen) == ("CAP_REACHED", 0)
    told = await history(servicer, claims[1])
    assert [step.reason_code for step in told.steps] == ["", "ABOVE_CAP", ""]
    assert "period_cap 200000" in told.steps[-1].working


async def test_a_disaster_is_decided_by_one_rule_page_by_page(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loans = [Loan(House()) for _ in range(7)]
    await take(consumer, *[loan.house.registered() for loan in loans])
    await take(consumer, *[loan.approved() for loan in loans])
    items = []
    for place, loan in enumerate(loans):
        each = a_report(loan.house, assessed_fen=100_000 * (place + 1))
        items.append(
            claims_pb2.ClaimReport(
                household_id=each.household_id,
                cover_id=each.cover_id,
                loss_date=each.loss_date,
                cause=each.cause,
                assessed_fen=each.assessed_fen,
                documents=each.documents,
                event_code="flood-1",
            )
        )
    file = claims_pb2.BatchReportClaimsRequest(
        request_id=str(uuid4()), county_code=COUNTY, items=items
    )
    await servicer.BatchReportClaims(file, calling(VILLAGE_DEPARTMENT, file))

    def page(token: str) -> claims_pb2.DecideEventClaimsRequest:
        return claims_pb2.DecideEventClaimsRequest(
            request_id=str(uuid4()),
            county_code=COUNTY,
            event_code="flood-1",
            cover_id="accident",
            rule=claims_pb2.EventRule(share_ppm=500_000, max_fen=300_000, min_assessed_fen=150_000),
            page_size=4,
            page_token=token,
        )

    asked = page("")
    first = await servicer.DecideEventClaims(asked, calling(ADJUSTER, asked))
    again = await servicer.DecideEventClaims(asked, calling(ADJUSTER, asked))
    asked = page(first.next_page_token)
    second = await servicer.DecideEventClaims(asked, calling(ADJUSTER, asked))

    assert first == again
    assert (first.approved + second.approved, first.refused + second.refused) == (6, 1)
    assert (len(first.verdicts), len(second.verdicts), second.next_page_token) == (4, 3, "")
    assert first.payable_fen + second.payable_fen == 1_300_000
    listing = claims_pb2.ListClaimsRequest(county_code=COUNTY, event_code="flood-1")
    listed = (await servicer.ListClaims(listing, calling(CENTRE, listing))).claims
    by_loss = {claim.assessed_fen: claim for claim in listed}
    told = (await history(servicer, by_loss[500_000])).steps[-1]
    assert "500000 × 500000 ppm = 250000" in told.working
    assert by_loss[100_000].reason_code == "BELOW_EVENT_MINIMUM"
    assert by_loss[700_000].payable_fen == 300_000
    await books_are_whole(db)


async def test_a_claim_is_withdrawn_and_opened_again(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    house = await lent(servicer, consumer, "accident")
    claim = await report(servicer, a_report(house))
    back = claims_pb2.WithdrawClaimRequest(**of(claim), reason="a mistake")
    stranger = a_caller("village_department", institution_id="vil-9", areas=("990101009",))
    with pytest.raises(NotFound):
        await servicer.WithdrawClaim(back, calling(stranger, back))
    withdrawn = (await servicer.WithdrawClaim(back, calling(VILLAGE_DEPARTMENT, back))).claim
    twice = await report(servicer, a_report(house))
    again = claims_pb2.ReopenClaimRequest(**of(claim), reason="it was none")
    reopened = (await servicer.ReopenClaim(again, calling(CENTRE, again))).claim
    approved = await decide(servicer, a_decision(claim))

    assert withdrawn.state == STATES.CLAIM_STATE_WITHDRAWN
    assert twice.reason_code == "CLAIM_DUPLICATE"
    assert reopened.state == STATES.CLAIM_STATE_REPORTED
    assert approved.payout_id
    late = claims_pb2.ReopenClaimRequest(**of(claim), reason="more")
    with pytest.raises(LiandongError) as refusal:
        await servicer.ReopenClaim(late, calling(CENTRE, late))
    assert refusal.value.reason == "CLAIM_NOT_CLOSED"
    told = await said(db, "claim_reopened", events_pb2.ClaimReopened)
    assert [event.claim_id for event in told] == [claim.claim_id]


async def dispute(
    servicer: ClaimsServicer, claim: claims_pb2.Claim, *, upheld: bool, caller: Caller = CHIEF
) -> claims_pb2.AnswerDisputeResponse:
    request = claims_pb2.DisputeClaimRequest(**of(claim), text="the barn was forgotten")
    await servicer.DisputeClaim(request, calling(VILLAGE_DEPARTMENT, request))
    answer = claims_pb2.AnswerDisputeRequest(**of(claim), upheld=upheld, answer="looked at again")
    return await servicer.AnswerDispute(answer, calling(caller, answer))


async def test_an_upheld_dispute_opens_a_refused_claim_and_supplements_a_paid_one(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    house = await lent(servicer, consumer, "accident", "disaster")
    refused = await report(servicer, a_report(house))
    await decide(servicer, a_decision(refused, approve=False, reason="not a storm"))
    asked = a_report(house, cover_id="disaster", assessed_fen=1_000_000)
    asked.claimed_fen = 1_500_000
    paid = await report(servicer, asked)
    await decide(servicer, a_decision(paid))

    reopened = (await dispute(servicer, refused, upheld=True)).claim
    with pytest.raises(LiandongError) as refusal:
        await dispute(servicer, paid, upheld=True, caller=ADJUSTER)
    answer = claims_pb2.AnswerDisputeRequest(**of(paid), upheld=True, answer="the barn too")
    answered = await servicer.AnswerDispute(answer, calling(CHIEF, answer))
    extra = claims_pb2.Claim(claim_id=answered.dispute.supplement_claim_id)
    await survey(servicer, extra, 400_000)
    more = await decide(servicer, a_decision(extra))

    assert reopened.state == STATES.CLAIM_STATE_REPORTED
    assert refusal.value.reason == "SAME_PERSON"
    assert (more.claimed_fen, more.payable_fen, more.supplement) == (500_000, 400_000, 1)
    told = await history(servicer, paid)
    assert [d.upheld for d in told.disputes] == [True]
    assert told.claim.state == STATES.CLAIM_STATE_APPROVED
    await books_are_whole(db)
