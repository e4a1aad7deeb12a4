"""The example county's year, lived through the gateway as its institutions would live it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from liandong.common.v1 import operator_pb2, operator_pb2_grpc
from liandong.credit.v1 import credit_pb2, credit_pb2_grpc
from liandong.funds.v1 import funds_pb2, funds_pb2_grpc
from liandong.households.v1 import households_pb2, households_pb2_grpc
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.demo import generator, year_plan
from deploy.demo.indicators import Codes, indicators
from deploy.demo.year_plan import Application, YearPlan
from deploy.local import audit
from deploy.local.client import Institution, new_trace
from deploy.local.household_file import Report, import_file
from deploy.nats.topology import Topology
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref
from services.programmes.schema.scoring import BasePointsScoring
from services.programmes.schema.values import known

T = TypeVar("T")

COUNTY = "411224"
PRODUCT = "microcredit"
BATCH_ITEMS = 500
INDICATORS_A_BATCH = 2_000
RATED_A_CHUNK = 2_000
AT_ONCE = 4
WAIT_SECONDS_MAX = 180.0
PAUSE_SECONDS = 0.05
COVERS = {"death": "personal_accident", "storm": "natural_disaster"}

Say = Callable[[str], None]


@dataclass(slots=True)
class Story:
    """What the year came to, for the last line and the tables."""

    households: int = 0
    people: int = 0
    refused_lines: int = 0
    refused: list[households_pb2.RefusedLine] = field(default_factory=list)
    trace_id: str = ""
    late_refusals: tuple[str, ...] = ()
    control_state: str = ""
    breakers: list[str] = field(default_factory=list)


def _day(day: date) -> Date:
    return Date(year=day.year, month=day.month, day=day.day)


def parts(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Items in lists of a bounded length."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


class Year:
    """
    One year of the county, step by step.

    Every request id comes from the seed and the request's own content, and every step works off
    what the platform says is open; so a year that was cut goes on where it was.
    """

    def __init__(
        self,
        open_institution: Callable[[str], Institution],
        catalogue: Catalogue,
        topology: Topology,
        *,
        folder: Path,
        seed: int,
        scale: float,
        say: Say,
    ) -> None:
        self._open = open_institution
        self._catalogue = catalogue
        self._topology = topology
        self._folder = folder
        self._seed = seed
        self._scale = scale
        self._say = say
        self._clients: dict[str, Institution] = {}
        self._household_ids: dict[str, str] = {}
        self.plan: YearPlan = year_plan.plan(seed, scale)
        adoption = catalogue.adoptions(COUNTY, self.plan.starts_on)[0]
        self._programme_id = split_ref(adoption.programme)[0]
        self._terms = catalogue.terms(COUNTY, adoption.programme)
        self._parties = catalogue.parties(COUNTY, adoption.programme)
        self.story = Story()

    async def close(self) -> None:
        """Close every institution's connection."""
        for client in self._clients.values():
            await client.close()

    @property
    def retries(self) -> int:
        """How often a call had to be asked again."""
        return sum(client.retries for client in self._clients.values())

    @property
    def calls(self) -> int:
        """How many calls were made."""
        return sum(client.calls for client in self._clients.values())

    async def live(self) -> Story:
        """The whole year."""
        plan = self.plan
        await self._advance(plan.starts_on - timedelta(days=5))
        await self._register()
        await self._grant_credit()
        await self._found_fund_and_policies()
        for day in sorted({application.applied_on for application in plan.applications}):
            await self._advance(day)
            await self._lend([each for each in plan.applications if each.applied_on == day])
        await self._live_events()
        await self._compensate()
        await self._apply_late()
        await self.quiet()
        return self.story

    # -- calls -----------------------------------------------------------------------------------

    def _client(self, institution_id: str) -> Institution:
        if institution_id not in self._clients:
            self._clients[institution_id] = self._open(institution_id)
        return self._clients[institution_id]

    def _party(self, role: str) -> str:
        return self._parties[role][0]

    def _of_township(self, role: str, area_code: str) -> str:
        for institution_id in self._parties[role]:
            areas = self._catalogue.institutions[institution_id].areas
            if any(area_code.startswith(area) for area in areas):
                return institution_id
        raise LookupError(f"no {role} for {area_code}")

    def lender_of(self, area_code: str) -> str:
        """The bank that a township's lending is contracted to (coverage contract)."""
        banks = self._parties["lender"]
        return banks[int(area_code[6:9]) % len(banks)]

    async def _command(
        self,
        institution_id: str,
        stub: type[Any],
        method: str,
        request: Message,
        *,
        post: int = 1,
        traceparent: str = "",
        label: str = "",
    ) -> Any:
        """A command whose id is its content's: the same thing asked twice is done once."""
        body = request.SerializeToString(deterministic=True).hex()
        made = generator.request_id(self._seed, method, institution_id, str(post), label, body)
        request.request_id = str(made)  # type: ignore[attr-defined]
        extra = {"traceparent": traceparent} if traceparent else {}
        client = self._client(institution_id)
        return await client.call(stub, method, request, post=post, metadata=extra)

    async def _pages(
        self, institution_id: str, stub: type[Any], method: str, request: Any, items: str
    ) -> AsyncIterator[Any]:
        while True:
            answer = await self._client(institution_id).call(stub, method, request)
            for item in getattr(answer, items):
                yield item
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def get_totals(self, noun: str) -> operator_pb2.GetTotalsResponse:
        """A service's control totals, asked as the operator."""
        answer: operator_pb2.GetTotalsResponse = await self._client(self._operator()).call(
            operator_pb2_grpc.OperatorServiceStub,
            "GetTotals",
            operator_pb2.GetTotalsRequest(county_code=COUNTY),
            metadata={"liandong-service": noun},
        )
        return answer

    def _operator(self) -> str:
        found = (
            i.institution_id for i in self._catalogue.institutions.values() if i.role == "operator"
        )
        return next(found)

    async def quiet(self) -> None:
        """Wait until every event has been heard."""
        if not await audit.quiet(self.get_totals, self._topology, seconds_max=WAIT_SECONDS_MAX):
            raise TimeoutError("the events of the platform did not come to rest")

    async def _until(self, truth: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS_MAX
        while not await truth():
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"waited too long until {what}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _each(self, work: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Do things at once, a bounded number at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(do: Callable[[], Awaitable[None]]) -> None:
            async with gate:
                await do()

        async with asyncio.TaskGroup() as group:
            for do in work:
                group.create_task(one(do))

    async def _advance(self, day: date) -> None:
        """Close days in every service; the next day starts when all five have answered."""
        for noun in audit.SERVICES:
            request = operator_pb2.AdvanceDayRequest(county_code=COUNTY, business_date=_day(day))
            made = generator.request_id(self._seed, "AdvanceDay", noun, day.isoformat())
            request.request_id = str(made)
            await self._client(self._operator()).call(
                operator_pb2_grpc.OperatorServiceStub,
                "AdvanceDay",
                request,
                metadata={"liandong-service": noun},
            )

    # -- registry and credit ---------------------------------------------------------------------

    async def _register(self) -> None:
        levels = {"county": 1, "township": 2, "village": 3}
        areas = [
            households_pb2.Area(
                area_code=area.code,
                name=area.name,
                level=households_pb2.AreaLevel.ValueType(levels[area.level]),
            )
            for area in generator.areas(self._seed, self._scale)
        ]
        centre = self._party("county_centre")
        for part in parts(areas, BATCH_ITEMS):
            request = households_pb2.RegisterAreasRequest(county_code=COUNTY, areas=part)
            stub = households_pb2_grpc.HouseholdsServiceStub
            await self._command(centre, stub, "RegisterAreas", request)
        path = self._folder / "households.csv"
        lines = generator.write_households(path, self._seed, self._scale)
        self._say(f"registry: {len(areas)} areas; importing {lines} lines from {path.name}")
        file_id = generator.request_id(self._seed, "households.csv", str(self._scale))
        report = await import_file(self._client(centre), path, COUNTY, file_id=file_id)
        self._take(report)
        await self.quiet()

    def _take(self, report: Report) -> None:
        self._household_ids = report.household_ids
        self.story.households = report.households
        self.story.people = report.people
        self.story.refused_lines = report.refused_lines
        self.story.refused = report.refused
        self._say(
            f"registry: {report.households} households with {report.people} people; "
            f"{report.refused_lines} lines refused, for example"
        )
        seen: set[str] = set()
        for line in report.refused:
            if line.reason not in seen and len(seen) < 6:
                seen.add(line.reason)
                self._say(
                    f"  line {line.line_number}, {line.column} = {line.value!r}: "
                    f"{line.reason}, {line.message}"
                )

    def _codes(self) -> Codes:
        scheme = self._terms.scoring
        assert isinstance(scheme, BasePointsScoring)
        points = {each.id: each.points_centi // 100 for each in known(scheme.adjustments)}
        return Codes.of_points(
            points,
            vetoes=[veto.id for veto in scheme.vetoes],
            honours=[level.id for level in scheme.honours.levels] if scheme.honours else [],
        )

    async def _grant_credit(self) -> None:
        codes = self._codes()
        observed = _day(self.plan.starts_on - timedelta(days=20))
        found: list[credit_pb2.Indicator] = []
        for number, household_id in self._household_ids.items():
            held = indicators(self._seed, self._scale, number, codes=codes)
            found.extend(
                credit_pb2.Indicator(
                    household_id=household_id, code=code, applies=True, observed_on=observed
                )
                for code in (*held.adjustments, *held.vetoes)
            )
        centre = self._party("county_centre")
        stub = credit_pb2_grpc.CreditServiceStub
        for part in parts(found, INDICATORS_A_BATCH):
            request = credit_pb2.BatchRecordIndicatorsRequest(county_code=COUNTY, indicators=part)
            answer = await self._command(centre, stub, "BatchRecordIndicators", request)
            if answer.refused:
                raise RuntimeError(f"indicators refused: {answer.refused[0]}")
        rated = granted = vetoed = 0
        after = ""
        while True:
            chunk = credit_pb2.RateHouseholdsRequest(
                county_code=COUNTY,
                programme_id=self._programme_id,
                after_household_id=after,
                chunk_size=RATED_A_CHUNK,
            )
            answer = await self._command(centre, stub, "RateHouseholds", chunk)
            rated, granted, vetoed = (
                rated + answer.rated,
                granted + answer.granted,
                vetoed + answer.vetoed,
            )
            after = answer.last_household_id
            if not after:
                break
        self._say(
            f"credit: {len(found)} indicators; {rated} households rated, {granted} granted a "
            f"limit, {vetoed} vetoed"
        )
        await self.quiet()

    async def _found_fund_and_policies(self) -> None:
        finance = self._party("finance_bureau")
        stub = funds_pb2_grpc.FundsServiceStub
        opening = funds_pb2.OpenFundRequest(
            county_code=COUNTY, programme_id=self._programme_id, kind="county_fund"
        )
        fund = (await self._command(finance, stub, "OpenFund", opening)).fund
        stated = self._terms.fund.initial_fen
        assert stated is not None
        amount = known(stated)
        paying = funds_pb2.RecordContributionRequest(
            county_code=COUNTY,
            fund_id=fund.fund_id,
            source="county_budget",
            amount_fen=amount,
            value_date=_day(self.plan.starts_on - timedelta(days=5)),
        )
        await self._command(finance, stub, "RecordContribution", paying)
        insurer = self._party("insurer")
        for cover_id in COVERS.values():
            policy = claims_pb2.IssueMasterPolicyRequest(
                county_code=COUNTY,
                insurer_id=insurer,
                programme_id=self._programme_id,
                cover_id=cover_id,
                from_date=_day(self.plan.starts_on - timedelta(days=4)),
                until_date=_day(self.plan.starts_on + timedelta(days=361)),
            )
            await self._command(
                insurer, claims_pb2_grpc.ClaimsServiceStub, "IssueMasterPolicy", policy
            )
        self._say(
            f"fund: {amount // 100:,} yuan paid in; {len(COVERS)} master policies, "
            "the bank first payee"
        )

    # -- lending ---------------------------------------------------------------------------------

    def _application(self, each: Application) -> loans_pb2.LoanApplication:
        household_id = self._household_ids[each.household_number]
        return loans_pb2.LoanApplication(
            household_id=household_id,
            lender_id=self.lender_of(each.village_code),
            programme_id=self._programme_id,
            product_id=PRODUCT,
            principal_fen=each.amount_fen,
            term_months=each.term_months,
            purpose=each.purpose,
            used_in_area=each.village_code,
            assignment_evidence=uuid.uuid5(uuid.UUID(household_id), "assignment").hex,
        )

    async def _lend(self, applications: Sequence[Application]) -> None:
        """A day at the counters: villages apply, the chain decides, banks pay out."""
        by_department: dict[str, list[loans_pb2.LoanApplication]] = {}
        for each in applications:
            department = self._of_township("village_department", each.village_code)
            by_department.setdefault(department, []).append(self._application(each))

        async def apply(department: str) -> None:
            for part in parts(by_department[department], BATCH_ITEMS):
                request = loans_pb2.BatchApplyForLoansRequest(county_code=COUNTY, items=part)
                stub = loans_pb2_grpc.LoansServiceStub
                answer = await self._command(department, stub, "BatchApplyForLoans", request)
                for verdict in answer.verdicts:
                    if not verdict.accepted:
                        raise RuntimeError(f"an application could not be kept: {verdict}")

        await self._each([partial(apply, department) for department in by_department])
        await self._decide_all(sorted({each.village_code[:9] for each in applications}))
        await self._disburse()

    async def _decide_all(self, townships: Sequence[str]) -> None:
        """Every organ of the chain works off what is open for it."""
        villages = sorted({self._of_township("village_department", each) for each in townships})
        stations = sorted({self._of_township("township_station", each) for each in townships})
        await self._each([partial(self._decide, each, "village_accepts", 2) for each in villages])
        await self._each([partial(self._decide, each, "township_reviews", 1) for each in stations])
        centre = self._party("county_centre")
        await self._decide(centre, "county_recommends_guarantee", 1)

        async def answered() -> bool:
            return not await self._loans(centre, loans_pb2.LOAN_STATE_AWAITING_COVER, first=True)

        await self._until(answered, "the fund has answered")
        for bank in self._parties["lender"]:
            await self._decide(bank, "bank_approves", 2)

    async def _loans(
        self, institution_id: str, state: loans_pb2.LoanState.ValueType, *, first: bool = False
    ) -> list[loans_pb2.Loan]:
        request = loans_pb2.ListLoansRequest(
            county_code=COUNTY, state=state, page_size=1 if first else BATCH_ITEMS
        )
        stub = loans_pb2_grpc.LoansServiceStub
        if first:
            answer = await self._client(institution_id).call(stub, "ListLoans", request)
            return list(answer.loans)
        return [
            loan async for loan in self._pages(institution_id, stub, "ListLoans", request, "loans")
        ]

    async def _decide(self, institution_id: str, step: str, post: int) -> None:
        waiting = [
            loan
            for loan in await self._loans(institution_id, loans_pb2.LOAN_STATE_IN_REVIEW)
            if loan.next_step == step
        ]
        for part in parts(waiting, BATCH_ITEMS):
            request = loans_pb2.BatchDecideApplicationsRequest(
                county_code=COUNTY,
                items=[
                    loans_pb2.ApplicationDecision(loan_id=loan.loan_id, step=step, approve=True)
                    for loan in part
                ],
            )
            stub = loans_pb2_grpc.LoansServiceStub
            answer = await self._command(
                institution_id, stub, "BatchDecideApplications", request, post=post
            )
            self._check(answer.verdicts, f"{step} by {institution_id}")

    @staticmethod
    def _check(verdicts: Sequence[Any], what: str) -> None:
        for verdict in verdicts:
            if not verdict.accepted:
                raise RuntimeError(f"{what} was refused: {verdict.reason}, {verdict.message}")

    async def _disburse(self) -> None:
        async def insured() -> bool:
            loans = await self._loans(self._party("county_centre"), loans_pb2.LOAN_STATE_APPROVED)
            return not any(loan.covers_missing for loan in loans)

        await self._until(insured, "every approved loan is insured")
        for bank in self._parties["lender"]:
            approved = await self._loans(bank, loans_pb2.LOAN_STATE_APPROVED)
            for part in parts(approved, BATCH_ITEMS):
                request = loans_pb2.BatchDisburseLoansRequest(
                    county_code=COUNTY,
                    items=[loans_pb2.Disbursement(loan_id=loan.loan_id) for loan in part],
                )
                stub = loans_pb2_grpc.LoansServiceStub
                answer = await self._command(bank, stub, "BatchDisburseLoans", request, post=3)
                self._check(answer.verdicts, f"disbursement by {bank}")
        active = await self.get_totals("loans")
        totals = {total.name: total.value for total in active.totals}
        self._say(
            f"loans: {totals['loans.applications_count']} applications so far, "
            f"{totals['loans.disbursed_count']} paid out, "
            f"{totals['loans.outstanding_principal_fen'] // 100:,} yuan outstanding"
        )

    # -- insurance -------------------------------------------------------------------------------

    async def _live_events(self) -> None:
        """Storms, deaths and early repayments in the order in which they happen."""
        events: list[tuple[date, Callable[[], Awaitable[None]]]] = []
        for storm in self.plan.disasters:
            reports = [
                (
                    loss.village_code,
                    self._report(loss.household_number, "storm", storm.occurred_on, loss.loss_fen),
                )
                for loss in storm.losses
            ]
            day = storm.occurred_on + timedelta(days=1)
            events.append((day, partial(self._claim, reports)))
        for day in sorted({death.died_on for death in self.plan.deaths}):
            dead = [
                (death.village_code, self._report(death.household_number, "death", day, 10_000_000))
                for death in self.plan.deaths
                if death.died_on == day
            ]
            events.append((day + timedelta(days=1), partial(self._claim, dead)))
        for day in sorted({each.repaid_on for each in self.plan.repayments}):
            numbers = [e.household_number for e in self.plan.repayments if e.repaid_on == day]
            events.append((day, partial(self._repay, day, numbers)))
        for day, happen in sorted(events, key=lambda event: event[0]):
            await self._advance(day)
            await happen()

    def _report(
        self, household_number: str, cause: str, loss_date: date, assessed_fen: int
    ) -> claims_pb2.ClaimReport:
        household_id = self._household_ids[household_number]
        return claims_pb2.ClaimReport(
            household_id=household_id,
            cover_id=COVERS[cause],
            loss_date=_day(loss_date),
            cause=cause,
            assessed_fen=assessed_fen,
            documents=[uuid.uuid5(uuid.UUID(household_id), f"{cause}{loss_date}").hex],
        )

    async def _claim(self, reports: Sequence[tuple[str, claims_pb2.ClaimReport]]) -> None:
        """Villages report, the insurer decides, the banks confirm, the households are paid."""
        stub = claims_pb2_grpc.ClaimsServiceStub
        by_department: dict[str, list[claims_pb2.ClaimReport]] = {}
        for village, report in reports:
            department = self._of_township("village_department", village)
            by_department.setdefault(department, []).append(report)
        for department, own in by_department.items():
            for part in parts(own, BATCH_ITEMS):
                request = claims_pb2.BatchReportClaimsRequest(county_code=COUNTY, items=part)
                answer = await self._command(department, stub, "BatchReportClaims", request)
                self._check(answer.verdicts, f"claims reported by {department}")
        await self._adjudicate()
        await self._confirm()
        claims = await self.get_totals("claims")
        totals = {total.name: total.value for total in claims.totals}
        self._say(
            f"claims: {len(reports)} more; {totals['claims.payouts_count']} payouts so far, "
            f"{totals['claims.payout_lenders_fen'] // 100:,} yuan to banks first, "
            f"{totals['claims.payout_household_fen'] // 100:,} to households"
        )

    async def _adjudicate(self) -> None:
        insurer = self._party("insurer")
        stub = claims_pb2_grpc.ClaimsServiceStub
        listing = claims_pb2.ListClaimsRequest(
            county_code=COUNTY, state=claims_pb2.CLAIM_STATE_REPORTED, page_size=BATCH_ITEMS
        )
        waiting = [
            claims_pb2.ClaimDecision(claim_id=claim.claim_id, approve=True)
            async for claim in self._pages(insurer, stub, "ListClaims", listing, "claims")
        ]
        if waiting and not self.story.trace_id:
            # One payout is traced from the insurer's call to the last effect.
            one = waiting.pop()
            self.story.trace_id, traceparent = new_trace()
            single = claims_pb2.AdjudicateClaimRequest(
                county_code=COUNTY, claim_id=one.claim_id, approve=True
            )
            await self._command(
                insurer, stub, "AdjudicateClaim", single, post=2, traceparent=traceparent
            )
        for part in parts(waiting, BATCH_ITEMS):
            request = claims_pb2.BatchAdjudicateClaimsRequest(county_code=COUNTY, items=part)
            answer = await self._command(insurer, stub, "BatchAdjudicateClaims", request, post=2)
            self._check(answer.verdicts, "a claim's approval")

    async def _confirm(self) -> None:
        """Lenders confirm theirs, then the insurer the households', until all is settled."""

        async def settled() -> bool:
            for institution_id in (*self._parties["lender"], self._party("insurer")):
                await self._confirm_own(institution_id)
            answer = await self.get_totals("claims")
            totals = {total.name: total.value for total in answer.totals}
            return totals["claims.payouts_unsettled_count"] == 0

        await self._until(settled, "every payout is settled")

    async def _confirm_own(self, institution_id: str) -> None:
        stub = claims_pb2_grpc.ClaimsServiceStub
        listing = claims_pb2.ListPaymentInstructionsRequest(
            county_code=COUNTY, state=claims_pb2.INSTRUCTION_STATE_OPEN, page_size=BATCH_ITEMS
        )
        insurer = institution_id == self._party("insurer")
        kind = claims_pb2.PAYEE_KIND_HOUSEHOLD if insurer else claims_pb2.PAYEE_KIND_LENDER
        open_ = [
            each
            async for each in self._pages(
                institution_id, stub, "ListPaymentInstructions", listing, "instructions"
            )
            if each.payee_kind == kind
        ]
        today = (await self.get_totals("claims")).business_date
        for part in parts(open_, BATCH_ITEMS):
            request = claims_pb2.BatchConfirmPaymentsRequest(
                county_code=COUNTY,
                items=[
                    claims_pb2.PaymentConfirmation(
                        instruction_id=each.instruction_id,
                        confirmed_fen=each.amount_fen,
                        value_date=today,
                    )
                    for each in part
                ],
            )
            answer = await self._command(
                institution_id, stub, "BatchConfirmPayments", request, post=2
            )
            self._check(answer.verdicts, f"confirmations by {institution_id}")

    # -- repayment, default, compensation --------------------------------------------------------

    async def _repay(self, day: date, numbers: Sequence[str]) -> None:
        wanted = {self._household_ids[number] for number in numbers}
        stub = loans_pb2_grpc.LoansServiceStub
        for bank in self._parties["lender"]:
            loans = await self._loans(bank, loans_pb2.LOAN_STATE_ACTIVE)
            due = [loan for loan in loans if loan.household_id in wanted]
            items = []
            for loan in due:
                asking = loans_pb2.GetPayoffQuoteRequest(
                    county_code=COUNTY, loan_id=loan.loan_id, value_date=_day(day)
                )
                quote = await self._client(bank).call(stub, "GetPayoffQuote", asking)
                owed = quote.principal_fen + quote.interest_fen
                items.append(
                    loans_pb2.Repayment(loan_id=loan.loan_id, amount_fen=owed, value_date=_day(day))
                )
            for part in parts(items, BATCH_ITEMS):
                request = loans_pb2.BatchRepayLoansRequest(county_code=COUNTY, items=part)
                answer = await self._command(bank, stub, "BatchRepayLoans", request)
                self._check(answer.verdicts, f"repayments at {bank}")
        self._say(f"loans: {len(numbers)} households repaid on {day}")

    async def _compensate(self) -> None:
        """Some borrowers never paid: after the 70 days fund, bank and guarantors share the loss."""
        late = self.plan.late_application.applied_on
        await self._advance(late)
        await self.quiet()
        stub = funds_pb2_grpc.FundsServiceStub
        for bank in self._parties["lender"]:
            loans = await self._loans(bank, loans_pb2.LOAN_STATE_ACTIVE)
            bad = [loan for loan in loans if loan.non_performing and not loan.subrogated_fen]
            for part in parts(bad, BATCH_ITEMS):
                request = funds_pb2.BatchFileCompensationCasesRequest(
                    county_code=COUNTY,
                    items=[
                        funds_pb2.CompensationFiling(
                            loan_id=loan.loan_id,
                            cause="default",
                            evidence=[uuid.uuid5(uuid.UUID(loan.loan_id), "evidence").hex],
                        )
                        for loan in part
                    ],
                )
                answer = await self._command(bank, stub, "BatchFileCompensationCases", request)
                refused = [v for v in answer.verdicts if not v.accepted]
                # A case that was filed before a cut is there already.
                self._check([v for v in refused if v.reason != "CASE_EXISTS"], "a case")
        centre = self._party("county_centre")
        listing = funds_pb2.ListCompensationCasesRequest(
            county_code=COUNTY, state=funds_pb2.CASE_STATE_FILED, page_size=BATCH_ITEMS
        )
        cases = [
            case
            async for case in self._pages(centre, stub, "ListCompensationCases", listing, "cases")
        ]
        for filed in parts(cases, BATCH_ITEMS):
            deciding = funds_pb2.BatchDecideCompensationCasesRequest(
                county_code=COUNTY,
                items=[
                    funds_pb2.CaseDecision(case_id=case.case_id, approve=True) for case in filed
                ],
            )
            answer = await self._command(
                centre, stub, "BatchDecideCompensationCases", deciding, post=2
            )
            self._check(answer.verdicts, "a case's approval")
        await self.quiet()
        totals = {t.name: t.value for t in (await self.get_totals("funds")).totals}
        self._say(
            f"compensation: {totals['funds.cases_paid_count']} losses of "
            f"{totals['funds.loss_fen'] // 100:,} yuan shared: "
            f"fund {totals['funds.paid_fen'] // 100:,}, "
            f"guarantors {totals['funds.owed_fen'] // 100:,}, "
            f"banks {totals['funds.lender_own_fen'] // 100:,}"
        )

    async def _apply_late(self) -> None:
        """In the village whose breaker tripped nobody borrows; next door they do."""
        stub = loans_pb2_grpc.LoansServiceStub
        listing = loans_pb2.ListBreakersRequest(county_code=COUNTY)
        centre = self._party("county_centre")
        self.story.breakers = [
            f"{each.scope} {each.scope_id}: {each.numerator} of {each.denominator} fen"
            async for each in self._pages(centre, stub, "ListBreakers", listing, "breakers")
        ]
        found = []
        for each in (self.plan.late_application, self.plan.control_application):
            item = self._application(each)
            request = loans_pb2.ApplyForLoanRequest(county_code=COUNTY)
            for name in item.DESCRIPTOR.fields_by_name:
                setattr(request, name, getattr(item, name))
            department = self._of_township("village_department", each.village_code)
            found.append((await self._command(department, stub, "ApplyForLoan", request)).loan)
        late, control = found
        self.story.late_refusals = tuple(late.refusal_reasons)
        self.story.control_state = loans_pb2.LoanState.Name(control.state)
        for breaker in self.story.breakers:
            self._say(f"breaker: {breaker}")
        self._say(
            f"late application in the stopped village: refused for "
            f"{', '.join(self.story.late_refusals)}; next door: {self.story.control_state}"
        )
