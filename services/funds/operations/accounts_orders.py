"""Funds: orders: what one person of the finance bureau proposes and another carries out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import reports
from services.funds.model import Contribution, Fund, FundClass, FundState
from services.funds.operations import accounts as money
from services.funds.operations.funds import custodians, found, put_in, terms_of
from services.funds.operations.shared import Work, cash_moves, pay_debts
from services.funds.rules import accounts as rules
from services.funds.rules.accounts import Line
from services.funds.rules.accounts_values import FacilityLine, LineResult, Order
from services.funds.store import accounts as store
from services.funds.store import accounts_lending as lending
from services.funds.store import funds as fund_store
from services.kernel import business_day, ids
from services.kernel.caller import Caller, require_role
from services.kernel.errors import (
    Conflict,
    LiandongError,
    NotFound,
    Refused,
    invalid_field,
)
from services.kernel.journal import Account, Entry
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.values import Open, known
from services.programmes.upkeep import stabilise

PROPOSED, DONE, TURNED_DOWN = "proposed", "done", "turned_down"


@dataclass(frozen=True, slots=True)
class Asked:
    """Who proposes an order, where and on which day."""

    county_code: str
    institution_id: str
    person_id: str
    today: date
    closed_through: date | None


async def _asked(session: AsyncSession, caller: Caller, county_code: str) -> Asked:
    person_id = money.require_finance(caller, county_code)
    today = await business_day.today(session, county_code)
    closed = await store.closed_through(session, county_code)
    return Asked(county_code, caller.institution_id, person_id, today, closed)


async def _lock(session: AsyncSession, asked: Asked, fund_id: UUID, value_date: date) -> Fund:
    """A fund of the county that money may move in on that day."""
    rules.check_dates(value_date, today=asked.today, closed_through=asked.closed_through)
    funds = await fund_store.lock_funds(session, [asked.county_code])
    fund = found(funds, asked.county_code, fund_id)
    rules.check_open(fund)
    return fund


async def _propose(
    session: AsyncSession,
    asked: Asked,
    kind: str,
    *,
    fund_id: UUID | None,
    amount_fen: int,
    value_date: date,
    payee: str = "",
    working: str = "",
    **details: Any,
) -> Order:
    order = Order(
        county_code=asked.county_code,
        order_id=ids.new_id(),
        kind=kind,
        state=PROPOSED,
        fund_id=fund_id,
        amount_fen=Fen(amount_fen),
        payee=payee,
        details=details,
        value_date=value_date,
        working=working,
        proposed_by=asked.person_id,
        proposed_on=asked.today,
    )
    await store.add_order(session, order)
    return order


def lines_of(order: Order) -> list[Line]:
    """What an order moves where."""
    return [Line(*each) for each in order.details.get("lines", ())]


def _as_lists(lines: Sequence[Line]) -> list[list[Any]]:
    return [[line.source, line.target, line.amount_fen] for line in lines]


# --- proposing ------------------------------------------------------------------------------------


async def propose_transfer(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    *,
    county_code: str,
    fund_id: UUID,
    lines: Sequence[Line],
    value_date: date,
) -> Order:
    """Move money between sub-accounts."""
    asked = await _asked(session, caller, county_code)
    fund = await _lock(session, asked, fund_id, value_date)
    for line in lines:
        rules.check_custodian(fund, line.target, custodians(catalogue, fund, asked.today))
    rules.transfer(fund, lines)
    return await _propose(
        session,
        asked,
        "transfer",
        fund_id=fund_id,
        amount_fen=sum(line.amount_fen for line in lines),
        value_date=value_date,
        lines=_as_lists(lines),
    )


async def propose_division(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    *,
    county_code: str,
    fund_id: UUID,
    value_date: date,
) -> Order:
    """Divide a fund among the lead banks by what they have lent, or rebalance it."""
    asked = await _asked(session, caller, county_code)
    fund = await _lock(session, asked, fund_id, value_date)
    terms, parties = terms_of(catalogue, fund, asked.today)
    if terms is None or terms.custody != "per_bank":
        raise Refused(
            "NOT_DIVIDED_BY_LENDING",
            "the programme keeps this fund in one account",
            message_zh="本方案不按银行分户",
        )
    lent = await lending.outstanding_by_lender(session, county_code, fund.programme_id)
    banks = [*parties.get("bank", ()), *sorted(set(lent) - set(parties.get("bank", ())))]
    weights = [(bank, lent.get(bank, 0)) for bank in banks]
    lines = rules.division(fund, weights)
    shares = ", ".join(f"{bank} {weight}" for bank, weight in weights)
    return await _propose(
        session,
        asked,
        "division",
        fund_id=fund_id,
        amount_fen=sum(line.amount_fen for line in lines),
        value_date=value_date,
        working=f"{fund.balance_fen} fen by loans outstanding: {shares}",
        lines=_as_lists(lines),
    )


async def propose_withdrawal(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    fund_id: UUID,
    *,
    source: str,
    custodian_id: str,
    amount_fen: Fen,
    value_date: date,
) -> Order:
    """Give money back to a source."""
    asked = await _asked(session, caller, county_code)
    fund = await _lock(session, asked, fund_id, value_date)
    paid = (await store.paid_in(session, county_code, [fund_id], date.max)).get(fund_id, {})
    if source not in paid:
        rule = f"must be one that paid in: {', '.join(sorted(paid)) or 'nobody did'}"
        raise invalid_field("SOURCE_UNKNOWN", "source", source, rule, "资金来源未知")
    _withdrawn(catalogue, fund, amount_fen, custodian_id, asked.today)
    return await _propose(
        session,
        asked,
        "withdrawal",
        fund_id=fund_id,
        amount_fen=amount_fen,
        value_date=value_date,
        payee=source,
        lines=[[custodian_id, "", amount_fen]],
    )


def _withdrawn(
    catalogue: Catalogue, fund: Fund, amount_fen: Fen, custodian_id: str, on: date
) -> Fund:
    terms, _ = terms_of(catalogue, fund, on)
    multiple = None if terms is None or isinstance(terms.multiple, Open) else known(terms.multiple)
    minimum = (terms.min_balance_fen if terms else None) or 0
    return rules.withdraw(fund, amount_fen, custodian_id, minimum_fen=minimum, multiple=multiple)


async def propose_closing(
    session: AsyncSession, caller: Caller, county_code: str, fund_id: UUID
) -> Order:
    """Close a fund that holds, covers and owes nothing."""
    asked = await _asked(session, caller, county_code)
    rules.close(await _lock(session, asked, fund_id, asked.today))
    return await _propose(
        session, asked, "closing", fund_id=fund_id, amount_fen=0, value_date=asked.today
    )


async def propose_stabilisation(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    *,
    county_code: str,
    fund_id: UUID,
    line_id: str,
    value_date: date,
) -> Order:
    """Pay an insurer's deficit, as far as the pool goes."""
    asked = await _asked(session, caller, county_code)
    result = await _result(session, county_code, line_id)
    fund = await _lock(session, asked, fund_id, value_date)
    amount, working = _stabilised(catalogue, fund, result, asked.today)
    return await _propose(
        session,
        asked,
        "stabilisation",
        fund_id=fund_id,
        amount_fen=amount,
        value_date=value_date,
        payee=result.insurer_id,
        working=working,
        line_id=line_id,
    )


