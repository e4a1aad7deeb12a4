"""Loans: the register of projects that use the loans of many."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids
from services.kernel.errors import Exhausted, LiandongError, Refused
from services.kernel.values import replace
from services.loans import store
from services.loans.model import Application, Loan, LoanState, Project
from services.loans.operations.shared import found
from services.loans.rules import lending
from services.loans.rules import projects as rules
from services.loans.rules.chain import LENDER_ROLES, Actor
from services.loans.rules.projects import (
    AtLevel,
    DutyDone,
    Evaluation,
    Listed,
    LoanProject,
    Said,
    Standing,
    WindDown,
    WindDownCause,
)
from services.loans.store import projects as register
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref
from services.programmes.terms import Terms


@dataclass(frozen=True, slots=True)
class Shown:
    """A project with what follows from the programme and the day."""

    standing: Standing
    whitelisted: bool
    evaluation_overdue: date | None
    duties_missing: tuple[str, ...]


# --- the register ---------------------------------------------------------------------------------


async def register_project(
    session: AsyncSession,
    catalogue: Catalogue,
    wanted: LoanProject,
    programme_id: str,
    actor: Actor,
) -> Shown:
    """Enter a project; the programme in force says whether its sector is forbidden."""
    county_code = wanted.county_code
    await register.alone(session, county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    terms = catalogue.terms(county_code, ref)
    if bool(wanted.product_id) == bool(wanted.legacy_id):
        raise Refused(
            "POOLED_OR_LEGACY",
            "a project is of a pooled product or of a closed use, not of both or none",
            message_zh="项目须属分贷统还产品或存量用途之一",
        )
    forbidden = rules.is_forbidden(terms, wanted.product_id, wanted.legacy_id, wanted.sector)
    if len(await register.register(session, county_code)) >= register.REGISTER_MAX:
        raise Exhausted("REGISTER_FULL", f"{register.REGISTER_MAX} projects are registered")
    project = replace(
        wanted,
        project_id=ids.new_id(),
        programme=ref,
        forbidden=forbidden,
        registered=Said(actor, today),
    )
    await register.add_project(session, project)
    return await shown(session, catalogue, county_code, project.project_id)


async def _standing(session: AsyncSession, county_code: str, project_id: UUID) -> Standing:
    standings = await register.register(session, county_code, [project_id])
    if not standings:
        raise rules.project_not_found(project_id)
    return standings[0]


async def shown(
    session: AsyncSession, catalogue: Catalogue, county_code: str, project_id: UUID
) -> Shown:
    """One project as it stands today."""
    standing = await _standing(session, county_code, project_id)
    return (await _shown(session, catalogue, county_code, [standing]))[0]


async def _shown(
    session: AsyncSession, catalogue: Catalogue, county_code: str, standings: Sequence[Standing]
) -> list[Shown]:
    today = await business_day.today(session, county_code)
    legacy = [each.project.project_id for each in standings if each.project.legacy_id]
    loan_ids = await register.loan_ids_of(session, county_code, legacy) if legacy else {}
    made = []
    for each in standings:
        terms = catalogue.terms(county_code, each.project.programme)
        clause = rules.pooled_clause(each.project, terms)
        made.append(
            Shown(
                each,
                clause is not None and rules.may_draw(each, clause),
                rules.overdue_evaluation(each, terms, today),
                rules.missing_duties(each, terms, loan_ids.get(each.project.project_id, ())),
            )
        )
    return made


async def list_projects(
    session: AsyncSession, catalogue: Catalogue, county_code: str
) -> list[Shown]:
    """The whole register of a county, in the order of registration."""
    standings = await register.register(session, county_code)
    return await _shown(session, catalogue, county_code, standings)


async def totals(
    session: AsyncSession, catalogue: Catalogue, county_code: str, programme_id: str
) -> rules.Totals:
    """What the register comes to, of one programme unless that is empty."""
    wanted = [
        each
        for each in await list_projects(session, catalogue, county_code)
        if programme_id in ("", split_ref(each.standing.project.programme)[0])
    ]
    return rules.totals(
        [each.standing for each in wanted],
        {each.standing.project.project_id: each.evaluation_overdue for each in wanted},
    )


# --- what is said of one --------------------------------------------------------------------------


async def _held(
    session: AsyncSession, catalogue: Catalogue, county_code: str, project_id: UUID
) -> tuple[Standing, Terms, date]:
    await register.alone(session, county_code)
    standing = await _standing(session, county_code, project_id)
    terms = catalogue.terms(county_code, standing.project.programme)
    return standing, terms, await business_day.today(session, county_code)


async def list_at_level(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    project_id: UUID,
    wanted: AtLevel,
    *,
    listed: bool,
) -> Shown:
    """Enter a project on a level's list, or strike it off."""
    standing, terms, today = await _held(session, catalogue, county_code, project_id)
    wanted = replace(wanted, said=replace(wanted.said, on=today))
    rules.check_listing(standing, terms, wanted, listed=listed)
    await register.add_listing(session, standing.project, wanted, listed=listed)
    return await shown(session, catalogue, county_code, project_id)


