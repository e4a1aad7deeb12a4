"""Issues after the loan on a real PostgreSQL: found, rectified, crossed off; problem loans."""

from datetime import date, timedelta

import pytest
from liandong.loans.v1 import events_pb2, tasks_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Denied, Invalid, LiandongError, NotFound, Refused
from services.loans.events_in import handlers
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans.county import (
    APPROVER,
    CENTRE,
    LENDER,
    OPENED,
    OTHER_LENDER,
    VILLAGE,
    House,
    day,
)
from tests.loans.steps import active, advance, books_are_whole, get, repay, said, story
from tests.loans.watchful import (
    LENDER_2,
    OTHER_STATION,
    POVERTY,
    SHA,
    STATION,
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


# JX.loa.2, JX.mon.2, AH.mon.2
async def test_an_overdue_loan_is_registered_once_rectified_and_crossed_off_by_another(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loan = await active(servicer, consumer, House(), term_months=1)
    sound = await active(servicer, consumer, House())
    await advance(db, catalogue, 34)

    (issue,) = (await desk.ask("ListIssues", STATION)).issues
    assert (issue.code, issue.ledger, issue.loan_id) == ("overdue", "issues", loan.loan_id)
    assert issue.due_on == day(date(2021, 2, 5) + timedelta(days=15))
    found = await desk.ask("CheckCompliance", LENDER, loan_id=loan.loan_id)
    assert (found.compliant, list(found.issues), len(found.checks)) == (False, ["overdue"], 6)
    assert (await desk.ask("CheckCompliance", LENDER, loan_id=sound.loan_id)).compliant
    with pytest.raises(Invalid) as bare:
        await desk.ask("RectifyIssue", LENDER, issue_id=issue.issue_id, note="paid")
    assert (bare.value.reason, violation(bare.value)) == ("EVIDENCE_NEEDED", ("evidence", ""))
    with pytest.raises(LiandongError) as early:
        await desk.ask("CrossOffIssue", LENDER_2, issue_id=issue.issue_id, note="seen")
    assert early.value.reason == "ISSUE_STATE"
    rectifying = {"issue_id": issue.issue_id, "note": "paid", "evidence": [photo()]}
    await desk.ask("RectifyIssue", LENDER, **rectifying)
    with pytest.raises(Refused) as same:
        await desk.ask("CrossOffIssue", LENDER, issue_id=issue.issue_id, note="seen")
    assert same.value.reason == "SAME_PERSON"
    with pytest.raises(Refused) as still:
        await desk.ask("CrossOffIssue", STATION, issue_id=issue.issue_id, note="seen")
    assert still.value.reason == "ISSUE_STILL_FOUND"
    back = await desk.ask("SendIssueBack", STATION, issue_id=issue.issue_id, note="not paid")
    assert back.issue.state == tasks_pb2.ISSUE_STATE_REGISTERED
    owed = await get(servicer, loan.loan_id)
    await repay(
        servicer, loan.loan_id, owed.outstanding_fen + 1_000_00, on=OPENED + timedelta(days=34)
    )
    await desk.ask("RectifyIssue", LENDER, **rectifying)
    closed = await desk.ask("CrossOffIssue", STATION, issue_id=issue.issue_id, note="seen")

    assert closed.issue.state == tasks_pb2.ISSUE_STATE_CROSSED_OFF
    await advance(db, catalogue, 1)
    assert len((await desk.ask("ListIssues", CENTRE)).issues) == 1
    assert await story(db, issue.issue_id) == [
        *("issue_registered", "issue_rectified", "issue_sent_back", "issue_rectified"),
        "issue_closed",
    ]
    steps = (await desk.ask("GetIssue", CENTRE, issue_id=issue.issue_id)).steps
    assert steps[1].evidence[0].sha256 == SHA
    await books_are_whole(db)


# JX.mon.2, AH.mon.2
async def test_an_issue_by_hand_and_a_deadline_that_the_programme_leaves_open(
    servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loan = await active(servicer, consumer, House())
    wanted = {"loan_id": loan.loan_id, "code": "fund_misreported", "note": "reported twice"}
    misreported = (await desk.ask("RegisterIssue", STATION, **wanted)).issue
    assert misreported.due_on == day(OPENED + timedelta(days=15))
    with pytest.raises(Refused) as twice:
        await desk.ask("RegisterIssue", CENTRE, **wanted)
    assert twice.value.reason == "ISSUE_OPEN"
    with pytest.raises(Invalid) as unknown:
        await desk.ask("RegisterIssue", CENTRE, **{**wanted, "code": "x", "ledger": "none"})
    assert violation(unknown.value) == ("ledger", "none")
    with pytest.raises(NotFound) as outside:
        await desk.ask("RegisterIssue", OTHER_STATION, **{**wanted, "code": "x"})
    assert outside.value.reason == "LOAN_NOT_FOUND"
    found = await desk.ask("CheckCompliance", CENTRE, loan_id=loan.loan_id)
    assert list(found.issues) == ["fund_misreported"]

    data = (
        await desk.ask(
            "RegisterIssue",
            STATION,
            area_code=VILLAGE,
            programme_id="plain",
            code="wrong_name",
            ledger="data",
            note="another name",
        )
    ).issue
    assert not data.HasField("due_on")
    setting = {"issue_id": data.issue_id, "due_on": day(OPENED + timedelta(days=5))}
    with pytest.raises(Invalid) as past:
        await desk.ask("SetIssueDeadline", CENTRE, **{**setting, "due_on": day(date(2020, 1, 1))})
    assert past.value.reason == "DUE_DATE_PAST"
    assert (await desk.ask("SetIssueDeadline", CENTRE, **setting)).issue.due_on == setting["due_on"]
    with pytest.raises(NotFound) as foreign:
        await desk.ask("CrossOffIssue", OTHER_STATION, issue_id=data.issue_id, note="seen")
    assert foreign.value.reason == "ISSUE_NOT_FOUND"
    assert VILLAGE not in str(foreign.value)
    with pytest.raises(Refused) as again:
        await desk.ask("SetIssueDeadline", CENTRE, **setting)
    assert again.value.reason == "ISSUE_DEADLINE_SET"
    seen = (await desk.ask("ListIssues", OTHER_LENDER)).issues
    assert list(seen) == []
    first, second = (await desk.ask("ListIssues", STATION)).issues
    assert (first.issue_id, second.issue_id) == (data.issue_id, misreported.issue_id)


# HN-PO.loa.12
async def test_a_problem_loan_has_its_disposition_and_its_actions_follow(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loan = await active(servicer, consumer, House(), term_months=1)
    deciding = {
        "loan_id": loan.loan_id,
        "due_class": tasks_pb2.DUE_CLASS_SOUND,
        "reason": "sells in spring",
        "evidence": [photo()],
    }
    with pytest.raises(Refused) as sound:
        await desk.ask("DecideDisposition", LENDER, **deciding)
    assert sound.value.reason == "LOAN_NOT_OVERDUE"
    # Non-performing on the sixth day overdue: the disposition is asked for.
    await advance(db, catalogue, 40)
    (waiting,) = await desk.tasks(LENDER, kind=tasks_pb2.TASK_KIND_DISPOSITION)
    assert waiting.state == tasks_pb2.TASK_STATE_OPEN
    with pytest.raises(Invalid) as bare:
        await desk.ask("DecideDisposition", LENDER, **{**deciding, "evidence": []})
    assert bare.value.reason == "EVIDENCE_NEEDED"
    with pytest.raises(Denied) as foreign:
        await desk.ask("DecideDisposition", STATION, **deciding)
    assert foreign.value.reason == "NOT_A_DECIDER"
    decided = (await desk.ask("DecideDisposition", LENDER, **deciding)).disposition

    assert (decided.in_effect, list(decided.actions)) == (True, ["repayment_plan", "notice"])
    told = await said(db, "loan_action_taken", events_pb2.LoanActionTaken)
    assert [(each.cause, each.place, each.action) for each in told] == [
        ("disposition", 1, "repayment_plan"),
        ("disposition", 2, "notice"),
    ]
    (closed,) = await desk.tasks(LENDER, kind=tasks_pb2.TASK_KIND_DISPOSITION)
    assert closed.state == tasks_pb2.TASK_STATE_CLOSED
    (problem,) = (await desk.ask("ListProblemLoans", CENTRE)).loans
    assert (problem.due_class, list(problem.actions)) == (
        tasks_pb2.DUE_CLASS_SOUND,
        ["repayment_plan", "notice"],
    )
    assert problem.open_issues == 1
    asked = await desk.ask("ListProblemLoans", CENTRE, undecided_only=True)
    assert list(asked.loans) == []
    await advance(db, catalogue, 1)
    with pytest.raises(Refused) as again:
        await desk.ask("DecideDisposition", LENDER, **deciding)
    assert again.value.reason == "DISPOSITION_DECIDED"
    await books_are_whole(db)


# HN-PO.loa.12, HN-PO.loa.13
async def test_who_does_not_pay_is_dealt_with_jointly_under_a_plan_of_the_case(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loan = await active(servicer, consumer, House(), term_months=1)
    await advance(db, catalogue, 34)
    deciding = {
        "loan_id": loan.loan_id,
        "due_class": tasks_pb2.DUE_CLASS_MALICIOUS,
        "reason": "could pay and does not",
        "plan": "the county and the bank call together, then court",
        "evidence": [photo()],
    }
    with pytest.raises(Invalid) as planless:
        await desk.ask("DecideDisposition", POVERTY, **{**deciding, "plan": ""})
    assert violation(planless.value) == ("plan", "")
    first = (await desk.ask("DecideDisposition", POVERTY, **deciding)).disposition
    assert (first.organ, first.in_effect) == ("poverty_office", False)
    assert await said(db, "loan_action_taken", events_pb2.LoanActionTaken) == []
    with pytest.raises(Refused) as twice:
        await desk.ask("DecideDisposition", POVERTY, **deciding)
    assert twice.value.reason == "DISPOSITION_DECIDED"
    changed = {**deciding, "due_class": tasks_pb2.DUE_CLASS_SOUND}
    with pytest.raises(Refused) as contradicted:
        await desk.ask("DecideDisposition", LENDER, **changed)
    assert contradicted.value.reason == "DISPOSITION_CONTRADICTED"
    second = (await desk.ask("DecideDisposition", LENDER, **deciding)).disposition

    assert (second.organ, second.in_effect) == ("lender", True)
    assert len((await desk.ask("ListDispositions", CENTRE)).dispositions) == 2
    assert (await story(db, loan.loan_id))[-3:] == [
        *("disposition_decided", "loan_action_taken", "collection_case_opened"),
    ]


# SC.loa.8, YY.loa.11, LS17.loa.10
async def test_an_officer_can_show_what_was_done(
    db: Database, catalogue: Catalogue, servicer: LoansServicer, consumer: Consumer, desk: Desk
) -> None:
    loan = await active(servicer, consumer, House())
    await advance(db, catalogue, 1)
    await desk.own(LENDER, tasks_pb2.TASK_KIND_POST_LOAN_CHECK)
    (task,) = await desk.tasks(LENDER, kind=tasks_pb2.TASK_KIND_POST_LOAN_CHECK)
    closed = await desk.ask(
        "CloseTask",
        LENDER,
        task_id=task.task_id,
        note="a part is not used",
        findings=["unused"],
        evidence=[photo()],
    )
    assert [issue.task_id for issue in closed.issues] == [task.task_id]

    mine = (await desk.ask("ListDueDiligence", LENDER, person_id=LENDER.person_id)).records
    assert [(each.duty, each.what) for each in mine] == [
        ("issue", "unused:registered"),
        ("task", "post_loan_check:closed"),
    ]
    assert mine[1].in_time
    assert list(mine[1].evidence) == [SHA]
    on_loan = await desk.ask("ListDueDiligence", CENTRE, loan_id=loan.loan_id)
    assert list(on_loan.exempts) == ["loan_officer"]
    assert {each.person_id for each in on_loan.records} == {
        *(CENTRE.person_id, APPROVER.person_id, LENDER.person_id),
    }
    with pytest.raises(Invalid) as neither:
        await desk.ask("ListDueDiligence", CENTRE)
    assert neither.value.reason == "OFFICER_OR_LOAN_NEEDED"
    others = await desk.ask("ListDueDiligence", OTHER_LENDER, person_id=LENDER.person_id)
    assert list(others.records) == []
