"""A county's history under another pack, on a real PostgreSQL; under its own it is the books."""

import random
from dataclasses import replace
from datetime import date, timedelta

import pytest
from liandong.claims.v1 import events_pb2 as claims
from liandong.funds.v1 import funds_pb2, watch_pb2

from services.funds.operations import watch as operations
from services.funds.operations.watch import Question
from services.funds.servicer import FundsServicer
from services.funds.servicer.watch import WatchServicer
from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database, fetch
from services.kernel.errors import Denied, Invalid, NotFound, Refused
from services.kernel.inbox import Delivery
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue, load_texts
from tests.funds import steps
from tests.funds.casework import Casework
from tests.funds.county import (
    _PACK,
    AUDITOR,
    BANK,
    CENTRE,
    COUNTY,
    GUARANTOR,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_LENDER,
    PROGRAMME,
    REF,
    TREASURY,
    Loan,
    calling,
    payout_settled,
    told,
)

pytestmark = pytest.mark.postgres

OTHER = (
    _PACK.replace("id: plain", "id: other")
    .replace("multiple: 10", "multiple: 5")
    .replace(
        "{county_fund: 20, bank: 10, guarantee: 50, reguarantee: 20}",
        "{county_fund: 70, bank: 30}",
    )
    .replace("overdue_more_than_days: 70", "overdue_more_than_days: 90", 1)
)


OVERLAY = """
overlay:
  name: mine
  county: "990101"
  programme: nobody@1
  status: example
  note: {zh: 无, en: None}
values: {fund: {multiple: 3}}
"""
TURNS = (*["ask"] * 3, *["case"] * 3, "give", "back", "settle", "day", "undo", "confirm")


@pytest.fixture
def watcher(db: Database, catalogue: Catalogue) -> WatchServicer:
    return WatchServicer(db, catalogue)


async def ask(
    watcher: WatchServicer,
    *,
    ref: str = "",
    yaml: str = "",
    since: date | None = None,
    caller: Caller = TREASURY,
    file: str = "other@1.yaml",
    page_size: int = 0,
    page_token: str = "",
) -> watch_pb2.RunWhatIfResponse:
    request = watch_pb2.RunWhatIfRequest(
        county_code=COUNTY,
        programme_id=PROGRAMME,
        since=wire.date_to_proto(since),
        page_size=page_size,
        page_token=page_token,
    )
    if yaml:
        request.pack_text.file, request.pack_text.yaml = file, yaml
    else:
        request.pack_ref = ref
    caller = replace(caller, method="/liandong.funds.v1.WatchService/RunWhatIf")
    return await watcher.RunWhatIf(request, calling(caller, request))


async def bring(db: Database, day: date) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, day)


async def paid_case(
    servicer: FundsServicer, consumer: Consumer, loan: Loan, *, days: int = 80, on: date = OPENED
) -> funds_pb2.CompensationCase:
    await steps.take(consumer, loan.asks(), loan.disbursed(), loan.overdue(days, on=on))
    return await steps.decide(servicer, await steps.file(servicer, loan))


def gone(payout: Delivery) -> Delivery:
    """A payout that was settled is undone."""
    payout_id = payout.envelope.aggregate_id
    message = claims.PayoutReversed(payout_id=payout_id, reason="FRAUD")
    return told("liandong.claims.v1.payout_reversed", ("claims.payout", payout_id), 2, message)


async def confirm(db: Database, servicer: FundsServicer, loan: Loan, on: date) -> None:
    """The guarantee's share of a loan's case arrives, if there is one."""
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(
            session,
            """SELECT p.* FROM case_part AS p JOIN compensation_case USING (county_code, case_id)
               WHERE loan_id = $1 AND institution_id = 'agr-1' AND paid_fen < amount_fen""",
            loan.loan_id,
        )
    for row in rows:
        await Casework(db, servicer._catalogue).ask(
            "ConfirmShare",
            LENDER if loan._lender_id == BANK else OTHER_LENDER,
            case_id=str(row["case_id"]),
            position=row["position"],
            amount_fen=row["amount_fen"] - row["paid_fen"],
            value_date=wire.date_to_proto(on),
            reference="transfer-1",
        )


