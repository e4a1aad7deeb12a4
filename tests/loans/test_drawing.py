"""Money that goes out in parts: limits that revolve, batches of controlled loans, the machine."""

from datetime import date, timedelta
from typing import Any

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Denied, NotFound, Refused
from services.kernel.walls import EVERY_COUNTY
from services.loans import store
from services.loans.events_in import handlers
from services.loans.model import Breaker, BreakerScope
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import plenty, steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    CASHIER,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_LENDER,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    House,
    a_caller,
    calling,
    day,
)
from tests.loans.plenty import Entity, an_application, ask, command, particulars

pytestmark = pytest.mark.postgres

ACTIVE = loans_pb2.LOAN_STATE_ACTIVE
APPROVED = loans_pb2.LOAN_STATE_APPROVED
SETTLED = loans_pb2.LOAN_STATE_SETTLED
SECOND_CENTRE = a_caller("county_centre", institution_id="cfc-1", post=2)
LIMIT = 30_000 * YUAN


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return plenty.a_catalogue()


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> LoansServicer:
    return LoansServicer(db, catalogue)


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "loans", handlers(catalogue), batch_size_max=500)


def online(**changes: Any) -> loans_pb2.Particulars:
    return particulars(
        channel="online",
        identity_proof="remote_biometric",
        proposed_rate_ppm=43_500,
        **changes,
    )


async def a_limit(
    servicer: LoansServicer, consumer: Consumer, house: House | None = None
) -> loans_pb2.Loan:
    """An online limit of 30,000 yuan, granted by the machine."""
    house = house or House()
    await steps.know(consumer, house)
    answer = await ask(servicer, LENDER, an_application(house, "online_credit", online()))
    assert list(answer.findings) == []
    return answer.loan


async def draw(
    servicer: LoansServicer, loan_id: str, amount_fen: int, caller: Any = CASHIER, **values: Any
) -> loans_pb2.Loan:
    values = {"channel": "online", "identity_proof": "face_recognition", **values}
    request = command(loans_pb2.DrawOnLimitRequest, loan_id, amount_fen=amount_fen, **values)
    return (await servicer.DrawOnLimit(request, calling(caller, request))).loan


async def trip(db: Database, *effects: str, village: str = VILLAGE) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        scope = Breaker(COUNTY, BreakerScope.VILLAGE, village, True, 0, effects, 6, 100, 0)
        await store.trip_breakers(session, [scope])


# --- straight through -----------------------------------------------------------------------------


async def test_online_credit_is_approved_in_the_moment_it_is_asked_for(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await a_limit(servicer, consumer)

    assert (loan.state, loan.rate_ppm) == (APPROVED, 43_500)
    assert loan.revolving_until == day(date(2022, 1, 4))
    assert await steps.story(db, loan.loan_id) == ["loan_applied", "loan_approved"]
    kept = await plenty.file_of(servicer, loan.loan_id, LENDER)
    assert [(step.person_id, step.body) for step in kept.steps] == [("machine", "online_model")]
    assert kept.due_at
    await draw(servicer, loan.loan_id, LIMIT)
    kept = await plenty.file_of(servicer, loan.loan_id, LENDER)
    assert kept.done_on == day(OPENED)
    assert not kept.late


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"proposed_rate_ppm": 0}, "LOAN_RATE_MISSING"),
        ({"proposed_rate_ppm": 70_001}, "LOAN_RATE_NOT_ALLOWED"),
        ({"fees": [loans_pb2.Fee(code="service", amount_fen=100)]}, "FEE_NOT_ALLOWED"),
        ({"channel": "counter"}, "CHANNEL_NOT_OFFERED"),
    ],
)
async def test_the_machine_refuses_what_a_rule_forbids(
    servicer: LoansServicer, consumer: Consumer, changes: dict[str, Any], reason: str
) -> None:
    house = House()
    await steps.know(consumer, house)
    stated = online()
    stated.MergeFrom(loans_pb2.Particulars(fees=changes.pop("fees", [])))
    for name, value in changes.items():
        setattr(stated, name, value)

    answer = await ask(servicer, LENDER, an_application(house, "online_credit", stated))

    assert answer.loan.state == loans_pb2.LOAN_STATE_REFUSED
    assert list(answer.loan.refusal_reasons) == [reason]


# --- limits ---------------------------------------------------------------------------------------


