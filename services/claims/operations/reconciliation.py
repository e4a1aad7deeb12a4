"""Claims: an institution's statement taken in, held against ours, its differences resolved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.operations.shared import actor_of
from services.claims.rules import reconciliation as rules
from services.claims.rules.reconciliation import (
    LENDERS_KINDS,
    Cause,
    Comparison,
    Line,
    Resolution,
    Statement,
)
from services.claims.store import reconciliation as store
from services.claims.store.reconciliation import KeptDifference, Reconciliation
from services.kernel import business_day, ids
from services.kernel.caller import Caller
from services.kernel.errors import Denied, LiandongError, NotFound, Refused
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole

LENDERS = (InstitutionRole.BANK, InstitutionRole.MUTUAL_AID_SOCIETY)
INSTITUTIONS = (*LENDERS, InstitutionRole.INSURER)
"""Who has statements; they see and bring only their own."""

DIFFERENCES_SHOWN_MAX = 500


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found."""

    reconciliation: Reconciliation
    agreeing: int
    causes: dict[Cause, int]
    differences: tuple[KeptDifference, ...]


def own(caller: Caller) -> str:
    """The institution whose statements alone a caller sees; empty for whoever sees all."""
    return caller.institution_id if caller.role in INSTITUTIONS else ""


async def start(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, asked: Statement
) -> UUID:
    """Announce a statement; the same announcement again is the same reconciliation."""
    person = actor_of(caller)
    _check_institution(catalogue, caller, asked)
    today = await business_day.today(session, asked.county_code)
    rules.check_statement(asked, today=today)
    await store.alone(session, asked.county_code, f"{asked.institution_id}:{asked.reference}")
    before = await store.find_by_reference(session, asked)
    if before is not None:
        return rules.check_own(asked, before).reconciliation_id
    statement = replace(asked, reconciliation_id=ids.new_id(), started_by=person, started_on=today)
    await store.add_statement(session, statement)
    return statement.reconciliation_id


def _check_institution(catalogue: Catalogue, caller: Caller, asked: Statement) -> None:
    if own(caller) not in ("", asked.institution_id):
        raise Denied(
            "NOT_YOUR_STATEMENT",
            f"{caller.institution_id} cannot bring a statement of {asked.institution_id}",
            message_zh="不得代其他机构对账",
        )
    known = catalogue.institutions.get(asked.institution_id)
    if known is None or known.role not in INSTITUTIONS:
        raise NotFound(
            "INSTITUTION_UNKNOWN",
            f"no insurer or lender {asked.institution_id}",
            message_zh="无此保险或承贷机构",
        )
    if known.role in LENDERS and asked.kind not in LENDERS_KINDS:
        raise Refused(
            "STATEMENT_KIND_NOT_THEIRS",
            f"a lender has no statement of {asked.kind}",
            message_zh="承贷机构无此类对账单",
        )


async def _held(
    session: AsyncSession, caller: Caller, county_code: str, reconciliation_id: UUID
) -> Reconciliation:
    """A reconciliation of the caller's, held until the transaction ends."""
    await store.alone(session, county_code, str(reconciliation_id))
    found = await store.find(session, county_code, own(caller), reconciliation_id)
    if found is None:
        raise rules.reconciliation_not_found(reconciliation_id)
    return found


async def post_lines(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    reconciliation_id: UUID,
    *,
    institution_id: str,
    until_date: date,
    lines: Sequence[Line | LiandongError],
) -> list[Line | LiandongError]:
    """Keep lines, each on its own; a line that came before is kept once."""
    person = actor_of(caller)
    today = await business_day.today(session, county_code)
    held = await _held(session, caller, county_code, reconciliation_id)
    statement = held.statement
    rules.check_file(statement, institution_id, until_date)
    numbers = {line.line_number for line in lines if isinstance(line, Line)}
    known = {line.line_number: line for line in await store.lines_of(session, statement, numbers)}
    fresh: list[Line] = []
    outcomes: list[Line | LiandongError] = []
    for line in lines:
        try:
            if isinstance(line, LiandongError):
                raise line
            before = known.get(line.line_number)
            if before is not None:
                rules.check_same_line(line, before)
            else:
                _check_open(held)
                rules.check_line(statement, line)
                known[line.line_number] = line
                fresh.append(line)
            outcomes.append(line)
        except LiandongError as error:
            outcomes.append(error)
    await store.add_lines(session, statement, fresh, by=person, on=today)
    return outcomes


def _check_open(held: Reconciliation) -> None:
    if held.compared_on is not None:
        raise Refused(
            "RECONCILIATION_CLOSED",
            f"the statement was compared on {held.compared_on}",
            message_zh="该对账单已完成比对",
        )


async def compare_statement(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    reconciliation_id: UUID,
    *,
    dry_run: bool,
) -> Compared:
    """Hold a statement against ours; differences are kept once, and nothing of ours changes."""
    person = actor_of(caller)
    today = await business_day.today(session, county_code)
    held = await _held(session, caller, county_code, reconciliation_id)
    if held.compared_on is not None:
        return await _found_before(session, held)
    statement = held.statement
    rules.check_whole(statement, lines=held.posted_lines, amount_fen=held.posted_fen)
    lines = await store.lines_of(session, statement)
    named = {parsed for line in lines if (parsed := rules.id_of(line.record_id)) is not None}
    found = rules.compare(statement.kind, lines, await store.ours(session, statement, named))
    if dry_run:
        return _would_be(held, found, today)
    await store.add_comparison(session, statement, found, by=person, on=today)
    after = await store.find(session, county_code, "", reconciliation_id)
    assert after is not None
    return await _found_before(session, after)


def _would_be(held: Reconciliation, found: Comparison, today: date) -> Compared:
    causes: dict[Cause, int] = {}
    for each in found.differences:
        causes[each.cause] = causes.get(each.cause, 0) + 1
    shown = tuple(
        KeptDifference(
            number=0,
            reconciliation_id=held.statement.reconciliation_id,
            institution_id=held.statement.institution_id,
            difference=each,
            found_on=today,
            resolution=None,
            reason="",
            resolved_by="",
            resolved_on=None,
        )
        for each in found.differences[:DIFFERENCES_SHOWN_MAX]
    )
    return Compared(held, found.agreeing, causes, shown)


async def _found_before(session: AsyncSession, held: Reconciliation) -> Compared:
    county_code = held.statement.county_code
    reconciliation_id = held.statement.reconciliation_id
    shown = await store.list_differences(
        session,
        county_code,
        "",
        reconciliation_id=reconciliation_id,
        cause=None,
        unresolved=False,
        after=0,
        limit=DIFFERENCES_SHOWN_MAX,
    )
    causes = await store.causes_of(session, county_code, reconciliation_id)
    return Compared(held, held.agreeing, causes, tuple(shown))


async def resolve_difference(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    number: int,
    *,
    resolution: Resolution,
    reason: str,
) -> KeptDifference:
    """Keep what a person says of a difference, once; whoever brought the statement has no say."""
    person = actor_of(caller)
    today = await business_day.today(session, county_code)
    await store.alone(session, county_code, f"difference:{number}")
    found = await store.find_difference(session, county_code, own(caller), number)
    if found is None:
        raise rules.difference_not_found(number)
    posters = await store.posters(session, county_code, found.reconciliation_id)
    rules.check_resolver(number, person, posters=posters, resolved=found.resolution is not None)
    await store.add_resolution(
        session, county_code, number, resolution, reason=reason, by=person, on=today
    )
    return replace(
        found,
        resolution=resolution,
        reason=reason,
        resolved_by=person.person_id,
        resolved_on=today,
    )
