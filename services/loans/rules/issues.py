"""Loans: issues found after the loan, the compliance list, dispositions. Pure decisions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.kernel.errors import Denied, Refused, invalid_field
from services.kernel.values import replace
from services.loans.model import Action, Loan, LoanState
from services.loans.rules.chain import INSTITUTIONS, LENDER_ROLES, Actor
from services.loans.rules.tasks import Evidence, require_evidence
from services.programmes import collection, issues, limits, pricing, products
from services.programmes.issues import IssueState, IssueStep
from services.programmes.schema.collection import DispositionAction, DueClass
from services.programmes.schema.loans import LoanRules
from services.programmes.schema.pack import Pack
from services.programmes.schema.reports import IssueLedger
from services.programmes.schema.values import Open, Organ
from services.programmes.terms import Terms

OVERDUE = "overdue"
"""What an overdue loan is called in a ledger of overdue loans."""
QUARTER_MONTHS = 3
DECIDERS = frozenset({*LENDER_ROLES, "county_centre", "poverty_office"})
"""They decide a disposition where the programme names nobody."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue."""

    county_code: str
    issue_id: UUID
    version: int
    ledger: str
    code: str
    programme: str
    area_code: str
    loan_id: UUID | None
    household_id: UUID | None
    lender_id: str
    state: IssueState
    registered_on: date
    due_on: date | None
    note: str
    task_id: UUID | None = None
    rectified_on: date | None = None
    rectified_by: str = ""
    closed_on: date | None = None
    closed_by: str = ""
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Done:
    """One thing done with an issue."""

    issue_id: UUID
    number: int
    kind: str
    taken_on: date
    institution_id: str = ""
    person_id: str = ""
    note: str = ""
    evidence: tuple[Evidence, ...] = ()
    in_time: bool = True


@dataclass(frozen=True, slots=True)
class Looked:
    """What the compliance list looks at of a loan that is paid out and owed."""

    loan_id: UUID
    household_id: UUID
    area_code: str
    lender_id: str
    programme: str
    product_id: str
    overdue_days: int
    rate_ppm: int
    term_months: int
    disbursed_on: date
    purpose: str
    use_mode: str
    user_id: str
    repayer_id: str
    conduct: tuple[str, ...]
    subsidy_unpaid: bool
    """The treasury owes its interest for a quarter that ended a quarter ago."""
    open_codes: tuple[str, ...] = ()
    """Issues of it that are not crossed off."""


def subsidy_quarter(day: date) -> tuple[int, int, date, date]:
    """The last quarter that should be paid by a day: year, number, first day, the day after it."""
    number = day.year * 4 + (day.month - 1) // QUARTER_MONTHS - 2
    year, quarter = divmod(number, 4)
    begins = date(year, quarter * QUARTER_MONTHS + 1, 1)
    after_year, after_quarter = divmod(number + 1, 4)
    return year, quarter + 1, begins, date(after_year, after_quarter * QUARTER_MONTHS + 1, 1)


# --- the compliance list --------------------------------------------------------------------------


def _overdue(loan: Looked, _: Terms) -> bool:
    return loan.overdue_days > 0


def _non_productive(loan: Looked, terms: Terms) -> bool:
    clause = terms.product(loan.product_id).purpose
    allowed = None if isinstance(clause.allowed, Open) else clause.allowed
    found = limits.purpose_check(loan.purpose, prohibited=clause.prohibited, allowed=allowed)
    return not found.allowed


def _not_at_benchmark(loan: Looked, terms: Terms) -> bool:
    table = terms.loans.benchmark
    price = terms.product(loan.product_id).pricing
    if isinstance(table, Open) or isinstance(price, Open) or price.mode != "benchmark":
        return False
    try:
        benchmark = pricing.benchmark_rate_ppm(
            table, term_months=loan.term_months, on=loan.disbursed_on
        )
    except Refused:
        # A loan from before the table: nothing to hold its rate against.
        return False
    return loan.rate_ppm != benchmark


