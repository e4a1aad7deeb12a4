"""Projects that use the loans of many: registered, listed, graded, watched, wound down."""

from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from liandong.loans.v1 import loans_pb2
from liandong.loans.v1 import projects_pb2 as pb

from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError, Refused
from services.kernel.ids import new_id
from services.kernel.money import Fen
from services.loans.rules import projects as rules
from services.loans.rules.chain import Actor
from services.loans.rules.projects import LoanProject, Said, Standing, Used, WindDown, WindDownCause
from services.loans.servicer import LoansServicer
from services.loans.servicer.projects import ProjectsServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    AUDITOR,
    BANK,
    CASHIER,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_LENDER,
    PACK,
    PROGRAMME,
    House,
    a_caller,
    a_catalogue,
    calling,
    day,
)

needs_postgres = pytest.mark.postgres

POVERTY_OFFICE = a_caller("poverty_office", institution_id="pov-1")
POOLED = """
  - id: pooled
    title: {zh: 分贷统还, en: Pooled}
    borrower_classes: [poor_household, non_poor_household]
    max_term_months: 36
    pricing: {mode: benchmark}
    subsidy: {mode: none}
    interest_settlement: bullet
    pooled:
      library_levels: [county, province]
      project_grades: [good, medium, poor]
      whitelist_required: true
    approval_chain:
      - {step: county_checks, kind: check, organ: county_centre}
      - {step: bank_approves, kind: approval, organ: lender}
    purpose: {prohibited: [mining]}
insurance:
"""
LEGACY = """
  legacy_loans:
    - {id: enterprise_use, requires: [name_list, ledger, single_check, dedicated_officer]}
loan_products:
"""
REPORT = """
monitoring:
  reports:
    - {id: project_evaluation, kind: evaluation, every: month, by: [lender], per: pooled_project}
"""
POOLED_PACK = (
    PACK.replace("\ninsurance:\n", POOLED)
    .replace("\nloan_products:\n", LEGACY)
    .replace("\nmonitoring:\n", REPORT)
)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return a_catalogue(POOLED_PACK)


@pytest.fixture
def projects(db: Database, catalogue: Catalogue) -> ProjectsServicer:
    return ProjectsServicer(db, catalogue)


async def ask(projects: ProjectsServicer, caller: Caller, request: Message) -> Any:
    name = type(request).__name__.removesuffix("Request")
    return await getattr(projects, name)(request, calling(caller, request))


async def refusal(projects: ProjectsServicer, caller: Caller, request: Message) -> LiandongError:
    with pytest.raises(LiandongError) as refused:
        await ask(projects, caller, request)
    return refused.value


def head(project_id: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"request_id": str(uuid4()), "county_code": COUNTY}
    return {**found, "project_id": project_id} if project_id else found


def a_project(**changes: Any) -> pb.RegisterLoanProjectRequest:
    values: dict[str, Any] = {
        "name": "kiwi fruit base",
        "enterprise_id": "91430000X",
        "enterprise_name": "Kiwi Ltd",
        "sector": "kiwi",
        "area_code": COUNTY,
        "programme_id": PROGRAMME,
        "product_id": "pooled",
        **changes,
    }
    return pb.RegisterLoanProjectRequest(**head(), **values)


async def registered(projects: ProjectsServicer, **changes: Any) -> str:
    answer = await ask(projects, CENTRE, a_project(**changes))
    return str(answer.project.project_id)


def listing(
    project_id: str, level: str, *, white: bool = False, listed: bool = True
) -> pb.ListProjectAtLevelRequest:
    return pb.ListProjectAtLevelRequest(
        **head(project_id),
        list=pb.PROJECT_LIST_WHITE_LIST if white else pb.PROJECT_LIST_LIBRARY,
        level=pb.ProjectLevel.Value(f"PROJECT_LEVEL_{level}"),
        listed=listed,
        reason="checked on site",
        evidence="sha256:aa",
    )