# S33
async def test_a_limit_is_drawn_repaid_and_drawn_again_until_its_last_day(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house = House()
    loan_id = (await a_limit(servicer, consumer, house)).loan_id

    first = await draw(servicer, loan_id, 20_000 * YUAN)
    assert (first.state, first.outstanding_fen, first.undrawn_fen) == (
        ACTIVE,
        20_000 * YUAN,
        10_000 * YUAN,
    )
    assert first.next_due_on == day(date(2021, 2, 4))
    with pytest.raises(Refused, match="DRAW_ABOVE_LIMIT") as above:
        await draw(servicer, loan_id, 10_000 * YUAN + 1)
    assert above.value.facts["available_fen"] == str(10_000 * YUAN)
    full = await draw(servicer, loan_id, 10_000 * YUAN)
    assert full.undrawn_fen == 0

    on = await steps.advance(db, catalogue, 10)
    owed = 30_000 * YUAN + 3_000_000 * 43_500 * 10 // 360 // 1_000_000
    empty = await steps.repay(servicer, loan_id, owed + 1, on=on)
    # Nothing is owed, and it goes on: what was paid back may be drawn again.
    assert (empty.state, empty.outstanding_fen, empty.undrawn_fen) == (ACTIVE, 0, LIMIT)
    assert not empty.HasField("next_due_on")
    assert await steps.exposure(db, house) == LIMIT
    again = await draw(servicer, loan_id, 5_000 * YUAN)
    assert again.next_due_on == day(date(2021, 2, 4))
    assert await steps.story(db, loan_id) == [
        "loan_applied",
        "loan_approved",
        "loan_disbursed",
        "loan_drawn",
        "loan_repaid",
        "loan_drawn",
    ]
    (second, third) = await steps.said(db, "loan_drawn", events_pb2.LoanDrawn)
    assert (second.undrawn_fen, third.undrawn_fen) == (0, 25_000 * YUAN)
    await steps.books_are_whole(db)


async def test_a_limit_that_is_over_is_drawn_no_more_and_settles_once_paid(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    house, other = House(), House()
    loan_id = (await a_limit(servicer, consumer, house)).loan_id
    empty_id = (await a_limit(servicer, consumer, other)).loan_id
    for limit_id in (loan_id, empty_id):
        await draw(servicer, limit_id, 10_000 * YUAN)
        await steps.repay(servicer, limit_id, 10_000 * YUAN)
    await steps.advance(db, catalogue, 365)
    last = await draw(servicer, loan_id, 11_000 * YUAN)
    assert last.next_due_on == day(date(2022, 1, 4))

    on = await steps.advance(db, catalogue, 2)

    for limit_id in (loan_id, empty_id):
        with pytest.raises(Refused, match="LIMIT_EXPIRED"):
            await draw(servicer, limit_id, 1)
    ended = await steps.get(servicer, loan_id)
    assert (ended.state, ended.undrawn_fen, ended.overdue_days > 0) == (ACTIVE, 0, True)
    assert (await steps.get(servicer, empty_id)).state == SETTLED
    assert await steps.exposure(db, other) == 0
    paid = await steps.repay(servicer, loan_id, 20_000 * YUAN, on=on)
    assert paid.state == SETTLED
    await steps.books_are_whole(db)


async def test_a_draw_stops_before_a_breaker_a_sanction_a_stranger_and_a_missing_proof(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    loan_id = (await a_limit(servicer, consumer, house)).loan_id

    with pytest.raises(Refused, match="IDENTITY_NOT_PROVEN"):
        await draw(servicer, loan_id, 1, identity_proof="selfie")
    with pytest.raises(NotFound, match="LOAN_NOT_FOUND"):
        await draw(servicer, loan_id, 1, OTHER_LENDER)
    with pytest.raises(Refused, match="REVOLVING_LIMIT"):
        await steps.disburse(servicer, loan_id)
    await steps.take(consumer, plenty.listed(house, "evader", sequence=2))
    with pytest.raises(Refused, match="SANCTIONED"):
        await draw(servicer, loan_id, 1)
    await steps.take(consumer, plenty.released(house, sequence=3))
    await trip(db, "stop_draw")
    with pytest.raises(Refused, match="BREAKER_TRIPPED") as stopped:
        await draw(servicer, loan_id, 1)
    assert stopped.value.facts["numerator"] == "6"
    assert (await steps.get(servicer, loan_id)).state == APPROVED


async def test_a_village_draws_on_its_line_and_gives_up_the_rest(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    village = Entity("village_company")
    await steps.take(consumer, village.registered())
    request = an_application(village, "village_line", particulars(birth_date=None))
    loan = (await ask(servicer, VILLAGE_DEPARTMENT, request)).loan
    assert loan.borrower_class == "village_collective"
    await steps.decide(servicer, loan.loan_id, "county_checks", CENTRE)
    await steps.decide(servicer, loan.loan_id, "bank_approves", APPROVER)
    with pytest.raises(Refused, match="SAME_PERSON"):
        await draw(servicer, loan.loan_id, 1, APPROVER, channel="counter")
    drawn = await draw(servicer, loan.loan_id, 10_000 * YUAN, channel="counter")
    assert drawn.matures_on == drawn.next_due_on == day(date(2024, 1, 4))

    give_up = command(loans_pb2.GiveUpUndrawnRequest, loan.loan_id)
    left = (await servicer.GiveUpUndrawn(give_up, calling(CASHIER, give_up))).loan
    assert (left.state, left.undrawn_fen) == (ACTIVE, 0)
    give_up = command(loans_pb2.GiveUpUndrawnRequest, loan.loan_id)
    with pytest.raises(Refused, match="NOTHING_UNDRAWN"):
        await servicer.GiveUpUndrawn(give_up, calling(CASHIER, give_up))
    assert (await steps.repay(servicer, loan.loan_id, 10_000 * YUAN)).state == SETTLED
    await steps.books_are_whole(db)


# --- batches --------------------------------------------------------------------------------------


async def a_controlled_loan(
    servicer: LoansServicer, consumer: Consumer, principal_fen: int = 800_000 * YUAN
) -> str:
    """An approved loan of a co-operative; half a million and more is controlled (S51)."""
    entity = Entity()
    await steps.take(consumer, entity.registered())
    stated = particulars(birth_date=None, proposed_rate_ppm=36_000)
    request = an_application(entity, "entity_credit", stated, principal_fen=principal_fen)
    loan_id = (await ask(servicer, CENTRE, request)).loan.loan_id
    for step, caller in (
        ("village_recommends", VILLAGE_DEPARTMENT),
        ("group_advises", CENTRE),
        ("bank_investigates", LENDER),
        ("insurer_investigates", plenty.UNDERWRITER),
        ("county_approves", SECOND_CENTRE),
    ):
        decision = command(
            loans_pb2.DecideApplicationRequest,
            loan_id,
            step=step,
            approve=True,
            evidence="sha256:paper",
        )
        await servicer.DecideApplication(decision, calling(caller, decision))
    return loan_id


async def request_batch(
    servicer: LoansServicer, loan_id: str, amount_fen: int, **values: Any
) -> loans_pb2.Batch:
    request = command(
        loans_pb2.RequestBatchRequest,
        loan_id,
        amount_fen=amount_fen,
        purpose="cold store",
        **{"evidence": "sha256:contract", "supplier": "acc-7", **values},
    )
    return (await servicer.RequestBatch(request, calling(CENTRE, request))).batch


async def sign(
    servicer: LoansServicer, loan_id: str, number: int, kind: str, caller: Any, **values: Any
) -> loans_pb2.Batch:
    request = command(
        loans_pb2.SignBatchRequest,
        loan_id,
        number=number,
        kind=loans_pb2.SignatureKind.Value(f"SIGNATURE_KIND_{kind}"),
        **values,
    )
    return (await servicer.SignBatch(request, calling(caller, request))).batch


async def pay(
    servicer: LoansServicer, loan_id: str, number: int, evidence: str = "sha256:transfer"
) -> loans_pb2.PayBatchResponse:
    request = command(loans_pb2.PayBatchRequest, loan_id, number=number, payment_evidence=evidence)
    return await servicer.PayBatch(request, calling(CASHIER, request))


async def signed(servicer: LoansServicer, loan_id: str, number: int) -> None:
    await sign(servicer, loan_id, number, "COUNTY_APPROVAL", SECOND_CENTRE)
    await sign(
        servicer,
        loan_id,
        number,
        "JOINT_SIGNATURES",
        VILLAGE_DEPARTMENT,
        party="cooperative",
        evidence="sha256:seal",
    )
    await sign(servicer, loan_id, number, "JOINT_SIGNATURES", LENDER, party="lender")


# LS18.loa.1, S51
async def test_a_large_loan_goes_out_batch_by_batch_each_with_all_its_papers(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan_id = await a_controlled_loan(servicer, consumer)
    with pytest.raises(Refused, match="CONTROLLED_DRAWDOWN"):
        await steps.disburse(servicer, loan_id)
    batch = await request_batch(servicer, loan_id, 500_000 * YUAN)
    with pytest.raises(Refused, match="BATCH_INCOMPLETE") as lacking:
        await pay(servicer, loan_id, batch.number, evidence="")
    assert lacking.value.facts["missing"] == "county_approval, entrusted_payment, joint_signatures"

    with pytest.raises(Refused, match="SAME_PERSON"):
        await sign(servicer, loan_id, 1, "COUNTY_APPROVAL", CENTRE)
    with pytest.raises(Denied, match="NOT_THE_STEPS_ORGAN"):
        await sign(servicer, loan_id, 1, "COUNTY_APPROVAL", LENDER)
    with pytest.raises(Refused, match="SIGNATURE_NOT_WANTED"):
        await sign(servicer, loan_id, 1, "PROGRESS_SIGNED", SECOND_CENTRE)
    with pytest.raises(Refused, match="EVIDENCE_NEEDED"):
        await sign(
            servicer, loan_id, 1, "JOINT_SIGNATURES", VILLAGE_DEPARTMENT, party="cooperative"
        )
    with pytest.raises(Refused, match="NOT_A_SIGNATORY"):
        await sign(servicer, loan_id, 1, "JOINT_SIGNATURES", SECOND_CENTRE, party="county_centre")
    await signed(servicer, loan_id, 1)
    first = await pay(servicer, loan_id, 1)
    assert (first.loan.state, first.loan.outstanding_fen, first.loan.undrawn_fen) == (
        ACTIVE,
        500_000 * YUAN,
        300_000 * YUAN,
    )
    with pytest.raises(Refused, match="BATCH_PAID"):
        await pay(servicer, loan_id, 1)

    with pytest.raises(Refused, match="BATCH_ABOVE_LOAN"):
        await request_batch(servicer, loan_id, 300_000 * YUAN + 1)
    await request_batch(servicer, loan_id, 300_000 * YUAN, supplier="")
    await signed(servicer, loan_id, 2)
    with pytest.raises(Refused, match="BATCH_INCOMPLETE"):
        await pay(servicer, loan_id, 2)
    listing = loans_pb2.ListBatchesRequest(county_code=COUNTY, loan_id=loan_id)
    batches = (await servicer.ListBatches(listing, calling(LENDER, listing))).batches
    assert [(each.number, each.paid) for each in batches] == [(1, True), (2, False)]

    # What was paid out is repaid; the rest is still to come, so that the loan goes on.
    repaid = await steps.repay(servicer, loan_id, 500_000 * YUAN)
    assert repaid.state == ACTIVE
    give_up = command(loans_pb2.GiveUpUndrawnRequest, loan_id)
    done = (await servicer.GiveUpUndrawn(give_up, calling(CASHIER, give_up))).loan
    assert done.state == SETTLED
    await steps.books_are_whole(db)


# S51, G-063
async def test_a_batch_without_its_papers_keeps_nothing_back_from_the_next(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan_id = await a_controlled_loan(servicer, consumer)
    await request_batch(servicer, loan_id, 500_000 * YUAN, evidence="")
    await signed(servicer, loan_id, 1)
    with pytest.raises(Refused, match="BATCH_INCOMPLETE"):
        await pay(servicer, loan_id, 1)

    whole = await request_batch(servicer, loan_id, 800_000 * YUAN)
    await signed(servicer, loan_id, whole.number)
    paid = await pay(servicer, loan_id, whole.number)

    assert (paid.loan.outstanding_fen, paid.loan.undrawn_fen) == (800_000 * YUAN, 0)
    with pytest.raises(Refused, match="BATCH_INCOMPLETE"):
        await pay(servicer, loan_id, 1)
    await steps.books_are_whole(db)


async def test_a_batch_stops_before_a_breaker(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan_id = await a_controlled_loan(servicer, consumer)
    await request_batch(servicer, loan_id, 800_000 * YUAN)
    await signed(servicer, loan_id, 1)
    await trip(db, "stop_disburse")

    with pytest.raises(Refused, match="BREAKER_TRIPPED"):
        await pay(servicer, loan_id, 1)

    assert (await steps.get(servicer, loan_id)).state == APPROVED
    await steps.books_are_whole(db)


# S51: from the threshold on, inclusive.
async def test_below_the_threshold_a_loan_goes_out_at_once(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    loan_id = await a_controlled_loan(servicer, consumer, 500_000 * YUAN - 1)

    with pytest.raises(Refused, match="NOT_CONTROLLED"):
        await request_batch(servicer, loan_id, 1_000)
    paid = await steps.disburse(servicer, loan_id)

    assert (paid.outstanding_fen, paid.undrawn_fen) == (500_000 * YUAN - 1, 0)
    assert paid.next_due_on == day(OPENED + timedelta(days=90))
