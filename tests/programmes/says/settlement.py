"""What a pack must say of payouts for a golden case to be its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from services.programmes.cases.values import Case
from services.programmes.schema.insurance import HOUSEHOLD, groups_of
from services.programmes.schema.loans import LoanRules
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms
from tests.programmes.says.funds import loss_waterfall

Groups = tuple[tuple[str, ...], ...]


def orders(terms: Terms) -> list[Groups]:
    """Every order of payees that a cover of the pack has."""
    return [
        groups_of(cover.payees)
        for cover in terms.insurance.covers
        if not isinstance(cover.payees, Open)
    ]


def as_parties(priority: Sequence[str | Sequence[str]]) -> Groups:
    """A case's order in the pack's words: `bank_a` and `bank_b` together are its party `bank`."""
    groups = [[step] if isinstance(step, str) else step for step in priority]
    return tuple(
        tuple(dict.fromkeys("bank" if name.startswith("bank_") else name for name in group))
        for group in groups
    )


def without(order: Groups, absent: set[str]) -> Groups:
    """An order without the payees to whom nothing is owed."""
    left = [tuple(name for name in group if name not in absent) for group in order]
    return tuple(group for group in left if group)


def said(terms: Terms, priority: Sequence[str | Sequence[str]], creditors: set[str]) -> bool:
    wanted = as_parties(priority)
    lenders = {name for group in as_parties([*creditors]) for name in group}
    for order in orders(terms):
        absent = {name for group in order for name in group} - lenders - {HOUSEHOLD}
        if without(order, absent) == wanted:
            return True
    return False


def payouts(terms: Terms, given: Case) -> None:
    creditors = {debt["creditor"] for debt in given["debts"]}
    for payout in given["payouts"]:
        assert said(terms, payout["priority"], creditors), payout["priority"]
    order = given.get("appropriation_order", "interest_first")
    # The other order is an option of the language, which a programme may take (S03).
    assert order in get_args(LoanRules.model_fields["appropriation_order"].annotation)
    if order == "interest_first":
        assert terms.loans.appropriation_order == order


def stale_snapshot(terms: Terms, given: Case) -> None:
    assert said(terms, ["bank", HOUSEHOLD], {"bank"})
    assert given["snapshot_debt_fen"] >= given["actual_debt_fen"]


def sweep(terms: Terms, given: Case) -> None:
    assert known(terms.insurance.sweep_trigger) == given["sweep_trigger"]
    assigned = [
        groups_of(known(cover.payees))
        for cover in terms.insurance.covers
        if cover.assigned is given["cover_assigned"]
    ]
    assert as_parties(given["beneficiary_order"]) in assigned


def claim_to_compensation(terms: Terms, given: Case) -> None:
    payouts(terms, given)
    loss_waterfall(terms, given)


SAYS: Mapping[str, Callable[[Terms, Case], None]] = {
    "chain.claim_to_compensation": claim_to_compensation,
    "settlement.payouts": payouts,
    "settlement.reversal": payouts,
    "settlement.stale_snapshot": stale_snapshot,
    "settlement.sweep": sweep,
}
