"""After the approval: limits, batches, subsidies, notices, campaigns, renewals."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

from services.programmes.calendars import add_months
from services.programmes.interest import months_interest_fen
from tests.live.county import SETTLED, TELLER_POST, County, Wish
from tests.live.paths.loans import (
    NON_POOR,
    WANGCANG_COVERS,
    chosen_ratio,
    day,
    iso,
    rate_and_days,
    without_assignment,
)
from tests.live.paths.path import Answer, Path, long
from tests.live.platform import must
from tests.live.setup import Case, Setup, benchmark, lay_over

STARTS_ON = date(2018, 3, 5)
SUBSIDY_STOP = 10
"""`PostingKind` as on the wire."""
COUNTY_APPROVAL = 1
"""`SignatureKind` as on the wire."""
DAY = timedelta(days=1)


# --- revolving limits -----------------------------------------------------------------------------

REASONS: Mapping[str, str] = {"DRAW_ABOVE_LIMIT": "over_limit", "LIMIT_EXPIRED": "expired"}


def revolving_setup(case: Case) -> Setup:
    """The limit is granted on the first day."""
    return Setup(day(case["inputs"]["granted_on"]))


async def revolving(county: County, case: Case) -> Answer:
    """Draws and repayments on their days; a repayment pays the interest on top."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    borrower = await county.borrower(status=NON_POOR)
    wish = Wish(borrower, given["limit_fen"], product_id="sanzhi_credit")
    loan = await county.apply(wish)
    must(not loan.refusal_reasons, f"refused with {list(loan.refusal_reasons)}")
    await county.decide(loan, wish)
    loan = await county.loan(loan.loan_id)
    last_valid_on = iso(loan.revolving_until)
    results: list[Answer] = []
    for event in given["events"]:
        await county.advance(day(event["on"]))
        refused = ""
        if event["type"] == "draw":
            refused = await county.refusal(
                "loans.DrawOnLimit",
                "bank",
                post=TELLER_POST,
                loan_id=loan.loan_id,
                amount_fen=event["amount_fen"],
            )
        else:
            owed = (await county.quote(loan.loan_id)).interest_fen
            await county.repay(loan, event["amount_fen"] + owed)
        loan = await county.loan(loan.loan_id)
        free = loan.principal_fen - loan.outstanding_fen
        must(loan.undrawn_fen == free, f"{loan.undrawn_fen} fen are free")
        results.append(
            {
                "accepted": not refused,
                "reason": REASONS.get(refused, refused) or None,
                "outstanding_fen": loan.outstanding_fen,
                "available_fen": free,
            }
        )
    return {"last_valid_on": last_valid_on, "results": results}


# --- controlled drawdown --------------------------------------------------------------------------


async def batch(county: County, loan_id: str, asked: Mapping[str, Any]) -> bool:
    """A batch with the papers that it has; whether its money went out."""
    values = {
        "loan_id": loan_id,
        "amount_fen": asked["amount_fen"],
        "purpose": "cold store",
        "evidence": uuid4().hex if asked["evidence_ok"] else "",
        "supplier": "account" if asked["entrusted_payment"] else "",
    }
    before = await county.ask("loans.ListBatches", "bank", loan_id=loan_id)
    if await county.refusal("loans.RequestBatch", "bank", **values):
        return False
    number = len(before.batches) + 1
    if asked["county_approved"]:
        await county.ask(
            "loans.SignBatch", "centre", loan_id=loan_id, number=number, kind=COUNTY_APPROVAL
        )
    paper = uuid4().hex if asked["entrusted_payment"] else ""
    refused = await county.refusal(
        "loans.PayBatch",
        "bank",
        post=TELLER_POST,
        loan_id=loan_id,
        number=number,
        payment_evidence=paper,
    )
    return not refused


async def controlled_drawdown(county: County, case: Case) -> Answer:
    """An entity's loan from the threshold on, batch by batch."""
    given = case["inputs"]
    await county.open()
    wish = Wish(await county.entity(), given["approved_fen"], product_id="entity_credit")
    loan = await county.apply(wish)
    must(not loan.refusal_reasons, f"refused with {list(loan.refusal_reasons)}")
    await county.decide(loan, wish)
    refused = await county.refusal(
        "loans.DisburseLoan", "bank", post=TELLER_POST, loan_id=loan.loan_id
    )
    released = [await batch(county, loan.loan_id, each) for each in given["requests"]]
    loan = await county.loan(loan.loan_id)
    return {
        "controlled": refused == "CONTROLLED_DRAWDOWN",
        "released": released,
        "released_total_fen": loan.outstanding_fen,
    }


