"""Funds: the funds themselves: opened, and given money."""

from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds.model import Contribution, Fund, FundState
from services.funds.operations.shared import Work, cash, pay_debts
from services.funds.rules import money as money_rules
from services.funds.store import funds as fund_store
from services.kernel import business_day, ids
from services.kernel.caller import Caller, require_role
from services.kernel.errors import Conflict, NotFound, invalid_field
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.programmes.loader import Catalogue

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
) -> Fund:
    """Open a fund that is a party or a pot of a programme which the county follows."""
    require_role(caller, FUND_OPENERS)
    caller.require_area(county_code)
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    models = catalogue.terms(county_code, ref).fund.models
    kinds = {name for model in models for name in (*model.parties, *model.pots)}
    kinds -= {model.otherwise_borne_by for model in models}
    if kind not in kinds:
        rule = f"must be one of {', '.join(sorted(kinds))}"
        raise invalid_field("KIND_NOT_IN_PROGRAMME", "kind", kind, rule, "方案中无此基金类别")
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
    )
    if not await fund_store.add_fund(session, fund):
        raise Conflict(
            "FUND_EXISTS", f"county {county_code} has a {kind} already", message_zh="该基金已存在"
        )
    return fund


async def record_contribution(
    session: AsyncSession,
    caller: Caller,
    *,
    county_code: str,
    fund_id: UUID,
    source: str,
    amount_fen: Fen,
    value_date: date,
) -> Fund:
    """Post money that arrived; what the fund owes is paid from it first."""
    require_role(caller, CONTRIBUTORS)
    caller.require_area(county_code)
    today = await business_day.today(session, county_code)
    work = Work(await fund_store.lock_funds(session, [county_code]))
    fund = work.funds.get(fund_id)
    if fund is None:
        raise NotFound("FUND_NOT_FOUND", f"no fund {fund_id}", message_zh="无此基金")
    money_rules.check_contribution(fund, value_date, today)
    made = Contribution(
        county_code, ids.new_id(), fund_id, source, amount_fen, value_date, business_date=today
    )
    cause = str(made.contribution_id)
    moved = Transfer(cash(fund_id), Account("contributions", source), amount_fen)
    work.entries.append(Entry(county_code, "contribution", cause, value_date, today, (moved,)))
    work.put(money_rules.receive(fund, amount_fen))
    await fund_store.add_contribution(session, made)
    await pay_debts(session, work, [fund_id], cause=cause, on={county_code: today})
    await work.write(session)
    return work.funds[fund_id]