def grading(
    project_id: str, grade: str = "good", *, month: date = OPENED, at_risk: bool = False
) -> pb.EvaluateLoanProjectRequest:
    return pb.EvaluateLoanProjectRequest(
        **head(project_id),
        month=day(month),
        grade=grade,
        at_risk=at_risk,
        reason="fruit is sold",
        evidence="sha256:bb",
    )


async def whitelisted(projects: ProjectsServicer, **changes: Any) -> str:
    """A project in every library, graded, on every white list."""
    project_id = await registered(projects, **changes)
    await ask(projects, LENDER, grading(project_id))
    for white in (False, True):
        for level in ("COUNTY", "PROVINCE"):
            await ask(projects, POVERTY_OFFICE, listing(project_id, level, white=white))
    return project_id


async def get(projects: ProjectsServicer, project_id: str) -> pb.LoanProject:
    request = pb.GetLoanProjectRequest(county_code=COUNTY, project_id=project_id)
    found: pb.LoanProject = (await ask(projects, AUDITOR, request)).project
    return found


def ending(
    project_id: str, cause: "pb.WindDownCause.ValueType" = pb.WIND_DOWN_CAUSE_AT_RISK
) -> pb.StartWindDownRequest:
    return pb.StartWindDownRequest(
        **head(project_id), cause=cause, plan="sell the pledged store", evidence="sha256:cc"
    )


def adding(project_id: str, *loan_ids: str) -> pb.AddProjectLoansRequest:
    return pb.AddProjectLoansRequest(**head(project_id), loan_ids=loan_ids)


async def applied(
    servicer: LoansServicer, consumer: Consumer, project_id: str, **stated: Any
) -> loans_pb2.Loan:
    """An application that says of its project what it likes."""
    house = House()
    await steps.know(consumer, house)
    project = loans_pb2.Project(
        project_id=project_id, grade="good", library_levels=["county", "province"], whitelisted=True
    )
    particulars = loans_pb2.Particulars(project=project, **stated)
    return await steps.apply(servicer, house, product_id="pooled", particulars=particulars)


# --- white list -----------------------------------------------------------------------------------


# HN-PO.loa.3, HN-PO.loa.4
@needs_postgres
async def test_only_a_project_on_the_white_list_of_every_level_may_draw(
    servicer: LoansServicer, projects: ProjectsServicer, consumer: Consumer
) -> None:
    project_id = await registered(projects)
    # What the applicant says of the project counts for nothing: the register decides.
    early = await applied(servicer, consumer, project_id)
    assert early.state == loans_pb2.LOAN_STATE_REFUSED
    assert set(early.refusal_reasons) == {
        "NOT_IN_COUNTY_LIBRARY",
        "NOT_IN_PROVINCE_LIBRARY",
        "NOT_GRADED",
        "NOT_WHITELISTED",
    }
    unknown = await applied(servicer, consumer, "their-own-7")
    assert "NOT_WHITELISTED" in unknown.refusal_reasons
    await ask(projects, LENDER, grading(project_id))
    for level in ("COUNTY", "PROVINCE"):
        await ask(projects, POVERTY_OFFICE, listing(project_id, level))
    await ask(projects, POVERTY_OFFICE, listing(project_id, "COUNTY", white=True))
    half = await applied(servicer, consumer, project_id)
    assert list(half.refusal_reasons) == ["NOT_WHITELISTED"]
    await ask(projects, POVERTY_OFFICE, listing(project_id, "PROVINCE", white=True))

    loan = await applied(servicer, consumer, project_id)
    await steps.decide(servicer, loan.loan_id, "county_checks", CENTRE)
    await steps.decide(servicer, loan.loan_id, "bank_approves", APPROVER)
    off = listing(project_id, "COUNTY", white=True, listed=False)
    assert not (await ask(projects, CENTRE, off)).project.whitelisted
    with pytest.raises(Refused, match="PROJECT_NOT_WHITELISTED"):
        await steps.disburse(servicer, loan.loan_id, caller=CASHIER)
    await ask(projects, POVERTY_OFFICE, listing(project_id, "COUNTY", white=True))
    await steps.disburse(servicer, loan.loan_id, caller=CASHIER)

    found = await get(projects, project_id)
    assert (found.whitelisted, found.grade, found.loans) == (True, "good", 1)
    assert (found.disbursed_fen, found.outstanding_fen) == (30_000 * YUAN, 30_000 * YUAN)
    request = pb.ListProjectLoansRequest(county_code=COUNTY, project_id=project_id)
    (used,) = (await ask(projects, LENDER, request)).loans
    assert (used.loan_id, used.lender_id) == (loan.loan_id, BANK)
    assert not (await ask(projects, OTHER_LENDER, request)).loans