def _subsidy_not_paid(loan: Looked, _: Terms) -> bool:
    return loan.subsidy_unpaid


def _enterprise_use(loan: Looked, terms: Terms) -> bool:
    own = str(loan.household_id)
    found = products.use_check(
        terms.product(loan.product_id).use,
        borrower=own,
        user=loan.user_id or own,
        repayer=loan.repayer_id or own,
        mode=loan.use_mode or None,
        conduct=loan.conduct,
    )
    return bool(found.reasons)


DERIVED = {
    "overdue": _overdue,
    "non_productive_use": _non_productive,
    "not_at_benchmark": _not_at_benchmark,
    "subsidy_not_paid": _subsidy_not_paid,
    "prohibited_enterprise_use": _enterprise_use,
}
"""Checks that the books can make; the others are what persons find and register."""


def derived(loan: Looked, terms: Terms) -> dict[str, bool]:
    """Every check of the programme's list, as far as the books tell."""
    listed = terms.monitoring.compliance if terms.pack.monitoring else ()
    return {check.id: check.id in DERIVED and DERIVED[check.id](loan, terms) for check in listed}


def compliance(loan: Looked, terms: Terms) -> issues.Compliance:
    """The whole list: what the books tell, and what persons found that is not crossed off."""
    hits = {code: hit or code in loan.open_codes for code, hit in derived(loan, terms).items()}
    return issues.compliance_of(terms.monitoring.compliance, hits)


def found(loan: Looked, terms: Terms) -> list[str]:
    """What a day close registers of a loan: hits of the list, overdue where a ledger asks."""
    codes = [code for code, hit in derived(loan, terms).items() if hit]
    if loan.overdue_days and overdue_ledger(terms.pack) and OVERDUE not in codes:
        codes.append(OVERDUE)
    return [code for code in codes if code not in loan.open_codes]


def still_found(loan: Looked, terms: Terms, code: str) -> bool:
    """Whether the books show an issue now; what only persons find, they say."""
    if code == OVERDUE:
        return loan.overdue_days > 0
    return derived(loan, terms).get(code, False)


def looks(pack: Pack) -> tuple[bool, bool]:
    """Whether a programme has a compliance list, and whether a ledger of overdue loans."""
    listed = bool(pack.monitoring and pack.monitoring.compliance)
    return listed, overdue_ledger(pack) is not None


def overdue_ledger(pack: Pack) -> IssueLedger | None:
    """The ledger of overdue loans."""
    return _ledger(pack, "overdue_loan")


def _ledger(pack: Pack, of: str) -> IssueLedger | None:
    ledgers = pack.monitoring.ledgers if pack.monitoring else ()
    return next((each for each in ledgers if each.of == of), None)


def ledger_of(pack: Pack, code: str, asked: str = "") -> IssueLedger | None:
    """Where an issue goes: the ledger asked for, or the one for what it is."""
    ledgers = pack.monitoring.ledgers if pack.monitoring else ()
    if asked:
        for each in ledgers:
            if each.id == asked:
                return each
        known = ", ".join(each.id for each in ledgers) or "none"
        rule = f"must be a ledger of the programme: {known}"
        raise invalid_field("UNKNOWN_LEDGER", "ledger", asked, rule, "方案无此台账")
    listed = {check.id for check in (pack.monitoring.compliance if pack.monitoring else ())}
    if code == OVERDUE and code not in listed:
        return overdue_ledger(pack)
    return _ledger(pack, "compliance_issue")


def deadline(ledger: IssueLedger | None, registered_on: date) -> date | None:
    """By when; None while the programme leaves it open or has no ledger: a person sets it."""
    if ledger is None or isinstance(ledger.rectify_within_days, Open):
        return None
    return issues.issue_due(ledger, registered_on, on=registered_on).due_on


# --- from registered to crossed off ---------------------------------------------------------------


def _late(issue: Issue, day: date) -> bool:
    return issue.due_on is not None and day > issue.due_on


def late(issue: Issue, today: date) -> bool:
    """Whether it was not rectified by its day."""
    return _late(issue, issue.rectified_on or today)