async def a_history(
    db: Database, servicer: FundsServicer, consumer: Consumer, seed: int
) -> list[date]:
    """Covers given and refused, cases paid in full and short, debts, money back; over two years."""
    chance = random.Random(seed)
    fund = await steps.open_fund(servicer, balance_fen=chance.randint(300_000, 900_000))
    pot = await steps.open_fund(servicer, kind="mutual_fund", balance_fen=150_000)
    day, days, number, covered, cases = OPENED, [OPENED], 0, list[Loan](), list[Loan]()
    payouts = list[Delivery]()
    for turn in range(90):
        what = chance.choice(TURNS)
        if what == "day":
            day += timedelta(days=chance.randint(10, 60))
            days.append(day)
            await bring(db, day)
        elif what == "give":
            to = chance.choice((fund, pot))
            await steps.contribute(servicer, to, chance.randint(1, 200_000), value_date=day)
        elif what == "ask":
            number += 1
            loan = Loan(
                number,
                principal_fen=chance.choice((200_000, 700_000, 3_000_000)) + chance.randint(1, 999),
                borrower_class=chance.choice(("poor_household", "entity")),
                lender_id=chance.choice((BANK, OTHER_BANK)),
            )
            await steps.take(consumer, loan.asks())
            if await steps.cover_state(db, loan.loan_id) == "reserved":
                await steps.take(consumer, loan.disbursed())
                covered.append(loan)
        elif what == "case" and covered:
            loan = covered.pop(chance.randrange(len(covered)))
            caller = LENDER if loan._lender_id == BANK else OTHER_LENDER
            interest = chance.randint(0, 50_000)
            await steps.take(consumer, loan.overdue(80, on=day, interest_fen=interest))
            case = await steps.file(servicer, loan, caller=caller)
            if chance.random() < 0.85:
                await steps.decide(servicer, case)
                cases.append(loan)
        elif what == "back" and cases:
            loan = chance.choice(cases)
            amount = chance.randint(1, loan.principal_fen)
            back = payout_settled(f"payout-{seed}-{turn}", loan, subrogated_fen=amount)
            await steps.take(consumer, back)
            payouts.append(back)
        elif what == "undo" and payouts:
            await steps.take(consumer, gone(payouts.pop()))
        elif what == "confirm" and cases:
            await confirm(db, servicer, chance.choice(cases), day)
        elif what == "settle" and covered:
            await steps.take(consumer, covered.pop().settled())
    return days


def _same(answer: watch_pb2.RunWhatIfResponse) -> None:
    assert answer.cases_same == answer.cases
    assert not answer.cases_not_accepted
    assert not answer.covers_refused
    assert (answer.covers_granted, answer.losses_assumed, answer.withheld_fen) == (0, 0, 0)
    assert all(row.books == row.tried for row in answer.rows)


