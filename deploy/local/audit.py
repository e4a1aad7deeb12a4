"""The audit: do the books of the five services add up, each in itself and with one another?"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from liandong.common.v1 import operator_pb2

from deploy.nats.topology import Topology

SERVICES = ("households", "credit", "loans", "claims", "funds")
QUIET_SECONDS_MAX = 180.0
PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 0.5

GetTotals = Callable[[str, bool], Awaitable[operator_pb2.GetTotalsResponse]]
"""A service's noun, and whether positions are enough, to its control totals."""

# What one service holds another must hold too: left = right.
EQUALITIES = (
    ("households.households_count", "credit.households_count"),
    ("households.households_count", "loans.borrowers_count"),
    ("households.households_count", "claims.households_count"),
    ("credit.limit_fen", "loans.limit_fen"),
    ("claims.payouts_allocated_count", "loans.payouts_allocated_count"),
    ("claims.payout_amount_fen", "loans.payout_amount_fen"),
    ("claims.payout_lenders_fen", "loans.payout_lenders_fen"),
    ("claims.payout_household_fen", "loans.payout_household_fen"),
    ("claims.payouts_reversed_count", "loans.payouts_reversed_count"),
    ("claims.reversed_lenders_fen", "loans.reversed_lenders_fen"),
    ("funds.covered_fen", "loans.covered_principal_fen"),
    ("funds.cases_paid_count", "loans.compensations_count"),
    ("funds.balance_fen", "journal.funds.fund_cash_fen"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One check: what was compared, and by how much it differs."""

    check: str
    left: int
    right: int

    @property
    def difference(self) -> int:
        """How far the two are apart."""
        return abs(self.left - self.right)


@dataclass(frozen=True, slots=True)
class Audit:
    """All checks of one county, and what waits."""

    lines: tuple[Line, ...]
    parked_events: int
    totals: Mapping[str, int]

    @property
    def unbalanced_fen(self) -> int:
        """The sum of all differences; counts weigh as fen."""
        return sum(line.difference for line in self.lines)


async def quiet(get_totals: GetTotals, topology: Topology, *, seconds_max: float) -> bool:
    """Wait until every event that was said has been heard by all that hear it, or parked."""
    deadline = time.monotonic() + seconds_max
    pause = PAUSE_SECONDS
    while time.monotonic() < deadline:
        found = await _ask_all(get_totals, positions_only=True)
        if _is_quiet(found, topology):
            # Twice, because a service may have said more between two questions.
            again = await _ask_all(get_totals, positions_only=True)
            if _is_quiet(again, topology) and all(
                again[noun].events == found[noun].events for noun in SERVICES
            ):
                return True
        await asyncio.sleep(pause)
        pause = min(pause * 2, PAUSE_SECONDS_MAX)
    return False


async def _ask_all(
    get_totals: GetTotals, *, positions_only: bool
) -> dict[str, operator_pb2.GetTotalsResponse]:
    answers = await asyncio.gather(*(get_totals(noun, positions_only) for noun in SERVICES))
    return dict(zip(SERVICES, answers, strict=True))


def _is_quiet(found: Mapping[str, operator_pb2.GetTotalsResponse], topology: Topology) -> bool:
    for hearing, sources in topology.hears.items():
        if hearing not in found:
            continue
        heard = {each.noun: each.events for each in found[hearing].heard}
        if any(heard.get(source, 0) != found[source].events for source in sources):
            return False
    return all(not answer.unpublished_events for answer in found.values())


async def audit(get_totals: GetTotals) -> Audit:
    """Read all control totals and hold them against one another."""
    found = await _ask_all(get_totals, positions_only=False)
    totals: dict[str, int] = {}
    lines: list[Line] = []
    for noun, answer in found.items():
        journal = 0
        for total in answer.totals:
            if total.name.startswith("journal."):
                journal += total.value
                totals[f"journal.{noun}.{total.name.removeprefix('journal.')}"] = total.value
            else:
                totals[total.name] = total.value
            if total.name.endswith("_difference_fen"):
                lines.append(Line(total.name, total.value, 0))
        lines.append(Line(f"{noun}: debits = credits", journal, 0))
    lines.extend(
        Line(f"{left} = {right}", totals.get(left, 0), totals.get(right, 0))
        for left, right in EQUALITIES
    )
    lines.append(
        Line(
            "payout = lenders + household",
            totals["claims.payout_amount_fen"],
            totals["claims.payout_lenders_fen"] + totals["claims.payout_household_fen"],
        )
    )
    lines.append(
        Line(
            "loss = paid + owed + lenders' own",
            totals["funds.loss_fen"],
            totals["funds.paid_fen"]
            + totals["funds.shares_paid_fen"]
            + totals["funds.owed_fen"]
            + totals["funds.lender_own_fen"],
        )
    )
    lines.append(
        Line(
            "funds' paid and owed = loans' compensated",
            totals["funds.paid_fen"] + totals["funds.shares_paid_fen"] + totals["funds.owed_fen"],
            totals["loans.compensated_fen"],
        )
    )
    lines.append(
        Line(
            "losses not recovered = loans' subrogated + payouts' on their way",
            totals["funds.unrecovered_fen"],
            totals["loans.subrogated_fen"] + totals["claims.payouts_unsettled_subrogated_fen"],
        )
    )
    parked = sum(answer.parked_events for answer in found.values())
    return Audit(tuple(lines), parked, totals)