async def _result(session: AsyncSession, county_code: str, line_id: str) -> LineResult:
    result = await store.lock_line_result(session, county_code, line_id)
    if result is None:
        raise NotFound("LINE_UNKNOWN", f"no result of line {line_id}", message_zh="无此险种结果")
    return result


def _stabilised(catalogue: Catalogue, fund: Fund, result: LineResult, on: date) -> tuple[Fen, str]:
    """What a pool pays for a line now; refused where it pays nothing (S53)."""
    terms, _ = terms_of(catalogue, fund, on)
    clause = terms.insurer_stabilisation if terms else None
    if clause is None or fund.fund_class is not FundClass.STABILISATION:
        raise Refused(
            "NOT_A_STABILISATION_POOL",
            f"no stabilisation pool: {fund.kind}",
            message_zh="非保险风险分散资金池",
        )
    if fund.scope_id not in ("", result.insurer_id):
        raise Refused(
            "ANOTHER_INSURER", f"the pool is {fund.scope_id}'s", message_zh="非该保险机构资金池"
        )
    if result.programme_id not in ("", fund.programme_id):
        raise Refused(
            "ANOTHER_PROGRAMME",
            f"the pool is of {fund.programme_id}, the line of {result.programme_id}",
            message_zh="非本方案险种",
        )
    # As if the pool were bottomless first: what was paid before is taken off, then its bottom.
    whole = stabilise(
        result.premium_fen,
        result.payouts_fen,
        fund_fen=Fen(result.payouts_fen),
        compensates_pct=clause.compensates_pct,
    )
    if whole.deficit_fen == 0:
        raise Refused("NO_DEFICIT", whole.working, message_zh="该险种无亏损")
    left = whole.compensated_fen - result.compensated_fen
    if left <= 0:
        raise Refused(
            "PAID_ALREADY",
            f"{result.compensated_fen} fen were paid for it before",
            message_zh="已补偿",
        )
    if fund.balance_fen == 0:
        raise Refused("FUND_EMPTY", "the pool holds nothing", message_zh="资金池无余额")
    paid = Fen(min(left, fund.balance_fen))
    return paid, f"{whole.working}; {result.compensated_fen} before, {paid} fen now"


