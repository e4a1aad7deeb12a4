"""An invented province whose counties have funds of every kind, and what its people ask of them."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2 as claims
from liandong.funds.v1 import accounts_pb2, funds_pb2
from liandong.loans.v1 import events_pb2 as loans

from services.funds import reports
from services.funds.events_in import handlers
from services.funds.servicer import FundsServicer
from services.funds.servicer.accounts import FundAccountsServicer
from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.inbox import Delivery
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue, load_texts
from tests.funds.county import Loan, a_caller, calling, told
from tests.funds.steps import take

OPENED = date(2021, 3, 1)
FIRST_COUNTY, COUNTIES = 990_201, 30
PROGRAMME = "kinds"
REF = "kinds@1"
BANKS = ("bank-a", "bank-b", "bank-c")
INSURER = "ins-1"

_PACK = """
programme:
  id: kinds
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 各类基金, en: Funds of every kind}
fund:
  multiple: 10
  min_balance_fen: 1000
  contributions:
    - {id: county_poverty_fund, amount_fen: 3000}
    - {id: shares_income}
  top_up: {to_ratio: true, yearly_ppm: 10000, yearly_due: "01-31"}
  custody: per_bank
  divided_by: lending_share
  models:
    - id: village_first
      title: {zh: 村级先行, en: Village first}
      borrower_classes: [poor_household]
      layers:
        - {layer: village, pot: village_mutual_fund}
        - {layer: ratio, ratio: {county_fund: 50, bank: 20, guarantee: 30}}
      trigger: {overdue_more_than_days: 70}
      base: principal
    - id: enterprises
      title: {zh: 政银企, en: Enterprises}
      borrower_classes: [entity]
      layers:
        - {layer: own_margin, pot: defaulter_margin}
        - {layer: mutual, pot: enterprise_mutual_fund}
        - {layer: ratio, ratio: {county_fund: 50, bank: 50}}
      trigger: {overdue_more_than_days: 70}
      base: principal
  village_fund:
    {pot: village_mutual_fund, min_pct: 3, max_pct: 5, of: village_loans, raised_by: helper}
  mutual_pool: {government_pct: 30, max_multiple: 10}
  insurer_pool: {default_rate_ppm: 20000, insurer_share_pct: 50}
  insurer_stabilisation: {initial_fen: 5000, compensates_pct: 100}
  fee_subsidy: {rate_ppm: 10000, of: disbursed, per_household_fen: 200}
"""

_ADOPTION = """
adoption:
  county: "%s"
  entries:
    - programme: kinds@1
      from: 2020-01-01
      parties:
        county_fund: fin-1
        bank: [bank-a, bank-b, bank-c]
        guarantee: agr-1
        village_mutual_fund: fin-1
        enterprise_mutual_fund: fin-1
        insurer: ins-1
