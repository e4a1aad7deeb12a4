"""Loans: projects that use the loans of many: listed, graded, watched, wound down. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.kernel.errors import Invalid, NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.loans.model import Loan
from services.loans.rules.chain import Actor
from services.programmes import bulletins, limits
from services.programmes.schema.post_loan import LegacyLoans
from services.programmes.schema.product_terms import PooledLending
from services.programmes.schema.reports import Grain, Report, ReportKind
from services.programmes.schema.values import Open
from services.programmes.terms import Terms

NOTHING: Final = Fen(0)
PPM: Final = 1_000_000


class Level(StrEnum):
    """Who keeps a library or white list."""

    COUNTY = "county"
    CITY = "city"
    PROVINCE = "province"


class Listed(StrEnum):
    """Which list."""

    LIBRARY = "library"
    WHITE_LIST = "white_list"


class WindDownCause(StrEnum):
    """Why a project ends."""

    FORBIDDEN_SECTOR = "forbidden_sector"
    CLOSED_USE = "closed_use"
    AT_RISK = "at_risk"


class WindDownState(StrEnum):
    """How far its end is."""

    NONE = "none"
    LEFT = "left"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Said:
    """Who said something, when, why and on what it rests."""

    by: Actor
    on: date
    reason: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class LoanProject:
    """A project as it was registered."""

    county_code: str
    project_id: UUID
    name: str
    enterprise_id: str
    enterprise_name: str
    sector: str
    area_code: str
    programme: str
    product_id: str
    legacy_id: str
    forbidden: bool
    registered: Said


@dataclass(frozen=True, slots=True)
class AtLevel:
    """A project's place on one level's list."""

    listed_in: Listed
    level: Level
    said: Said


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A month's grade."""

    month: date
    grade: str
    at_risk: bool
    said: Said


@dataclass(frozen=True, slots=True)
class WindDown:
    """The end of a project, and what was owed when it began; the reason is its plan."""

    cause: WindDownCause
    outstanding_fen: Fen
    said: Said


@dataclass(frozen=True, slots=True)
class Used:
    """What a project's loans come to."""

    loans: int = 0
    disbursed_fen: Fen = NOTHING
    outstanding_fen: Fen = NOTHING
    non_performing_fen: Fen = NOTHING


@dataclass(frozen=True, slots=True)
class DutyDone:
    """A duty of a clause on closed uses, done."""

    duty: str
    loan_id: UUID | None
    officer_id: str
    said: Said


@dataclass(frozen=True, slots=True)
class Standing:
    """A project and all that was said of it."""

    project: LoanProject
    listings: Sequence[AtLevel] = ()
    evaluations: Sequence[Evaluation] = ()
    """The latest month first."""
    watch: Said | None = None
    """Why it is on the watch list, if it is."""
    wind_down: WindDown | None = None
    duties: Sequence[DutyDone] = ()
    used: Used = field(default_factory=Used)

    @property
    def grade(self) -> str:
        """The last grade; empty before the first."""
        return self.evaluations[0].grade if self.evaluations else ""

    @property
    def end(self) -> WindDownState:
        """How far its end is."""
        if self.wind_down is None:
            return WindDownState.NONE
        return WindDownState.LEFT if self.used.outstanding_fen else WindDownState.RECOVERED

    @property
    def recovered_fen(self) -> Fen:
        """Of what was owed when its end began, what is owed no more."""
        begun = self.wind_down.outstanding_fen if self.wind_down else NOTHING
        return Fen(max(0, begun - self.used.outstanding_fen))

    @property
    def officer_id(self) -> str:
        """Who is in charge; the last one who was named."""
        named = [each.officer_id for each in self.duties if each.officer_id]
        return named[-1] if named else ""

    def levels_of(self, listed_in: Listed) -> tuple[str, ...]:
        """The levels that have it on a list now."""
        return tuple(str(each.level) for each in self.listings if each.listed_in is listed_in)