@pytest.mark.parametrize("seed", [10, 15, 21, 29])
async def test_under_its_own_pack_a_history_is_the_books_to_the_fen(
    db: Database,
    servicer: FundsServicer,
    consumer: Consumer,
    catalogue: Catalogue,
    seed: int,
) -> None:
    days = await a_history(db, servicer, consumer, seed)
    watcher = WatchServicer(db, catalogue)

    whole = await ask(watcher, ref=REF)
    _same(whole)
    assert whole.cases > 3
    for since in (days[len(days) // 2], days[-1]):
        _same(await ask(watcher, ref=REF, since=since))

    asked = Question(COUNTY, PROGRAMME, REF, None)
    found = await operations.what_if_answer(db, catalogue, TREASURY, asked)
    for rare in ("fund_suspended", "recovery_reversed"):
        assert await steps.said(db, rare)
    for tried in found.outcome.cases:
        booked = found.history.parts[tried.case.case_id]
        assert operations._plain(tried.parts) == operations._plain(booked)
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(session, "SELECT loan_id, reserved_on FROM cover")
    given = {row["loan_id"]: row["reserved_on"] is not None for row in rows}
    assert dict(found.outcome.covers) == given
    assert not all(given.values())


async def test_another_pack_gives_what_is_worked_out_by_hand(
    db: Database, servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    """
    600,000 fen × 10 hold three loans of 2,000,000; × 5 hold one.

    Shared 20 : 10 : 50 : 20 in the books. By the other pack 70 : 30: the fund bears 1,400,000 of
    the first loss, pays 600,000 and owes 800,000; the second loan has no cover.
    """
    await steps.open_fund(servicer, balance_fen=600_000)
    loans = [Loan(number, principal_fen=2_000_000) for number in (1, 2, 3)]
    await steps.take(consumer, *(loan.asks() for loan in loans))
    for loan, days in zip(loans, (95, 95, 80), strict=True):
        await steps.take(consumer, loan.disbursed(), loan.overdue(days, on=OPENED))
        await steps.decide(servicer, await steps.file(servicer, loan))
    before = await steps.totals(db)

    answer = await ask(watcher, yaml=OTHER)

    assert answer.pack_ref == "other@1"
    found = {row.institution_id: row for row in answer.rows}
    assert {row.year for row in answer.rows} == {OPENED.year}
    fund = found["fin-1"]
    assert (fund.books.borne_fen, fund.books.paid_fen, fund.books.owed_fen) == (
        1_200_000,
        600_000,
        600_000,
    )
    assert (fund.tried.borne_fen, fund.tried.paid_fen, fund.tried.owed_fen) == (
        1_400_000,
        600_000,
        800_000,
    )
    assert found[BANK].books.borne_fen == 600_000
    # 30 % of the first, and two losses that nobody shares.
    assert found[BANK].tried.borne_fen == 600_000 + 2_000_000 + 2_000_000
    assert (found["agr-1"].books.owed_fen, found["agr-1"].tried.borne_fen) == (3_000_000, 0)
    assert {each.reason: each.count for each in answer.cases_not_accepted} == {
        "LOAN_NOT_COVERED": 2
    }
    assert {each.reason: each.count for each in answer.covers_refused} == {"LEVERAGE_REACHED": 2}
    assert (answer.cases, answer.cases_same) == (3, 0)
    assert await steps.totals(db) == before


async def test_a_later_trigger_and_a_wider_leverage(
    db: Database, servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    await steps.open_fund(servicer, balance_fen=500_000)
    await paid_case(servicer, consumer, Loan(1), days=80)
    refused = Loan(2, principal_fen=9_000_000)
    await steps.take(consumer, refused.asks())
    wider = OTHER.replace("multiple: 5", "multiple: 30")

    answer = await ask(watcher, yaml=wider)

    assert [(each.reason, each.count) for each in answer.cases_not_accepted] == [
        ("TRIGGER_NOT_PASSED", 1)
    ]
    assert answer.covers_granted == 1
    [lender] = [row for row in answer.rows if row.institution_id == BANK]
    assert lender.tried.borne_fen == lender.tried.paid_fen == 5_000_000


async def test_a_case_that_waits_is_judged_by_the_pack_and_stays_unpaid(
    servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    await steps.open_fund(servicer, balance_fen=5_000_000)
    for number, days in ((1, 80), (2, 95)):
        loan = Loan(number, principal_fen=1_000_000)
        await steps.take(consumer, loan.asks(), loan.disbursed(), loan.overdue(days, on=OPENED))
        await steps.file(servicer, loan)

    answer = await ask(watcher, yaml=OTHER)

    assert [(each.reason, each.count) for each in answer.cases_not_accepted] == [
        ("TRIGGER_NOT_PASSED", 1)
    ]
    assert (answer.cases, list(answer.rows)) == (0, [])


async def test_a_pack_that_leaves_the_multiple_open_covers_nobody(
    servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    await steps.open_fund(servicer, balance_fen=5_000_000)
    await paid_case(servicer, consumer, Loan(1, principal_fen=1_000_000), days=95)

    answer = await ask(watcher, yaml=OTHER.replace("multiple: 5", "multiple: {open: not said}"))

    assert {each.reason: each.count for each in answer.covers_refused} == {
        "PROGRAMME_VALUE_OPEN": 1
    }
    assert {each.reason: each.count for each in answer.cases_not_accepted} == {
        "LOAN_NOT_COVERED": 1
    }
    [lender] = [row for row in answer.rows if row.tried.borne_fen]
    assert (lender.institution_id, lender.tried.borne_fen) == (BANK, 1_000_000)


async def test_a_case_of_terms_that_are_gone_is_judged_by_the_pack_alone(
    db: Database, servicer: FundsServicer, consumer: Consumer
) -> None:
    """With the old terms at hand a trigger that both packs share is not asked again."""
    await steps.open_fund(servicer, balance_fen=5_000_000)
    await paid_case(servicer, consumer, Loan(1, principal_fen=1_000_000), days=80)
    same = OTHER.replace("overdue_more_than_days: 90", "overdue_more_than_days: 70")
    adoption = f"""
adoption:
  county: "{COUNTY}"
  entries:
    - programme: other@1
      from: 2020-01-01
      parties: {{county_fund: fin-1, mutual_fund: fin-1, bank: [{BANK}]}}
"""
    later = load_texts({"other@1.yaml": same, "adoption.yaml": adoption})

    answer = await ask(WatchServicer(db, later), yaml=same)
    strict = await ask(WatchServicer(db, later), yaml=OTHER)

    assert (answer.cases, list(answer.cases_not_accepted)) == (1, [])
    assert [each.reason for each in strict.cases_not_accepted] == ["TRIGGER_NOT_PASSED"]


async def test_another_base_leaves_the_interest_out(
    servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    await steps.open_fund(servicer, balance_fen=5_000_000)
    loan = Loan(1, principal_fen=1_000_000)
    await steps.take(consumer, loan.asks(), loan.disbursed())
    await steps.take(consumer, loan.overdue(95, on=OPENED, interest_fen=40_000))
    await steps.decide(servicer, await steps.file(servicer, loan))

    answer = await ask(watcher, yaml=OTHER.replace("principal_and_interest", "principal", 1))

    assert sum(row.books.borne_fen for row in answer.rows) == 1_040_000
    assert sum(row.tried.borne_fen for row in answer.rows) == 1_000_000
    assert answer.losses_assumed == 0


async def test_before_its_first_day_the_books_are_followed(
    db: Database, servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    await steps.open_fund(servicer, balance_fen=1_000_000)
    await paid_case(servicer, consumer, Loan(1, principal_fen=2_000_000), days=95)
    later = date(2022, 3, 1)
    await bring(db, later)
    await paid_case(servicer, consumer, Loan(2, principal_fen=500_000), days=95, on=later)

    answer = await ask(watcher, yaml=OTHER, since=date(2022, 1, 1))

    # The first case cost the fund 400,000 by the books; 70 % of the second is 350,000.
    found = {(row.year, row.institution_id): row.tried for row in answer.rows}
    assert {year for year, _ in found} == {2022}
    assert (found[2022, "fin-1"].borne_fen, found[2022, "fin-1"].owed_fen) == (350_000, 0)
    assert (answer.cases, answer.covers_granted) == (1, 0)


async def test_a_lender_sees_its_own_rows_page_by_page(
    servicer: FundsServicer, consumer: Consumer, watcher: WatchServicer
) -> None:
    await steps.open_fund(servicer, balance_fen=5_000_000)
    await paid_case(servicer, consumer, Loan(1))

    mine = await ask(watcher, ref=REF, caller=LENDER)
    none = await ask(watcher, ref=REF, caller=OTHER_LENDER)
    first = await ask(watcher, ref=REF, page_size=3)
    rest = await ask(watcher, ref=REF, page_size=3, page_token=first.next_page_token)

    assert [row.institution_id for row in mine.rows] == [BANK]
    assert list(none.rows) == []
    assert [row.institution_id for row in (*first.rows, *rest.rows)] == [
        "agr-1",
        "fin-1",
        "grp-1",
        BANK,
    ]
    assert rest.next_page_token == ""
    with pytest.raises(Denied):
        await ask(watcher, ref=REF, caller=GUARANTOR)
    for caller in (CENTRE, AUDITOR):
        assert len((await ask(watcher, ref=REF, caller=caller)).rows) == 4


async def test_what_cannot_be_tried_is_refused_with_the_reason(
    servicer: FundsServicer, watcher: WatchServicer
) -> None:
    with pytest.raises(NotFound, match="FUND_NOT_FOUND"):
        await ask(watcher, ref=REF)
    await steps.open_fund(servicer)
    with pytest.raises(NotFound, match="PROGRAMME_UNKNOWN"):
        await ask(watcher, ref="nobody@1")
    with pytest.raises(NotFound, match="PROGRAMME_UNKNOWN"):
        await ask(watcher, ref=f"{REF}:nowhere")
    with pytest.raises(Invalid, match="PACK_REF_MALFORMED"):
        await ask(watcher, ref="plain")
    with pytest.raises(Invalid, match="SINCE_IN_FUTURE") as future:
        await ask(watcher, ref=REF, since=OPENED + timedelta(days=1))
    assert future.value.violations[0].value == str(OPENED + timedelta(days=1))
    with pytest.raises(Invalid, match="PACK_INVALID") as broken:
        await ask(watcher, yaml=OTHER.replace("multiple: 5", "multiple: many"))
    [violation] = broken.value.violations
    assert violation.field == "other@1.yaml:8 fund.multiple"
    assert violation.value == '"many"'
    with pytest.raises(Invalid, match="PACK_INVALID"):
        await ask(watcher, yaml="[")
    with pytest.raises(Invalid, match="PACK_INVALID") as nowhere:
        await ask(watcher, file="overlay.yaml", yaml=OVERLAY)
    assert nowhere.value.violations[0].field == "overlay.yaml:5 overlay.programme"
    with pytest.raises(Refused, match="PROGRAMME_CLAUSE_MISSING"):
        await ask(watcher, yaml=OTHER[: OTHER.index("fund:")])
