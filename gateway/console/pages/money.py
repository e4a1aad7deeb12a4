"""The flow picture: who paid whom, insurers, funds and guarantors to banks, what came back."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from liandong.claims.v1 import claims_pb2, payouts_pb2
from liandong.funds.v1 import funds_pb2
from starlette.responses import Response

from gateway.console.desk import Desk
from gateway.console.wording import code

PAYOUTS = "liandong.claims.v1.PayoutsService/ListPayouts"
CASES = "liandong.funds.v1.FundsService/ListCompensationCases"
OWN_FUNDS = ("county_fund", "village_fund", "enterprise_mutual_fund", "defaulter_margin")


@dataclass(frozen=True, slots=True)
class Flow:
    """Money from one party to another."""

    kind: str
    source: str
    target: str
    fen: int
    open_fen: int
    """Of what is due, not paid yet."""


async def money(desk: Desk) -> Response:
    """The picture, and the table that it is drawn from."""
    payouts, payouts_cut = await desk.all_pages(
        PAYOUTS, payouts_pb2.ListPayoutsRequest(county_code=desk.county), "payouts"
    )
    cases, cases_cut = await desk.all_pages(
        CASES, funds_pb2.ListCompensationCasesRequest(county_code=desk.county), "cases"
    )
    names = await desk.names()
    flows = [*_from_insurers(desk, payouts, names), *_from_sharers(desk, cases, names)]
    return await desk.page(
        "money.html",
        flows=sorted(flows, key=lambda each: (each.kind, -each.fen)),
        payouts=len(payouts),
        cases=len(cases),
        cut=payouts_cut or cases_cut,
    )


def _from_insurers(
    desk: Desk, payouts: Iterable[claims_pb2.Payout], names: dict[str, str]
) -> list[Flow]:
    """Insurers to lenders, societies among them, and to households."""
    paid: Counter[tuple[str, str]] = Counter()
    due: Counter[tuple[str, str]] = Counter()
    for payout in payouts:
        if payout.state == claims_pb2.PAYOUT_STATE_REVERSED:
            continue
        for each in payout.instructions:
            to_lender = each.payee_kind == claims_pb2.PAYEE_KIND_LENDER
            target = names.get(each.payee_id, each.payee_id) if to_lender else _household(desk)
            key = (names.get(each.insurer_id, each.insurer_id), target)
            paid[key] += each.confirmed_fen
            if each.state != claims_pb2.INSTRUCTION_STATE_CONFIRMED:
                due[key] += each.amount_fen - each.confirmed_fen
    return _flows("payout", paid, due)


def _household(desk: Desk) -> str:
    return desk.say("农户", "Households")


def _from_sharers(
    desk: Desk, cases: Iterable[funds_pb2.CompensationCase], names: dict[str, str]
) -> list[Flow]:
    """Funds and guarantors to lenders, and what was recovered for them."""
    paid: Counter[tuple[str, str]] = Counter()
    due: Counter[tuple[str, str]] = Counter()
    back: Counter[tuple[str, str]] = Counter()
    recovered = desk.say("向借款人追偿", "Recovered from debtors")
    for case in cases:
        lender = names.get(case.lender_id, case.lender_id)
        for part in case.parts:
            sharer = _sharer(desk, part, names)
            if not part.own_loss:
                paid[sharer, lender] += part.paid_fen
                if case.state == funds_pb2.CASE_STATE_PAID:
                    due[sharer, lender] += part.amount_fen - part.paid_fen
            # A picture of flows has no circles: what comes back ends at a place of its own.
            back[recovered, sharer + desk.say("（收回）", " (back)")] += part.recovered_fen
    return [*_flows("compensation", paid, due), *_flows("recovery", back, Counter())]


def _sharer(desk: Desk, part: Any, names: dict[str, str]) -> str:
    if part.fund_id or part.party in OWN_FUNDS:
        return code(part.party, desk.language)
    return names.get(part.institution_id, part.institution_id or code(part.party, desk.language))


def _flows(kind: str, paid: Counter[tuple[str, str]], due: Counter[tuple[str, str]]) -> list[Flow]:
    return [
        Flow(kind, key[0], key[1], paid[key], due[key])
        for key in {**paid, **due}
        if paid[key] or due[key]
    ]
