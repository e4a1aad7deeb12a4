"""The saga of a payout through the service's own doors, the bank first, on a real database."""

import asyncio
from datetime import date
from uuid import uuid4

import pytest
from liandong.claims.v1 import claims_pb2, events_pb2

from services.claims.servicer import ClaimsServicer
from services.kernel import pauses, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Conflict, Denied, Invalid, LiandongError, NotFound, Refused
from tests.claims.county import (
    ADJUSTER,
    AUDITOR,
    BANK,
    CENTRE,
    COUNTY,
    INSURER,
    LENDER,
    OPENED,
    OTHER_ADJUSTER,
    OTHER_BANK,
    OTHER_COUNTY,
    OTHER_INSURER,
    OTHER_LENDER,
    OTHER_VILLAGE,
    PROGRAMME,
    SOCIETY,
    SOCIETY_LENDER,
    SURVEYOR,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    House,
    Loan,
    a_caller,
    allocated,
    calling,
)
from tests.claims.steps import (
    a_confirmation,
    a_decision,
    a_policy,
    a_report,
    approved_payout,
    books_are_whole,
    confirm,
    decide,
    instructions,
    issue,
    payout,
    report,
    rows,
    said,
    settled_once,
    take,
    totals,
)

pytestmark = pytest.mark.postgres


# --- master policies ------------------------------------------------------------------------------


async def test_a_second_policy_of_the_cover_for_the_same_days_is_refused(
    servicer: ClaimsServicer,
) -> None:
    await issue(servicer)

    with pytest.raises(Conflict) as refusal:
        await issue(servicer, a_policy(from_date=date(2021, 12, 31), until_date=date(2022, 6, 1)))
    await issue(servicer, a_policy(from_date=date(2022, 1, 1), until_date=date(2022, 12, 31)))
    await issue(servicer, a_policy("disaster"))

    assert refusal.value.reason == "POLICY_EXISTS"


async def test_of_many_who_issue_the_same_policy_at_once_one_does(
    servicer: ClaimsServicer, db: Database
) -> None:
    answers = await asyncio.gather(
        *[issue(servicer, a_policy()) for _ in range(6)], return_exceptions=True
    )

    assert sum(isinstance(answer, str) for answer in answers) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 5
    assert await rows(db, "SELECT count(*) FROM master_policy") == [(1,)]


async def test_the_same_request_again_gets_the_same_policy(
    servicer: ClaimsServicer, db: Database
) -> None:
    request = a_policy()

    assert await issue(servicer, request) == await issue(servicer, request)
    assert await rows(db, "SELECT count(*) FROM master_policy") == [(1,)]


@pytest.mark.parametrize(
    ("request_made", "caller", "reason"),
    [
        (a_policy("nothing"), CENTRE, "COVER_UNKNOWN"),
        (a_policy(insurer_id="ins-9"), CENTRE, "INSURER_UNKNOWN"),
        (a_policy(insurer_id=BANK), CENTRE, "INSURER_UNKNOWN"),
        (a_policy(), OTHER_ADJUSTER, "INSURER_NOT_YOU"),
        (a_policy(), LENDER, "ROLE_NOT_ALLOWED"),
        (
            a_policy(),
            a_caller("county_centre", institution_id="cfc-2", county_code=OTHER_COUNTY),
            "AREA_NOT_YOURS",
        ),
    ],
)
async def test_who_may_not_issue_what(
    servicer: ClaimsServicer,
    request_made: claims_pb2.IssueMasterPolicyRequest,
    caller: Caller,
    reason: str,
) -> None:
    with pytest.raises(LiandongError) as refusal:
        await issue(servicer, request_made, caller=caller)

    assert refusal.value.reason == reason


# --- reports --------------------------------------------------------------------------------------


async def test_a_claim_is_taken_in_with_its_entry_and_its_place(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    policy_id = await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.house.registered(), loan.approved())

    claim = await report(servicer, a_report(loan.house))

    assert (claim.policy_id, claim.loan_id) == (policy_id, str(loan.loan_id))
    assert (claim.area_code, claim.programme) == (VILLAGE, "plain@1")
    assert (claim.state, claim.payable_fen) == (claims_pb2.CLAIM_STATE_REPORTED, 0)
    (event,) = await said(db, "claim_reported", events_pb2.ClaimReported)
    assert event.claim_id == claim.claim_id