def entity_setup(_: Case) -> Setup:
    """The programme states all that the loans of entities need."""
    return Setup(STARTS_ON)


# --- the interest subsidy -------------------------------------------------------------------------

ENTITY_FROM_FEN = 5_000_000
"""Above it a household's product lends nothing: the case is about an entity."""


def subsidy_setup(case: Case) -> Setup:
    """The case's benchmark, from which a co-operative's rate may be a tenth up."""
    given = case["inputs"]
    rate = given["loan_rate_ppm"]
    if _of_entity(case):
        rate = rate * 10 // 11
    values: dict[str, Any] = {"loans": {"benchmark": benchmark(rate)}}
    if "hunan" in case["programme"]:
        values = dict(lay_over(values, chosen_ratio({"bank": 2, "fund": 8})))
    if "wangcang" in case["programme"]:
        values = dict(lay_over(values, without_assignment(WANGCANG_COVERS)))
    return Setup(STARTS_ON, values)


def _of_entity(case: Case) -> bool:
    return bool(case["inputs"]["principal_fen"] > ENTITY_FROM_FEN)


async def interest_subsidy(county: County, case: Case) -> Answer:
    """A loan over its whole term: the rates of its contract, and the day the treasury stopped."""
    given, principal = case["inputs"], case["inputs"]["principal_fen"]
    await county.open()
    borrower = await county.entity() if _of_entity(case) else await county.borrower()
    product = "entity_credit" if _of_entity(case) else "microcredit"
    wish = Wish(borrower, principal, product_id=product, months=given["months"])
    loan = await county.apply(wish)
    must(not loan.refusal_reasons, f"refused with {list(loan.refusal_reasons)}")
    await county.decide(loan, wish)
    if _of_entity(case):
        whole = dict.fromkeys(("evidence_ok", "county_approved", "entrusted_payment"), True)
        must(await batch(county, loan.loan_id, {"amount_fen": principal, **whole}), "not paid out")
    else:
        await county.disburse(loan, wish)
    start = county.today
    contract = (await county.ask("loans.GetApplication", "bank", loan_id=loan.loan_id)).contract
    must(contract.rate_ppm == given["loan_rate_ppm"], f"{contract.rate_ppm} ppm")
    planned = await county.ask("loans.GetRepaymentSchedule", "bank", loan_id=loan.loan_id)
    interest = sum(each.interest_fen for each in planned.instalments)
    await county.advance(add_months(start, given["months"]))
    book = await county.ask("loans.GetLoanStatement", "bank", loan_id=loan.loan_id)
    stops = [day(iso(each.value_date)) for each in book.postings if each.kind == SUBSIDY_STOP]
    months = given["months"]
    if stops:
        months = next(n for n in range(months + 1) if add_months(start, n) >= stops[0])
        must(add_months(start, months) == stops[0], f"the treasury stops on {stops[0]}")
    subsidy = months_interest_fen(principal, contract.subsidised_rate_ppm, months)
    return {
        "interest_fen": interest,
        "subsidy_fen": subsidy,
        "borrower_interest_fen": interest - subsidy,
        "subsidised_months": months,
    }


# --- maturity notices -----------------------------------------------------------------------------

NOTICED_MONTHS = 3


def notice_setup(case: Case) -> Setup:
    """Three months before the maturity, by the day that ends there."""
    return Setup(add_months(day(case["inputs"]["maturity_on"]), -NOTICED_MONTHS))


async def maturity_notice(county: County, case: Case) -> Answer:
    """The day on which the loan says it will be told, until the close of that day tells it."""
    given = case["inputs"]
    notice = county.terms.loans.maturity_notice
    must(notice and notice.lead_months == given["lead_months"], "another lead time")
    await county.open()
    loan = await county.lend(Wish(await county.borrower(), 1_000_000, months=NOTICED_MONTHS))
    must(iso(loan.matures_on) == given["maturity_on"], f"due on {iso(loan.matures_on)}")
    on = day(iso(loan.notice_on))
    await county.advance(on)
    must((await county.loan(loan.loan_id)).HasField("notice_on"), "told too early")
    await county.advance(on + DAY)
    must(not (await county.loan(loan.loan_id)).HasField("notice_on"), "not told on its day")
    return {"notify_on": on.isoformat()}


# --- collection campaigns -------------------------------------------------------------------------


STAGES, STAGE_DAYS = 4, 30


def overdue_at(given: Case) -> tuple[int, int]:
    """A rate and the first day, after a loan of a month was due, with the case's interest."""
    principal, interest = given["principal_fen"], given["interest_due_fen"]
    return rate_and_days(principal, interest, after=40, soon=True)