async def propose_facility(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    *,
    programme_id: str,
    party: str,
    line_fen: Fen,
    between: tuple[date, date | None],
) -> Order:
    """Set the line of a party that shares losses by a promise, not by a fund."""
    asked = await _asked(session, caller, county_code)
    ref = catalogue.in_force(county_code, programme_id, asked.today)
    models = catalogue.terms(county_code, ref).fund.models
    shares = {name for model in models for name in model.parties}
    shares -= {model.otherwise_borne_by for model in models}
    named = catalogue.parties(county_code, ref).get(party, ())
    if party not in shares or not named:
        rule = f"must be one of {', '.join(sorted(shares))}, and named by the county"
        raise invalid_field("PARTY_NOT_IN_PROGRAMME", "party", party, rule, "方案中无此分担方")
    first, last = between
    if last is not None and last < first:
        raise invalid_field("DATES_REVERSED", "until_date", last, f"at least {first}")
    return await _propose(
        session,
        asked,
        "facility",
        fund_id=None,
        amount_fen=line_fen,
        value_date=first,
        payee=named[0],
        programme_id=programme_id,
        party=party,
        until=last.isoformat() if last else "",
    )


# --- opening balances -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpeningSource:
    """What one source had paid in and is still there."""

    source: str
    custodian_id: str
    amount_fen: Fen


@dataclass(frozen=True, slots=True)
class OpeningFund:
    """A fund as the book before ours has it."""

    programme_id: str
    kind: str
    scope_id: str
    sources: tuple[OpeningSource, ...]

    @property
    def amount_fen(self) -> int:
        """What it holds."""
        return sum(each.amount_fen for each in self.sources)


