"""Access: the same call by institutions that may and that may not."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import Any
from uuid import uuid4

import grpc

from services.kernel.status import reason_of
from tests.eventually import eventually
from tests.live.county import County, Wish
from tests.live.paths.loans import chosen_ratio
from tests.live.paths.path import Answer, Path
from tests.live.paths.settlement import cover, covered_by
from tests.live.platform import must
from tests.live.setup import RATE_PPM, Case, Setup

STARTS_ON = date(2018, 3, 5)
INSURED_PROGRAMME, INSURED_FROM = "hubei-yunyang-troika@2017", date(2017, 1, 2)
"""A programme with insurance, for a case that names none: the national one has no insurance."""
COVER, COVERED_FEN = "swept", 1_000_000
DENIED = frozenset(
    {
        "ROLE_NOT_ALLOWED",
        "AREA_NOT_YOURS",
        "SAME_PERSON",
        "LOAN_NOT_FOUND",
        "HOUSEHOLD_NOT_FOUND",
        "CREDIT_FILE_NOT_FOUND",
        "NO_BUSINESS_RELATION",
        "NO_OPEN_CLAIM",
        "NOT_THE_LENDER",
    }
)
"""How the platform says no: another's thing is as good as none."""


async def loan_read(county: County, case: Case) -> str:
    """A loan of one bank, read by the case's institution."""
    subject = case["inputs"]["subject"]
    readers = {"rcb": "bank", "psbc": "bank2", "picc": "insurer"}
    await county.open()
    loan = await county.lend(Wish(await county.borrower(), 1_000_000))
    reader = readers[subject["institution"]]
    return await county.refusal("loans.GetLoan", reader, loan_id=loan.loan_id)


async def grade_read(county: County, case: Case) -> str:
    """A credit file read by a bank, with an application to it or without one."""
    await county.open()
    household = await county.borrower()
    if case["inputs"]["resource"]["application_to"]:
        await county.apply(Wish(household, 1_000_000, lender="bank2"))
        # The gateway hears of the application by an event of its own.
        return await eventually(
            lambda: county.refusal("credit.GetCreditFile", "bank2", household_id=household),
            lambda said: not said,
        )
    return await county.refusal("credit.GetCreditFile", "bank2", household_id=household)


async def household_read(county: County, case: Case) -> str:
    """A household of another township, read by a township's station."""
    del case
    await county.open(townships=(101, 102), funds={}, covers=())
    household = await county.household(county.village(township=102))
    near = await county.household()
    must(
        not await county.refusal("households.GetHousehold", "station", household_id=near),
        "the station may not read its own township",
    )
    return await county.refusal("households.GetHousehold", "station", household_id=household)


async def disburse(county: County, case: Case) -> str:
    """Whoever decided the bank's step tries to pay the loan out."""
    del case
    await county.open()
    wish = Wish(await county.borrower(), 1_000_000)
    loan = await county.apply(wish)
    await county.decide(loan, wish)
    await county.settle()
    refused = await county.refusal("loans.DisburseLoan", "bank", post=1, loan_id=loan.loan_id)
    await county.disburse(loan, wish)
    return refused


async def compensation(county: County, case: Case) -> str:
    """The poverty office decides a case."""
    del case
    await county.open(funds={}, covers=())
    return await county.refusal(
        "funds.DecideCompensationCase", "poverty", case_id=str(uuid4()), approve=True
    )


async def own_loan_read(county: County, case: Case) -> str:
    """A loan in the file that a household reads of itself, and not in its neighbour's."""
    del case
    await county.open()
    borrower, neighbour = await county.borrower(), await county.borrower()
    loan = await county.lend(Wish(borrower, 1_000_000))
    await county.settle()
    try:
        mine = await county.as_head("gateway.GetMyFile", borrower)
        other = await county.as_head("gateway.GetMyFile", neighbour)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    must([each.loan_id for each in mine.loans] == [loan.loan_id], f"its loans: {mine.loans}")
    must(not other.loans, f"another's loans are shown: {other.loans}")
    return ""


async def debt_read(county: County, case: Case) -> str:
    """What a household owes a bank, read by the insurer that decides a claim of it."""
    del case
    await county.open()
    household = await county.borrower()
    loan = await county.lend(Wish(household, COVERED_FEN))
    await county.settle()
    asked: dict[str, Any] = {
        "household_id": household,
        "cover_id": COVER,
        "amount_fen": COVERED_FEN,
        "value_date": county.today,
    }
    before = await county.refusal("claims.QuotePayout", "insurer", **asked)
    must(before in DENIED, f"{before or 'shown'} before there is a claim")
    claim = await county.report_claim(household, COVER, COVERED_FEN)
    # The gateway hears of the claim by an event of its own.
    refused = await eventually(
        lambda: county.refusal("claims.QuotePayout", "insurer", **asked), lambda said: not said
    )
    if not refused:
        (part,) = (await county.ask("claims.QuotePayout", "insurer", **asked)).parts
        must((part.loan_id, part.owed_fen) == (loan.loan_id, COVERED_FEN), f"shown is {part}")
    await county.approve_claim(claim.claim_id)
    after = await county.refusal("claims.QuotePayout", "insurer", **asked)
    must(after in DENIED, f"{after or 'shown'} after the claim is decided")
    return refused


ACTIONS: Mapping[str, Callable[[County, Case], Awaitable[str]]] = {
    "loan.read": loan_read,
    "debt_snapshot.read": debt_read,
    "credit_grade.read": grade_read,
    "household.read": household_read,
    "loan.disburse": disburse,
    "fund.compensation.approve": compensation,
}


def setup(case: Case) -> Setup:
    """Access is the platform's own; a programme that lets its county choose its shares has some."""
    if case["inputs"]["action"] == "debt_snapshot.read":
        covers = [cover(COVER, ["bank", "household"], COVERED_FEN)]
        return Setup(INSURED_FROM, covered_by(covers, RATE_PPM), programme=INSURED_PROGRAMME)
    values = chosen_ratio({"bank": 2, "fund": 8}) if "hunan" in case["programme"] else {}
    return Setup(
        STARTS_ON, values, lenders=("bank", "bank2"), others=("insurer", "poverty", "portal")
    )


async def access(county: County, case: Case) -> Answer:
    """Whether the call went through; a refusal must be one about access."""
    inputs = case["inputs"]
    own = inputs["subject"]["type"] == "household"
    refused = await (own_loan_read if own else ACTIONS[inputs["action"]])(county, case)
    must(not refused or refused in DENIED, f"refused with {refused}")
    return {"allow": not refused}


PATHS: Mapping[str, Path] = {"gateway.access": Path(setup, access)}
