"""Cases: what a case says of payouts."""

from collections.abc import Callable, Mapping, Sequence

from services.programmes import covers, settlement
from services.programmes.cases.values import HOUSEHOLD, Case


def payouts(given: Case) -> Case:
    debts = debts_of(given)
    before = dict(debts)
    seen: set[str] = set()
    lines: list[Case] = []
    household, ignored = 0, []
    for payout in given["payouts"]:
        if payout["id"] in seen:
            ignored.append(payout["id"])
            continue
        seen.add(payout["id"])
        settled = settle(given, payout, debts)
        debts = dict(settled.debts_after)
        household += settled.household_fen
        lines += allocation_lines(payout["id"], settled)
    return {
        "allocations": lines,
        "remaining": [debt_line(creditor, debt) for creditor, debt in debts.items()],
        "household_fen": household,
        "closed": [
            creditor
            for creditor, debt in debts.items()
            if debt.total_fen == 0 and before[creditor].total_fen > 0
        ],
        "ignored_payouts": ignored,
    }


def reversal(given: Case) -> Case:
    debts = debts_of(given)
    settled: dict[str, settlement.Settlement] = {}
    for payout in given["payouts"]:
        settled[payout["id"]] = settle(given, payout, debts)
        debts = dict(settled[payout["id"]].debts_after)
    result = settlement.reverse(settled[given["reverse_payout"]], debts)
    return {
        "refund_to_insurer_fen": result.refunds,
        "household_clawback_fen": result.household_clawback_fen,
        "reinstated": [
            debt_line(creditor, result.debts_after[creditor]) for creditor in result.refunds
        ],
    }


def stale_snapshot(given: Case) -> Case:
    result = settlement.stale_snapshot(
        given["payout_fen"],
        snapshot_debt_fen=given["snapshot_debt_fen"],
        actual_debt_fen=given["actual_debt_fen"],
    )
    return {
        "bank_received_fen": result.received_fen,
        "bank_keeps_fen": result.kept_fen,
        "bank_passes_to_household_fen": result.passed_on_fen,
        "household_total_fen": result.household_fen,
        "remaining_debt_fen": result.remaining_debt_fen,
    }


def sweep(given: Case) -> Case:
    groups = covers.payees(
        given["beneficiary_order"],
        assigned=given["cover_assigned"],
        sweep_trigger=given["sweep_trigger"],
        difficulty=given["repayment_difficulty"],
    )
    return {"priority": [group[0] if len(group) == 1 else list(group) for group in groups]}


def settle(
    given: Case, payout: Case, debts: Mapping[str, settlement.Amounts]
) -> settlement.Settlement:
    groups = [
        [step] if isinstance(step, str) else step
        for step in payout["priority"]
        if step != HOUSEHOLD
    ]
    order = settlement.appropriation(given.get("appropriation_order", "interest_first"))
    return settlement.settle(payout["amount_fen"], groups, debts, order)


def debts_of(given: Case) -> dict[str, settlement.Amounts]:
    return {
        debt["creditor"]: settlement.Amounts(
            principal_fen=debt["principal_fen"], interest_fen=debt["interest_fen"]
        )
        for debt in given["debts"]
    }


def allocation_lines(payout: str, settled: settlement.Settlement) -> Sequence[Case]:
    lines: list[Case] = [
        {
            "payout": payout,
            "to": part.debt_id,
            "interest_fen": part.taken.interest_fen,
            "principal_fen": part.taken.principal_fen,
        }
        for part in settled.parts
    ]
    if settled.household_fen:
        lines.append({"payout": payout, "to": HOUSEHOLD, "amount_fen": settled.household_fen})
    return lines


def debt_line(creditor: str, debt: settlement.Amounts) -> Case:
    return {
        "creditor": creditor,
        "principal_fen": debt.principal_fen,
        "interest_fen": debt.interest_fen,
    }


RULES: Mapping[str, Callable[[Case], Case]] = {
    "settlement.payouts": payouts,
    "settlement.reversal": reversal,
    "settlement.stale_snapshot": stale_snapshot,
    "settlement.sweep": sweep,
}
