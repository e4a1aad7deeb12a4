"""Settlement: debts of two lenders, payouts of several covers, who is paid what, and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

from tests.live.county import ACTIVE, SETTLED, County, Wish
from tests.live.paths.loans import rate_and_days
from tests.live.paths.path import Answer, Path
from tests.live.platform import must
from tests.live.setup import Case, Setup, benchmark

LENDER_OF: Mapping[str, str] = {
    "bank": "bank",
    "bank_a": "bank",
    "bank_b": "bank2",
    "mutual_aid_society": "society",
}
STARTS_ON: Mapping[str, date] = {"hubei-yunyang-troika@2017": date(2017, 1, 2)}
USUAL_START = date(2018, 3, 5)
REPAID_FEN = 1_000_000
"""Principal of a loan that a case knows only as repaid."""
SECOND_PRODUCT = "sheep_pledge"
"""For the second loan of a household whose first one takes the whole of microcredit's cap."""
PAYOUT_SETTLED = 4
LENDER, HOUSEHOLD = 1, 2
"""`PayeeKind` as on the wire."""
OPEN = 1
"""`InstructionState` as on the wire."""

WIDENED_PRODUCT, POOR, NEAR_POOR = "widened_credit", 1, 2
"""For two loans above the cap of the poor: the county lends to the near-poor without one."""
INTEREST_FIRST = "interest_first"


def lacks(case: Case) -> str:
    """Where a path keeps the programme's order, which no overlay may turn."""
    turned = case["inputs"].get("appropriation_order", INTEREST_FIRST) != INTEREST_FIRST
    return "the path keeps the programme's order of interest and principal" if turned else ""


def variant(case: Case) -> Mapping[str, Any]:
    """A pack with the case's order of interest and principal where that is not the default."""
    order = case["inputs"].get("appropriation_order", INTEREST_FIRST)
    return {} if order == INTEREST_FIRST else {"loans": {"appropriation_order": order}}


def widened(programme: str, given: Mapping[str, Any]) -> bool:
    """Whether the case's two loans are more than the poor may owe under the programme."""
    return "wangcang" in programme and len(given.get("debts", ())) > 1


OWN_COVER: Mapping[str, str] = {"sichuan-wangcang": "microloan"}
"""The cover that pays where a county may add none, and may only say what its own leave open."""
SUBSIDISED_PPM: Mapping[str, int] = {"sichuan-wangcang": 50_000}
"""What the treasury bears of the rate: the case's interest is what the household bears."""


def code(programme: str, payout_id: str) -> str:
    """The cover that pays a payout."""
    return OWN_COVER.get(programme.split("@", maxsplit=1)[0], payout_id.replace("-", "_"))


def cover(cover_id: str, payees: Sequence[Any], amount_fen: int) -> dict[str, Any]:
    """A cover that pays at most one amount, in this order."""
    return {
        "id": cover_id,
        "kind": "personal_accident",
        "title": {"zh": "测试险种", "en": "Cover of a live case"},
        "assigned": len(payees) > 1,
        "payees": list(payees),
        "sum_insured": {"of": "fixed", "amount_fen": amount_fen},
        "premium": {"rate_ppm": 1_000, "payer": "county"},
    }


def covered_by(covers: Sequence[Mapping[str, Any]], rate_ppm: int) -> dict[str, Any]:
    """Values of an overlay with these covers, each needed by every loan."""
    names = [each["id"] for each in covers]
    required = [{"borrower_class": "poor_household", "covers": names}]
    return {
        "loans": {"benchmark": benchmark(rate_ppm)},
        "insurance": {"covers": list(covers), "required_covers": required},
    }


def setup(case: Case, *, days_max: int = 360) -> Setup:
    """A cover for each payout; a rate at which the case's interest accrues within a year."""
    given = case["inputs"]
    covers = {
        each["id"]: cover(code(case["programme"], each["id"]), each["priority"], each["amount_fen"])
        for each in given["payouts"]
    }
    rate, _ = _accrual(given["debts"], days_max)
    start = STARTS_ON.get(case["programme"], USUAL_START)
    lenders = tuple(dict.fromkeys(LENDER_OF[each["creditor"]] for each in given["debts"]))
    values = _values(case, list(covers.values()), rate)
    return Setup(start, values, lenders=lenders, variant=variant(case))


