"""A case's county: its institutions ask, its days pass, its households borrow and are insured."""

import asyncio
import csv
import itertools
import tempfile
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import grpc
from stdnum.cn import uscc

from deploy.demo import generator
from deploy.local.audit import SERVICES
from deploy.local.household_file import import_file
from services.kernel.status import explain, reason_of
from services.loans.rules.schedule import Method, due_days
from services.programmes import policies
from services.programmes.schema.loans import ApprovalStep, LoanProduct
from services.programmes.schema.pledges import AdvancePledge, DepositPledge
from services.programmes.schema.values import known
from services.programmes.terms import Terms
from tests.live import asking
from tests.live.folder import OVERLAY, POSTS, RATING, Place, parties
from tests.live.platform import Platform, must
from tests.live.setup import PURPOSE

T = TypeVar("T")

AT_ONCE = 8
BATCH_ITEMS = 500
DAYS_A_CALL = 400
FUND_FEN = 1_000_000_000_000
POLICY_DAYS = 364
FILE_COLUMNS = (
    *("household_number", "village_code", "relation", "name", "identity_number"),
    *("registered_on", "registration_status"),
)
TELLER_POST = 3
UNITS, UNIT_FEN = 1_000, 1_000_000
COOPERATIVE = 1
"""`EnterpriseKind` as on the wire."""
IN_REVIEW, APPROVED, REFUSED, ACTIVE, SETTLED = 1, 3, 4, 5, 6
"""`LoanState` as on the wire."""

VILLAGE_FUNDS = ("village_mutual_fund",)

SHORT_OF_ORGAN: Mapping[str, str] = {
    "village_department": "village",
    "township_station": "station",
    "county_centre": "centre",
    "poverty_office": "poverty",
    "finance_bureau": "finance",
    "insurer": "insurer",
    "guarantor": "guarantor",
}

LEVELS = {"county": 1, "city": 2, "province": 3}
"""Levels of libraries and white lists, as the wire has them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A loan that somebody wants."""

    household_id: str
    principal_fen: int
    lender: str = "bank"
    product_id: str = "microcredit"
    months: int = 12
    purpose: str = ""
    used_in_area: str = ""
    outlet: str = ""
    """The lender's outlet that is asked."""
    stated: Mapping[str, Any] = field(default_factory=dict)
    """Particulars that are others than those of an application that nothing forbids."""