def project_not_found(project_id: UUID) -> NotFound:
    """No such project in the county."""
    return NotFound("PROJECT_NOT_FOUND", f"no project {project_id}", message_zh="无此项目")


# --- what the programme says ----------------------------------------------------------------------


def pooled_clause(project: LoanProject, terms: Terms) -> PooledLending | None:
    """The clause on pooled money under which a project stands; None for loans of a closed use."""
    return terms.product(project.product_id).pooled if project.product_id else None


def legacy_clause(terms: Terms, legacy_id: str) -> LegacyLoans:
    """The clause on loans of a closed use."""
    for clause in terms.loans.legacy_loans:
        if clause.id == legacy_id:
            return clause
    raise Refused(
        "NOT_A_LEGACY_USE",
        f"{terms.ref} has no closed use {legacy_id}",
        message_zh="方案无此类存量贷款条款",
    )


def is_forbidden(terms: Terms, product_id: str, legacy_id: str, sector: str) -> bool:
    """Whether the programme forbids the sector; refused where the money is not pooled."""
    if legacy_id:
        legacy_clause(terms, legacy_id)
        return False
    product = terms.product(product_id)
    if product.pooled is None:
        raise Refused(
            "NOT_POOLED", f"{product_id} is no pooled product", message_zh="该产品非分贷统还产品"
        )
    return limits.purpose_check_of(product.purpose, sector).reason == "prohibited_purpose"


def may_draw(standing: Standing, clause: PooledLending) -> bool:
    """Whether it is on the white list of every level that the programme names."""
    listed = standing.levels_of(Listed.WHITE_LIST)
    return all(level in listed for level in clause.library_levels)


def not_whitelisted(loan: Loan, standing: Standing | None, clause: PooledLending) -> Refused | None:
    """Why a loan may not be drawn: its project is not on the white list (HN-PO.loa.4)."""
    if not clause.whitelist_required or (standing is not None and may_draw(standing, clause)):
        return None
    name = standing.project.name if standing else "no project"
    return Refused(
        "PROJECT_NOT_WHITELISTED",
        f"loan {loan.loan_id}: {name} is not on the white list of"
        f" {', '.join(clause.library_levels)}",
        message_zh="项目不在白名单,不得用款",
    )


# --- listing --------------------------------------------------------------------------------------


def check_listing(standing: Standing, terms: Terms, wanted: AtLevel, *, listed: bool) -> None:
    """Refuse a level that the programme does not have, and a white list without its grounds."""
    clause = pooled_clause(standing.project, terms)
    levels = clause.library_levels if clause else ()
    if str(wanted.level) not in levels:
        raise invalid_field(
            "LEVEL_NOT_OF_PROGRAMME",
            "level",
            wanted.level,
            f"must be one of {', '.join(levels) or 'none'}",
            "方案无该级项目库",
        )
    if wanted.listed_in is Listed.LIBRARY or not listed:
        return
    check_goes_on(standing)
    if standing.project.forbidden:
        raise Refused(
            "SECTOR_FORBIDDEN",
            f"{standing.project.sector} is forbidden by {terms.ref}",
            message_zh="项目属禁止类",
        )
    if str(wanted.level) not in standing.levels_of(Listed.LIBRARY):
        raise Refused(
            "PROJECT_NOT_IN_LIBRARY",
            f"the project is not in the library of the {wanted.level}",
            message_zh="项目未入库",
        )
    if not standing.grade:
        raise Refused("PROJECT_NOT_GRADED", "the project has no grade", message_zh="项目未评级")
    if wanted.said.by.person_id == standing.project.registered.by.person_id:
        raise Refused(
            "SAME_PERSON",
            "who registered a project does not put it on the white list",
            message_zh="登记人不得办理白名单",
        )


def check_goes_on(standing: Standing) -> None:
    """Refuse what would go on with a project that ends."""
    if standing.wind_down is not None:
        raise Refused(
            "WIND_DOWN_BEGUN",
            f"the project ends since {standing.wind_down.said.on}",
            message_zh="项目已进入清退",
        )