def _values(case: Case, covers: Sequence[Mapping[str, Any]], rate_ppm: int) -> dict[str, Any]:
    """Covers of the case's own; or sums of the programme's, whose order of payees stands."""
    programme = case["programme"].split("@")[0]
    if programme not in OWN_COVER:
        return covered_by(covers, rate_ppm)
    sums = [{"id": each["id"], "sum_insured": each["sum_insured"]} for each in covers]
    treasury = 0 if widened(programme, case["inputs"]) else SUBSIDISED_PPM[programme]
    rate = rate_ppm + treasury
    return {"loans": {"benchmark": benchmark(rate)}, "insurance": {"covers": sums}}


def _accrual(debts: Sequence[Mapping[str, Any]], days_max: int = 360) -> tuple[int, int]:
    """Rate and days of the one debt that bears interest; nothing accrues within a day."""
    for debt in debts:
        if debt["interest_fen"]:
            return rate_and_days(debt["principal_fen"], debt["interest_fen"], days_max=days_max)
    return 43_500, 0


@dataclass
class Debts:
    """A household's loans by creditor."""

    county: County
    household_id: str
    loan_ids: dict[str, str] = field(default_factory=dict)
    months: int = 12
    days_max: int = 360
    product_id: str = "microcredit"
    _in_difficulty: bool = False

    async def incur(self, debts: Sequence[Mapping[str, Any]]) -> None:
        """Lend what bears interest first, let it accrue, lend the rest."""
        for debt in debts:
            if debt["interest_fen"]:
                await self._lend(debt)
        _, days = _accrual(debts, self.days_max)
        await self.county.advance(self.county.today + timedelta(days=days))
        for debt in debts:
            if not debt["interest_fen"]:
                await self._lend(debt)
        for debt in debts:
            owed = await self.owed(debt["creditor"])
            must(
                owed == (debt["interest_fen"], debt["principal_fen"]),
                f"{debt['creditor']} is owed {owed}",
            )

    async def _lend(self, debt: Mapping[str, Any]) -> None:
        principal, lender = debt["principal_fen"] or REPAID_FEN, LENDER_OF[debt["creditor"]]
        lent = sum([sum(await self.owed(each)) for each in self.loan_ids])
        cap = self.county.product(self.product_id).max_principal_fen
        fits = isinstance(cap, int) and lent + principal <= cap
        product = self.product_id if fits else SECOND_PRODUCT
        loan = await self.county.lend(
            Wish(
                self.household_id,
                principal,
                lender=lender,
                product_id=product,
                months=self.months,
            )
        )
        if not debt["principal_fen"]:
            await self.county.repay(loan, principal, lender=lender)
            await self.county.settle()
        self.loan_ids[debt["creditor"]] = loan.loan_id

    async def owed(self, creditor: str) -> tuple[int, int]:
        """Interest and principal that the household owes today."""
        loan = await self.county.loan(self.loan_ids[creditor])
        if loan.state != ACTIVE:
            return 0, 0
        quote = await self.county.quote(loan.loan_id)
        return quote.interest_fen, quote.principal_fen

    async def confirm_difficulty(self) -> None:
        """Where the programme sweeps in difficulty only, every lender says that it is there."""
        if self.county.terms.insurance.sweep_trigger == "always" or self._in_difficulty:
            return
        self._in_difficulty = True
        for creditor, loan_id in self.loan_ids.items():
            if sum(await self.owed(creditor)):
                lender = LENDER_OF[creditor]
                await self.county.confirm_difficulty(loan_id, lender=lender)

    async def all_owed(self) -> dict[str, tuple[int, int]]:
        """The same by creditor."""
        return {creditor: await self.owed(creditor) for creditor in self.loan_ids}


async def payouts(county: County, case: Case) -> Answer:
    """Each payout in its turn; what it did is what the loans owe less afterwards."""
    answer, _ = await settle(county, case["inputs"])
    return answer