@dataclass(frozen=True, slots=True)
class Proof:
    """What was given and what was found."""

    given_count: int
    given_fen: int
    found_count: int
    found_fen: int

    @property
    def agrees(self) -> bool:
        """To the fen."""
        return (self.given_count, self.given_fen) == (self.found_count, self.found_fen)


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of a proposal of opening balances."""

    outcomes: list[LiandongError | None]
    proof: Proof
    order: Order | None


async def propose_opening(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    items: Sequence[OpeningFund],
    *,
    opening_on: date,
    control: tuple[int, int],
    dry_run: bool,
) -> Opened:
    """Check opening balances; without a refusal, with totals that agree, a proposal waits."""
    asked = await _asked(session, caller, county_code)
    rules.check_dates(opening_on, today=asked.today, closed_through=asked.closed_through)
    funds = await fund_store.lock_funds(session, [county_code])
    outcomes = _checked(catalogue, asked, items, funds)
    good = [item for item, wrong in zip(items, outcomes, strict=True) if wrong is None]
    proof = Proof(*control, len(good), sum(item.amount_fen for item in good))
    order = None
    if len(good) == len(items) and proof.agrees and not dry_run:
        order = await _propose(
            session,
            asked,
            "opening",
            fund_id=None,
            amount_fen=proof.found_fen,
            value_date=opening_on,
            items=[_item_as_list(item) for item in items],
        )
    return Opened(outcomes, proof, order)


def _item_as_list(item: OpeningFund) -> list[Any]:
    sources = [[s.source, s.custodian_id, s.amount_fen] for s in item.sources]
    return [item.programme_id, item.kind, item.scope_id, sources]


def _items_of(order: Order) -> list[OpeningFund]:
    return [
        OpeningFund(programme, kind, scope, tuple(OpeningSource(*each) for each in sources))
        for programme, kind, scope, sources in order.details["items"]
    ]


def _checked(
    catalogue: Catalogue, asked: Asked, items: Sequence[OpeningFund], funds: Mapping[UUID, Fund]
) -> list[LiandongError | None]:
    """What is wrong with each item; nothing where it may come in."""
    taken = {(f.programme_id, f.kind, f.scope_id) for f in funds.values()}
    outcomes: list[LiandongError | None] = []
    for item in items:
        key = (item.programme_id, item.kind, item.scope_id)
        try:
            if key in taken:
                raise Conflict(
                    "FUND_EXISTS",
                    f"county {asked.county_code} has a {item.kind} already",
                    message_zh="该基金已存在",
                )
            _new_fund(catalogue, asked, item)
        except LiandongError as error:
            outcomes.append(error)
            continue
        taken.add(key)
        outcomes.append(None)
    return outcomes


def _new_fund(catalogue: Catalogue, asked: Asked, item: OpeningFund) -> Fund:
    county_code = asked.county_code
    ref = catalogue.in_force(county_code, item.programme_id, asked.today)
    terms, parties = catalogue.terms(county_code, ref).fund, catalogue.parties(county_code, ref)
    fund_class = rules.check_kind(terms, item.kind, item.scope_id, county_code)
    named = parties.get(item.kind, ())
    fund = Fund(
        county_code=county_code,
        fund_id=ids.new_id(),
        programme_id=item.programme_id,
        kind=item.kind,
        institution_id=named[0] if named else asked.institution_id,
        state=FundState.OPEN,
        balance_fen=Fen(0),
        covered_fen=Fen(0),
        owed_fen=Fen(0),
        leverage_reached=False,
        version=0,
        fund_class=fund_class,
        scope_id=item.scope_id,
    )
    for each in item.sources:
        rules.check_source(terms, each.source)
        banks = custodians(catalogue, fund, asked.today)
        rules.check_custodian(fund, each.custodian_id, banks)
    return fund


# --- deciding -------------------------------------------------------------------------------------


async def decide(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    order_id: UUID,
    *,
    approve: bool,
    reason: str,
) -> Order:
    """Carry an order out or turn it down; by another person than the one who proposed it."""
    asked = await _asked(session, caller, county_code)
    order = await store.lock_order(session, county_code, order_id)
    if order is None:
        raise NotFound("ORDER_NOT_FOUND", f"no order {order_id}", message_zh="无此调拨单")
    if order.state != PROPOSED:
        raise Refused("ORDER_DECIDED", f"the order is {order.state}", message_zh="调拨单已处理")
    if order.proposed_by == asked.person_id:
        raise rules.same_person()
    if approve:
        await _carry_out(session, catalogue, asked, order)
    else:
        rules.reason_given(reason)
    decided = replace(
        order,
        state=DONE if approve else TURNED_DOWN,
        decided_by=asked.person_id,
        decided_on=asked.today,
        reason=reason,
    )
    await store.decide_order(session, decided)
    return decided


async def _carry_out(
    session: AsyncSession, catalogue: Catalogue, asked: Asked, order: Order
) -> None:
    if order.kind == "facility":
        await _set_line(session, order)
        return
    result = None
    if order.kind == "stabilisation":
        result = await _result(session, order.county_code, order.details["line_id"])
    rules.check_dates(order.value_date, today=asked.today, closed_through=asked.closed_through)
    work = Work(await fund_store.lock_funds(session, [asked.county_code]))
    if order.kind == "opening":
        await _open_all(session, catalogue, asked, order, work)
    else:
        assert order.fund_id is not None
        before = found(work.funds, order.county_code, order.fund_id)
        await _move(session, catalogue, asked, order, work, before=before, result=result)
    await work.write(session)


async def _move(
    session: AsyncSession,
    catalogue: Catalogue,
    asked: Asked,
    order: Order,
    work: Work,
    *,
    before: Fund,
    result: LineResult | None,
) -> None:
    against = Account("fund_cash", str(before.fund_id))
    if order.kind == "closing":
        work.put(rules.close(before))
        return
    if order.kind == "withdrawal":
        [line] = lines_of(order)
        after = _withdrawn(catalogue, before, line.amount_fen, line.source, asked.today)
        against = Account("withdrawals", order.payee)
    elif order.kind == "stabilisation":
        assert result is not None
        rules.check_open(before)
        amount, _ = _stabilised(catalogue, before, result, asked.today)
        if amount != order.amount_fen:
            raise Refused(
                "ORDER_STALE",
                f"{order.amount_fen} fen were proposed, it would be {amount} now",
                message_zh="调拨单已过时",
            )
        after = rules.pay_out(before, amount, result.insurer_id)
        against = Account("stabilisation_expense", result.insurer_id)
        await store.compensate_line(session, order.county_code, result.line_id, amount)
    else:
        after = rules.transfer(before, lines_of(order))
    work.put(after)
    if order.kind in ("withdrawal", "stabilisation"):
        await store.add_withdrawal(
            session,
            order,
            kind=order.kind,
            amount_fen=Fen(before.balance_fen - after.balance_fen),
            business_date=asked.today,
        )
        moved = cash_moves(before, after, against)
    else:
        moved = _inside(before, after)
    entry = Entry(
        order.county_code,
        order.kind,
        str(order.order_id),
        order.value_date,
        asked.today,
        tuple(moved),
    )
    work.entries.append(entry)
    # What lay in another bank's sub-account could not pay this one's debts.
    if order.kind in ("transfer", "division"):
        on = {order.county_code: asked.today}
        await pay_debts(session, work, [before.fund_id], cause=str(order.order_id), on=on)


def _inside(before: Fund, after: Fund) -> list[Any]:
    """Transfers between a fund's own places: what left some came to others."""
    transit = Account("fund_transit", str(before.fund_id))
    return cash_moves(before, after, transit)


