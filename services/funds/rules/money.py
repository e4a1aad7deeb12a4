"""Funds: what comes into a fund, and what it pays first with it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from services.funds.model import Fund, FundState, Part
from services.kernel.errors import Refused, invalid_field
from services.kernel.money import Fen
from services.programmes.leverage import leverage


@dataclass(frozen=True, slots=True)
class DebtPayment:
    """A fund pays what it owed on a case."""

    part: Part
    amount_fen: Fen


def check_contribution(fund: Fund, value_date: date, today: date) -> None:
    """Refuse money for a closed fund, and money that has not arrived yet."""
    if fund.state is FundState.CLOSED:
        raise Refused("FUND_CLOSED", f"fund {fund.fund_id} is closed", message_zh="基金已关闭")
    if value_date > today:
        raise invalid_field(
            "VALUE_DATE_AHEAD", "value_date", value_date, f"at most the business date {today}"
        )


def receive(fund: Fund, amount_fen: Fen) -> Fund:
    """Put money into a fund."""
    return replace(fund, balance_fen=Fen(fund.balance_fen + amount_fen))


def pay_debts(fund: Fund, debts: Sequence[Part]) -> tuple[Fund, list[DebtPayment]]:
    """Pay what a fund owes, oldest first, as far as its money goes; then it is free again (S20)."""
    payments: list[DebtPayment] = []
    for part in debts:
        amount = Fen(min(fund.balance_fen, part.owed_fen))
        if amount == 0:
            break
        paid = replace(part, paid_fen=Fen(part.paid_fen + amount))
        payments.append(DebtPayment(paid, amount))
        fund = replace(
            fund,
            balance_fen=Fen(fund.balance_fen - amount),
            owed_fen=Fen(fund.owed_fen - amount),
        )
    if fund.state is FundState.SUSPENDED and fund.owed_fen == 0:
        fund = replace(fund, state=FundState.OPEN)
    return fund, payments


def top_up_fen(fund: Fund, *, multiple: int, min_balance_fen: int) -> Fen:
    """What a fund needs to stand behind its cover, to hold its minimum and to pay what it owes."""
    needed = leverage(fund.balance_fen, multiple=multiple, outstanding_fen=fund.covered_fen)
    for_minimum = max(0, min_balance_fen - fund.balance_fen)
    return Fen(max(needed.top_up_fen, for_minimum) + fund.owed_fen)
