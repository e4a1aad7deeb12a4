"""Notices on a real database: queued by the day, taken under a lease, reported, never lost."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2, notices_pb2

from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database, execute
from services.kernel.errors import Denied, Invalid, LiandongError
from services.kernel.walls import EVERY_COUNTY
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import after_loan, steps
from tests.loans.after_loan import (
    AGRICULTURE,
    CENTRE_CHECKER,
    FINANCE,
    FINANCE_CHECKER,
    FORESTRY,
    OTHER_STATION,
    STATION,
    WEATHER,
    Desk,
)
from tests.loans.builders import YUAN
from tests.loans.county import (
    AUDITOR,
    BANK,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_LENDER,
    OTHER_VILLAGE,
    PROGRAMME,
    VILLAGE,
    Fund,
    House,
    a_catalogue,
    calling,
    day,
)

pytestmark = pytest.mark.postgres

SMS, PHONE, LETTER, PLATFORM = (
    notices_pb2.NOTICE_CHANNEL_SMS,
    notices_pb2.NOTICE_CHANNEL_PHONE,
    notices_pb2.NOTICE_CHANNEL_LETTER,
    notices_pb2.NOTICE_CHANNEL_PLATFORM,
)
DELIVERED, FAILED, UNREACHABLE = (
    notices_pb2.NOTICE_RESULT_DELIVERED,
    notices_pb2.NOTICE_RESULT_FAILED,
    notices_pb2.NOTICE_RESULT_UNREACHABLE,
)


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


async def take(ask: Desk, caller: Any = LENDER, **values: Any) -> list[notices_pb2.Notice]:
    wanted = {"channels": [SMS], "count_max": 10, "lease_seconds": 60, **values}
    return list((await ask("TakeNotices", caller, **wanted)).notices)


async def report(
    ask: Desk, notice: notices_pb2.Notice, result: Any, caller: Any = LENDER, **values: Any
) -> str:
    item = notices_pb2.NoticeReport(
        notice_id=notice.notice_id,
        attempt=notice.attempts,
        result=result,
        **{"reason": "" if result == DELIVERED else "no_answer", **values},
    )
    [verdict] = (await ask("ReportNotices", caller, items=[item])).verdicts
    return str(verdict.reason)


async def queue(ask: Desk, loan_id: str, caller: Any = LENDER, **values: Any) -> Any:
    item = notices_pb2.NoticeWanted(
        **{"loan_id": loan_id, "kind": "due_soon", "channel": SMS, **values}
    )
    [verdict] = (await ask("QueueNotices", caller, items=[item])).verdicts
    return verdict


async def leases_run_out(db: Database) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        await execute(
            session,
            "UPDATE notice SET leased_until = now() - interval '1 second' WHERE state = 'taken'",
        )


async def test_a_maturity_is_told_by_every_channel_of_the_pack_with_its_words(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    # HN-PO.loa.11, LS18.loa.4
    loan = await steps.active(servicer, consumer, House(), term_months=3)
    await steps.advance(db, catalogue, 31 + 1)

    found = (await ask("ListNotices", CENTRE)).notices

    told = {(each.channel, each.organ, each.sender_id) for each in found}
    assert told == {(SMS, "", BANK), (PHONE, "", BANK), (PLATFORM, "township_station", "")}
    assert {each.text for each in found} == {"普通贷款2021年4月4日到期,应还30,000.00元"}
    assert {each.household_id for each in found if each.sender_id} == {loan.household_id}
    assert not (await ask("ListNotices", OTHER_LENDER)).notices
    assert not await take(ask, OTHER_LENDER, channels=[])
    assert [each.channel for each in await take(ask, STATION, channels=[])] == [PLATFORM]
    assert not await take(ask, OTHER_STATION, channels=[])

    await steps.advance(db, catalogue, 59)
    texts = [each.text for each in (await ask("ListNotices", CENTRE)).notices]
    assert "【到期提醒】您的普通贷款今日(2021年4月4日)到期,应还30,000.00元,请按时还款。" in texts
    # What is settled is not reminded of any more.
    await steps.repay(servicer, loan.loan_id, 40_000 * YUAN, on=date(2021, 4, 5))
    assert not await take(ask, channels=[])
    gone = await ask("ListNotices", LENDER, state=notices_pb2.NOTICE_STATE_WITHDRAWN)
    assert {each.reason for each in gone.notices} == {"loan_settled"}


async def test_overdue_borrowers_are_reminded_and_lenders_warned_once(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    # AH.mon.3, SC.gat.1
    await steps.active(servicer, consumer, House(), term_months=1)
    await steps.advance(db, catalogue, 45)

    found = (await ask("ListNotices", CENTRE, page_size=100)).notices
    said = sorted((each.kind, each.channel, each.organ) for each in found)

    assert [each for each in said if each[0] not in ("due_soon", "due_today")] == [
        ("coming", PLATFORM, ""),
        ("coming", PLATFORM, "poverty_office"),
        ("late", PLATFORM, ""),
        ("matured", PLATFORM, ""),
        ("reminder", SMS, ""),
    ]
    kinds = {each.kind: each.text for each in found}
    assert kinds["coming"].startswith("【到期预警】该笔普通贷款将于2021年2月4日到期")
    assert kinds["reminder"].startswith("【逾期提醒】您的普通贷款已逾期1天")
    raised = await steps.said(db, "early_warning_raised", events_pb2.EarlyWarningRaised)
    assert [each.kind for each in raised] == ["coming", "matured", "late"]


async def test_a_sender_takes_reports_and_tries_again_within_bounds(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, House())
    assert not (await queue(ask, loan.loan_id)).reason
    assert (await queue(ask, loan.loan_id)).reason == "NOTICE_SAID_ALREADY"
    assert not (await queue(ask, loan.loan_id, cause_id="again")).reason

    one, other = await take(ask)
    assert not await take(ask)
    assert not await report(ask, one, DELIVERED, reference="sms-1")
    assert await report(ask, one, DELIVERED) == "NOTICE_REPORTED"
    assert await report(ask, other, DELIVERED, OTHER_LENDER) == "NOTICE_NOT_TAKEN"
    assert not await report(ask, other, FAILED)
    [again] = await take(ask)
    assert (again.notice_id, again.attempts) == (other.notice_id, 2)
    assert await report(ask, other, DELIVERED) == "NOTICE_NOT_TAKEN"
    assert not await report(ask, again, FAILED, reason="no_such_number")

    assert not await take(ask)
    [unsent] = (await ask("ListNotices", CENTRE, unsent_only=True)).notices
    assert (unsent.state, unsent.reason) == (notices_pb2.NOTICE_STATE_FAILED, "no_such_number")
    [said] = await steps.said(db, "notice_failed", events_pb2.NoticeFailed)
    assert (said.notice_id, said.channel) == (unsent.notice_id, "sms")
    file = await ask("GetNotice", LENDER, notice_id=unsent.notice_id)
    assert [each.reason for each in file.attempts] == ["no_answer", "no_such_number"]
    await refused("NOTICE_NOT_FOUND", ask("GetNotice", OTHER_LENDER, notice_id=unsent.notice_id))


async def test_a_lease_that_runs_out_gives_the_notice_to_the_next_and_at_last_to_nobody(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    loan = await steps.active(servicer, consumer, House())
    await queue(ask, loan.loan_id)
    request_id = steps.an_id()
    [first] = await take(ask, request_id=request_id)
    [same] = await take(ask, request_id=request_id)
    assert same == first
    await leases_run_out(db)
    # Nobody else has it, so a late report still counts.
    assert not await report(ask, first, FAILED)
    [second] = await take(ask)
    await leases_run_out(db)

    assert not await take(ask)

    file = await ask("GetNotice", LENDER, notice_id=second.notice_id)
    assert file.notice.state == notices_pb2.NOTICE_STATE_FAILED
    assert [each.result for each in file.attempts] == [
        notices_pb2.NOTICE_RESULT_FAILED,
        notices_pb2.NOTICE_RESULT_LEASE_EXPIRED,
    ]
    assert await report(ask, second, DELIVERED) == "NOTICE_REPORTED"


async def test_two_senders_at_once_never_get_the_same_notice(
    ask: Desk, servicer: LoansServicer, consumer: Consumer
) -> None:
    loan = await steps.active(servicer, consumer, House())
    items = [
        notices_pb2.NoticeWanted(
            loan_id=loan.loan_id, kind="due_soon", channel=LETTER, cause_id=str(number)
        )
        for number in range(40)
    ]
    await ask("QueueNotices", LENDER, items=items)

    batches = await asyncio.gather(*[take(ask, channels=[LETTER]) for _ in range(6)])

    taken = [each.notice_id for batch in batches for each in batch]
    assert len(taken) == len(set(taken)) == 40


async def test_bad_notices_are_refused_with_field_value_and_rule(
    ask: Desk, servicer: LoansServicer, consumer: Consumer
) -> None:
    loan = await steps.active(servicer, consumer, House())
    none = await queue(ask, loan.loan_id, channel=notices_pb2.NOTICE_CHANNEL_UNSPECIFIED)
    assert none.reason == "NOTICE_WITHOUT_CHANNEL"
    assert [(each.field, each.value) for each in none.violations] == [("channel", "")]
    assert "sms, phone, letter" in none.violations[0].rule
    unknown = await queue(ask, loan.loan_id, kind="birthday")
    assert unknown.reason == "NOTICE_KIND_UNKNOWN"
    assert (unknown.violations[0].field, unknown.violations[0].value) == ("kind", "birthday")
    assert (await queue(ask, steps.an_id())).reason == "LOAN_NOT_FOUND"
    assert (await queue(ask, loan.loan_id, OTHER_LENDER)).reason == "LOAN_NOT_FOUND"
    silent = notices_pb2.NoticeReport(notice_id=steps.an_id(), attempt=1, result=FAILED)
    with pytest.raises(Invalid) as refusal:
        await ask("ReportNotices", LENDER, items=[silent])
    assert "reason is needed" in str(refusal.value)
    silent.reason = "busy"
    [verdict] = (await ask("ReportNotices", LENDER, items=[silent])).verdicts
    assert verdict.reason == "NOTICE_NOT_FOUND"

    made = await queue(ask, loan.loan_id)
    gone = {"notice_ids": [made.id], "reason": "paid"}
    for stranger in (OTHER_LENDER, OTHER_STATION):
        [verdict] = (await ask("WithdrawNotices", stranger, **gone)).verdicts
        assert verdict.reason == "NOTICE_NOT_FOUND"
    [verdict] = (await ask("WithdrawNotices", LENDER, **gone)).verdicts
    assert verdict.accepted
    [verdict] = (await ask("WithdrawNotices", LENDER, **gone)).verdicts
    assert verdict.reason == "NOTICE_REPORTED"
    assert not await take(ask)


# --- departments' warnings ------------------------------------------------------------------------


def a_warning(**values: Any) -> dict[str, Any]:
    return {
        "kind": notices_pb2.WARNING_KIND_INDUSTRY_RISK,
        "risk": "mite",
        "area_codes": [COUNTY],
        "industries": ["beekeeping"],
        "advice": "请检查蜂箱,及时用药。",
        "starts_on": day(OPENED),
        "ends_on": day(OPENED + timedelta(days=9)),
        **values,
    }


async def test_a_warning_reaches_the_households_and_lenders_of_its_industry_and_area(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    # JX.mon.4
    house, far = House(), House(area_code=OTHER_VILLAGE)
    bees = [await steps.active(servicer, consumer, house)]
    bees.append(await steps.approved(servicer, house, lender_id=BANK))
    await steps.active(servicer, consumer, House(), purpose="mushroom_growing")
    await steps.active(servicer, consumer, far)
    request_id = steps.an_id()
    wanted = a_warning(area_codes=[VILLAGE], request_id=request_id)

    warning = (await ask("ReceiveWarning", AGRICULTURE, **wanted)).warning

    assert (warning.loans, warning.households, warning.spread) == (2, 1, True)
    assert warning.department == "agriculture_bureau"
    assert (await ask("ReceiveWarning", AGRICULTURE, **wanted)).warning == warning
    [text] = await take(ask)
    assert text.text == ("【产业风险提示】2021年1月4日至2021年1月13日:请检查蜂箱,及时用药。")
    assert text.household_id == str(house.household_id)
    [own] = await take(ask, channels=[PLATFORM])
    assert (own.sender_id, own.household_id) == (BANK, "")
    [station] = await take(ask, STATION, channels=[])
    assert station.organ == "township_station"
    raised = await steps.said(db, "early_warning_raised", events_pb2.EarlyWarningRaised)
    assert {each.loan_id for each in raised} == {each.loan_id for each in bees}
    assert await steps.story(db, warning.warning_id) == [
        "department_warning_received",
        "department_warning_spread",
    ]
    assert [w.warning_id for w in (await ask("ListWarnings", LENDER)).warnings] == [
        warning.warning_id
    ]
    assert not (await ask("ListWarnings", OTHER_LENDER)).warnings


async def test_a_disaster_is_told_by_any_department_and_what_waits_ends_with_it(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    await steps.active(servicer, consumer, House())
    disaster = a_warning(
        kind=notices_pb2.WARNING_KIND_DISASTER, risk="frost", industries=[], channels=[SMS, PHONE]
    )
    warning = (await ask("ReceiveWarning", WEATHER, **disaster)).warning
    # Whoever has no connection of its own is passed on by the county's centre, in its name.
    passed = {**disaster, "department": "weather_bureau", "risk": "hail"}
    relayed = (await ask("ReceiveWarning", CENTRE, **passed)).warning
    assert (relayed.institution_id, relayed.department) == ("cfc-1", "weather_bureau")
    assert {each.channel for each in await take(ask, channels=[SMS], count_max=1)} == {SMS}

    gone = {"warning_id": warning.warning_id, "reason": "thaw"}
    await refused("NOT_THE_WARNING_ORGAN", ask("WithdrawWarning", FORESTRY, **gone))
    await ask("WithdrawWarning", WEATHER, **gone)
    await refused("WARNING_WITHDRAWN", ask("WithdrawWarning", CENTRE, **gone))

    left = await take(ask, channels=[])
    assert {each.cause_id.split(":")[0] for each in left} == {relayed.warning_id}
    await steps.books_are_whole(db)


async def test_bad_warnings_are_refused(ask: Desk, servicer: LoansServicer, db: Database) -> None:
    await refused("NOT_THE_WARNING_ORGAN", ask("ReceiveWarning", WEATHER, **a_warning()))
    early = a_warning(starts_on=day(date(2020, 12, 1)), ends_on=day(date(2020, 12, 2)))
    error = await refused("WARNING_ENDS_BEFORE", ask("ReceiveWarning", AGRICULTURE, **early))
    assert [(v.field, v.value) for v in error.violations] == [("ends_on", "2020-12-02")]
    other = a_warning(department="forestry_bureau")
    await refused("DEPARTMENT_UNKNOWN", ask("ReceiveWarning", AGRICULTURE, **other))
    foreign = a_warning(area_codes=["990102001"])
    with pytest.raises(Denied):
        await ask("ReceiveWarning", AGRICULTURE, **foreign)


async def test_a_warning_without_any_channel_is_refused(db: Database) -> None:
    silent = Desk(db, a_catalogue())
    error = await refused(
        "NOTICE_WITHOUT_CHANNEL", silent("ReceiveWarning", AGRICULTURE, **a_warning())
    )
    assert [v.field for v in error.violations] == ["channels"]


# --- publications ---------------------------------------------------------------------------------


def a_publication(kind: Any, **values: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "area_code": COUNTY,
        "first": day(OPENED),
        "last": day(OPENED),
        **values,
    }


async def test_loans_are_published_without_their_borrowers_for_their_days(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    # AH-RCU.loa.6, S47
    house = House()
    loan = await steps.active(servicer, consumer, house)
    await steps.active(servicer, consumer, House(area_code=OTHER_VILLAGE))
    wanted = a_publication(notices_pb2.PUBLICATION_KIND_LOANS, area_code=VILLAGE, days=5)
    await refused("PERIOD_NOT_OVER", ask("MakePublication", CENTRE, **wanted))
    await steps.advance(db, catalogue, 1)

    made = (await ask("MakePublication", CENTRE, **wanted)).publication
    about = {"publication_id": made.publication_id}
    assert not (await ask("ListPublications", LENDER)).publications
    await refused("PUBLICATION_NOT_FOUND", ask("GetPublication", LENDER, **about))
    await refused("SAME_PERSON", ask("PublishPublication", CENTRE, **about))
    public = (await ask("PublishPublication", CENTRE_CHECKER, **about)).publication

    assert (made.lines, made.amount_fen, list(made.places)) == (1, 30_000 * YUAN, ["village"])
    assert (public.ends_on.day, public.days) == (9, 5)
    found = await ask("GetPublication", OTHER_LENDER, **about)
    [line] = found.lines
    assert (line.area_code, line.lender_id, line.purpose, line.amount_fen) == (
        VILLAGE, BANK, "beekeeping", 30_000 * YUAN,
    )  # fmt: skip
    shown = str(found)
    assert loan.loan_id not in shown
    assert str(house.household_id) not in shown

    await steps.advance(db, catalogue, 4)
    assert (await ask("ListPublications", LENDER)).publications
    await steps.advance(db, catalogue, 1)
    assert not (await ask("ListPublications", LENDER)).publications
    assert (await ask("ListPublications", AUDITOR)).publications
    again = {**about, "reason": "wrong_period"}
    withdrawn = (await ask("WithdrawPublication", CENTRE, **again)).publication
    assert withdrawn.reason == "wrong_period"
    await refused("PUBLICATION_STATE", ask("WithdrawPublication", CENTRE, **again))
    assert await steps.story(db, made.publication_id) == [
        "publication_published",
        "publication_withdrawn",
    ]


async def test_totals_add_up_to_the_loans_and_nothing_else_is_published_unasked(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    for area in (VILLAGE, VILLAGE, OTHER_VILLAGE):
        await steps.active(servicer, consumer, House(area_code=area))
    await steps.advance(db, catalogue, 1)
    totals = a_publication(notices_pb2.PUBLICATION_KIND_TOTALS)

    made = (await ask("MakePublication", FINANCE, **totals)).publication

    about = {"publication_id": made.publication_id}
    await ask("PublishPublication", FINANCE_CHECKER, **about)
    first = await ask("GetPublication", LENDER, page_size=1, **about)
    rest = await ask("GetPublication", LENDER, page_token=first.next_page_token, **about)
    lines = [*first.lines, *rest.lines]
    assert [(each.area_code, each.loans) for each in lines] == [(VILLAGE, 2), (OTHER_VILLAGE, 1)]
    assert sum(each.amount_fen for each in lines) == made.amount_fen == 90_000 * YUAN
    plain = Desk(db, a_catalogue())
    await refused("PUBLICATION_NOT_ASKED", plain("MakePublication", FINANCE, **totals))
    upside_down = a_publication(
        notices_pb2.PUBLICATION_KIND_TOTALS, first=day(OPENED), last=day(OPENED - timedelta(days=1))
    )
    await refused("PERIOD_NOT_OVER", ask("MakePublication", FINANCE, **upside_down))


async def test_subsidies_and_compensations_are_published_as_they_were_paid(
    ask: Desk, servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    # HN-RCU.fun.7, HN-PO.fun.3
    fund = Fund()
    house = House(status="registered_poor")
    loan = await steps.covered(servicer, consumer, house, fund)
    await steps.advance(db, catalogue, 90)
    claim = await subsidy(servicer, "ClaimSubsidy", LENDER, year=2021, quarter=1)
    paying = {"claim_id": claim.claim_id, "reference": "t-1"}
    await subsidy(servicer, "PaySubsidy", FINANCE, **paying)
    await steps.take(consumer, fund.paid(loan.loan_id, {"county_fund": ("fin-1", 600_000)}))
    paid_on = OPENED + timedelta(days=90)
    await steps.advance(db, catalogue, 1)
    period = {"first": day(OPENED), "last": day(paid_on)}
    about = a_publication(notices_pb2.PUBLICATION_KIND_SUBSIDY, **period)
    error = await refused("PUBLICATION_TOO_SHORT", ask("MakePublication", CENTRE, **about, days=6))
    assert [(v.field, v.value) for v in error.violations] == [("days", "6")]

    subsidies = (await ask("MakePublication", CENTRE, **about)).publication
    about["kind"] = notices_pb2.PUBLICATION_KIND_COMPENSATIONS
    compensations = (await ask("MakePublication", CENTRE, **about)).publication

    assert (subsidies.days, list(subsidies.places)) == (7, ["internet_supervision"])
    assert subsidies.amount_fen == claim.amount_fen > 0
    found = await ask("GetPublication", AUDITOR, publication_id=compensations.publication_id)
    [line] = found.lines
    assert (line.area_code, line.amount_fen, line.other_fen) == (VILLAGE, 600_000, 600_000)
    assert (line.on.month, line.on.day) == (paid_on.month, paid_on.day)
    assert loan.loan_id not in str(found)


async def subsidy(servicer: LoansServicer, name: str, caller: Caller, **values: Any) -> Any:
    """A claim of the treasury, made or paid."""
    request_type = getattr(loans_pb2, f"{name}Request")
    if "programme_id" in request_type.DESCRIPTOR.fields_by_name:
        values["programme_id"] = PROGRAMME
    request = request_type(request_id=steps.an_id(), county_code=COUNTY, **values)
    return (await getattr(servicer, name)(request, calling(caller, request))).claim