async def settle(
    county: County, given: Mapping[str, Any], *, months: int = 12, days_max: int = 360
) -> tuple[Answer, Debts]:
    """The same, and the loans as they are then."""
    await county.open()
    near_poor = widened(county.programme_id, given)
    debts = Debts(
        county,
        await county.borrower(status=NEAR_POOR if near_poor else POOR),
        months=months,
        days_max=days_max,
        product_id=WIDENED_PRODUCT if near_poor else "microcredit",
    )
    await debts.incur(given["debts"])
    at_first = await debts.all_owed()
    allocations: list[dict[str, Any]] = []
    ignored: list[str] = []
    paid: dict[str, Paid] = {}
    household_fen = 0
    for each in given["payouts"]:
        if each["id"] in paid:
            await _again(county, debts, paid[each["id"]])
            ignored.append(each["id"])
            continue
        before = await debts.all_owed()
        await debts.confirm_difficulty()
        paid[each["id"]] = await _pay(county, debts.household_id, each)
        after = await debts.all_owed()
        payout = await county.payout(paid[each["id"]].payout_id)
        for creditor in _creditors(each["priority"]):
            interest, principal = (
                was - now for was, now in zip(before[creditor], after[creditor], strict=True)
            )
            if interest or principal:
                part = {"interest_fen": interest, "principal_fen": principal}
                allocations.append({"payout": each["id"], "to": creditor, **part})
        if payout.household_fen:
            to = {"to": "household", "amount_fen": payout.household_fen}
            allocations.append({"payout": each["id"], **to})
        household_fen += payout.household_fen
        await _confirm(county, payout)
    left = await debts.all_owed()
    answer = {
        "allocations": allocations,
        "remaining": [
            {"creditor": name, "principal_fen": principal, "interest_fen": interest}
            for name, (interest, principal) in left.items()
        ],
        "household_fen": household_fen,
        "closed": [
            name
            for name, loan_id in debts.loan_ids.items()
            if sum(at_first[name]) and closed(await county.loan(loan_id))
        ],
        "ignored_payouts": ignored,
    }
    return answer, debts


def closed(loan: Any) -> bool:
    """Whether a loan is settled; a limit goes on without a debt until its last day."""
    owes = loan.outstanding_fen + loan.interest_fen
    return bool(loan.state == SETTLED or (loan.HasField("revolving_until") and not owes))


@dataclass(frozen=True, slots=True)
class Paid:
    """How a payout was authorised."""

    claim_id: str
    payout_id: str
    request_id: str
    positions: tuple[int, int]
    """Claims' event log before and after it."""


async def _pay(county: County, household_id: str, payout: Mapping[str, Any]) -> Paid:
    """A claim on the payout's cover, approved; everybody has heard of it."""
    claim = await county.report_claim(
        household_id, code(county.programme_id, payout["id"]), payout["amount_fen"]
    )
    first, request_id = await _position(county), str(uuid4())
    approved = await county.approve_claim(claim.claim_id, request_id=request_id)
    last = await _position(county)
    must(approved.payable_fen == payout["amount_fen"], f"{approved.payable_fen} fen payable")
    await county.settle()
    return Paid(claim.claim_id, approved.payout_id, request_id, (first, last))


async def _position(county: County) -> int:
    answer = await county.platform.operate(
        "GetTotals", "claims", county_code=county.code, positions_only=True
    )
    return int(answer.event_position)


async def _again(county: County, debts: Debts, paid: Paid) -> None:
    """The approval asked again, and its events sent again: nothing more may be paid."""
    before = await debts.all_owed()
    again = await county.approve_claim(paid.claim_id, request_id=paid.request_id)
    must(again.payout_id == paid.payout_id, "asked again, another payout was authorised")
    first, last = paid.positions
    await county.platform.operate(
        "RepublishEvents", "claims", from_position=first + 1, to_position=last
    )
    await county.settle()
    must(await debts.all_owed() == before, "the payout was taken twice")


def _creditors(priority: Sequence[Any]) -> list[str]:
    groups = [[each] if isinstance(each, str) else each for each in priority]
    return [name for group in groups for name in group if name != "household"]


async def _confirm(county: County, payout: Any) -> list[str]:
    """Everybody confirms what it got; the payees in the order in which they were paid."""
    order: list[str] = []
    while payout.state != PAYOUT_SETTLED:
        waiting = [each for each in payout.instructions if each.state == OPEN]
        must(waiting, f"payout {payout.payout_id} waits for nobody and is not settled")
        for instruction in waiting:
            kind = instruction.payee_kind
            short = instruction.payee_id.split("-")[0] if kind == LENDER else "insurer"
            await county.ask(
                "claims.ConfirmPayment",
                short,
                instruction_id=instruction.instruction_id,
                confirmed_fen=instruction.amount_fen,
                value_date=county.today,
            )
            order.append(short if kind == LENDER else "household")
        payout = await county.payout(payout.payout_id)
    return order


SWEPT_FEN = 1_000_000


def _lenders(case: Case) -> list[str]:
    """Creditors of the case's order, before the household."""
    return _creditors(case["inputs"]["beneficiary_order"])


def sweep_setup(case: Case) -> Setup:
    """One cover in the case's order of payees; the programme says when it sweeps."""
    order = case["inputs"]["beneficiary_order"]
    start = STARTS_ON.get(case["programme"], USUAL_START)
    names = _lenders(case)
    swept = cover(code(case["programme"], "swept"), order, SWEPT_FEN * (len(names) + 1))
    lenders = tuple(LENDER_OF[name] for name in names)
    return Setup(start, _values(case, [swept], 43_500), lenders=lenders)


