"""Funds: dues, periods, pools held against loans; what may be read of a fund's money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out, reports
from services.funds.model import Fund, FundClass, FundState
from services.funds.operations.funds import found, terms_of
from services.funds.operations.shared import Work
from services.funds.rules import accounts as rules
from services.funds.rules import accounts_dues as dues_rules
from services.funds.rules.accounts_dues import Arrivals, Due, TopUpView
from services.funds.rules.accounts_values import LineResult
from services.funds.store import accounts as store
from services.funds.store import accounts_books as books
from services.funds.store import accounts_lending as lending
from services.funds.store import funds as fund_store
from services.kernel import business_day, ids
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Denied, NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes import leverage
from services.programmes.leverage import PoolMix, VillageFund
from services.programmes.loader import Catalogue
from services.programmes.schema.fund import Fund as FundTerms
from services.programmes.schema.pack import Pack
from services.programmes.schema.values import Open, known
from services.programmes.upkeep import needed_by, yearly_top_up

FINANCE = ("finance_bureau",)
KEEPERS = ("county_centre", "finance_bureau")
ALL_COUNTIES = "000000"
DAY_CLOSE = "day_close"
"""Stands for the person where the books themselves said what is due."""


def require_finance(caller: Caller, county_code: str) -> str:
    """A person of the finance bureau of this county; anybody else is refused with the reason."""
    rules.check_finance(caller.role)
    caller.require_area(county_code)
    return caller.require_person()


async def close_period(
    session: AsyncSession, caller: Caller, county_code: str, through: date
) -> None:
    """Close the books of funds through a day before the business date."""
    require_finance(caller, county_code)
    today = await business_day.today(session, county_code)
    if through >= today:
        raise Refused(
            "PERIOD_NOT_OVER",
            f"{through} is not before the business date {today}",
            message_zh="该期间尚未结束",
        )
    if not await store.close_period(session, county_code, through):
        raise Refused(
            "PERIOD_CLOSED",
            f"the books are closed through {through} or later already",
            message_zh="会计期间已关闭",
        )


# --- dues -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Demand:
    """What somebody is to pay into a fund."""

    county_code: str
    fund_id: UUID
    source: str
    amount_fen: Fen
    due_on: date


async def record_due(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, demand: Demand
) -> Due:
    """Say what is due; what a village is asked for keeps its fund within the bounds (S28)."""
    person_id = require_finance(caller, demand.county_code)
    today = await business_day.today(session, demand.county_code)
    fund = await _fund(session, demand.county_code, demand.fund_id)
    rules.check_open(fund)
    terms, _ = terms_of(catalogue, fund, today)
    rules.check_source(terms, demand.source)
    bounds = await _village_bounds(session, fund, terms)
    if bounds is not None:
        view = (await _arrivals(session, [fund], date.max))[fund.fund_id]
        coming = sum(due.amount_fen - due.arrived_fen for due in view.dues)
        rules.check_bounds(
            demand.amount_fen, bounds.min_fen, bounds.max_fen, fund.balance_fen + coming
        )
    due = _due(demand, today, said_by=person_id)
    await store.add_dues(session, [due])
    return due


def _due(demand: Demand, today: date, *, said_by: str, year: int = 0, working: str = "") -> Due:
    return Due(
        county_code=demand.county_code,
        due_id=ids.new_id(),
        fund_id=demand.fund_id,
        source=demand.source,
        amount_fen=demand.amount_fen,
        due_on=demand.due_on,
        year=year,
        working=working,
        said_by=said_by,
        business_date=today,
    )


async def _arrivals(session: AsyncSession, funds: Sequence[Fund], on: date) -> dict[UUID, Arrivals]:
    """Dues and arrivals of funds of one county."""
    if not funds:
        return {}
    county_code, fund_ids = funds[0].county_code, [fund.fund_id for fund in funds]
    dues = await store.dues_of(session, county_code, fund_ids)
    paid = await store.paid_in(session, county_code, fund_ids, on)
    return {
        fund_id: dues_rules.arrivals(
            [due for due in dues if due.fund_id == fund_id], paid.get(fund_id, {}), on
        )
        for fund_id in fund_ids
    }


async def arrival(
    session: AsyncSession, caller: Caller, county_code: str, fund_id: UUID, on: date | None
) -> Arrivals:
    """What was due by a day and what arrived."""
    _require_reader(caller, county_code)
    fund = await _fund(session, county_code, fund_id)
    day = on or await business_day.today(session, county_code)
    return (await _arrivals(session, [fund], day))[fund_id]


async def list_contributions(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    fund_id: UUID,
    *,
    source: str,
    after: UUID,
    limit: int,
) -> list[asyncpg.Record]:
    """A page of what was paid in."""
    _require_reader(caller, county_code)
    await _fund(session, county_code, fund_id)
    return await store.list_contributions(
        session, county_code, fund_id, source=source, after=after, limit=limit
    )


# --- what a fund must hold ------------------------------------------------------------------------


async def top_up(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str, fund_id: UUID
) -> TopUpView:
    """What a fund needs on today's loans."""
    _require_reader(caller, county_code)
    today = await business_day.today(session, county_code)
    fund = await _fund(session, county_code, fund_id)
    terms = _terms(catalogue, fund, today)
    loans = await lending.outstanding(session, county_code, fund.programme_id)
    return dues_rules.top_up(terms, fund.balance_fen, loans_fen=loans, today=today)


