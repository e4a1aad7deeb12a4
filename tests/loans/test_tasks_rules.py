"""Tasks and issues: the decisions alone, on values."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import LiandongError
from services.kernel.ids import new_id
from services.loans.rules import issues, tasks
from services.loans.rules.chain import Actor
from services.loans.rules.issues import Issue
from services.loans.rules.tasks import Evidence, Parties, Task, TaskKind
from services.programmes.issues import IssueState
from services.programmes.loader import load
from services.programmes.schema.values import Every
from tests.loans.county import BANK, COUNTY, OPENED, ORDINARY, REF, VILLAGE
from tests.loans.watchful import a_watchful_catalogue

DAYS = st.dates(date(2015, 1, 1), date(2030, 12, 31))
SHOWN = (Evidence("photo", "store/1.jpg", "ab" * 32),)
NOBODY = Parties({}, {})


def a_task(**changes: object) -> Task:
    made = Task(
        county_code=COUNTY,
        task_id=new_id(),
        version=1,
        kind=TaskKind.POST_LOAN_CHECK,
        clause_id="checked",
        key="checked",
        programme="plain@1",
        area_code=VILLAGE,
        loan_id=None,
        household_id=None,
        lender_id="",
        organ="lender",
        institution_id="rcb-1",
        owner_id="rcb-1-p1",
        deputy_id="rcb-1-p2",
        opened_on=OPENED,
        due_on=OPENED,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def an_issue(state: IssueState = IssueState.REGISTERED) -> Issue:
    return Issue(
        county_code=COUNTY,
        issue_id=new_id(),
        version=1,
        ledger="issues",
        code="overdue",
        programme="plain@1",
        area_code=VILLAGE,
        loan_id=None,
        household_id=None,
        lender_id="",
        state=state,
        registered_on=OPENED,
        due_on=OPENED,
        note="",
    )


@given(every=st.sampled_from([e for e in Every if e is not Every.EVENT]), day=DAYS)
def test_a_day_lies_in_its_period_and_the_day_after_its_end_in_the_next(
    every: Every, day: date
) -> None:
    name, last = tasks.period_of(every, day)

    assert day <= last
    assert tasks.period_of(every, last) == (name, last)
    assert tasks.period_of(every, last + timedelta(days=1))[0] != name


@given(day=DAYS)
def test_the_quarter_that_should_be_paid_ended_a_whole_quarter_ago(day: date) -> None:
    year, quarter, begins, ends = issues.subsidy_quarter(day)

    assert 1 <= quarter <= 4
    assert begins == date(year, quarter * 3 - 2, 1)
    assert begins < ends
    assert timedelta(days=90) <= day - ends <= timedelta(days=184)


@given(
    chain=st.lists(
        st.sampled_from(["assigned_helper", "township_station", "poverty_office"]),
        min_size=1,
        unique=True,
    ),
    every=st.integers(1, 30),
)
def test_everybody_of_a_chain_hears_once_in_order(chain: list[str], every: int) -> None:
    task = a_task(chain=tuple(chain), next_escalation_on=OPENED)
    heard = []
    while task.next_escalation_on is not None:
        on = task.next_escalation_on
        task, step = tasks.escalate(task, on, every_days=every, parties=NOBODY)
        heard.append(step.organ)

    assert heard == chain
    assert task.escalations == task.steps == len(chain)


@given(person=st.sampled_from(["rcb-1-p1", "rcb-1-p2", "rcb-1-p3"]), shown=st.booleans())
def test_only_its_people_close_a_task_and_never_with_nothing_to_show(
    person: str, shown: bool
) -> None:
    actor = Actor("rcb-1", "bank", person)
    evidence = SHOWN if shown else ()
    allowed = shown and person != "rcb-1-p3"

    if allowed:
        task, step = tasks.close(
            a_task(), actor=actor, day=OPENED, note="", evidence=evidence, findings=()
        )
        assert task.closed_on == step.taken_on == OPENED
    else:
        with pytest.raises(LiandongError):
            tasks.close(a_task(), actor=actor, day=OPENED, note="", evidence=evidence, findings=())


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["rectify", "send_back", "cross_off"]), st.sampled_from("abc")),
        max_size=12,
    )
)
def test_an_issue_is_crossed_off_only_by_another_than_who_rectified_it(
    steps: list[tuple[str, str]],
) -> None:
    issue = an_issue()
    for step, person in steps:
        actor = Actor("rcb-1", "bank", person)
        before = issue
        try:
            if step == "rectify":
                issue, done = issues.rectify(
                    issue, actor=actor, day=OPENED, note="", evidence=SHOWN
                )
            elif step == "send_back":
                issue, done = issues.send_back(issue, actor=actor, day=OPENED, note="")
            else:
                issue, done = issues.cross_off(
                    issue, actor=actor, day=OPENED, note="", still_found=False
                )
        except LiandongError:
            assert issue is before
            continue
        assert (issue.steps, issue.version) == (done.number, before.version + 1)
        if issue.state is IssueState.CROSSED_OFF:
            assert issue.closed_by == person != issue.rectified_by
    if issue.state is IssueState.CROSSED_OFF:
        assert issue.rectified_by != issue.closed_by


def test_every_packaged_programme_says_what_it_asks_for() -> None:
    catalogue = load()
    asked: dict[str, set[str]] = {}
    for ref, pack in catalogue.packs.items():
        plans = tasks.plans(pack, date(2018, 6, 1))
        assert len({plan.prefix + plan.kind for plan in plans}) == len(plans)
        asked[ref] = {plan.kind.value for plan in plans}

    assert asked["henan-lushi@2"] == {"purpose_verification", "self_check", "daily_report"}
    assert asked["anhui-rcu-poverty-microcredit@1"] == {"post_loan_check"}
    assert asked["hunan-rcu-poverty-microcredit@1"] == {"post_loan_check"}
    # Its checks are without a rhythm: nothing is opened until a county sets one.
    assert asked["hubei-yunyang-troika@2016"] == set()


def test_a_loan_from_before_the_rates_has_none_to_be_held_against() -> None:
    terms = a_watchful_catalogue().terms(COUNTY, REF)
    dear = issues.Looked(
        loan_id=new_id(),
        household_id=new_id(),
        area_code=VILLAGE,
        lender_id=BANK,
        programme=REF,
        product_id=ORDINARY,
        overdue_days=0,
        rate_ppm=99_000,
        term_months=12,
        disbursed_on=OPENED,
        purpose="beekeeping",
        use_mode="self",
        user_id="",
        repayer_id="",
        conduct=(),
        subsidy_unpaid=False,
    )
    before = replace(dear, disbursed_on=date(2019, 12, 31))

    assert issues.found(dear, terms) == ["not_at_benchmark"]
    assert issues.found(before, terms) == []