async def sweep(county: County, case: Case) -> Answer:
    """Loans that are current, a payout larger than they are, and who is instructed first."""
    given, names = case["inputs"], _lenders(case)
    await county.open()
    household = await county.borrower()
    for name in names:
        lender = LENDER_OF[name]
        loan = await county.lend(Wish(household, SWEPT_FEN, lender=lender))
        if given["repayment_difficulty"]:
            await county.confirm_difficulty(loan.loan_id, lender=lender)
    amount_fen = SWEPT_FEN * (len(names) + 1)
    paid = await _pay(county, household, {"id": "swept", "amount_fen": amount_fen})
    order = await _confirm(county, await county.payout(paid.payout_id))
    by_short = {LENDER_OF[name]: name for name in names}
    return {"priority": [by_short.get(short, "household") for short in order]}


async def reversal(county: County, case: Case) -> Answer:
    """Payouts settled in their turn, then one of them taken back by two persons."""
    given = case["inputs"]
    await county.open()
    debts = Debts(county, await county.borrower())
    await debts.incur(given["debts"])
    paid: dict[str, Paid] = {}
    for each in given["payouts"]:
        paid[each["id"]] = await _pay(county, debts.household_id, each)
        await _confirm(county, await county.payout(paid[each["id"]].payout_id))
    asked = await county.ask(
        "claims.ReversePayout",
        "insurer",
        payout_id=paid[given["reverse_payout"]].payout_id,
        reason="WRONG_CLAIM",
        evidence=uuid4().hex,
    )
    done = await county.ask(
        "claims.DecideReversal", "insurer", post=2, reversal_id=asked.reversal_id, approve=True
    )
    await county.settle()
    creditor_of = {loan_id: creditor for creditor, loan_id in debts.loan_ids.items()}
    household = [each for each in done.receivables if each.debtor_kind == HOUSEHOLD]
    return {
        "refund_to_insurer_fen": {
            creditor_of[each.loan_id]: each.amount_fen
            for each in done.receivables
            if each.debtor_kind == LENDER
        },
        "household_clawback_fen": sum(each.amount_fen for each in household),
        "reinstated": [
            {"creditor": name, "principal_fen": principal, "interest_fen": interest}
            for name, (interest, principal) in (await debts.all_owed()).items()
        ],
    }


def stale_setup(case: Case) -> Setup:
    """One cover that pays the case's amount, the bank first."""
    covers = [cover("swept", ["bank", "household"], case["inputs"]["payout_fen"])]
    start = STARTS_ON.get(case["programme"], USUAL_START)
    return Setup(start, covered_by(covers, 43_500))


async def stale_snapshot(county: County, case: Case) -> Answer:
    """The bank is sent what was owed in our book, keeps what is owed in its own, and says so."""
    given = case["inputs"]
    await county.open()
    household = await county.borrower()
    loan = await county.lend(Wish(household, given["snapshot_debt_fen"]))
    paid = await _pay(county, household, {"id": "swept", "amount_fen": given["payout_fen"]})
    (sent,) = (await county.payout(paid.payout_id)).instructions
    await county.ask(
        "claims.ConfirmPayment",
        "bank",
        instruction_id=sent.instruction_id,
        confirmed_fen=given["actual_debt_fen"],
        value_date=county.today,
        reason="OVERPAID",
    )
    await county.settle()
    # The repayment that the bank knew of.
    await county.repay(loan, given["snapshot_debt_fen"] - given["actual_debt_fen"])
    await county.settle()
    await _confirm(county, await county.payout(paid.payout_id))
    payout = await county.payout(paid.payout_id)
    (kept,) = [each for each in payout.instructions if each.payee_kind == LENDER]
    now = await county.loan(loan.loan_id)
    return {
        "bank_received_fen": sent.amount_fen,
        "bank_keeps_fen": kept.confirmed_fen,
        "bank_passes_to_household_fen": sent.amount_fen - kept.confirmed_fen,
        "household_total_fen": payout.household_fen,
        "remaining_debt_fen": now.outstanding_fen,
    }


PATHS: Mapping[str, Path] = {
    "settlement.payouts": Path(setup, payouts),
    "settlement.reversal": Path(setup, reversal),
    "settlement.stale_snapshot": Path(stale_setup, stale_snapshot, lacks=lacks),
    "settlement.sweep": Path(sweep_setup, sweep, lacks=lacks),
}