@dataclass
class County:
    """What every path stands on; each call is an ordinary one through the gateway."""

    platform: Platform
    place: Place
    today: date = field(init=False)
    towns: tuple[str, ...] = ()
    """Nine digits of each town that was opened."""
    _signed: bool = False
    _projects: dict[str, str] = field(default_factory=dict)
    """The project of each product whose money is pooled."""
    heads: dict[str, str] = field(default_factory=dict)
    """Household to the identity number of its head."""
    _people: Any = field(default_factory=lambda: itertools.count(1))
    _paid: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.today = self.place.setup.starts_on

    @property
    def code(self) -> str:
        """Six digits."""
        return self.place.county_code

    @property
    def programme_id(self) -> str:
        """The case's programme."""
        return self.place.programme_id

    @property
    def terms(self) -> Terms:
        """What the county lives under, as the services read it."""
        version = self.place.ref.split("@")[1].split(":")[0]
        ref = f"{self.programme_id}@{version}:{OVERLAY}"
        return self.platform.catalogue.terms(self.code, ref)

    @property
    def _parties(self) -> Mapping[str, Sequence[str]]:
        """Who takes which part in the case's programme, as the adoption says."""
        named = parties(self.place, self.platform.catalogue)
        return {
            party: [self.institution(short) for short in shorts] for party, shorts in named.items()
        }

    @property
    def gates(self) -> tuple[str, ...]:
        """What must hold of a household before the case's programme gives it a grade."""
        eligibility = self.terms.pack.eligibility
        return () if eligibility is None else tuple(each.code for each in known(eligibility.gates))

    def product(self, product_id: str) -> LoanProduct:
        """A loan product of the case's programme."""
        return self.terms.product(product_id)

    def chain(self, product_id: str) -> tuple[ApprovalStep, ...]:
        """The approval chain of a product."""
        return known(self.product(product_id).approval_chain)

    def institution(self, short: str) -> str:
        """The id of an institution by its short name."""
        return f"{short}-{self.code}"

    def village(self, number: int = 0, *, township: int = 101) -> str:
        """Twelve digits of a village."""
        return f"{self.code}{township}{201 + number}"

    # --- asking -----------------------------------------------------------------------------------

    async def ask(self, name: str, short: str, /, *, post: int = 1, **values: Any) -> Any:
        """One call as an institution of the county."""
        whole = {"county_code": self.code, **values}
        return await self.platform.call(name, self.institution(short), whole, post=post)

    async def refusal(self, name: str, short: str, /, *, post: int = 1, **values: Any) -> str:
        """Why a call is refused; empty when it is not."""
        try:
            await self.ask(name, short, post=post, **values)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return ""

    async def settle(self) -> None:
        """Wait until everybody has heard everything."""
        await self.platform.settle()

    async def advance(self, to: date) -> None:
        """Close days in every service, then let everybody hear of it."""
        while self.today < to:
            day = min(to, self.today + timedelta(days=DAYS_A_CALL))
            await self._close(day)
            self.today = day
        await self.settle()

    async def _close(self, day: date) -> None:
        await asyncio.gather(
            *(
                self.platform.operate("AdvanceDay", noun, county_code=self.code, business_date=day)
                for noun in SERVICES
            )
        )

    # --- the county begins ------------------------------------------------------------------------

    async def open(
        self,
        *,
        villages: int = 1,
        townships: Iterable[int] = (101,),
        funds: Mapping[str, int] | None = None,
        covers: Sequence[str] | None = None,
    ) -> None:
        """
        Its first day, its areas, funds with their money, and master policies.

        Without a word about them: a fund for whoever stands first in the loss shares, and a policy
        for every cover that a loan needs.
        """
        await self._close(self.today)
        areas = [(self.code, 1)]
        townships = tuple(townships)
        self.towns = tuple(f"{self.code}{township}" for township in townships)
        for township in townships:
            areas.append((f"{self.code}{township}", 2))
            areas += [(self.village(n, township=township), 3) for n in range(villages)]
        await self.ask(
            "households.RegisterAreas",
            "centre",
            areas=[{"area_code": code, "name": code, "level": level} for code, level in areas],
        )
        for kind, amount_fen in (self.fund_kinds() if funds is None else funds).items():
            await self.fund(kind, amount_fen)
        for cover_id in self._needed_covers() if covers is None else covers:
            await self.insure(cover_id)

    def fund_kinds(self) -> Mapping[str, int]:
        """The first party of the household's loss shares that is a fund."""
        fund = self.terms.pack.fund
        for model in fund.models if fund else ():
            kinds = [name for name in model.parties if name != model.otherwise_borne_by]
            if "poor_household" in model.borrower_classes and kinds:
                return {kinds[-1] if "insurer" in kinds else kinds[0]: FUND_FEN}
        return {}

    def _needed_covers(self) -> Sequence[str]:
        return self.terms.required_covers("poor_household") if self.terms.pack.insurance else ()

    async def fund(self, kind: str, amount_fen: int, *, scope_id: str = "") -> str:
        """Open a fund and pay into it; its id. A village's is that of the first village."""
        answer = await self.ask(
            "funds.OpenFund",
            "finance",
            programme_id=self.programme_id,
            kind=kind,
            scope_id=self.village() if kind in VILLAGE_FUNDS else scope_id,
        )
        if amount_fen:
            await self.pay_in(str(answer.fund.fund_id), amount_fen)
        return str(answer.fund.fund_id)

    async def pay_in(self, fund_id: str, amount_fen: int, source: str = "county_budget") -> None:
        """Money arrives in a fund."""
        await self.ask(
            "funds.RecordContribution",
            "finance",
            fund_id=fund_id,
            source=source,
            amount_fen=amount_fen,
            value_date=self.today,
        )

    async def take_over(self, lent: Mapping[str, int], product_id: str) -> None:
        """A loan a lender from the time before, of one household of the first village."""
        household_id = await self.household()
        await self.settle()
        settlement = known(self.product(product_id).interest_settlement)
        method = Method(str(settlement[0] if isinstance(settlement, tuple) else settlement))
        items = [
            {
                "reference": f"C-{lender}",
                "household_id": household_id,
                "lender_id": self.institution(lender),
                "programme_id": self.programme_id,
                "product_id": product_id,
                "principal_fen": owed,
                "term_months": 12,
                "rate_ppm": 43_500,
                "disbursed_on": self.today,
                "outstanding_fen": owed,
                "next_due_on": due_days(self.today, 12, method)[0],
                "five_tier_class": 1,
            }
            for lender, owed in lent.items()
        ]
        answer = await self.ask(
            "loans.ImportOpeningLoans",
            "centre",
            opening_on=self.today,
            items=items,
            control_totals=[
                {
                    "lender_id": self.institution(lender),
                    "loans": 1,
                    "outstanding_fen": owed,
                    "interest_owed_fen": 0,
                }
                for lender, owed in lent.items()
            ],
        )
        must(answer.landed, f"openings refused: {[v.message for v in answer.verdicts]}")
        await self.settle()

    async def insure(self, cover_id: str, *more: str) -> list[str]:
        """
        Issue master policies for a year: one for the county, or for each of its towns.

        Where the programme wants one, the insurer, the banks and the government sign first.
        """
        insurance = self.terms.insurance
        if insurance.participation and insurance.participation.agreement_required:
            await self._sign()
        master = insurance.master_policy
        packed = cover_id in policies.master_covers(insurance)
        by_town = master is not None and master.scope == "township" and packed
        return [
            await self._issue(area, cover_id, more) for area in (self.towns if by_town else [""])
        ]

    async def _issue(self, area: str, cover_id: str, more: Sequence[str]) -> str:
        answer = await self.ask(
            "claims.IssueMasterPolicy",
            "insurer",
            insurer_id=self.institution("insurer"),
            programme_id=self.programme_id,
            cover_id=cover_id,
            more_cover_ids=list(more),
            area_code=area,
            from_date=self.today,
            until_date=self.today + timedelta(days=POLICY_DAYS),
        )
        return str(answer.policy_id)

    async def _sign(self) -> None:
        if self._signed:
            return
        self._signed = True
        await self.ask(
            "claims.RecordAgreement",
            "centre",
            insurer_id=self.institution("insurer"),
            programme_id=self.programme_id,
            bank_ids=[self.institution(short) for short in self.place.setup.lenders],
            signed_on=self.today,
            from_date=self.today,
            until_date=self.today + timedelta(days=POLICY_DAYS),
            document=uuid4().hex,
        )

    # --- households -------------------------------------------------------------------------------

    async def household(
        self, village: str = "", *, honour: str = "", status: int = 1, people: int = 1
    ) -> str:
        """A household of one person; a registered poor one when nothing else is said."""
        number = next(self._people)
        answer = await self.ask(
            "households.RegisterHousehold",
            "centre",
            household_number=f"H-{number}",
            area_code=village or self.village(),
            status=status,
            honour=honour,
            members=[self._member(number)]
            + [self._member(next(self._people), child=True) for _ in range(people - 1)],
        )
        household_id = str(answer.household_id)
        self.heads[household_id] = self._member(number)["identity_number"]
        return household_id

    async def as_head(self, name: str, household_id: str, **values: Any) -> Any:
        """One call through the county's portal as the head of a household."""

        async def call(method: str, person_id: str, **more: Any) -> Any:
            whole = {"county_code": self.code, **more}
            named = {"liandong-person": person_id}
            return await self.platform.call(
                method, self.institution("portal"), whole, metadata=named
            )

        # Before a portal knows who it is, it speaks for nobody.
        known = await call("gateway.IdentifyMe", "", identity_number=self.heads[household_id])
        return await call(name, known.person_id, **values)

    def _member(self, number: int, *, child: bool = False) -> dict[str, str]:
        # Across counties nobody is the same person; an odd serial is a man's.
        serial = int(self.code) % 1_000 + 1
        born = date(1990 if child else 1960, 1, 1) + timedelta(days=number)
        relation = ("女", "子")[serial % 2] if child else "户主"
        return {
            "name": "王芳",
            "identity_number": generator.identity_number(f"{born:%Y%m%d}", serial),
            "relation": relation,
        }

    async def entity(self, *, kind: int = COOPERATIVE) -> str:
        """An entity that borrows; a co-operative when nothing else is said."""
        body = f"9352{next(self._people):04d}{self.code}ABC"
        answer = await self.ask(
            "households.RegisterEnterprise",
            "centre",
            credit_code=body + uscc.calc_check_digit(body),
            name="某县合作社",
            kind=kind,
            area_code=self.village(),
            evidence={"kind": 1, "reference": "paper", "sha256": bytes(32)},
        )
        await self.settle()
        return str(answer.enterprise_id)

    async def import_households(self, count: int) -> list[str]:
        """So many households of one person each, from a file."""
        serial = int(self.code) % 1_000 + 1
        with tempfile.TemporaryDirectory(prefix="liandong-live-file-") as made:
            path = Path(made) / "households.csv"
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(FILE_COLUMNS)
                for number in range(count):
                    born = date(1925, 1, 1) + timedelta(days=number)
                    identity = generator.identity_number(f"{born:%Y%m%d}", serial)
                    writer.writerow(
                        [
                            f"F-{number}",
                            self.village(),
                            "户主",
                            "王芳",
                            identity,
                            self.today,
                            "建档立卡贫困户",
                        ]
                    )
            client = self.platform.client(self.institution("centre"))
            report = await import_file(client, path, self.code, file_id=uuid4())
        must(report.households == count, f"lines refused: {report.refused[:1]}")
        return list(report.household_ids.values())

    async def households(self, villages: Sequence[str]) -> list[str]:
        """A household in each of these villages."""
        return await self.each([self.household(village) for village in villages])

    async def record(
        self, household_id: str, codes: Iterable[str], *, applies: bool = True
    ) -> None:
        """What was observed about a household: each of these holds, or does not."""
        await self.record_values(household_id, [(code, None) for code in codes], applies=applies)

    async def record_values(
        self,
        household_id: str,
        values: Iterable[tuple[str, int | None]],
        *,
        applies: bool = True,
    ) -> None:
        """What was observed about a household, with figures where there are any."""
        indicators = [
            {
                "household_id": household_id,
                "code": code,
                "applies": applies,
                "observed_on": self.today,
                **({} if value is None else {"value": value}),
            }
            for code, value in values
        ]
        if not indicators:
            return
        answer = await self.ask("credit.BatchRecordIndicators", "centre", indicators=indicators)
        refused = [f"{each.reason}: {each.message}" for each in answer.refused]
        must(not refused, f"indicators refused: {refused}")

    async def rate(self) -> None:
        """Rate every household, by the case's programme or the rig's own; limits are known."""
        await self.settle()
        rater = self.programme_id if self.place.setup.own_credit else RATING
        after = ""
        while True:
            answer = await self.ask(
                "credit.RateHouseholds", "centre", programme_id=rater, after_household_id=after
            )
            after = answer.last_household_id
            if not after:
                break
        await self.settle()

    async def credit_file(self, household_id: str) -> Any:
        """A household's credit file."""
        answer = await self.ask("credit.GetCreditFile", "centre", household_id=household_id)
        return answer.file

    async def borrower(self, village: str = "", *, status: int = 1) -> str:
        """A household with a limit."""
        household_id = await self.household(village, status=status)
        await self.rate()
        return household_id

    # --- loans ------------------------------------------------------------------------------------

    def application(self, wish: Wish) -> dict[str, Any]:
        """What an application says, with a purpose that the programme lists."""
        product = self.product(wish.product_id)
        allowed = product.purpose.allowed
        listed = () if allowed is None else known(allowed)
        stated = asking.particulars(
            self.terms, product, self._parties, months=wish.months, on=self.today
        )
        return {
            "household_id": wish.household_id,
            "lender_id": self.institution(wish.lender),
            "programme_id": self.programme_id,
            "product_id": wish.product_id,
            "principal_fen": wish.principal_fen,
            "term_months": wish.months,
            "purpose": wish.purpose or (listed[0] if listed else PURPOSE),
            "used_in_area": wish.used_in_area or self.village(),
            "outlet_code": wish.outlet,
            "assignment_evidence": uuid4().hex,
            "particulars": {**stated, **wish.stated},
        }

    async def project(self, product_id: str) -> str:
        """A project for pooled money: in every library, graded, on every white list."""
        clause = self.product(product_id).pooled
        assert clause is not None
        made = await self.ask(
            "loans.RegisterLoanProject",
            "centre",
            name="project",
            enterprise_id=uuid4().hex,
            enterprise_name="enterprise",
            sector=PURPOSE,
            area_code=self.code,
            programme_id=self.programme_id,
            product_id=product_id,
        )
        own = {"project_id": made.project.project_id, "reason": "seen", "evidence": uuid4().hex}
        best = clause.project_grades[0]
        await self.ask("loans.EvaluateLoanProject", "centre", month=self.today, grade=best, **own)
        for place in (1, 2):
            for level in clause.library_levels:
                await self.ask(
                    "loans.ListProjectAtLevel",
                    "centre",
                    post=2,
                    list=place,
                    level=LEVELS[level],
                    listed=True,
                    **own,
                )
        return str(made.project.project_id)

    async def _with_projects(self, wishes: Sequence[Wish]) -> list[Wish]:
        """The same wishes, those for pooled money each with a project."""
        return [
            replace(wish, stated={"project": await self._stated_project(wish), **wish.stated})
            if self.product(wish.product_id).pooled is not None
            else wish
            for wish in wishes
        ]

    async def _stated_project(self, wish: Wish) -> dict[str, Any]:
        if wish.product_id not in self._projects:
            self._projects[wish.product_id] = await self.project(wish.product_id)
        return {"project_id": self._projects[wish.product_id]}

    async def apply(self, wish: Wish) -> Any:
        """The village takes an application in."""
        (wish,) = await self._with_projects([wish])
        answer = await self.ask("loans.ApplyForLoan", "village", **self.application(wish))
        return answer.loan

    async def decide(self, loan: Any, wish: Wish) -> None:
        """Every organ of the chain passes its step; the fund has been asked in between."""
        await self._decide_all([loan.loan_id], wish)

    async def _decide_all(self, loan_ids: Sequence[str], wish: Wish) -> None:
        steps = self.chain(wish.product_id)
        posts: Counter[str] = Counter()
        for place, step in enumerate(steps, 1):
            if place == len(steps):
                await self.settle()
            organ = str(step.organ)
            short = wish.lender if organ == "lender" else SHORT_OF_ORGAN[organ]
            # One person decides one step only, and who decides never pays out.
            posts[short] += 1
            post = posts[short]
            most = TELLER_POST - 1 if short == wish.lender else POSTS
            must(post <= most, f"{short} decides more steps than it has posts for")
            items = [
                {"loan_id": id_, "step": step.step, "approve": True, "evidence": uuid4().hex}
                for id_ in loan_ids
            ]
            await self._batch("loans.BatchDecideApplications", short, items, post=post)
        await self.settle()

    async def lend(self, wish: Wish) -> Any:
        """A loan from its application to the money."""
        return (await self.lend_all([wish]))[0]

    async def lend_all(self, wishes: Sequence[Wish]) -> list[Any]:
        """The same for many of one product and one lender."""
        must(len({(w.product_id, w.lender) for w in wishes}) == 1, "loans of several kinds")
        items = [self.application(wish) for wish in await self._with_projects(wishes)]
        loan_ids = await self._batch("loans.BatchApplyForLoans", "village", items)
        for loan in await self._loans(loan_ids[:1]):
            must(loan.state == IN_REVIEW, f"application refused: {list(loan.refusal_reasons)}")
        await self._decide_all(loan_ids, wishes[0])
        await self._pay_out(loan_ids, wishes)
        return await self._loans(loan_ids)

    async def _pay_out(self, loan_ids: Sequence[str], wishes: Sequence[Wish]) -> None:
        """The whole of each loan, which its collateral secures where the product asks for any."""
        product, lender = self.product(wishes[0].product_id), wishes[0].lender
        if product.security.collateral == "required":
            await self.each([self.secure(loan_id, wishes[0]) for loan_id in loan_ids])
        if product.revolving is None:
            paid = [{"loan_id": loan_id} for loan_id in loan_ids]
            await self._batch("loans.BatchDisburseLoans", lender, paid, post=TELLER_POST)
            return
        await self.each(
            [
                self.draw(loan_id, wish.principal_fen, lender=lender)
                for loan_id, wish in zip(loan_ids, wishes, strict=True)
            ]
        )

    async def draw(self, loan_id: str, amount_fen: int, *, lender: str = "bank") -> Any:
        """A draw on a revolving limit, paid by the lender."""
        answer = await self.ask(
            "loans.DrawOnLimit", lender, post=TELLER_POST, loan_id=loan_id, amount_fen=amount_fen
        )
        return answer.loan

    async def secure(
        self, loan_id: str, wish: Wish, *, units: int = UNITS, unit_value_fen: int = UNIT_FEN
    ) -> Any:
        """Collateral by the product's first pledge, or else anything worth more than the loan."""
        security = self.product(wish.product_id).security
        pledge = security.pledges[0] if security.pledges else None
        keeper = pledge.keeper if isinstance(pledge, DepositPledge) else ""
        source = pledge.price_source if pledge else None
        answer = await self.ask(
            "loans.RegisterCollateral",
            wish.lender,
            loan_id=loan_id,
            pledge_id=pledge.id if pledge else "",
            asset=_asset(pledge),
            units=units,
            unit_value_fen=unit_value_fen,
            source=source if isinstance(source, str) else "appraiser",
            evidence=uuid4().hex,
            keeper_id=self._parties[keeper][0] if keeper else "",
        )
        return answer.collateral

    async def _loans(self, loan_ids: Sequence[str]) -> list[Any]:
        return await self.each([self.loan(loan_id) for loan_id in loan_ids])

    async def _batch(
        self, name: str, short: str, items: Sequence[Mapping[str, Any]], *, post: int = 1
    ) -> list[str]:
        """A batch, part by part; every item is accepted, or the case fails. The items' ids."""
        ids: list[str] = []
        for start in range(0, len(items), BATCH_ITEMS):
            part = list(items[start : start + BATCH_ITEMS])
            answer = await self.ask(name, short, post=post, items=part)
            for verdict in answer.verdicts:
                must(verdict.accepted, f"{name}: {verdict.reason}: {verdict.message}")
                ids.append(verdict.id)
        return ids

    async def disburse(self, loan: Any, wish: Wish) -> Any:
        """The lender pays an approved loan out."""
        answer = await self.ask(
            "loans.DisburseLoan", wish.lender, post=TELLER_POST, loan_id=loan.loan_id
        )
        return answer.loan

    async def loan(self, loan_id: str) -> Any:
        """A loan as it is now."""
        return (await self.ask("loans.GetLoan", "centre", loan_id=loan_id)).loan

    async def quote(self, loan_id: str) -> Any:
        """What settles a loan today."""
        return await self.ask(
            "loans.GetPayoffQuote", "centre", loan_id=loan_id, value_date=self.today
        )

    async def repay(self, loan: Any, amount_fen: int, *, lender: str = "bank") -> Any:
        """The lender posts a repayment of today."""
        answer = await self.ask(
            "loans.RepayLoan",
            lender,
            loan_id=loan.loan_id,
            amount_fen=amount_fen,
            value_date=self.today,
        )
        return answer.loan

    async def confirm_difficulty(self, loan_id: str, *, lender: str = "bank") -> None:
        """The lender says that a loss made repayment difficult (S04)."""
        await self.ask(
            "claims.ConfirmDifficulty",
            lender,
            loan_id=loan_id,
            cause="accident",
            evidence=uuid4().hex,
            from_date=self.today,
        )

    # --- claims -----------------------------------------------------------------------------------

    async def report_claim(self, household_id: str, cover_id: str, assessed_fen: int) -> Any:
        """The village reports a loss of today; the household has an account to be paid to."""
        if household_id not in self._paid:
            self._paid.add(household_id)
            await self._register_account(household_id)
        answer = await self.ask(
            "claims.ReportClaim",
            "village",
            household_id=household_id,
            cover_id=cover_id,
            loss_date=self.today,
            cause="accident",
            assessed_fen=assessed_fen,
            documents=[uuid4().hex],
        )
        return answer.claim

    async def _register_account(self, household_id: str) -> None:
        answer = await self.ask(
            "households.BatchRegisterPayeeAccounts",
            "centre",
            items=[
                {
                    "household_id": household_id,
                    "bank_id": self.institution("bank"),
                    "account_number": "62220000" + str(UUID(household_id).int)[-8:],
                    "account_name": "王芳",
                }
            ],
            evidence={"kind": 1, "reference": "archive/accounts"},
        )
        (verdict,) = answer.verdicts
        must(verdict.accepted, f"account refused: {verdict.reason}")
        await self.settle()

    async def approve_claim(self, claim_id: str, *, request_id: str = "") -> Any:
        """The insurer approves a claim; the money is on its way."""
        answer = await self.ask(
            "claims.AdjudicateClaim",
            "insurer",
            post=2,
            claim_id=claim_id,
            approve=True,
            request_id=request_id or str(uuid4()),
        )
        return answer.claim

    async def payout(self, payout_id: str) -> Any:
        """A payout with its instructions."""
        return (await self.ask("claims.GetPayout", "insurer", payout_id=payout_id)).payout

    # --- work -------------------------------------------------------------------------------------

    async def each(self, work: Sequence[Awaitable[T]]) -> list[T]:
        """Do things at once, a bounded number at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(do: Awaitable[T]) -> T:
            async with gate:
                return await do

        return await asyncio.gather(*(one(do) for do in work))


def _asset(pledge: AdvancePledge | DepositPledge | None) -> str:
    if pledge is None:
        return "warehouse"
    return pledge.asset if isinstance(pledge, DepositPledge) else pledge.assets[0]


def said_by(error: grpc.aio.AioRpcError) -> str:
    """A refusal on one line."""
    return " | ".join(explain(error).splitlines())
