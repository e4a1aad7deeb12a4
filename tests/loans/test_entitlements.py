"""Entitlements on a real database: due by the pack, approved by a second person, paid once."""

from datetime import date, timedelta
from typing import Any

import pytest
from liandong.loans.v1 import entitlements_pb2

from services.kernel import journal
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.walls import EVERY_COUNTY
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import after_loan, steps
from tests.loans.after_loan import AGRICULTURE, FINANCE, FINANCE_CHECKER, STATION, Desk
from tests.loans.county import (
    AUDITOR,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_LENDER,
    VILLAGE_DEPARTMENT,
    House,
    a_caller,
    day,
)

pytestmark = pytest.mark.postgres

AGRICULTURE_CHECKER = a_caller("agriculture_bureau", institution_id="agb-1", post=2)
LENDER_CHECKER = a_caller("bank", institution_id="rcb-1", post=2)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return after_loan.catalogue()


@pytest.fixture
def ask(db: Database, catalogue: Catalogue) -> Desk:
    return Desk(db, catalogue)


async def refused(reason: str, work: Any) -> LiandongError:
    with pytest.raises(LiandongError) as refusal:
        await work
    assert refusal.value.reason == reason
    return refusal.value


async def record(ask: Desk, house: House, rule_id: str, caller: Any = CENTRE, **values: Any) -> Any:
    item = {
        "household_id": str(house.household_id),
        "rule_id": rule_id,
        "evidence": "sha256:ab",
        "due_on": day(OPENED),
        **values,
    }
    wanted = entitlements_pb2.EntitlementWanted(**item)
    [verdict] = (await ask("RecordEntitlements", caller, items=[wanted])).verdicts
    return verdict


async def approve(ask: Desk, entitlement_id: str, caller: Any) -> str:
    answer = await ask("ApproveEntitlements", caller, entitlement_ids=[entitlement_id])
    return str(answer.verdicts[0].reason)


async def pay(ask: Desk, entitlement_id: str, caller: Any, *, on: date = OPENED) -> str:
    item = entitlements_pb2.EntitlementPayment(
        entitlement_id=entitlement_id, reference="pay-1", paid_on=day(on)
    )
    return str((await ask("PayEntitlements", caller, items=[item])).verdicts[0].reason)


async def test_a_grant_goes_from_due_to_paid_through_different_persons(
    ask: Desk, consumer: Consumer, db: Database
) -> None:
    # MAS.loa.5
    house = House(status="registered_poor")
    await steps.know(consumer, house)
    made = await record(ask, house, "industry_grant", met=["self_development"])
    assert made.accepted
    assert await pay(ask, made.id, FINANCE) == "ENTITLEMENT_STATE"
    assert await approve(ask, made.id, CENTRE) == "SAME_PERSON"
    assert not await approve(ask, made.id, FINANCE)
    assert await approve(ask, made.id, FINANCE) == "ENTITLEMENT_STATE"
    assert await pay(ask, made.id, AGRICULTURE) == "NOT_THE_PAYER"
    assert await pay(ask, made.id, FINANCE) == "SAME_PERSON"
    tomorrow, yesterday = OPENED + timedelta(days=1), OPENED - timedelta(days=1)
    assert await pay(ask, made.id, FINANCE_CHECKER, on=tomorrow) == "DATED_AHEAD"
    assert await pay(ask, made.id, FINANCE_CHECKER, on=yesterday) == "PAID_BEFORE_APPROVED"
    assert not await pay(ask, made.id, FINANCE_CHECKER)

    file = await ask("GetEntitlement", CENTRE, entitlement_id=made.id)

    assert file.entitlement.state == entitlements_pb2.ENTITLEMENT_STATE_PAID
    assert (file.entitlement.amount_fen, file.entitlement.payer) == (300_000, "finance_bureau")
    assert [(each.what, each.person_id) for each in file.steps] == [
        ("recorded", "cfc-1-p1"),
        ("approved", "fin-1-p1"),
        ("paid", "fin-1-p2"),
    ]
    async with db.transaction(EVERY_COUNTY) as session:
        balances = await journal.balances(session, COUNTY)
    assert (balances["entitlement_paid"], balances["payer_cash"]) == (300_000, -300_000)
    assert await steps.story(db, made.id) == [
        "entitlement_due",
        "entitlement_approved",
        "entitlement_paid",
    ]
    late = {"entitlement_id": made.id, "reason": "late"}
    await refused("ENTITLEMENT_STATE", ask("WithdrawEntitlement", FINANCE, **late))
    await steps.books_are_whole(db)


async def test_what_is_given_once_is_given_once_unless_withdrawn(
    ask: Desk, consumer: Consumer
) -> None:
    house = House(status="registered_poor")
    await steps.know(consumer, house)
    once: dict[str, Any] = {"rule_id": "industry_grant", "met": ["self_development"]}
    answers = await steps.at_once(*[record(ask, house, **once) for _ in range(4)])
    reasons = sorted(str(getattr(each, "reason", each)) for each in answers)
    assert reasons == ["", *["ENTITLEMENT_HAD_ALREADY"] * 3]

    [made] = [each for each in answers if not isinstance(each, BaseException) and each.accepted]
    await ask("WithdrawEntitlement", FINANCE, entitlement_id=made.id, reason="moved_away")
    assert (await record(ask, house, **once)).accepted