def _advance(issue: Issue, step: IssueStep, done: Done) -> tuple[Issue, Done]:
    state = issues.advance(issue.state, step)
    return replace(issue, state=state, version=issue.version + 1, steps=done.number), done


def _done(issue: Issue, kind: str, day: date, actor: Actor, note: str) -> Done:
    return Done(
        issue.issue_id,
        issue.steps + 1,
        kind,
        day,
        actor.institution_id,
        actor.person_id,
        note,
        in_time=not _late(issue, day),
    )


def set_deadline(issue: Issue, due_on: date, *, actor: Actor, day: date, note: str) \
        -> tuple[Issue, Done]:  # fmt: skip
    """A person sets the deadline that the programme leaves open; once."""
    if issue.state is not IssueState.REGISTERED:
        raise Refused("ISSUE_STATE", f"the issue is {issue.state}", message_zh="问题台账状态不符")
    if issue.due_on is not None:
        raise Refused(
            "ISSUE_DEADLINE_SET", f"it is {issue.due_on}", message_zh="整改期限已定,不得更改"
        )
    done = replace(_done(issue, "deadline_set", day, actor, note), in_time=True)
    now = replace(issue, due_on=due_on, version=issue.version + 1, steps=done.number)
    return now, done


def rectify(
    issue: Issue, *, actor: Actor, day: date, note: str, evidence: Sequence[Evidence]
) -> tuple[Issue, Done]:
    """Somebody rectified it, with evidence."""
    require_evidence(evidence)
    done = replace(_done(issue, "rectified", day, actor, note), evidence=tuple(evidence))
    now, done = _advance(issue, IssueStep.RECTIFY, done)
    return replace(now, rectified_on=day, rectified_by=actor.person_id), done


def _another(issue: Issue, actor: Actor) -> None:
    if actor.person_id == issue.rectified_by:
        raise Refused(
            "SAME_PERSON",
            f"{actor.person_id} rectified it: another person looks",
            message_zh="整改与销号须为不同人员",
        )


def send_back(issue: Issue, *, actor: Actor, day: date, note: str) -> tuple[Issue, Done]:
    """It does not hold."""
    now, done = _advance(issue, IssueStep.SEND_BACK, _done(issue, "sent_back", day, actor, note))
    _another(issue, actor)
    return replace(now, rectified_on=None, rectified_by=""), done


def cross_off(
    issue: Issue, *, actor: Actor, day: date, note: str, still_found: bool
) -> tuple[Issue, Done]:
    """Another person crosses it off; not while the books still show it."""
    now, done = _advance(issue, IssueStep.CROSS_OFF, _done(issue, "crossed_off", day, actor, note))
    _another(issue, actor)
    if still_found:
        raise Refused(
            "ISSUE_STILL_FOUND",
            f"{issue.code} still holds of the loan",
            message_zh="核查仍发现该问题,不得销号",
        )
    done = replace(done, in_time=not late(issue, day))
    return replace(now, closed_on=day, closed_by=actor.person_id), done


