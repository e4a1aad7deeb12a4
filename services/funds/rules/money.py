"""Funds: what comes into a fund, and what it pays first with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from services.funds.model import Fund, FundState, Part
from services.funds.rules import accounts
from services.funds.rules.accounts import pay_out, reach
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.leverage import leverage

_NOBODY: Mapping[UUID, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DebtPayment:
    """A fund pays what it owed on a case."""

    part: Part
    amount_fen: Fen


def receive(fund: Fund, amount_fen: Fen, custodian_id: str = "") -> Fund:
    """Put money into a fund; what comes for a lender goes to its sub-account, if it has one."""
    return accounts.receive(fund, amount_fen, custodian_id)


def pay_debts(
    fund: Fund, debts: Sequence[Part], lenders: Mapping[UUID, str] = _NOBODY
) -> tuple[Fund, list[DebtPayment]]:
    """
    Pay what a fund owes, oldest first, as far as its money goes; then it is free again (S20).

    The lender of each case says which sub-account pays, where there are any (S57).
    """
    payments: list[DebtPayment] = []
    for part in debts:
        lender_id = lenders.get(part.case_id, "")
        amount = Fen(min(reach(fund, lender_id), part.owed_fen))
        if amount == 0:
            continue
        paid = replace(part, paid_fen=Fen(part.paid_fen + amount))
        payments.append(DebtPayment(paid, amount))
        fund = replace(pay_out(fund, amount, lender_id), owed_fen=Fen(fund.owed_fen - amount))
    if fund.state is FundState.SUSPENDED and fund.owed_fen == 0:
        fund = replace(fund, state=FundState.OPEN)
    return fund, payments


def top_up_fen(fund: Fund, *, multiple: int, min_balance_fen: int) -> Fen:
    """What a fund needs to stand behind its cover, to hold its minimum and to pay what it owes."""
    needed = leverage(fund.balance_fen, multiple=multiple, outstanding_fen=fund.covered_fen)
    for_minimum = max(0, min_balance_fen - fund.balance_fen)
    return Fen(max(needed.top_up_fen, for_minimum) + fund.owed_fen)