async def test_shares_services_and_rewards_have_their_own_measure(
    ask: Desk, consumer: Consumer, servicer: LoansServicer, db: Database, catalogue: Catalogue
) -> None:
    # JX.ins.2, YY.loa.10
    house = House()
    loan = await steps.active(servicer, consumer, house, term_months=1)
    premium = await record(ask, house, "premium", cost_fen=12_345)
    training = await record(ask, house, "training", VILLAGE_DEPARTMENT)
    good = {"loan_id": loan.loan_id, "met": ["repaid_on_time"]}
    reward = await record(ask, house, "good_payer", LENDER, **good)
    assert premium.accepted
    assert training.accepted
    assert reward.accepted

    found = {each.rule_id: each for each in (await ask("ListEntitlements", CENTRE)).entitlements}

    assert (found["premium"].amount_fen, found["premium"].kind) == (7_407, "premium")
    assert (found["training"].amount_fen, found["training"].payer) == (0, "agriculture_bureau")
    assert list(found["good_payer"].effects) == ["honour", "higher_limit", "card"]
    assert found["good_payer"].payer == "lender"
    own = (await ask("ListEntitlements", LENDER)).entitlements
    assert [each.rule_id for each in own] == ["good_payer"]
    assert not (await ask("ListEntitlements", OTHER_LENDER)).entitlements
    by_payer = await ask("ListEntitlements", AUDITOR, payer="agriculture_bureau")
    assert [each.rule_id for each in by_payer.entitlements] == ["training"]
    assert await approve(ask, training.id, LENDER_CHECKER) == "NOT_THE_PAYER"
    paid_by_it = (await ask("ListEntitlements", AGRICULTURE)).entitlements
    assert [each.rule_id for each in paid_by_it] == ["training"]
    others = {"entitlement_id": premium.id}
    await refused("ENTITLEMENT_NOT_FOUND", ask("GetEntitlement", AGRICULTURE, **others))
    await refused("NOT_THE_PAYER", ask("WithdrawEntitlement", AGRICULTURE, reason="x", **others))
    assert not await approve(ask, training.id, AGRICULTURE)
    assert not await pay(ask, training.id, AGRICULTURE_CHECKER)
    assert not await approve(ask, reward.id, CENTRE)
    assert await pay(ask, reward.id, OTHER_LENDER) == "NOT_THE_PAYER"
    assert not await pay(ask, reward.id, LENDER_CHECKER)
    await steps.books_are_whole(db)

    late = House()
    overdue = await steps.active(servicer, consumer, late, term_months=1)
    await steps.advance(db, catalogue, 40)
    verdict = await record(ask, late, "good_payer", loan_id=overdue.loan_id, met=["repaid_on_time"])
    assert verdict.reason == "CONDITIONS_NOT_MET"


@pytest.mark.parametrize(
    ("rule_id", "values", "reason", "field"),
    [
        ("industry_grant", {}, "CONDITIONS_NOT_MET", "met"),
        ("premium", {}, "COST_MISSING", "cost_fen"),
        ("interest", {}, "PAID_WITH_THE_SUBSIDY", ""),
        ("mystery", {}, "PROGRAMME_VALUE_OPEN", ""),
        ("bicycle", {}, "ENTITLEMENT_UNKNOWN", "rule_id"),
        ("good_payer", {"met": ["repaid_on_time"]}, "LOAN_NOT_FOUND", "loan_id"),
        ("training", {"due_on": day(OPENED + timedelta(days=1))}, "DATED_AHEAD", "due_on"),
        ("training", {"loan_id": steps.an_id()}, "LOAN_NOT_FOUND", ""),
        ("training", {"household_id": steps.an_id()}, "HOUSEHOLD_NOT_FOUND", ""),
    ],
)
async def test_bad_entitlements_are_refused_with_field_and_rule(
    ask: Desk,
    consumer: Consumer,
    *,
    rule_id: str,
    values: dict[str, Any],
    reason: str,
    field: str,
) -> None:
    house = House(status="registered_poor")
    await steps.know(consumer, house)

    verdict = await record(ask, house, rule_id, **values)

    assert verdict.reason == reason
    assert [each.field for each in verdict.violations] == ([field] if field else [])


async def test_a_grant_is_for_its_class_and_a_desk_for_its_area(
    ask: Desk, consumer: Consumer
) -> None:
    house = House()
    await steps.know(consumer, house)
    met = {"met": ["self_development"]}
    assert (await record(ask, house, "industry_grant", **met)).reason == "NOT_FOR_THIS_BORROWER"
    far = House(area_code="990101002001", status="registered_poor")
    await steps.know(consumer, far)
    assert (await record(ask, far, "training", STATION)).reason == "HOUSEHOLD_NOT_FOUND"
    missing = ask("GetEntitlement", CENTRE, entitlement_id=steps.an_id())
    await refused("ENTITLEMENT_NOT_FOUND", missing)
