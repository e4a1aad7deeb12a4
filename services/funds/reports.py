"""Funds: what may be read, by whom, and the books as one row of figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import (
    CaseFile,
    CaseState,
    CaseStep,
    Cover,
    CoverState,
    Fund,
    Recovery,
    Standing,
)
from services.funds.store import accounts_books as books_store
from services.funds.store import cases as case_store
from services.funds.store import cover as cover_store
from services.funds.store import funds as fund_store
from services.funds.store import recoveries as recovery_store
from services.funds.store import steps as step_store
from services.funds.store import totals as totals_store
from services.kernel import business_day
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Denied, NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.programmes.leverage import leverage
from services.programmes.loader import Catalogue
from services.programmes.schema.values import known

OVERSEERS = ("county_centre", "finance_bureau", "regulator", "auditor", "operator")
"""Roles that see every fund and case of their county."""
READERS = (*OVERSEERS, "bank", "mutual_aid_society", "insurer", "guarantor")
"""The others see funds, and the cases in which they have a part."""

FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class FundView:
    """A fund with what the programme of the day makes of it."""

    fund: Fund
    programme: str
    capacity_fen: Fen


def _seen_by(caller: Caller) -> str:
    return "" if caller.role in OVERSEERS else caller.institution_id


def _require_reader(caller: Caller, county_code: str) -> None:
    require_role(caller, READERS)
    caller.require_area(county_code)


def view(catalogue: Catalogue, fund: Fund, on: date) -> FundView:
    """A fund's capacity under the version in force; none while the programme leaves it open."""
    try:
        ref = catalogue.in_force(fund.county_code, fund.programme_id, on)
        multiple = known(catalogue.terms(fund.county_code, ref).fund.multiple)
    except (NotFound, Refused):
        return FundView(fund, fund.programme_id, Fen(0))
    now = leverage(fund.balance_fen, multiple=multiple, outstanding_fen=fund.covered_fen)
    return FundView(fund, ref, now.capacity_fen)


async def fund_view(session: AsyncSession, catalogue: Catalogue, fund: Fund) -> FundView:
    """The same on the county's business date."""
    return view(catalogue, fund, await business_day.today(session, fund.county_code))


async def get_fund(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str, fund_id: UUID
) -> FundView:
    """One fund."""
    _require_reader(caller, county_code)
    fund = await fund_store.get_fund(session, county_code, fund_id)
    if fund is None:
        raise NotFound("FUND_NOT_FOUND", f"no fund {fund_id}", message_zh="无此基金")
    return await fund_view(session, catalogue, fund)


async def list_funds(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    *,
    after: UUID,
    limit: int,
) -> list[FundView]:
    """A page of a county's funds."""
    _require_reader(caller, county_code)
    funds = await fund_store.list_funds(session, county_code, after=after, limit=limit)
    if not funds:
        return []
    today = await business_day.today(session, county_code)
    return [view(catalogue, fund, today) for fund in funds]


async def get_case(
    session: AsyncSession, caller: Caller, county_code: str, case_id: UUID
) -> CaseFile:
    """One case; another's case is not there."""
    _require_reader(caller, county_code)
    case = await case_store.get_case(session, county_code, case_id, seen_by=_seen_by(caller))
    if case is None:
        raise NotFound("CASE_NOT_FOUND", f"no case {case_id}", message_zh="无此案件")
    return case_store.files([case], await case_store.parts_of(session, [case.key]))[0]


async def list_cases(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    state: CaseState | None,
    after: UUID,
    limit: int,
) -> list[CaseFile]:
    """A page of a county's cases."""
    _require_reader(caller, county_code)
    cases = await case_store.list_cases(
        session, county_code, state=state, seen_by=_seen_by(caller), after=after, limit=limit
    )
    return case_store.files(cases, await case_store.parts_of(session, [case.key for case in cases]))


async def case_steps(
    session: AsyncSession, caller: Caller, county_code: str, case_id: UUID
) -> tuple[CaseFile, list[CaseStep]]:
    """One case with its steps."""
    found = await get_case(session, caller, county_code, case_id)
    return found, await step_store.steps_of(session, county_code, case_id)


async def recoveries(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    case_id: UUID,
    *,
    after: UUID,
    limit: int,
) -> tuple[CaseFile, list[Recovery]]:
    """A page of the recoveries of a case that the caller may see."""
    found = await get_case(session, caller, county_code, case_id)
    made = await recovery_store.recoveries_of(
        session, county_code, case_id, after=after, limit=limit
    )
    return found, made


async def case_positions(
    session: AsyncSession, caller: Caller, county_code: str, case_id: UUID, *, as_of: date | None
) -> list[Standing]:
    """How everybody stands in a case; an institution sees its own line, the lender all."""
    found = await get_case(session, caller, county_code, case_id)
    own = _seen_by(caller)
    day = as_of or await business_day.today(session, county_code)
    return await step_store.standings_of_case(
        session,
        county_code,
        case_id,
        day,
        seen_by="" if own == found.case.lender_id else own,
    )


async def positions(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    institution_id: str,
    *,
    as_of: date | None,
    after: tuple[UUID, int],
    limit: int,
) -> list[Standing]:
    """How an institution stands in its cases; only overseers ask for another's."""
    _require_reader(caller, county_code)
    wanted = institution_id or caller.institution_id
    if _seen_by(caller) not in ("", wanted):
        raise Denied("NOT_YOURS", f"{wanted} is another institution", message_zh="不能查询其他机构")
    day = as_of or await business_day.today(session, county_code)
    return await step_store.standings_of(
        session, county_code, wanted, day, after=after, limit=limit
    )


async def share_instructions(
    session: AsyncSession, caller: Caller, county_code: str, *, after: tuple[UUID, int], limit: int
) -> list[asyncpg.Record]:
    """A page of shares that are owed, as far as they concern the caller."""
    _require_reader(caller, county_code)
    return await step_store.owed_shares(
        session, county_code, seen_by=_seen_by(caller), after=after, limit=limit
    )


async def get_cover(
    session: AsyncSession, caller: Caller, county_code: str, loan_id: UUID
) -> Cover:
    """The cover of a loan; another's is not there."""
    _require_reader(caller, county_code)
    found = await cover_store.get_cover(session, county_code, loan_id, seen_by=_lender(caller))
    if found is None:
        raise NotFound(
            "COVER_NOT_FOUND", f"loan {loan_id} was never covered", message_zh="无担保记录"
        )
    return found


async def list_covers(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    state: str,
    after: UUID,
    limit: int,
) -> list[Cover]:
    """A page of a county's covers."""
    _require_reader(caller, county_code)
    if state and state not in list(CoverState):
        rule = f"must be one of {', '.join(CoverState)}"
        raise invalid_field("STATE_UNKNOWN", "state", state, rule)
    return await cover_store.list_covers(
        session, county_code, state=state, seen_by=_lender(caller), after=after, limit=limit
    )


def _lender(caller: Caller) -> str:
    """A guarantor stands behind loans of every lender; a lender sees its own."""
    return "" if caller.role in (*OVERSEERS, "guarantor") else caller.institution_id


async def totals(session: AsyncSession, county_code: str) -> Mapping[str, int]:
    """The control totals by name."""
    found = await totals_store.totals(session, county_code)
    found |= await books_store.totals(session, county_code)
    return {f"funds.{name}": value for name, value in found.items()}
