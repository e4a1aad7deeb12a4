"""Funds: the funds themselves: opened, and given money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Contribution, Fund, FundState
from services.funds.operations.shared import Work, cash_moves, pay_debts
from services.funds.rules import accounts as account_rules
from services.funds.store import accounts as account_store
from services.funds.store import funds as fund_store
from services.kernel import business_day, ids
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Conflict, NotFound
from services.kernel.journal import Account, Entry
from services.kernel.money import Fen
from services.programmes.loader import Catalogue
from services.programmes.schema.fund import Fund as FundTerms

FUND_OPENERS = ("county_centre", "finance_bureau")
CONTRIBUTORS = ("finance_bureau",)


async def open_fund(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    *,
    county_code: str,
    programme_id: str,
    kind: str,
    scope_id: str = "",
) -> Fund:
    """Open a fund of a kind that a programme which the county follows knows."""
    require_role(caller, FUND_OPENERS)
    caller.require_area(county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    terms = catalogue.terms(county_code, ref).fund
    fund_class = account_rules.check_kind(terms, kind, scope_id, county_code)
    institutions = catalogue.parties(county_code, ref).get(kind, ())
    fund = Fund(
        county_code=county_code,
        fund_id=ids.new_id(),
        programme_id=programme_id,
        kind=kind,
        institution_id=institutions[0] if institutions else caller.institution_id,
        state=FundState.OPEN,
        balance_fen=Fen(0),
        covered_fen=Fen(0),
        owed_fen=Fen(0),
        leverage_reached=False,
        version=0,
        fund_class=fund_class,
        scope_id=scope_id,
    )
    if not await fund_store.add_fund(session, fund):
        whose = f" of {scope_id}" if scope_id else ""
        raise Conflict(
            "FUND_EXISTS",
            f"county {county_code} has a {kind}{whose} already",
            message_zh="该基金已存在",
        )
    return fund


@dataclass(frozen=True, slots=True)
class Arrived:
    """Money that came in."""

    county_code: str
    fund_id: UUID
    source: str
    amount_fen: Fen
    value_date: date
    custodian_id: str = ""


async def record_contribution(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, arrived: Arrived
) -> Fund:
    """Post money that arrived; what the fund owes is paid from it first."""
    require_role(caller, CONTRIBUTORS)
    county_code = arrived.county_code
    caller.require_area(county_code)
    today = await business_day.today(session, county_code)
    closed = await account_store.closed_through(session, county_code)
    work = Work(await fund_store.lock_funds(session, [county_code]))
    fund = found(work.funds, county_code, arrived.fund_id)
    account_rules.check_open(fund)
    account_rules.check_dates(arrived.value_date, today=today, closed_through=closed)
    terms, _ = terms_of(catalogue, fund, today)
    account_rules.check_source(terms, arrived.source)
    banks = custodians(catalogue, fund, today)
    account_rules.check_custodian(fund, arrived.custodian_id, banks)
    made = Contribution(
        county_code,
        ids.new_id(),
        fund.fund_id,
        arrived.source,
        arrived.amount_fen,
        arrived.value_date,
        business_date=today,
        custodian_id=arrived.custodian_id,
    )
    put_in(work, made, "contribution")
    await fund_store.add_contributions(session, [made])
    cause = str(made.contribution_id)
    await pay_debts(session, work, [fund.fund_id], cause=cause, on={county_code: today})
    await work.write(session)
    return work.funds[fund.fund_id]


def put_in(work: Work, made: Contribution, kind: str) -> None:
    """Raise the fund by a contribution, and book it."""
    before = work.funds[made.fund_id]
    after = account_rules.receive_apart(before, made.amount_fen, made.custodian_id)
    work.put(after)
    moved = cash_moves(before, after, Account("contributions", made.source))
    cause = str(made.contribution_id)
    work.entries.append(
        Entry(made.county_code, kind, cause, made.value_date, made.business_date, tuple(moved))
    )


def found(funds: Mapping[UUID, Fund], county_code: str, fund_id: UUID) -> Fund:
    """One of the county's funds."""
    fund = funds.get(fund_id)
    if fund is None or fund.county_code != county_code:
        raise NotFound("FUND_NOT_FOUND", f"no fund {fund_id}", message_zh="无此基金")
    return fund


def custodians(catalogue: Catalogue, fund: Fund, on: date) -> Sequence[str]:
    """The banks that may keep a part of a fund; none where the programme has one account."""
    terms, parties = terms_of(catalogue, fund, on)
    if terms is None or terms.custody == "special_account":
        return ()
    return parties.get("bank", ())


def terms_of(
    catalogue: Catalogue, fund: Fund, on: date
) -> tuple[FundTerms | None, Mapping[str, Sequence[str]]]:
    """The clause of the version in force for a fund, and who is who; none once it ended."""
    try:
        ref = catalogue.in_force(fund.county_code, fund.programme_id, on)
    except NotFound:
        return None, {}
    return (
        catalogue.terms(fund.county_code, ref).pack.fund,
        catalogue.parties(fund.county_code, ref),
    )