# HN-PO.loa.4, HN-PO.loa.5
@needs_postgres
async def test_the_white_list_has_its_grounds(projects: ProjectsServicer) -> None:
    project_id = await registered(projects)
    mine = await registered(projects, sector="mining")

    async def reason(request: Message, caller: Caller = POVERTY_OFFICE) -> str:
        return (await refusal(projects, caller, request)).reason

    city = await refusal(projects, CENTRE, listing(project_id, "CITY"))
    (violation,) = city.violations
    assert (violation.field, violation.value) == ("level", "city")
    assert violation.rule == "must be one of county, province"
    white = listing(project_id, "COUNTY", white=True)
    assert await reason(white) == "PROJECT_NOT_IN_LIBRARY"
    await ask(projects, CENTRE, listing(project_id, "COUNTY"))
    assert await reason(white) == "PROJECT_NOT_GRADED"
    await ask(projects, CENTRE, grading(project_id))
    assert await reason(white, CENTRE) == "SAME_PERSON"
    assert await reason(listing(mine, "COUNTY", white=True)) == "SECTOR_FORBIDDEN"
    assert await reason(listing(str(new_id()), "COUNTY")) == "PROJECT_NOT_FOUND"
    assert await reason(white, LENDER) == "ROLE_NOT_ALLOWED"
    assert await reason(a_project(product_id="ordinary")) == "NOT_POOLED"
    assert await reason(a_project(product_id="", legacy_id="none")) == "NOT_A_LEGACY_USE"
    assert await reason(a_project(legacy_id="enterprise_use")) == "POOLED_OR_LEGACY"
    outside = a_project(area_code="880101")
    assert await reason(outside) == "AREA_NOT_YOURS"


# --- grades ---------------------------------------------------------------------------------------


# HN-PO.mon.6
@needs_postgres
async def test_a_project_is_graded_each_month_and_a_month_that_is_missed_is_seen(
    projects: ProjectsServicer, db: Database, catalogue: Catalogue
) -> None:
    project_id = await registered(projects)
    await ask(projects, LENDER, grading(project_id))
    await steps.advance(db, catalogue, 75)

    found = await get(projects, project_id)
    assert found.evaluation_overdue == day(date(2021, 2, 1))
    request = pb.ListLoanProjectsRequest(county_code=COUNTY, evaluation_overdue=True)
    assert len((await ask(projects, AUDITOR, request)).projects) == 1
    february = grading(project_id, "poor", month=date(2021, 2, 9))
    found = (await ask(projects, CENTRE, february)).project

    assert not found.HasField("evaluation_overdue")
    assert not (await ask(projects, AUDITOR, request)).projects
    assert [(each.month.month, each.grade, each.person_id) for each in found.evaluations] == [
        (2, "poor", "cfc-1-p1"),
        (1, "good", "rcb-1-p1"),
    ]
    # The worst grade is watched, until a better one lets somebody look away.
    assert (found.watched, found.watched_for) == (True, "fruit is sold")
    away = pb.WatchLoanProjectRequest(**head(project_id), watched=False, reason="sold well")
    assert (await refusal(projects, CENTRE, away)).reason == "STILL_AT_RISK"
    await ask(projects, CENTRE, grading(project_id, "medium", month=date(2021, 3, 1)))
    watched = pb.ListLoanProjectsRequest(county_code=COUNTY, watched=True)
    assert len((await ask(projects, AUDITOR, watched)).projects) == 1
    assert not (await ask(projects, CENTRE, away)).project.watched