async def _village_bounds(
    session: AsyncSession, fund: Fund, terms: FundTerms | None
) -> VillageFund | None:
    if fund.fund_class is not FundClass.VILLAGE_MUTUAL or not fund.scope_id:
        return None
    if terms is None or terms.village_fund is None:
        return None
    loans = await lending.outstanding(
        session, fund.county_code, fund.programme_id, area_code=fund.scope_id
    )
    clause = terms.village_fund
    return leverage.village_fund(
        loans, min_pct=clause.min_pct, max_pct=clause.max_pct, fund_fen=fund.balance_fen
    )


async def village_fund(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str, fund_id: UUID
) -> tuple[Fund, Fen, VillageFund]:
    """A village's fund, the village's loans, and the bounds."""
    _require_reader(caller, county_code)
    today = await business_day.today(session, county_code)
    fund = await _fund(session, county_code, fund_id)
    bounds = await _village_bounds(session, fund, _terms(catalogue, fund, today))
    if bounds is None:
        raise Refused(
            "NOT_A_VILLAGE_FUND",
            f"no village fund with bounds: {fund.kind}",
            message_zh="非村级互助金",
        )
    loans = await lending.outstanding(
        session, county_code, fund.programme_id, area_code=fund.scope_id
    )
    return fund, loans, bounds


@dataclass(frozen=True, slots=True)
class Pool:
    """A mixed pool, its parts and its loans."""

    government_fen: Fen
    enterprise_fen: Fen
    loans_fen: Fen
    mix: PoolMix


async def mutual_pool(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str, fund_id: UUID
) -> Pool:
    """Who put how much into a mixed pool, and what is lent on it (C27)."""
    _require_reader(caller, county_code)
    today = await business_day.today(session, county_code)
    fund = await _fund(session, county_code, fund_id)
    ref = catalogue.in_force(county_code, fund.programme_id, today)
    pack = catalogue.terms(county_code, ref).pack
    clause = pack.fund.mutual_pool if pack.fund else None
    if clause is None or fund.fund_class is not FundClass.MUTUAL_GUARANTEE:
        raise Refused(
            "NOT_A_MUTUAL_POOL", f"no mixed pool: {fund.kind}", message_zh="非互助担保基金"
        )
    paid = (await store.paid_in(session, county_code, [fund_id], date.max)).get(fund_id, {})
    back = await store.withdrawn_by(session, county_code, fund_id)
    net = {source: amount - back.get(source, 0) for source, amount in paid.items()}
    government = sum(v for source, v in net.items() if source in rules.GOVERNMENT_SOURCES)
    models, products = _backed_by(pack, fund.kind)
    loans = await lending.outstanding_of_products(
        session, county_code, fund.programme_id, products, models
    )
    enterprise = sum(net.values()) - government
    mix = leverage.pool_mix(
        Fen(government),
        Fen(enterprise),
        government_pct=clause.government_pct,
        max_multiple=clause.max_multiple,
        loans_fen=loans,
    )
    return Pool(Fen(government), Fen(enterprise), loans, mix)


def _backed_by(pack: Pack, kind: str) -> tuple[list[str], list[str]]:
    """The ways of sharing in which a pot pays, and the products that may be shared so."""
    assert pack.fund is not None
    models = [model.id for model in pack.fund.models if kind in model.pots]
    products = [p.id for p in pack.loan_products if set(p.sharing_models) & set(models)]
    return models, products


@dataclass(frozen=True, slots=True)
class Size:
    """How large a pool must be."""

    pool_fen: Fen
    missing_fen: Fen
    due: Due | None
    working: str