# --- evaluation -----------------------------------------------------------------------------------


def evaluation_report(terms: Terms) -> Report | None:
    """The clause by which each pooled project is evaluated again and again; None without one."""
    if terms.pack.monitoring is None:
        return None
    for report in terms.monitoring.reports:
        if report.kind is ReportKind.EVALUATION and report.per is Grain.POOLED_PROJECT:
            return report
    return None


def check_evaluation(standing: Standing, terms: Terms, wanted: Evaluation, *, today: date) -> None:
    """Refuse an unknown grade, a month that is not yet, was not, or is evaluated."""
    clause = pooled_clause(standing.project, terms)
    grades = clause.project_grades if clause else ()
    if wanted.grade not in grades:
        raise invalid_field(
            "GRADE_UNKNOWN",
            "grade",
            wanted.grade,
            f"must be one of {', '.join(grades) or 'none: the programme does not grade it'}",
            "评级有误",
        )
    if wanted.month > today:
        raise _month(wanted.month, "MONTH_AHEAD", f"must not be after {today}", "月份尚未开始")
    began = standing.project.registered.on.replace(day=1)
    if wanted.month < began:
        rule = f"must not be before {began}"
        raise _month(wanted.month, "MONTH_BEFORE_REGISTRATION", rule, "月份早于登记月份")
    if any(each.month == wanted.month for each in standing.evaluations):
        raise Refused(
            "EVALUATED_ALREADY",
            f"{wanted.month:%Y-%m} is evaluated already",
            message_zh="该月已评估",
        )


def _month(month: date, reason: str, rule: str, zh: str) -> Invalid:
    return invalid_field(reason, "month", month, rule, zh)


def wants_watch(standing: Standing, terms: Terms, evaluation: Evaluation) -> bool:
    """Whether an evaluation brings a project onto the watch list: at risk, or the worst grade."""
    clause = pooled_clause(standing.project, terms)
    worst = clause is not None and evaluation.grade == clause.project_grades[-1]
    return evaluation.at_risk or worst


def overdue_evaluation(standing: Standing, terms: Terms, today: date) -> date | None:
    """The earliest month that is over and not evaluated; a project that is recovered owes none."""
    report = evaluation_report(terms)
    if report is None or isinstance(report.every, Open) or not standing.project.product_id:
        return None
    if standing.end is WindDownState.RECOVERED:
        return None
    done = [each.month for each in standing.evaluations]
    day = standing.project.registered.on
    while (span := bulletins.period(report.every, day)) is not None and span.last < today:
        if not any(span.first <= month <= span.last for month in done):
            return span.first
        day = span.last + timedelta(days=1)
    return None


# --- watching and ending --------------------------------------------------------------------------


def check_unwatch(standing: Standing, terms: Terms) -> None:
    """Refuse to look away while the last evaluation says that it is at risk."""
    if standing.evaluations and wants_watch(standing, terms, standing.evaluations[0]):
        raise Refused(
            "STILL_AT_RISK",
            f"graded {standing.grade} for {standing.evaluations[0].month:%Y-%m}",
            message_zh="最近一次评估仍为风险项目",
        )


def check_wind_down(standing: Standing, cause: WindDownCause) -> None:
    """Refuse a second end, and a cause that does not hold."""
    check_goes_on(standing)
    if cause is WindDownCause.FORBIDDEN_SECTOR and not standing.project.forbidden:
        raise Refused(
            "SECTOR_ALLOWED",
            f"{standing.project.sector} is not forbidden",
            message_zh="项目不属禁止类",
        )
    if cause is WindDownCause.CLOSED_USE and not standing.project.legacy_id:
        raise Refused(
            "NOT_A_LEGACY_USE", "its way of use is not closed", message_zh="非存量户贷企用项目"
        )


# --- loans of a closed use ------------------------------------------------------------------------

BY_LOAN: Final = frozenset({"single_check", "debt_isolation"})
"""Duties that are done for each loan on its own."""