def discount_setup(case: Case) -> Setup:
    """The stage with the case's discount stands on the day on which its interest is owed."""
    given = case["inputs"]
    rate, days = overdue_at(given)
    on = STARTS_ON + days * DAY
    stages = [
        {"id": f"stage_{place}", "from": start, "to": start + (STAGE_DAYS - 1) * DAY}
        for place in range(1, STAGES + 1)
        for start in [on + (place - given["discount_pct"] // 5) * STAGE_DAYS * DAY]
    ]
    return Setup(
        STARTS_ON,
        {
            "loans": {
                "benchmark": benchmark(rate),
                "collection_discount": {"stages": stages},
            }
        },
    )


async def collection_discount(county: County, case: Case) -> Answer:
    """An overdue loan settled in the campaign with exactly what is payable."""
    given, payable = case["inputs"], case["expected"]["payable_fen"]
    await county.open()
    borrower = await county.borrower(status=NON_POOR)
    wish = Wish(borrower, given["principal_fen"], product_id="farm_credit", months=1)
    loan = await county.lend(wish)
    _, days = overdue_at(given)
    await county.advance(STARTS_ON + days * DAY)
    owed = await county.quote(loan.loan_id)
    must(owed.interest_fen == given["interest_due_fen"], f"{owed.interest_fen} fen of interest")
    paid = await county.ask(
        "loans.SettleWithDiscount", "bank", loan_id=loan.loan_id, amount_fen=payable
    )
    settled = paid.loan.state == SETTLED and not paid.loan.suspense_fen
    return {"discount_fen": paid.forgiven_fen, "payable_fen": payable if settled else None}


# --- renewal --------------------------------------------------------------------------------------

RENEWED_MONTHS = 12


def years(case: Case) -> bool:
    """Whether a case runs for longer than one year."""
    given = case["inputs"]
    return bool(given.get("months", given.get("prior_subsidised_months")) > RENEWED_MONTHS)


def renewal_setup(case: Case) -> Setup:
    """The months of subsidy of the case, where the county says how interest is subsidised."""
    given = case["inputs"]
    values: dict[str, Any] = {}
    if "hunan" in case["programme"]:
        values = chosen_ratio({"bank": 2, "fund": 8})
    else:
        subsidy = {"mode": "full_at_benchmark", "max_months": given["max_subsidy_months"]}
        values = {"loan_products": [{"id": "microcredit", "subsidy": subsidy}]}
    return Setup(STARTS_ON, values)


async def renewal(county: County, case: Case) -> Answer:
    """Renewed on its last day, with the conditions that hold."""
    given = case["inputs"]
    await county.open()
    months = given["prior_subsidised_months"]
    wish = Wish(await county.borrower(), given["principal_fen"], months=months)
    loan = await county.lend(wish)
    await county.advance(add_months(county.today, months))
    owed = await county.quote(loan.loan_id)
    must(owed.interest_fen == given["interest_unpaid_fen"], f"{owed.interest_fen} fen of interest")
    held = [code for code, holds in given["conditions"].items() if holds]
    values = {
        "loan_id": loan.loan_id,
        "term_months": RENEWED_MONTHS,
        "conditions": [*held, "age_ok", "blacklist_ok"],
        "evidence": uuid4().hex,
    }
    if not all(given["conditions"].values()):
        reason = await county.refusal("loans.RenewLoan", "bank", **values)
        must(reason == "RENEWAL_CONDITIONS_NOT_MET", f"refused with {reason or 'nothing'}")
        return {
            "allowed": False,
            "new_principal_fen": 0,
            "principal_cash_fen": (await county.quote(loan.loan_id)).principal_fen,
            "remaining_subsidy_months": 0,
        }
    answer = await county.ask("loans.RenewLoan", "bank", **values)
    must(answer.renewed.state == SETTLED, "the old loan goes on")
    book = await county.ask("loans.GetLoanStatement", "bank", loan_id=loan.loan_id)
    return {
        "allowed": True,
        "new_principal_fen": answer.loan.outstanding_fen,
        "principal_cash_fen": sum(each.amount_fen for each in book.postings[1:]),
        "remaining_subsidy_months": answer.subsidy_months_left,
    }


PATHS: Mapping[str, Path] = {
    "loans.revolving": Path(revolving_setup, revolving, heavy=long),
    "loans.controlled_drawdown": Path(entity_setup, controlled_drawdown),
    "loans.interest_subsidy": Path(subsidy_setup, interest_subsidy, heavy=long),
    "loans.maturity_notice": Path(notice_setup, maturity_notice, needs=("loans.Loan.notice_on",)),
    "loans.collection_discount": Path(discount_setup, collection_discount),
    "loans.renewal": Path(renewal_setup, renewal, heavy=years),
}