async def size_insurer_pool(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    fund_id: UUID,
    *,
    expected_fen: Fen,
    due_on: date,
) -> Size:
    """Work out a pool's size; what it neither holds nor is owed becomes due (S53)."""
    person_id = require_finance(caller, county_code)
    today = await business_day.today(session, county_code)
    # Held, so that what is missing is not made due twice.
    fund = found(await fund_store.lock_funds(session, [county_code]), county_code, fund_id)
    rules.check_open(fund)
    clause = _terms(catalogue, fund, today).insurer_pool
    if clause is None or fund.fund_class is not FundClass.INSURER_POOL:
        raise Refused(
            "NOT_AN_INSURER_POOL", f"no insurers' pool: {fund.kind}", message_zh="非保险资金池"
        )
    rate, share = known(clause.default_rate_ppm), clause.insurer_share_pct
    size = leverage.insurer_pool_fen(expected_fen, default_rate_ppm=rate, insurer_share_pct=share)
    view = (await _arrivals(session, [fund], date.max))[fund_id]
    coming = sum(due.amount_fen - due.arrived_fen for due in view.dues)
    missing = Fen(max(0, size - fund.balance_fen - coming))
    working = f"{expected_fen} × {rate} ppm × {share} % = {size} fen"
    if not missing:
        return Size(size, Fen(0), None, working)
    # What the source paid before anything was due meets the demand first: it is asked for as well.
    payer = rules.POOL_PAYER
    paid = sum(each.paid_in_fen for each in view.sources if each.source == payer)
    ahead = paid - sum(due.arrived_fen for due in view.dues if due.source == payer)
    demand = Demand(county_code, fund_id, payer, Fen(missing + ahead), due_on)
    due = _due(demand, today, said_by=person_id, working=working)
    await store.add_dues(session, [due])
    return Size(size, missing, due, working)


async def list_line_results(
    session: AsyncSession, caller: Caller, county_code: str, *, after: str, limit: int
) -> list[LineResult]:
    """A page of insurers' results; an insurer sees its own."""
    _require_reader(caller, county_code)
    mine = caller.institution_id if caller.role == "insurer" else ""
    return await store.list_line_results(
        session, county_code, insurer_id=mine, after=after, limit=limit
    )


# --- the day --------------------------------------------------------------------------------------