def check_duty(
    standing: Standing,
    terms: Terms,
    duty: DutyDone,
    loan_ids: Collection[UUID],
) -> None:
    """Refuse a duty that the clause does not name, of a loan that is not the project's."""
    clause = legacy_clause(terms, standing.project.legacy_id)
    if duty.duty not in clause.requires:
        raise invalid_field(
            "DUTY_NOT_OF_PROGRAMME",
            "duty",
            duty.duty,
            f"must be one of {', '.join(clause.requires)}",
            "方案无此要求",
        )
    if duty.duty in BY_LOAN and duty.loan_id not in loan_ids:
        raise invalid_field(
            "LOAN_NOT_IN_PROJECT",
            "loan_id",
            duty.loan_id or "",
            "must be a loan of the project",
            "贷款不属于该项目",
        )
    if duty.duty == "dedicated_officer" and not duty.officer_id:
        raise invalid_field("OFFICER_MISSING", "officer_id", "", "must be named", "须指定专员")


def missing_duties(standing: Standing, terms: Terms, loan_ids: Collection[UUID]) -> tuple[str, ...]:
    """
    What the clause on a closed use asks for and is not done.

    The register itself is the ledger; the list of its loans is the name list.
    """
    if not standing.project.legacy_id:
        return ()
    done: dict[str, set[UUID | None]] = {}
    for each in standing.duties:
        done.setdefault(each.duty, set()).add(each.loan_id)
    lacking = []
    for duty in legacy_clause(terms, standing.project.legacy_id).requires:
        if duty == "ledger":
            continue
        if duty == "name_list":
            whole = bool(loan_ids)
        elif duty in BY_LOAN:
            whole = bool(loan_ids) and set(loan_ids) <= done.get(duty, set())
        else:
            whole = duty in done
        if not whole:
            lacking.append(str(duty))
    return tuple(lacking)


# --- totals ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sum:
    """Projects and an amount."""

    projects: int = 0
    amount_fen: Fen = NOTHING


@dataclass(frozen=True, slots=True)
class Totals:
    """What the register comes to (HN-PO.mon.7)."""

    begun: Sum
    """Ever registered, and paid out."""
    now: Sum
    at_risk: Sum
    forbidden: Sum
    recovered: Sum
    left: Sum
    winding_down: Sum
    evaluations_overdue: int

    @property
    def risky_ppm(self) -> int:
        """Projects at risk by projects now, rounded down."""
        return self.at_risk.projects * PPM // self.now.projects if self.now.projects else 0


def totals(standings: Sequence[Standing], overdue: Mapping[UUID, date | None]) -> Totals:
    """Sum the register up; forbidden projects are recovered or left, none is neither."""
    now = [each for each in standings if each.end is not WindDownState.RECOVERED]
    forbidden = [each for each in standings if each.project.forbidden]
    gone = [each for each in forbidden if each.end is WindDownState.RECOVERED]
    left = [each for each in forbidden if each.end is not WindDownState.RECOVERED]
    return Totals(
        begun=_sum(standings, (each.used.disbursed_fen for each in standings)),
        now=_owed(now),
        at_risk=_owed([each for each in now if each.watch is not None]),
        forbidden=_sum(
            forbidden,
            (
                each.wind_down.outstanding_fen if each.wind_down else each.used.outstanding_fen
                for each in forbidden
            ),
        ),
        recovered=_sum(gone, (each.recovered_fen for each in forbidden)),
        left=_owed(left),
        winding_down=_owed([each for each in standings if each.end is WindDownState.LEFT]),
        evaluations_overdue=sum(day is not None for day in overdue.values()),
    )


def _owed(standings: Sequence[Standing]) -> Sum:
    return _sum(standings, (each.used.outstanding_fen for each in standings))


def _sum(standings: Sequence[Standing], amounts: Iterable[int]) -> Sum:
    return Sum(len(standings), Fen(sum(amounts)))
