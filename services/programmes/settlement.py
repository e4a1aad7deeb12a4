"""Settlement: one payout put toward debts in order, the rest to the household."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.kernel.money import Fen, split
from services.kernel.values import light

Component = Literal["costs", "interest", "penalty", "principal"]
AppropriationOrder = tuple[Component, ...]

NOTHING = Fen(0)

INTEREST_FIRST: AppropriationOrder = ("costs", "interest", "penalty", "principal")
PRINCIPAL_FIRST: AppropriationOrder = ("costs", "principal", "interest", "penalty")

_PLACES: Mapping[Component, int] = {"costs": 0, "interest": 1, "penalty": 2, "principal": 3}
"""Where each is among the fields of `Amounts`."""


@light
@dataclass(frozen=True, slots=True)
class Amounts:
    """The four parts of a debt, or of what a payment took from one."""

    costs_fen: Fen = NOTHING
    interest_fen: Fen = NOTHING
    penalty_fen: Fen = NOTHING
    principal_fen: Fen = NOTHING

    @property
    def total_fen(self) -> Fen:
        """All four together."""
        return Fen(self.costs_fen + self.interest_fen + self.penalty_fen + self.principal_fen)

    def minus(self, other: "Amounts") -> "Amounts":
        """What remains after a part is taken."""
        return Amounts(
            Fen(self.costs_fen - other.costs_fen),
            Fen(self.interest_fen - other.interest_fen),
            Fen(self.penalty_fen - other.penalty_fen),
            Fen(self.principal_fen - other.principal_fen),
        )

    def plus(self, other: "Amounts") -> "Amounts":
        """Two parts together."""
        return Amounts(
            Fen(self.costs_fen + other.costs_fen),
            Fen(self.interest_fen + other.interest_fen),
            Fen(self.penalty_fen + other.penalty_fen),
            Fen(self.principal_fen + other.principal_fen),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What one debt took of a payout."""

    debt_id: str
    taken: Amounts


@dataclass(frozen=True, slots=True)
class Settlement:
    """A payout divided: parts and household sum to it, and no debt takes more than it is."""

    parts: tuple[Part, ...]
    household_fen: Fen
    debts_after: Mapping[str, Amounts]
    working: str


@dataclass(frozen=True, slots=True)
class Reversal:
    """The mirror of one settlement: refunds, the household's part, the debts again."""

    refunds: Mapping[str, Fen]
    household_clawback_fen: Fen
    debts_after: Mapping[str, Amounts]
    working: str


@dataclass(frozen=True, slots=True)
class StaleSnapshot:
    """A lender that was sent more than is still owed keeps its debt and passes on the rest."""

    received_fen: Fen
    kept_fen: Fen
    passed_on_fen: Fen
    household_fen: Fen
    remaining_debt_fen: Fen
    working: str


def appropriation(order: str) -> AppropriationOrder:
    """A pack's word for the order inside a debt (S03)."""
    return PRINCIPAL_FIRST if order == "principal_first" else INTEREST_FIRST


def appropriate(amount_fen: Fen, debt: Amounts, order: AppropriationOrder) -> Amounts:
    """Put an amount toward one debt, component by component; at most what is owed."""
    owed = (debt.costs_fen, debt.interest_fen, debt.penalty_fen, debt.principal_fen)
    taken = [NOTHING] * len(owed)
    left = amount_fen
    for component in order:
        place = _PLACES[component]
        taken[place] = min(left, owed[place])
        left = Fen(left - taken[place])
    return Amounts(*taken)


def settle(
    amount_fen: Fen,
    groups: Sequence[Sequence[str]],
    debts: Mapping[str, Amounts],
    order: AppropriationOrder = INTEREST_FIRST,
) -> Settlement:
    """
    Put a payout toward groups of debts in order; equal rank shares pro rata of what is owed (S07).

    What no debt takes is the household's. Debts that get nothing have no part.
    """
    assert amount_fen >= 0
    left = amount_fen
    after = dict(debts)
    parts: list[Part] = []
    for group in groups:
        owed = [after[debt_id].total_fen for debt_id in group]
        whole = sum(owed)
        shares = owed if left >= whole else split(left, owed)
        for debt_id, share in zip(group, shares, strict=True):
            taken = appropriate(share, after[debt_id], order)
            if taken.total_fen:
                parts.append(Part(debt_id, taken))
                after[debt_id] = after[debt_id].minus(taken)
                left = Fen(left - taken.total_fen)
    lines = [f"{part.debt_id} {part.taken.total_fen}" for part in parts]
    working = f"{amount_fen} fen: {', '.join([*lines, f'household {left}'])}"
    return Settlement(tuple(parts), left, after, working)


def reverse(settlement: Settlement, debts_now: Mapping[str, Amounts]) -> Reversal:
    """Mirror exactly that settlement's lines on the debts as they are now (S41)."""
    after = dict(debts_now)
    refunds: dict[str, Fen] = {}
    for part in settlement.parts:
        after[part.debt_id] = after[part.debt_id].plus(part.taken)
        refunds[part.debt_id] = part.taken.total_fen
    working = f"refund {dict(refunds)}, household {settlement.household_fen} fen"
    return Reversal(refunds, settlement.household_fen, after, working)


def stale_snapshot(
    payout_fen: Fen, *, snapshot_debt_fen: Fen, actual_debt_fen: Fen
) -> StaleSnapshot:
    """The household paid between quote and settlement (S43)."""
    received = min(payout_fen, snapshot_debt_fen)
    kept = min(received, actual_debt_fen)
    passed_on = Fen(received - kept)
    household = Fen(payout_fen - kept)
    remaining = Fen(actual_debt_fen - kept)
    working = f"received {received}, owed {actual_debt_fen}: keeps {kept}, passes on {passed_on}"
    return StaleSnapshot(received, kept, passed_on, household, remaining, working)