@needs_postgres
@pytest.mark.parametrize(
    ("grade", "month", "reason"),
    [
        ("fair", OPENED, "GRADE_UNKNOWN"),
        ("good", OPENED + timedelta(days=40), "MONTH_AHEAD"),
        ("good", OPENED - timedelta(days=40), "MONTH_BEFORE_REGISTRATION"),
        ("good", OPENED, "EVALUATED_ALREADY"),
    ],
)
async def test_which_evaluation_is_refused(
    projects: ProjectsServicer, grade: str, month: date, reason: str
) -> None:
    project_id = await registered(projects)
    await ask(projects, CENTRE, grading(project_id))

    found = await refusal(projects, CENTRE, grading(project_id, grade, month=month))

    assert found.reason == reason
    assert all(each.field in ("grade", "month") and each.rule for each in found.violations)


# --- ending ---------------------------------------------------------------------------------------


# HN-PO.mon.7
@needs_postgres
async def test_a_forbidden_project_is_wound_down_and_the_register_adds_up(
    servicer: LoansServicer, projects: ProjectsServicer, consumer: Consumer
) -> None:
    good = await whitelisted(projects)
    loans = []
    for _ in range(2):
        loan_id = (await applied(servicer, consumer, good)).loan_id
        await steps.decide(servicer, loan_id, "county_checks", CENTRE)
        await steps.decide(servicer, loan_id, "bank_approves", APPROVER)
        await steps.disburse(servicer, loan_id, caller=CASHIER)
        loans.append(loan_id)
    idle = await registered(projects, name="quarry", sector="mining")
    assert (
        await refusal(projects, CENTRE, ending(good, pb.WIND_DOWN_CAUSE_FORBIDDEN_SECTOR))
    ).reason == ("SECTOR_ALLOWED")
    closed = (
        await ask(projects, CENTRE, ending(idle, pb.WIND_DOWN_CAUSE_FORBIDDEN_SECTOR))
    ).project
    assert closed.wind_down == pb.WIND_DOWN_STATE_RECOVERED
    mine = await registered(projects, name="mine", sector="mining")
    ended = (await ask(projects, CENTRE, ending(good))).project

    assert (ended.whitelisted, ended.wind_down) == (False, pb.WIND_DOWN_STATE_LEFT)
    assert (ended.wind_down_fen, ended.recovered_fen) == (60_000 * YUAN, 0)
    await steps.repay(servicer, loans[0], 30_000 * YUAN)
    assert (await get(projects, good)).recovered_fen == 30_000 * YUAN
    for request in (adding(good, loans[0]), ending(good), listing(good, "COUNTY", white=True)):
        assert (await refusal(projects, POVERTY_OFFICE, request)).reason == "WIND_DOWN_BEGUN"
    totals = await ask(projects, AUDITOR, pb.GetProjectTotalsRequest(county_code=COUNTY))
    assert (totals.projects_begun, totals.disbursed_fen) == (3, 60_000 * YUAN)
    assert (totals.now.projects, totals.now.outstanding_fen) == (2, 30_000 * YUAN)
    assert (totals.forbidden.projects, totals.forbidden_recovered.projects) == (2, 1)
    assert (totals.forbidden_left.projects, totals.winding_down.projects) == (1, 1)
    await steps.repay(servicer, loans[1], 30_000 * YUAN)
    assert (await get(projects, good)).wind_down == pb.WIND_DOWN_STATE_RECOVERED
    assert (await get(projects, mine)).forbidden
    left = pb.ListLoanProjectsRequest(county_code=COUNTY, winding_down=True)
    assert not (await ask(projects, AUDITOR, left)).projects


# --- loans of a closed use ------------------------------------------------------------------------