async def close_day(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    """Work out what the day makes due, and say of what is due today what has not come (S27)."""
    work = Work(await fund_store.lock_funds(session, [county_code]))
    open_funds = [f for f in work.funds.values() if f.state is not FundState.CLOSED]
    for fund_id, view in (await _arrivals(session, open_funds, day)).items():
        fund = work.funds[fund_id]
        coming = sum(due.amount_fen - due.arrived_fen for due in view.dues)
        demands = await _demands(session, catalogue, fund, day, coming_fen=coming)
        late = sum(due.amount_fen - due.arrived_fen for due in view.dues if due.due_on == day)
        if await store.add_dues(session, demands):
            late += sum(due.amount_fen for due in demands)
        if late:
            _say_due(work, fund, Fen(late), day)
    await work.write(session)


async def _demands(
    session: AsyncSession, catalogue: Catalogue, fund: Fund, day: date, *, coming_fen: int
) -> list[Due]:
    """A year's addition or a village's yearly minimum at the year's end; a ratio on any day."""
    terms, _ = terms_of(catalogue, fund, day)
    if terms is None:
        return []
    last_of_year = (day.month, day.day) == (12, 31)
    if fund.fund_class is FundClass.VILLAGE_MUTUAL and last_of_year:
        return await _village_year(session, fund, terms, day, coming_fen=coming_fen)
    clause = terms.top_up
    if fund.fund_class is not FundClass.COMPENSATION or clause is None:
        return []
    to_ratio = clause.to_ratio and not isinstance(terms.multiple, Open)
    if not to_ratio and not (last_of_year and clause.yearly_due):
        return []
    loans = await lending.outstanding(session, fund.county_code, fund.programme_id)
    found: list[Due] = []
    if last_of_year and clause.yearly_due:
        yearly = yearly_top_up(
            fund.balance_fen,
            loans_fen=loans,
            yearly_ppm=clause.yearly_ppm or 0,
            min_balance_fen=terms.min_balance_fen or Fen(0),
        )
        due_on = date.fromisoformat(f"{day.year + 1}-{clause.yearly_due}")
        demand = Demand(*fund.key, rules.YEARLY_SOURCE, yearly.added_fen, due_on)
        found.append(_due(demand, day, said_by=DAY_CLOSE, year=day.year, working=yearly.working))
    if to_ratio:
        needs = needed_by(terms, fund.balance_fen, loans_fen=loans)
        # What is due already, this year's addition too, is not asked for twice.
        coming = coming_fen + sum(due.amount_fen for due in found)
        demand = Demand(*fund.key, rules.TOP_UP_SOURCE, Fen(max(0, needs.top_up_fen - coming)), day)
        found.append(_due(demand, day, said_by=DAY_CLOSE, working=needs.working))
    return [due for due in found if due.amount_fen]


async def _village_year(
    session: AsyncSession, fund: Fund, terms: FundTerms, day: date, *, coming_fen: int
) -> list[Due]:
    bounds = await _village_bounds(session, fund, terms)
    if bounds is None or terms.village_fund is None:
        return []
    missing = Fen(max(0, bounds.min_fen - fund.balance_fen - coming_fen))
    # It is decided once a year: there is a year to raise it.
    due_on = date(day.year + 1, day.month, day.day)
    demand = Demand(*fund.key, terms.village_fund.raised_by, missing, due_on)
    due = _due(demand, day, said_by=DAY_CLOSE, year=day.year, working=bounds.working)
    return [due] if missing else []


def _say_due(work: Work, fund: Fund, amount_fen: Fen, day: date) -> None:
    said = replace(fund, version=fund.version + 1)
    work.put(said)
    work.events.append(events_out.top_up_due(said, amount_fen, day))


# --- statements -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement:
    """A fund's movements between two days, and what it held around them."""

    entries: list[asyncpg.Record]
    opening_fen: int
    closing_fen: int


async def statement(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    fund_id: UUID,
    *,
    custodian_id: str,
    between: tuple[date, date],
    after: tuple[UUID, int, bool],
    limit: int,
) -> Statement:
    """The book of a fund or of one sub-account by value date."""
    _require_reader(caller, county_code)
    require_own_account(caller, custodian_id)
    await _fund(session, county_code, fund_id)
    first, last = between
    if last < first:
        raise invalid_field("DATES_REVERSED", "until_date", last, f"at least {first}")
    before = date.fromordinal(first.toordinal() - 1)
    held = [
        await books.balances_at(session, county_code, fund_id, value_date=day, recorded=None)
        for day in (before, last)
    ]
    opening, closing = (
        each.get(custodian_id, 0) if custodian_id else sum(each.values()) for each in held
    )
    entries = await books.entries(
        session,
        county_code,
        fund_id,
        custodian_id=custodian_id,
        from_date=first,
        until_date=last,
        after=after,
        limit=limit,
    )
    return Statement(entries, opening, closing)


async def balance_at(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    fund_id: UUID,
    *,
    custodian_id: str,
    value_date: date | None,
    recorded: datetime | None,
) -> Mapping[str, int]:
    """By sub-account, what a fund held at a past moment."""
    _require_reader(caller, county_code)
    require_own_account(caller, custodian_id)
    await _fund(session, county_code, fund_id)
    held = await books.balances_at(
        session, county_code, fund_id, value_date=value_date, recorded=recorded
    )
    return {bank: fen for bank, fen in held.items() if not custodian_id or bank == custodian_id}


@dataclass(frozen=True, slots=True)
class Register:
    """A page of the register, and totals over all of it."""

    rows: list[asyncpg.Record]
    accounts: fund_store.Accounts
    totals: list[asyncpg.Record]


async def register(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    after: tuple[str, UUID],
    limit: int,
) -> Register:
    """The funds of a county, or of all for an overseer above counties."""
    require_role(caller, reports.OVERSEERS if county_code == ALL_COUNTIES else reports.READERS)
    caller.require_area(county_code)
    rows = await books.register(session, county_code, after=after, limit=limit)
    accounts = await fund_store.accounts_of(session, rows)
    if caller.role not in reports.OVERSEERS:
        accounts = {
            fund_id: tuple(each for each in held if each[0] == caller.institution_id)
            for fund_id, held in accounts.items()
        }
    return Register(
        rows,
        accounts,
        await books.register_totals(session, county_code),
    )


# --- shared ---------------------------------------------------------------------------------------


def require_own_account(caller: Caller, custodian_id: str) -> None:
    """Whoever does not oversee reads the book of its own sub-account only."""
    if caller.role not in reports.OVERSEERS and custodian_id != caller.institution_id:
        raise Denied(
            "ACCOUNT_NOT_YOURS",
            f"{caller.institution_id} keeps its own sub-account and sees no other",
            message_zh="仅可查看本机构账户",
        )


def _require_reader(caller: Caller, county_code: str) -> None:
    require_role(caller, reports.READERS)
    caller.require_area(county_code)


async def _fund(session: AsyncSession, county_code: str, fund_id: UUID) -> Fund:
    fund = await fund_store.get_fund(session, county_code, fund_id)
    if fund is None:
        raise NotFound("FUND_NOT_FOUND", f"no fund {fund_id}", message_zh="无此基金")
    return fund


def _terms(catalogue: Catalogue, fund: Fund, on: date) -> FundTerms:
    ref = catalogue.in_force(fund.county_code, fund.programme_id, on)
    return catalogue.terms(fund.county_code, ref).fund