async def test_each_bad_report_is_refused_with_its_reason(
    servicer: ClaimsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    loan = Loan(House())
    afar = Loan(House(area_code=OTHER_VILLAGE))
    uninsured = House()
    await take(consumer, loan.house.registered(), loan.approved(), uninsured.registered())
    await take(consumer, afar.house.registered(), afar.approved())
    await report(servicer, a_report(loan.house))

    refused = {
        "CLAIM_DUPLICATE": a_report(loan.house),
        "NOT_INSURED": a_report(uninsured),
        "LOSS_OUTSIDE_TERM": a_report(loan.house, loss_date=date(2021, 1, 3)),
    }
    for reason, request in refused.items():
        claim = await report(servicer, request)
        assert (claim.state, claim.reason_code) == (claims_pb2.CLAIM_STATE_REFUSED, reason)
    for unseen in (afar.house, House()):
        with pytest.raises(LiandongError) as refusal:
            await report(servicer, a_report(unseen))
        assert refusal.value.reason == "HOUSEHOLD_NOT_FOUND"


async def test_an_insurer_reports_only_under_its_own_policies(
    servicer: ClaimsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.house.registered(), loan.approved())

    other = await report(servicer, a_report(loan.house), caller=OTHER_ADJUSTER)
    claim = await report(servicer, a_report(loan.house), caller=SURVEYOR)

    assert other.reason_code == "NOT_INSURED"
    assert claim.state == claims_pb2.CLAIM_STATE_REPORTED


async def test_in_a_batch_each_report_has_its_own_verdict(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loans = [Loan(House()) for _ in range(3)]
    await take(consumer, *[loan.house.registered() for loan in loans])
    await take(consumer, *[loan.approved() for loan in loans])
    items = [a_report(loan.house) for loan in loans] + [a_report(loans[0].house)]
    items.insert(1, a_report(House()))
    request = claims_pb2.BatchReportClaimsRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        items=[
            claims_pb2.ClaimReport(
                household_id=item.household_id,
                cover_id=item.cover_id,
                loss_date=item.loss_date,
                cause=item.cause,
                assessed_fen=item.assessed_fen,
                documents=item.documents,
            )
            for item in items
        ],
    )

    answer = await servicer.BatchReportClaims(request, calling(CENTRE, request))
    again = await servicer.BatchReportClaims(request, calling(CENTRE, request))

    assert [v.reason for v in answer.verdicts] == ["", "NOT_INSURED", "", "", "CLAIM_DUPLICATE"]
    assert answer == again
    assert len(await said(db, "claim_reported", events_pb2.ClaimReported)) == 3


async def test_of_many_who_report_one_loss_at_once_one_is_first(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.house.registered(), loan.approved())

    answers = await asyncio.gather(*[report(servicer, a_report(loan.house)) for _ in range(6)])

    reasons = sorted(answer.reason_code for answer in answers)
    assert reasons == ["", *["CLAIM_DUPLICATE"] * 5]
    assert len(await said(db, "claim_reported", events_pb2.ClaimReported)) == 1


# --- adjudication ---------------------------------------------------------------------------------


async def test_an_approval_authorises_the_payout_with_the_lenders_before_the_household(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    house = House()
    banks, society = Loan(house), Loan(house, lender_id=SOCIETY)
    unassigned, closed = Loan(house, evidence=""), Loan(house, lender_id=SOCIETY)
    await take(consumer, *[loan.approved() for loan in (banks, society, unassigned, closed)])
    await take(consumer, closed.settled())
    claim = await report(servicer, a_report(house))

    decided = await decide(servicer, a_decision(claim))

    (event,) = await said(db, "payout_authorised", events_pb2.PayoutAuthorised)
    assert [list(group.loan_ids) for group in event.groups] == [
        [str(banks.loan_id)],
        [str(society.loan_id)],
    ]
    assert (event.payout_id, event.amount_fen) == (decided.payout_id, 4_500_000)
    assert wire.date_from_proto("value_date", event.value_date) == OPENED
    assert event.insurer_id == INSURER
    assert decided.state == claims_pb2.CLAIM_STATE_APPROVED
    assert wire.date_from_proto("due_on", decided.due_on) == date(2021, 1, 11)
    found = await payout(servicer, decided.payout_id)
    assert found.state == claims_pb2.PAYOUT_STATE_AUTHORISED
    await books_are_whole(db)


async def test_the_household_alone_is_payee_without_assignment(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    await issue(servicer, a_policy("medical"))
    loan = Loan(House(), evidence="", covers=("accident", "medical"))
    assigned = Loan(House(), covers=("medical",))

    await approved_payout(servicer, consumer, [loan])
    await approved_payout(servicer, consumer, [assigned], cover_id="medical")

    events = await said(db, "payout_authorised", events_pb2.PayoutAuthorised)
    assert [list(event.groups) for event in events] == [[], []]


async def test_a_refusal_says_why_and_authorises_nothing(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.approved())
    claim = await report(servicer, a_report(loan.house))

    with pytest.raises(Invalid):
        await decide(servicer, a_decision(claim, approve=False))
    decided = await decide(servicer, a_decision(claim, approve=False, reason="NOT_A_STORM"))
    with pytest.raises(Refused) as refusal:
        await decide(servicer, a_decision(claim))

    assert decided.state == claims_pb2.CLAIM_STATE_REFUSED
    assert refusal.value.reason == "CLAIM_NOT_OPEN"
    (event,) = await said(db, "claim_refused", events_pb2.ClaimRefused)
    assert event.reason == "NOT_A_STORM"
    assert await rows(db, "SELECT count(*) FROM payout") == [(0,)]


async def test_who_reported_does_not_decide_and_who_did_not_insure_does_not_know(
    servicer: ClaimsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.approved())
    claim = await report(servicer, a_report(loan.house), caller=SURVEYOR)

    for caller, reason in (
        (SURVEYOR, "SAME_PERSON"),
        (OTHER_ADJUSTER, "CLAIM_NOT_FOUND"),
        (CENTRE, "ROLE_NOT_ALLOWED"),
    ):
        with pytest.raises(LiandongError) as refusal:
            await decide(servicer, a_decision(claim), caller=caller)
        assert refusal.value.reason == reason
    assert (await decide(servicer, a_decision(claim))).payout_id


async def test_of_many_who_approve_one_claim_at_once_one_does(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.approved())
    claim = await report(servicer, a_report(loan.house))

    answers = await asyncio.gather(
        *[decide(servicer, a_decision(claim)) for _ in range(6)], return_exceptions=True
    )

    assert sum(isinstance(answer, claims_pb2.Claim) for answer in answers) == 1
    assert await rows(db, "SELECT count(*) FROM payout") == [(1,)]
    await books_are_whole(db)


async def test_a_claim_that_is_decided_twice_in_one_batch_is_decided_once(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    await take(consumer, loan.approved())
    claim = await report(servicer, a_report(loan.house))
    item = claims_pb2.ClaimDecision(claim_id=claim.claim_id, approve=True)
    unknown = claims_pb2.ClaimDecision(claim_id=str(uuid4()), approve=True)
    request = claims_pb2.BatchAdjudicateClaimsRequest(
        request_id=str(uuid4()), county_code=COUNTY, items=[item, unknown, item]
    )

    answer = await servicer.BatchAdjudicateClaims(request, calling(ADJUSTER, request))

    assert [v.reason for v in answer.verdicts] == ["", "CLAIM_NOT_FOUND", "CLAIM_NOT_OPEN"]
    assert answer.verdicts[0].id == claim.claim_id
    assert await rows(db, "SELECT count(*) FROM payout") == [(1,)]


# --- payouts --------------------------------------------------------------------------------------


async def test_the_bank_first_then_the_household_then_settled(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House(), principal_fen=5_000_000)
    payout_id = await approved_payout(servicer, consumer, [loan])
    assert await instructions(servicer, LENDER) == []

    told = allocated(payout_id, [(loan, 3_000_000)], 1_500_000, subrogated_fen=7)
    await take(consumer, told)
    (to_bank,) = await instructions(servicer, LENDER)
    assert await instructions(servicer, ADJUSTER) == [to_bank]
    assert (await payout(servicer, payout_id)).state == claims_pb2.PAYOUT_STATE_INSTRUCTED

    after_bank = await confirm(servicer, a_confirmation(to_bank), caller=LENDER)
    assert after_bank.state == claims_pb2.PAYOUT_STATE_HOUSEHOLD_INSTRUCTED
    assert await settled_once(db) == []
    (to_household,) = await instructions(servicer, ADJUSTER)
    assert to_household.payee_kind == claims_pb2.PAYEE_KIND_HOUSEHOLD
    assert (to_household.payee_id, to_household.amount_fen) == (
        str(loan.house.household_id),
        1_500_000,
    )

    after_all = await confirm(servicer, a_confirmation(to_household), caller=ADJUSTER)
    assert after_all.state == claims_pb2.PAYOUT_STATE_SETTLED
    (event,) = await said(db, "payout_settled", events_pb2.PayoutSettled)
    assert (event.lenders_fen, event.household_fen) == (3_000_000, 1_500_000)
    (part,) = event.parts
    assert (part.lender_id, part.amount_fen, part.subrogated_fen) == (BANK, 3_000_000, 7)
    await books_are_whole(db)
    found = await totals(db)
    assert found["claims.confirmed_fen"] == found["claims.payout_amount_fen"] == 4_500_000
    assert found["claims.payouts_unsettled_count"] == 0


async def test_the_household_waits_for_every_lender(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    house = House()
    one, two = Loan(house, principal_fen=2_000_000), Loan(house, lender_id=SOCIETY)
    payout_id = await approved_payout(servicer, consumer, [one, two], assessed_fen=2_000_000)
    await take(consumer, allocated(payout_id, [(one, 1_000_000), (two, 600_000)], 400_000))

    (to_bank,) = await instructions(servicer, LENDER)
    (to_society,) = await instructions(servicer, SOCIETY_LENDER)
    half = await confirm(servicer, a_confirmation(to_society), caller=SOCIETY_LENDER)
    assert half.state == claims_pb2.PAYOUT_STATE_INSTRUCTED
    whole = await confirm(servicer, a_confirmation(to_bank), caller=LENDER)

    assert whole.state == claims_pb2.PAYOUT_STATE_HOUSEHOLD_INSTRUCTED
    assert len((await payout(servicer, payout_id)).instructions) == 3
    await books_are_whole(db)


async def test_lenders_that_confirm_at_the_same_moment_open_the_household_once(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    for _ in range(5):
        house = House()
        loans = [Loan(house), Loan(house, lender_id=OTHER_BANK), Loan(house, lender_id=SOCIETY)]
        payout_id = await approved_payout(servicer, consumer, loans, assessed_fen=1_000)
        await take(consumer, allocated(payout_id, [(loan, 300) for loan in loans], 100))
    asked = [
        (caller, instruction)
        for caller in (LENDER, OTHER_LENDER, SOCIETY_LENDER)
        for instruction in await instructions(servicer, caller)
    ]
    assert len(asked) == 15

    answers = await asyncio.gather(
        *[
            confirm(servicer, a_confirmation(instruction), caller=caller)
            for caller, instruction in asked * 2
        ],
        return_exceptions=True,
    )

    refused = [answer.reason for answer in answers if isinstance(answer, LiandongError)]
    assert refused == ["INSTRUCTION_NOT_OPEN"] * 15
    waiting = await instructions(servicer, ADJUSTER)
    assert [i.amount_fen for i in waiting] == [100] * 5
    await books_are_whole(db)


async def test_without_a_lender_part_the_household_is_instructed_at_once(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House(), evidence="")
    payout_id = await approved_payout(servicer, consumer, [loan])

    await take(consumer, allocated(payout_id, [], 4_500_000))

    (to_household,) = await instructions(servicer, ADJUSTER)
    await confirm(servicer, a_confirmation(to_household), caller=ADJUSTER)
    assert await settled_once(db) == [payout_id]
    await books_are_whole(db)


async def test_a_payout_that_lenders_take_whole_settles_without_the_household(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    payout_id = await approved_payout(servicer, consumer, [loan])
    await take(consumer, allocated(payout_id, [(loan, 4_500_000)], 0))

    (to_bank,) = await instructions(servicer, LENDER)
    await confirm(servicer, a_confirmation(to_bank), caller=LENDER)

    assert await settled_once(db) == [payout_id]
    assert await instructions(servicer, ADJUSTER) == []
    await books_are_whole(db)


async def test_only_the_payee_confirms_only_what_was_instructed_only_once(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    loan = Loan(House())
    payout_id = await approved_payout(servicer, consumer, [loan])
    await take(consumer, allocated(payout_id, [(loan, 3_000_000)], 1_500_000))
    (to_bank,) = await instructions(servicer, LENDER)
    good = a_confirmation(to_bank)

    for caller, request, reason in (
        (LENDER, a_confirmation(to_bank, off_fen=1), "CONFIRMATION_ABOVE_INSTRUCTION"),
        (LENDER, a_confirmation(to_bank, off_fen=-1), "CONFIRMATION_BELOW_INSTRUCTION"),
        (LENDER, a_confirmation(to_bank, on=date(2021, 1, 5)), "VALUE_DATE_OUT_OF_RANGE"),
        (OTHER_LENDER, a_confirmation(to_bank), "INSTRUCTION_NOT_FOUND"),
        (ADJUSTER, a_confirmation(to_bank), "INSTRUCTION_NOT_FOUND"),
        (CENTRE, a_confirmation(to_bank), "ROLE_NOT_ALLOWED"),
    ):
        with pytest.raises(LiandongError) as refusal:
            await confirm(servicer, request, caller=caller)
        assert refusal.value.reason == reason
    first = await confirm(servicer, good, caller=LENDER)
    again = await confirm(servicer, good, caller=LENDER)
    with pytest.raises(Refused) as second:
        await confirm(servicer, a_confirmation(to_bank), caller=LENDER)

    assert first == again
    assert second.value.reason == "INSTRUCTION_NOT_OPEN"
    await books_are_whole(db)


async def test_a_lender_confirms_a_batch_and_each_item_has_its_verdict(
    servicer: ClaimsServicer, consumer: Consumer, db: Database
) -> None:
    await issue(servicer)
    house = House()
    loans = [Loan(house, principal_fen=1_000_000), Loan(house)]
    payout_id = await approved_payout(servicer, consumer, loans, assessed_fen=900_000)
    await take(consumer, allocated(payout_id, [(loan, 400_000) for loan in loans], 100_000))
    found = await instructions(servicer, LENDER)
    items = [
        claims_pb2.PaymentConfirmation(
            instruction_id=i.instruction_id,
            confirmed_fen=i.amount_fen,
            value_date=wire.date_to_proto(OPENED),
        )
        for i in (*found, found[0])
    ]
    request = claims_pb2.BatchConfirmPaymentsRequest(
        request_id=str(uuid4()), county_code=COUNTY, items=items
    )

    answer = await servicer.BatchConfirmPayments(request, calling(LENDER, request))

    assert [v.reason for v in answer.verdicts] == ["", "", "INSTRUCTION_NOT_OPEN"]
    assert len(await instructions(servicer, ADJUSTER)) == 1
    await books_are_whole(db)


# --- reading --------------------------------------------------------------------------------------


async def listed(
    servicer: ClaimsServicer, caller: Caller, **asked: object
) -> claims_pb2.ListClaimsResponse:
    request = claims_pb2.ListClaimsRequest(county_code=COUNTY, **asked)  # type: ignore[arg-type] # by name
    return await servicer.ListClaims(request, calling(caller, request))


async def test_everyone_sees_only_what_is_theirs(
    servicer: ClaimsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    await issue(servicer, a_policy("disaster", insurer_id=OTHER_INSURER))
    near = Loan(House(), covers=("accident", "disaster"))
    far = Loan(House(area_code=OTHER_VILLAGE), lender_id=SOCIETY)
    await take(consumer, near.approved(), far.approved())
    first = await report(servicer, a_report(near.house), caller=CENTRE)
    second = await report(servicer, a_report(near.house, cover_id="disaster"), caller=CENTRE)
    third = await report(servicer, a_report(far.house), caller=CENTRE)

    seen = {
        caller.institution_id: [c.claim_id for c in (await listed(servicer, caller)).claims]
        for caller in (
            CENTRE,
            AUDITOR,
            VILLAGE_DEPARTMENT,
            ADJUSTER,
            OTHER_ADJUSTER,
            LENDER,
            SOCIETY_LENDER,
        )
    }

    everything = [first.claim_id, second.claim_id, third.claim_id]
    assert seen[CENTRE.institution_id] == seen[AUDITOR.institution_id] == everything
    assert seen[VILLAGE_DEPARTMENT.institution_id] == everything[:2]
    assert seen[INSURER] == [first.claim_id, third.claim_id]
    assert seen[OTHER_INSURER] == [second.claim_id]
    assert seen[BANK] == everything[:2]
    assert seen[SOCIETY] == [third.claim_id]
    request = claims_pb2.GetClaimRequest(county_code=COUNTY, claim_id=third.claim_id)
    with pytest.raises(NotFound):
        await servicer.GetClaim(request, calling(VILLAGE_DEPARTMENT, request))
    with pytest.raises(Denied):
        await listed(servicer, VILLAGE_DEPARTMENT, within=OTHER_VILLAGE)


async def test_a_lender_sees_of_a_payout_only_its_own_instructions(
    servicer: ClaimsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    house = House()
    loans = [Loan(house), Loan(house, lender_id=SOCIETY)]
    payout_id = await approved_payout(servicer, consumer, loans, assessed_fen=1_000)
    await take(consumer, allocated(payout_id, [(loan, 400) for loan in loans], 200))

    seen = await payout(servicer, payout_id, caller=LENDER)
    with pytest.raises(NotFound):
        await payout(servicer, payout_id, caller=OTHER_LENDER)
    with pytest.raises(NotFound):
        await payout(servicer, payout_id, caller=OTHER_ADJUSTER)

    assert [i.payee_id for i in seen.instructions] == [BANK]


async def test_lists_go_page_by_page_and_by_state(
    servicer: ClaimsServicer, consumer: Consumer
) -> None:
    await issue(servicer)
    loans = [Loan(House()) for _ in range(5)]
    await take(consumer, *[loan.approved() for loan in loans])
    claims = [await report(servicer, a_report(loan.house)) for loan in loans]
    await decide(servicer, a_decision(claims[0]))

    first = await listed(servicer, CENTRE, page_size=3)
    second = await listed(servicer, CENTRE, page_size=3, page_token=first.next_page_token)
    approved = await listed(servicer, CENTRE, state=claims_pb2.CLAIM_STATE_APPROVED)

    assert [c.claim_id for c in (*first.claims, *second.claims)] == [c.claim_id for c in claims]
    assert second.next_page_token == ""
    assert [c.claim_id for c in approved.claims] == [claims[0].claim_id]
    with pytest.raises(Invalid):
        await listed(servicer, CENTRE, page_token="bm90LWFuLWlk")


async def test_a_paused_cover_takes_no_new_policy(servicer: ClaimsServicer, db: Database) -> None:
    async with db.transaction() as session:
        made = await pauses.propose(
            session,
            kind=pauses.PRODUCT,
            subject=f"{PROGRAMME}/accident",
            county_code=COUNTY,
            reason="its terms are being changed",
            expires_at=None,
            person_id="opr-1-p1",
        )
        await pauses.decide(session, made["pause_id"], confirm=True, person_id="opr-1-p2")

    with pytest.raises(Refused) as refusal:
        await issue(servicer)

    assert refusal.value.reason == "PRODUCT_PAUSED"
    assert await issue(servicer, a_policy("disaster"))