async def _open_all(
    session: AsyncSession, catalogue: Catalogue, asked: Asked, order: Order, work: Work
) -> None:
    items = _items_of(order)
    wrong = [each for each in _checked(catalogue, asked, items, work.funds) if each is not None]
    if wrong:
        raise wrong[0]
    made: list[Contribution] = []
    for item in items:
        fund = _new_fund(catalogue, asked, item)
        if not await fund_store.add_fund(session, fund):
            raise Conflict("FUND_EXISTS", f"a {item.kind} was opened meanwhile")
        work.funds[fund.fund_id] = fund
        for each in item.sources:
            contribution = Contribution(
                asked.county_code,
                ids.new_id(),
                fund.fund_id,
                each.source,
                each.amount_fen,
                order.value_date,
                business_date=asked.today,
                custodian_id=each.custodian_id,
                opening=True,
            )
            put_in(work, contribution, "fund_opening")
            made.append(contribution)
    await fund_store.add_contributions(session, made)


async def _set_line(session: AsyncSession, order: Order) -> None:
    until = order.details["until"]
    await store.add_facility(
        session,
        FacilityLine(
            county_code=order.county_code,
            order_id=order.order_id,
            programme_id=order.details["programme_id"],
            party=order.details["party"],
            institution_id=order.payee,
            line_fen=order.amount_fen,
            from_date=order.value_date,
            until_date=date.fromisoformat(until) if until else None,
        ),
    )


# --- reading --------------------------------------------------------------------------------------


async def get_order(
    session: AsyncSession, caller: Caller, county_code: str, order_id: UUID
) -> Order:
    """One order."""
    require_role(caller, reports.OVERSEERS)
    caller.require_area(county_code)
    order = await store.get_order(session, county_code, order_id)
    if order is None:
        raise NotFound("ORDER_NOT_FOUND", f"no order {order_id}", message_zh="无此调拨单")
    return order


async def list_orders(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    state: str,
    after: UUID,
    limit: int,
) -> list[Order]:
    """A page of a county's orders."""
    require_role(caller, reports.OVERSEERS)
    caller.require_area(county_code)
    return await store.list_orders(session, county_code, state=state, after=after, limit=limit)