# AH.loa.2, AH-RCU.loa.5
@needs_postgres
async def test_loans_of_a_closed_use_are_listed_checked_and_led_by_one_officer(
    servicer: LoansServicer, projects: ProjectsServicer, consumer: Consumer
) -> None:
    one = (await steps.active(servicer, consumer, House())).loan_id
    two = (await steps.active(servicer, consumer, House())).loan_id
    other = await steps.active_of_other(servicer, consumer)
    project_id = await registered(projects, product_id="", legacy_id="enterprise_use")
    second = await registered(projects, product_id="", legacy_id="enterprise_use")
    first = ("name_list", "single_check", "dedicated_officer")
    assert tuple((await get(projects, project_id)).duties_missing) == first

    verdicts = (await ask(projects, LENDER, adding(project_id, one, two, other))).verdicts
    assert [(each.accepted, each.reason) for each in verdicts] == [
        (True, ""),
        (True, ""),
        (False, "LOAN_NOT_FOUND"),
    ]
    (taken,) = (await ask(projects, LENDER, adding(second, one))).verdicts
    assert taken.reason == "LOAN_IN_ANOTHER_PROJECT"
    (again,) = (await ask(projects, LENDER, adding(project_id, one))).verdicts
    assert again.accepted

    def duty(name: str, **values: Any) -> pb.RecordLegacyDutyRequest:
        return pb.RecordLegacyDutyRequest(
            **head(project_id), duty=name, evidence="sha256:dd", **values
        )

    for request, reason in (
        (duty("debt_isolation", loan_id=one), "DUTY_NOT_OF_PROGRAMME"),
        (duty("single_check", loan_id=other), "LOAN_NOT_IN_PROJECT"),
        (duty("dedicated_officer"), "OFFICER_MISSING"),
    ):
        assert (await refusal(projects, LENDER, request)).reason == reason
    await ask(projects, LENDER, duty("dedicated_officer", officer_id="rcb-1-p7"))
    await ask(projects, LENDER, duty("single_check", loan_id=one))
    assert list((await get(projects, project_id)).duties_missing) == ["single_check"]
    done = (await ask(projects, LENDER, duty("single_check", loan_id=two))).project
    assert (list(done.duties_missing), done.officer_id) == ([], "rcb-1-p7")
    request_loans = pb.ListProjectLoansRequest(
        county_code=COUNTY, project_id=project_id, page_size=1
    )
    page = await ask(projects, CENTRE, request_loans)
    request_loans.page_token = page.next_page_token
    rest = await ask(projects, CENTRE, request_loans)
    assert [each.checked for each in (*page.loans, *rest.loans)] == [True, True]
    closed = (
        await ask(projects, CENTRE, ending(project_id, pb.WIND_DOWN_CAUSE_CLOSED_USE))
    ).project
    assert closed.wind_down_fen == 60_000 * YUAN


# --- totals ---------------------------------------------------------------------------------------


def a_standing(outstanding: int, begun: int | None, *, forbidden: bool, watched: bool) -> Standing:
    said = Said(Actor("cfc-1", "", "p1"), OPENED)
    project = LoanProject(
        COUNTY, new_id(), "n", "e", "E", "s", COUNTY, "p@1", "pooled", "", forbidden, said
    )
    return Standing(
        project,
        watch=said if watched else None,
        wind_down=None if begun is None else WindDown(WindDownCause.AT_RISK, Fen(begun), said),
        used=Used(1, Fen(outstanding), Fen(outstanding)),
    )


@given(
    st.lists(
        st.builds(
            a_standing,
            st.integers(0, 9),
            st.none() | st.integers(0, 9),
            forbidden=st.booleans(),
            watched=st.booleans(),
        ),
        max_size=12,
    )
)
def test_the_register_adds_up(standings: list[Standing]) -> None:
    found = rules.totals(standings, {})

    assert found.forbidden.projects == found.recovered.projects + found.left.projects
    assert found.begun.projects == len(standings) >= found.now.projects >= found.at_risk.projects
    owed = sum(each.used.outstanding_fen for each in standings)
    # What is recovered owes nothing, so what is owed is all on projects that go on.
    assert found.now.amount_fen == owed
    assert found.risky_ppm <= 1_000_000