# --- dispositions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision on a problem loan."""

    loan_id: UUID
    number: int
    due_class: str
    actions: tuple[str, ...]
    plan: str
    reason: str
    evidence: tuple[Evidence, ...]
    organ: str
    institution_id: str
    person_id: str
    decided_on: date
    in_effect: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A disposition as it is asked for."""

    due_class: str
    plan: str
    reason: str
    evidence: tuple[Evidence, ...]


def dispose(
    loan: Loan,
    rules: LoanRules,
    wanted: Wanted,
    before: Sequence[Decided],
    *,
    actor: Actor,
    parties: Mapping[str, Sequence[str]],
    today: date,
) -> Decided:
    """Decide a problem loan by its class; together with others where the programme says so."""
    require_problem(loan, today)
    clause = collection.disposition(rules.dispositions, DueClass(wanted.due_class))
    organ = _deciding(clause.jointly_by, loan, actor, parties)
    require_evidence(wanted.evidence)
    if clause.plan_per_case and not wanted.plan:
        raise invalid_field(
            "PLAN_NEEDED", "plan", "", "this class has a plan for each case", "须一户一策制定方案"
        )
    pending = _pending(before)
    last = before[-1] if before and not pending else None
    if last and (last.decided_on == today or _still_holds(last, loan, wanted)):
        raise Refused(
            "DISPOSITION_DECIDED",
            f"{last.due_class} was decided on {last.decided_on}",
            message_zh="该笔贷款已作此处置",
        )
    if pending and pending[0].due_class != wanted.due_class:
        raise Refused(
            "DISPOSITION_CONTRADICTED",
            f"{pending[0].organ} decided {pending[0].due_class}",
            message_zh="联合处置意见不一致",
        )
    agreed = {each.organ for each in pending}
    if organ in agreed or actor.person_id in {each.person_id for each in pending}:
        raise Refused("DISPOSITION_DECIDED", f"{organ} has decided", message_zh="本单位已处置")
    everybody = {each.value for each in clause.jointly_by} <= {*agreed, organ}
    return Decided(
        loan.loan_id,
        len(before) + 1,
        wanted.due_class,
        tuple(action.value for action in clause.actions),
        wanted.plan,
        wanted.reason,
        wanted.evidence,
        organ,
        actor.institution_id,
        actor.person_id,
        today,
        everybody,
    )


def _still_holds(last: Decided, loan: Loan, wanted: Wanted) -> bool:
    """The same was decided since the loan is overdue; once it was paid, it begins anew."""
    since = loan.next_due_on
    return last.due_class == wanted.due_class and (since is None or last.decided_on >= since)


def _pending(before: Sequence[Decided]) -> list[Decided]:
    """Decisions that wait for others to decide the same."""
    found_: list[Decided] = []
    for each in before:
        found_ = [] if each.in_effect else [*found_, each]
    return found_


def _deciding(
    jointly_by: Collection[Organ],
    loan: Loan,
    actor: Actor,
    parties: Mapping[str, Sequence[str]],
) -> str:
    """As which organ somebody decides."""
    lends = actor.role in LENDER_ROLES and actor.institution_id == loan.lender_id
    for organ in jointly_by:
        if organ is Organ.LENDER:
            fits = lends
        elif organ.value in INSTITUTIONS:
            fits = actor.role == organ.value
        else:
            fits = actor.institution_id in parties.get(organ.value, ())
        if fits:
            return organ.value
    own = lends or actor.role not in LENDER_ROLES
    if jointly_by or actor.role not in DECIDERS or not own:
        by = ", ".join(organ.value for organ in jointly_by) or ", ".join(sorted(DECIDERS))
        raise Denied("NOT_A_DECIDER", f"this is decided by {by}", message_zh="本机构无权处置")
    return Organ.LENDER.value if lends else actor.role


def require_problem(loan: Loan, today: date) -> None:
    """Refuse a loan that is paid as agreed."""
    owed = loan.state in (LoanState.ACTIVE, LoanState.WRITTEN_OFF)
    due = loan.next_due_on is not None and loan.next_due_on <= today
    if not owed or not (due or loan.non_performing_on or loan.state is LoanState.WRITTEN_OFF):
        raise Refused(
            "LOAN_NOT_OVERDUE",
            f"the loan is {loan.state}, next due on {loan.next_due_on}",
            message_zh="贷款未到期",
            facts={"next_due_on": str(loan.next_due_on)},
        )


def actions(decided: Decided) -> list[Action]:
    """The programme's ordered actions, once a disposition is in effect."""
    if not decided.in_effect:
        return []
    return [
        Action(
            decided.loan_id, "disposition", decided.decided_on, place, action, decided.decided_on
        )
        for place, action in enumerate(decided.actions, 1)
    ]


def collects(decided: Decided) -> bool:
    """Whether a collection case follows."""
    return decided.in_effect and DispositionAction.FORCED_COLLECTION.value in decided.actions