"""


def a_catalogue() -> Catalogue:
    codes = [str(FIRST_COUNTY + index) for index in range(COUNTIES)]
    return load_texts(
        {"kinds@1.yaml": _PACK, **{f"{code}.yaml": _ADOPTION % code for code in codes}}
    )


def build(kind: type[Message], values: dict[str, Any]) -> Message:
    """A message from plain values; days become dates."""
    return kind(**{name: _plain(value) for name, value in values.items() if value is not None})


def _plain(value: Any) -> Any:
    return wire.date_to_proto(value) if isinstance(value, date) else value


@dataclass
class County:
    """One county's books: each call is one of a person of an institution."""

    db: Database
    catalogue: Catalogue
    code: str = str(FIRST_COUNTY)
    today: date = OPENED
    _consumer: Consumer = field(init=False)
    _loans: int = 0

    def __post_init__(self) -> None:
        self._consumer = Consumer(self.db, "funds", handlers(self.catalogue), batch_size_max=500)

    @property
    def village(self) -> str:
        return f"{self.code}101201"

    def caller(self, role: str = "finance_bureau", *, post: int = 1, of: str = "") -> Caller:
        institution = of or {"finance_bureau": "fin-1", "county_centre": "cfc-1"}.get(role, "aud-1")
        return a_caller(
            role,
            institution_id=institution,
            person_id=f"{institution}-p{post}",
            county_code=self.code,
        )

    @property
    def finance(self) -> Caller:
        return self.caller()

    @property
    def second(self) -> Caller:
        return self.caller(post=2)

    async def open(self) -> None:
        async with self.db.transaction(EVERY_COUNTY) as session:
            await business_day.open_day(session, self.code, self.today)

    async def ask(self, name: str, caller: Caller | None = None, **values: Any) -> Any:
        """One method of either service, by name."""
        caller = caller or self.finance
        door: Any
        if hasattr(funds_pb2, f"{name}Request"):
            kind, door = getattr(funds_pb2, f"{name}Request"), FundsServicer
            service = "FundsService"
        else:
            kind, door = getattr(accounts_pb2, f"{name}Request"), FundAccountsServicer
            service = "FundAccountsService"
        whole = {"county_code": self.code, **values}
        if "request_id" in kind.DESCRIPTOR.fields_by_name:
            whole = {"request_id": str(uuid4()), **whole}
        method = f"/liandong.funds.v1.{service}/{name}"
        context = calling(replace(caller, method=method), request := build(kind, whole))
        return await getattr(door(self.db, self.catalogue), name)(request, context)

    async def fund(self, kind: str = "county_fund", *, scope_id: str = "", fen: int = 0) -> str:
        answer = await self.ask("OpenFund", programme_id=PROGRAMME, kind=kind, scope_id=scope_id)
        fund_id = str(answer.fund.fund_id)
        if fen:
            await self.pay_in(fund_id, fen)
        return fund_id

    async def pay_in(
        self,
        fund_id: str,
        fen: int,
        *,
        source: str = "county_budget",
        custodian_id: str = "",
        on: date | None = None,
    ) -> None:
        await self.ask(
            "RecordContribution",
            fund_id=fund_id,
            source=source,
            amount_fen=fen,
            value_date=on or self.today,
            custodian_id=custodian_id,
        )

    async def decide(
        self, order: Any, *, approve: bool = True, caller: Caller | None = None
    ) -> Any:
        answer = await self.ask(
            "DecideFundOrder",
            caller or self.second,
            order_id=order.order_id,
            approve=approve,
            reason="" if approve else "wrong",
        )
        return answer.order

    async def divide(self, fund_id: str) -> Any:
        asked = await self.ask("ProposeDivision", fund_id=fund_id, value_date=self.today)
        return await self.decide(asked.order)

    async def registered(self, fund_id: str) -> Any:
        """A fund as the register has it."""
        answer = await self.ask("ListFundRegister", page_size=500)
        return next(each for each in answer.funds if each.fund_id == fund_id)

    async def accounts(self, fund_id: str) -> dict[str, int]:
        found = await self.registered(fund_id)
        return {each.custodian_id: each.balance_fen for each in found.accounts}

    async def totals(self) -> dict[str, int]:
        async with self.db.transaction(EVERY_COUNTY) as session:
            return dict(await reports.totals(session, self.code))

    # --- what is heard ---

    async def hear(self, *deliveries: Delivery) -> None:
        await take(self._consumer, *deliveries)

    async def lend(
        self,
        fen: int,
        *,
        lender: str = "bank-a",
        household: str = "",
        village: str = "",
        borrower: str = "poor_household",
        covered: bool = True,
    ) -> Loan:
        """A loan that is applied for, covered where it is to be, and paid out."""
        self._loans += 1
        loan = Loan(
            int(self.code) * 1_000 + self._loans,
            principal_fen=fen,
            borrower_class=borrower,
            area_code=village or self.village,
            lender_id=lender,
            county_code=self.code,
            programme=REF,
        )
        applied = loans.LoanApplied(
            loan_id=str(loan.loan_id),
            household_id=household or str(uuid4()),
            lender_id=lender,
            product_id="microcredit",
            principal_fen=fen,
            area_code=village or self.village,
        )
        told_now = [loan._told("loan_applied", applied, on=self.today)]
        if covered:
            told_now.append(loan.asks())
        disbursed = loans.LoanDisbursed(
            loan_id=str(loan.loan_id),
            lender_id=lender,
            principal_fen=fen,
            disbursed_on=wire.date_to_proto(self.today),
        )
        told_now.append(loan._told("loan_disbursed", disbursed, on=self.today))
        for each in told_now:
            await self.hear(each)
        return loan

    async def lose(self, loan: Loan) -> Any:
        """The loan is overdue; its lender files the case and the county pays it."""
        await self.hear(loan.overdue(71, on=self.today))
        lender = self.caller("bank", of=loan._lender_id)
        filed = await self.ask(
            "FileCompensationCase",
            lender,
            loan_id=str(loan.loan_id),
            cause="illness",
            evidence=["sha256:ab"],
        )
        decided = await self.ask(
            "DecideCompensationCase",
            self.caller("county_centre", post=2),
            case_id=filed.compensation_case.case_id,
            approve=True,
        )
        return decided.compensation_case

    async def recover(self, loan: Loan, fen: int) -> None:
        """An insurance paid after all; a part belongs to those who bore the loss."""
        payout_id = str(uuid4())
        part = claims.SettledPart(
            loan_id=str(loan.loan_id),
            lender_id=loan._lender_id,
            amount_fen=fen,
            subrogated_fen=fen,
        )
        message = claims.PayoutSettled(payout_id=payout_id, lenders_fen=fen, parts=[part])
        await self.hear(
            told(
                "liandong.claims.v1.payout_settled",
                ("claims.payout", payout_id),
                1,
                message,
                on=self.today,
                county_code=self.code,
            )
        )

    async def line_result(self, premium_fen: int, payouts_fen: int, *, programme: str = REF) -> str:
        """An insurer's line came to something."""
        name = str(uuid4())
        message = claims.LineResult(
            line_id=name, insurer_id=INSURER, premium_fen=premium_fen, payouts_fen=payouts_fen
        )
        await self.hear(
            told(
                "liandong.claims.v1.line_result",
                ("claims.line", name),
                1,
                message,
                on=self.today,
                county_code=self.code,
                programme=programme,
            )
        )
        return name


def next_day(county: County) -> date:
    """The day after the county's."""
    return county.today + timedelta(days=1)
