"""Tasks after the loan on a real PostgreSQL: opened, owned, signed, reported, escalated, closed."""

from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
from liandong.loans.v1 import events_pb2, tasks_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Denied, Invalid, LiandongError, NotFound, Refused
from services.loans.events_in import handlers
from services.loans.operations import tasks
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans.county import (
    AUDITOR,
    BANK,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_LENDER,
    OTHER_VILLAGE,
    TOWN,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    House,
    day,
)
from tests.loans.steps import (
    active,
    advance,
    advancing,
    books_are_whole,
    know,
    rows,
    said,
    story,
    take,
)
from tests.loans.watchful import (
    LENDER_2,
    LENDER_3,
    OTHER_STATION,
    SHA,
    STATION,
    VILLAGE_2,
    Desk,
    a_watchful_catalogue,
    photo,
    violation,
)

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return a_watchful_catalogue()


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> LoansServicer:
    return LoansServicer(db, catalogue)


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "loans", handlers(catalogue), batch_size_max=500)


@pytest.fixture
def desk(db: Database, catalogue: Catalogue) -> Desk:
    return Desk(db, catalogue)


# LS18.mon.2, YY.mon.1, AH-RCU.loa.6
async def test_a_day_close_opens_what_the_clauses_ask_for_once(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loan = await active(servicer, consumer, House())
    await know(consumer, House(area_code=OTHER_VILLAGE))

    await advance(db, catalogue, 1)
    first = await desk.tasks(CENTRE)
    await advance(db, catalogue, 1)

    assert len(await desk.tasks(CENTRE)) == len(first)
    found = {(tasks_pb2.TaskKind.Name(t.kind)[10:], t.area_code, t.institution_id) for t in first}
    assert found == {
        ("PURPOSE_VERIFICATION", VILLAGE, "vil-1"),
        ("POST_LOAN_CHECK", VILLAGE, BANK),
        ("CROSS_CHECK", VILLAGE, OTHER_BANK),
        ("SELF_CHECK", TOWN, "tst-1"),
        ("SELF_CHECK", "990101002", "tst-2"),
        ("SELF_CHECK", VILLAGE, "vil-1"),
        # No village department holds it, and nobody else is asked for it.
        ("SELF_CHECK", OTHER_VILLAGE, ""),
    }
    due = {tasks_pb2.TaskKind.Name(t.kind)[10:]: t.due_on for t in first}
    assert due["PURPOSE_VERIFICATION"] == day(OPENED + timedelta(days=10))
    assert due["SELF_CHECK"] == day(date(2021, 1, 31))
    assert due["POST_LOAN_CHECK"] == day(date(2021, 3, 31))
    assert len(await said(db, "task_opened", events_pb2.TaskOpened)) == len(first)
    assert {t.loan_id for t in first if t.loan_id} == {loan.loan_id}
    # The next month has its own self-checks.
    await advance(db, catalogue, 28)
    again = await desk.tasks(CENTRE, kind=tasks_pb2.TASK_KIND_SELF_CHECK)
    assert len(again) == 8
    await books_are_whole(db)


async def test_a_day_with_more_tasks_than_a_chunk_opens_and_escalates_each_once(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loans = [await active(servicer, consumer, House()) for _ in range(3)]
    await know(consumer, House(area_code=OTHER_VILLAGE))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "CHUNK_TASKS_MAX", 2)
        await advance(db, catalogue, 1)
        opened = await desk.tasks(CENTRE)
        # All that are late on a day are heard of on it.
        await advance(db, catalogue, 10)
    late = await desk.tasks(CENTRE, kind=tasks_pb2.TASK_KIND_PURPOSE_VERIFICATION)

    about = Counter((t.kind, t.loan_id or t.area_code) for t in opened)
    assert set(about.values()) == {1}
    for kind in (tasks_pb2.TASK_KIND_PURPOSE_VERIFICATION, tasks_pb2.TASK_KIND_POST_LOAN_CHECK):
        assert {t.loan_id for t in opened if t.kind == kind} == {each.loan_id for each in loans}
    assert len(opened) == 3 * 3 + 4
    assert [t.escalations for t in late] == [1, 1, 1]


# LS18.loa.3
async def test_purpose_is_signed_level_by_level_by_different_persons(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loan = await active(servicer, consumer, House())
    await advance(db, catalogue, 1)
    (task,) = await desk.tasks(VILLAGE_DEPARTMENT, kind=tasks_pb2.TASK_KIND_PURPOSE_VERIFICATION)
    signing = {"task_id": task.task_id, "note": "beehives seen"}

    with pytest.raises(Refused) as unassigned:
        await desk.ask("SignTask", VILLAGE_DEPARTMENT, **signing, evidence=[photo()])
    assert unassigned.value.reason == "TASK_UNASSIGNED"
    assert await desk.own(VILLAGE_DEPARTMENT, tasks_pb2.TASK_KIND_PURPOSE_VERIFICATION) == 1
    with pytest.raises(Invalid) as bare:
        await desk.ask("SignTask", VILLAGE_2, **signing)
    assert bare.value.reason == "EVIDENCE_NEEDED"
    with pytest.raises(Refused) as direct:
        await desk.ask("CloseTask", VILLAGE_2, **signing, evidence=[photo()])
    assert direct.value.reason == "TASK_NEEDS_SIGNATURES"
    # The deputy signs for the owner.
    await desk.ask("SignTask", VILLAGE_2, **signing, evidence=[photo()])
    with pytest.raises(Denied) as level:
        await desk.ask("SignTask", VILLAGE_DEPARTMENT, **signing)
    assert level.value.reason == "NOT_THE_LEVELS_ORGAN"
    await desk.ask("SignTask", STATION, **signing)
    closed = await desk.ask("SignTask", CENTRE, **signing, findings=["other_use"])

    assert closed.task.state == tasks_pb2.TASK_STATE_CLOSED
    assert [issue.code for issue in closed.issues] == ["other_use"]
    assert await story(db, task.task_id) == [
        *("task_opened", "task_assigned", "task_signed", "task_signed", "task_signed"),
        "task_closed",
    ]
    got = await desk.ask("GetTask", AUDITOR, task_id=task.task_id)
    assert [step.organ for step in got.steps][1:] == closed.task.levels
    assert got.steps[1].evidence[0].sha256 == SHA
    records = (await desk.ask("ListDueDiligence", CENTRE, loan_id=loan.loan_id)).records
    assert {(r.duty, r.person_id) for r in records} >= {
        ("application_step", "cfc-1-p1"),
        ("task", "vil-1-p2"),
        ("task", "tst-1-p1"),
    }


# HN-PO.mon.5, S52: a deputy is named, and is another person.
async def test_a_task_without_evidence_deputy_or_in_another_area_is_refused(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    await active(servicer, consumer, House())
    await advance(db, catalogue, 1)
    check = tasks_pb2.TASK_KIND_POST_LOAN_CHECK
    people = {"owner_id": "rcb-1-p1", "deputy_id": "rcb-1-p2"}

    for wrong, reason, field in (
        ({"deputy_id": ""}, "DEPUTY_NEEDED", ("deputy_id", "")),
        ({"deputy_id": "rcb-1-p1"}, "DEPUTY_NEEDED", ("deputy_id", "rcb-1-p1")),
        ({"deputy_id": "psb-1-p2"}, "PERSON_UNKNOWN", ("deputy_id", "psb-1-p2")),
        ({"owner_id": "nobody"}, "PERSON_UNKNOWN", ("owner_id", "nobody")),
    ):
        with pytest.raises(Invalid) as refusal:
            await desk.ask("AssignDuty", LENDER, kind=check, **{**people, **wrong})
        assert (refusal.value.reason, violation(refusal.value)) == (reason, field)
    assert await desk.own(LENDER, check) == 1
    (task,) = await desk.tasks(LENDER, kind=check)
    closing = {"task_id": task.task_id, "note": "seen"}
    with pytest.raises(Invalid) as bare:
        await desk.ask("CloseTask", LENDER, **closing)
    assert bare.value.reason == "EVIDENCE_NEEDED"
    assert violation(bare.value) == ("evidence", "")
    with pytest.raises(Denied) as third:
        await desk.ask("CloseTask", LENDER_3, **closing, evidence=[photo()])
    assert third.value.reason == "NOT_THE_OWNER"
    with pytest.raises(NotFound):
        await desk.ask("CloseTask", OTHER_LENDER, **closing, evidence=[photo()])
    with pytest.raises(Denied) as outside:
        await desk.tasks(OTHER_STATION, area_code=TOWN)
    assert outside.value.reason == "AREA_NOT_YOURS"
    assert violation(outside.value) == ("area_code", TOWN)
    with pytest.raises(Denied) as county:
        await desk.tasks(OTHER_STATION, area_code=COUNTY)
    assert violation(county.value) == ("area_code", COUNTY)
    # The deputy sees it among the own ones and may close it.
    (own,) = await desk.tasks(LENDER_2, owner_id="rcb-1-p2")
    assert own.task_id == task.task_id
    done = await desk.ask("CloseTask", LENDER_2, **closing, evidence=[photo()])
    assert done.task.state == tasks_pb2.TASK_STATE_CLOSED
    with pytest.raises(Refused) as twice:
        await desk.ask("CloseTask", LENDER_2, **closing, evidence=[photo()])
    assert twice.value.reason == "TASK_CLOSED"


# HN-PO.loa.14
async def test_late_tasks_climb_the_chain_and_then_rest(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    await active(servicer, consumer, House())
    # Due ten days after the first close; then every five days the next.
    await advance(db, catalogue, 22)

    (task,) = await desk.tasks(CENTRE, kind=tasks_pb2.TASK_KIND_PURPOSE_VERIFICATION)
    found = (await desk.ask("ListEscalations", CENTRE, task_id=task.task_id)).escalations

    assert [(each.organ, each.institution_id, each.number) for each in found] == [
        ("assigned_helper", "vil-1", 1),
        ("township_station", "tst-1", 2),
        ("poverty_office", "pov-1", 3),
    ]
    assert [each.escalated_on for each in found] == [
        day(OPENED + timedelta(days=days)) for days in (10, 15, 20)
    ]
    assert task.late
    assert task.escalations == 3
    assert len(await said(db, "task_escalated", events_pb2.TaskEscalated)) == 3
    await books_are_whole(db)


# LS18.loa.5, LS18.mon.4
async def test_a_report_a_day_while_anything_is_overdue(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    daily = tasks_pb2.TASK_KIND_DAILY_REPORT
    loan = await active(servicer, consumer, House(), term_months=1)
    await advance(db, catalogue, 31)
    assert await desk.tasks(CENTRE, kind=daily) == []

    await advance(db, catalogue, 3)
    await desk.own(CENTRE, daily)
    waiting = await desk.tasks(CENTRE, kind=daily)
    assert len(waiting) == 2
    filed = await desk.ask("ReportDaily", CENTRE, task_id=waiting[0].task_id, note="visited")

    assert filed.figures.due_count == filed.figures.overdue_count == 1
    assert filed.figures.overdue_fen == loan.principal_fen
    assert filed.figures.overdue_ratio_pct == "100.0"
    (told,) = await said(db, "overdue_reported", events_pb2.OverdueReported)
    assert told.overdue_fen == loan.principal_fen
    asked = await desk.ask("GetOverdueReport", STATION)
    assert asked.figures == filed.figures
    assert (await desk.ask("GetOverdueReport", OTHER_STATION)).figures.due_count == 0
    with pytest.raises(Refused) as direct:
        await desk.ask(
            "CloseTask", CENTRE, task_id=waiting[1].task_id, note="no", evidence=[photo()]
        )
    assert direct.value.reason == "TASK_NEEDS_REPORT"


@pytest.mark.parametrize("status", ["deceased", "flagged", "delisted"])
async def test_what_a_household_owes_that_is_no_more_as_it_was_is_recovered(
    db: Database, servicer: LoansServicer, consumer: Consumer, desk: Desk, status: str
) -> None:
    house = House()
    loan = await active(servicer, consumer, house)

    for _ in range(2):
        if status == "delisted":
            await take(consumer, house.delisted())
        else:
            await take(consumer, house.changed(area_code=VILLAGE, status=status))

    (task,) = await desk.tasks(LENDER, kind=tasks_pb2.TASK_KIND_RECOVERY)
    assert (task.loan_id, task.cause) == (loan.loan_id, f"household_{status}")
    assert task.institution_id == BANK


async def test_open_by_hand(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loan = await active(servicer, consumer, House())
    wanted: dict[str, Any] = {
        "kind": tasks_pb2.TASK_KIND_VISIT,
        "loan_id": loan.loan_id,
        "owner_id": "rcb-1-p1",
        "deputy_id": "rcb-1-p2",
        "due_on": day(OPENED + timedelta(days=3)),
    }

    for wrong, reason in (
        ({"due_on": day(OPENED - timedelta(days=1))}, "DUE_DATE_PAST"),
        ({"deputy_id": ""}, "DEPUTY_NEEDED"),
        ({"kind": tasks_pb2.TASK_KIND_RECOVERY}, "TASK_MADE_BY_RULE"),
    ):
        with pytest.raises(LiandongError) as refusal:
            await desk.ask("OpenTask", LENDER, **{**wanted, **wrong})
        assert refusal.value.reason == reason
    with pytest.raises(Denied) as outside:
        await desk.ask(
            "OpenTask",
            OTHER_STATION,
            kind=tasks_pb2.TASK_KIND_SELF_CHECK,
            area_code=VILLAGE,
            programme_id="plain",
            owner_id="tst-2-p1",
            deputy_id="tst-2-p2",
            due_on=wanted["due_on"],
        )
    assert violation(outside.value) == ("area_code", VILLAGE)
    task = (await desk.ask("OpenTask", LENDER, **wanted)).task
    moved = await desk.ask(
        "AssignTask", LENDER, task_id=task.task_id, owner_id="rcb-1-p2", deputy_id="rcb-1-p3"
    )

    assert (moved.task.owner_id, moved.task.deputy_id) == ("rcb-1-p2", "rcb-1-p3")
    with pytest.raises(Denied) as foreign:
        await desk.ask(
            "AssignTask", STATION, task_id=task.task_id, owner_id="tst-1-p1", deputy_id="tst-1-p2"
        )
    assert foreign.value.reason == "NOT_THE_INSTITUTION"
    given = await desk.ask(
        "AssignTask",
        CENTRE,
        task_id=task.task_id,
        institution_id="tst-1",
        owner_id="tst-1-p1",
        deputy_id="tst-1-p2",
    )
    assert given.task.institution_id == "tst-1"


async def test_a_day_close_done_twice_opens_and_says_nothing_twice(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer
) -> None:
    await active(servicer, consumer, House())
    operator = advancing(db, catalogue)
    work = operator._books.work_day
    assert work is not None
    await work(db, COUNTY, OPENED)
    once = await rows(db, "SELECT count(*) FROM outbox")

    await work(db, COUNTY, OPENED)

    assert await rows(db, "SELECT count(*) FROM outbox") == once