async def evaluate(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    project_id: UUID,
    wanted: Evaluation,
) -> Shown:
    """Grade a project for a month; one that is at risk comes onto the watch list."""
    standing, terms, today = await _held(session, catalogue, county_code, project_id)
    month = wanted.month.replace(day=1)
    made = replace(wanted, month=month, said=replace(wanted.said, on=today))
    rules.check_evaluation(standing, terms, made, today=today)
    await register.add_evaluation(session, standing.project, made)
    if standing.watch is None and rules.wants_watch(standing, terms, made):
        await register.add_watch(session, standing.project, made.said, watched=True)
    return await shown(session, catalogue, county_code, project_id)


async def watch(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    project_id: UUID,
    said: Said,
    *,
    watched: bool,
) -> Shown:
    """Put a project on the watch list, or take it off when nothing speaks against it."""
    standing, terms, today = await _held(session, catalogue, county_code, project_id)
    if not watched:
        rules.check_unwatch(standing, terms)
    await register.add_watch(session, standing.project, replace(said, on=today), watched=watched)
    return await shown(session, catalogue, county_code, project_id)


async def wind_down(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    project_id: UUID,
    *,
    cause: WindDownCause,
    said: Said,
) -> Shown:
    """Begin to end a project: it leaves every white list, and what is owed now is kept."""
    standing, _, today = await _held(session, catalogue, county_code, project_id)
    rules.check_wind_down(standing, cause)
    said = replace(said, on=today)
    for each in standing.listings:
        if each.listed_in is Listed.WHITE_LIST:
            struck = replace(each, said=said)
            await register.add_listing(session, standing.project, struck, listed=False)
    end = WindDown(cause, standing.used.outstanding_fen, said)
    await register.add_wind_down(session, standing.project, end)
    return await shown(session, catalogue, county_code, project_id)


async def record_duty(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    project_id: UUID,
    done: DutyDone,
) -> Shown:
    """Record a duty of loans of a closed use as done."""
    standing, terms, today = await _held(session, catalogue, county_code, project_id)
    loan_ids = await register.loan_ids_of(session, county_code, [project_id])
    rules.check_duty(standing, terms, done, loan_ids[project_id])
    made = replace(done, said=replace(done.said, on=today))
    await register.add_duty(session, standing.project, made)
    return await shown(session, catalogue, county_code, project_id)


# --- loans of projects ----------------------------------------------------------------------------


async def add_loans(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    project_id: UUID,
    *,
    loan_ids: Sequence[UUID],
    actor: Actor,
) -> list[Loan | LiandongError]:
    """Say whose loans a project uses; each on its own, and one that it has is taken again."""
    standing, _, today = await _held(session, catalogue, county_code, project_id)
    rules.check_goes_on(standing)
    loans = await store.lock_loans(session, county_code, loan_ids)
    taken = await register.projects_of(session, county_code, loan_ids)
    outcomes: list[Loan | LiandongError] = []
    rows: list[tuple[UUID, UUID]] = []
    for loan_id in loan_ids:
        try:
            loan = found(loans, loan_id)
            if actor.role in LENDER_ROLES:
                lending.require_lender(loan, actor)
            _check_free(loan, standing.project, taken.get(loan_id))
            if loan_id not in taken:
                rows.append((loan_id, project_id))
            outcomes.append(loan)
        except LiandongError as error:
            outcomes.append(error)
    await register.add_loans(session, county_code, rows, by=actor, on=today)
    return outcomes


def _check_free(loan: Loan, project: LoanProject, taken: UUID | None) -> None:
    if taken not in (None, project.project_id):
        raise Refused(
            "LOAN_IN_ANOTHER_PROJECT",
            f"loan {loan.loan_id} is used by project {taken}",
            message_zh="贷款已归入其他项目",
        )
    if project.product_id and loan.product_id != project.product_id:
        raise Refused(
            "LOAN_OF_ANOTHER_PRODUCT",
            f"loan {loan.loan_id} is of {loan.product_id}, the project of {project.product_id}",
            message_zh="贷款产品与项目不符",
        )


async def by_register(
    session: AsyncSession, county_code: str, applications: Sequence[Application]
) -> list[Application]:
    """
    The same applications, each with its project as the register has it.

    What an applicant says of a project's grade and lists counts for nothing.
    """
    named: dict[str, UUID] = {}
    for each in applications:
        if each.stated.project is not None:
            try:
                named[each.stated.project.project_id] = UUID(each.stated.project.project_id)
            except ValueError:
                continue
    if not any(each.stated.project for each in applications):
        return list(applications)
    standings = {
        each.project.project_id: each
        for each in await register.register(session, county_code, set(named.values()))
    }
    return [
        each
        if each.stated.project is None
        else replace(
            each,
            stated=replace(
                each.stated, project=_as_registered(each.stated.project, named, standings)
            ),
        )
        for each in applications
    ]


def _as_registered(
    stated: Project, named: Mapping[str, UUID], standings: Mapping[UUID, Standing]
) -> Project:
    standing = standings.get(named.get(stated.project_id, UUID(int=0)))
    if standing is None:
        return Project(stated.project_id, "", (), whitelisted=False)
    library = standing.levels_of(Listed.LIBRARY)
    white = standing.levels_of(Listed.WHITE_LIST)
    return Project(
        str(standing.project.project_id),
        standing.grade,
        library,
        whitelisted=bool(library) and set(library) <= set(white),
    )


async def note_loans(
    session: AsyncSession,
    county_code: str,
    rows: Sequence[tuple[Loan, Project]],
    *,
    by: Actor,
    on: date,
) -> None:
    """Whose loans a project uses, as their applications say; refused ones are nobody's."""
    wanted = [
        (loan.loan_id, UUID(project.project_id))
        for loan, project in rows
        if project.grade and loan.state is not LoanState.REFUSED
    ]
    await register.add_loans(session, county_code, wanted, by=by, on=on)


async def not_drawable(
    session: AsyncSession,
    county_code: str,
    loans: Mapping[UUID, Loan],
    terms_of: Callable[[str], Terms],
) -> dict[UUID, LiandongError]:
    """Of loans that are held: why those of projects off the white list may not be paid out."""
    clauses = {
        loan.loan_id: clause
        for loan in loans.values()
        if (clause := terms_of(loan.programme).product(loan.product_id).pooled) is not None
    }
    if not clauses:
        return {}
    of = await register.projects_of(session, county_code, list(clauses))
    standings = {
        each.project.project_id: each
        for each in await register.register(session, county_code, set(of.values()))
    }
    barred: dict[UUID, LiandongError] = {}
    for loan_id, clause in clauses.items():
        standing = standings[of[loan_id]] if loan_id in of else None
        refusal = rules.not_whitelisted(loans[loan_id], standing, clause)
        if refusal is not None:
            barred[loan_id] = refusal
    return barred
