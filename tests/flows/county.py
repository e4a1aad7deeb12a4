"""A whole county in one process: five services, their databases, events carried by hand."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.claims.v1 import claims_pb2, policies_pb2
from liandong.common.v1 import operator_pb2
from liandong.credit.v1 import credit_pb2
from liandong.funds.v1 import cases_pb2, funds_pb2
from liandong.households.v1 import accounts_pb2, evidence_pb2, households_pb2
from liandong.loans.v1 import loans_pb2
from nats.aio.client import Client
from nats.aio.msg import Msg

from deploy.demo import generator
from deploy.local import audit
from deploy.local.audit import SERVICES, Audit
from deploy.nats import topology
from services.claims import events_in as claims_in
from services.claims import reports as claims_reports
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.policies_service import PoliciesServicer
from services.claims.servicer.saga import PayoutsServicer
from services.credit import events_in as credit_in
from services.credit import jobs as credit_jobs
from services.credit import reports as credit_reports
from services.credit.servicer import CreditServicer
from services.funds import events_in as funds_in
from services.funds import jobs as funds_jobs
from services.funds import reports as funds_reports
from services.funds.servicer import FundsServicer
from services.funds.servicer.casework import CaseworkServicer
from services.households.operations.registration import BOOKS
from services.households.operations.shared import Keys
from services.households.servicer.accounts import AccountsServicer
from services.households.servicer.moves import MovesServicer
from services.households.servicer.registration import HouseholdsServicer
from services.kernel import rpc, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.cloudevents import Envelope
from services.kernel.inbox import Delivery
from services.kernel.operator import Books, OperatorServicer
from services.kernel.rpc import Context, Guarded
from services.kernel.sealing import Finder, Sealer
from services.loans import events_in as loans_in
from services.loans import jobs as loans_jobs
from services.loans import store as loans_store
from services.loans.servicer.everything import DOORS
from services.programmes.loader import Catalogue, load
from services.programmes.schema.pack import split_ref
from services.programmes.schema.values import known
from tests.conftest import MakeSchema
from tests.servers import Schema

DEMO_COUNTY = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "county"
OPENED = date(2018, 3, 5)
YUAN = 100
FUND_FEN = 1_000_000 * YUAN
PERSON_FIRST = 901


def day(value: date) -> Date:
    """A day for the wire."""
    found = wire.date_to_proto(value)
    assert found is not None
    return found


@dataclass
class Room:
    """One service: its database, its methods, its operator's surface, its ear."""

    schema: Schema
    servicers: Mapping[str, Any]
    """Each gRPC service that it serves, by its name in the proto."""
    operator: OperatorServicer
    consumer: Consumer | None
    heard: dict[str, int] = field(default_factory=dict)
    """Position up to which each other service was listened to."""


class County:
    """
    Calls go to the servicers with a verified caller; `tell` carries what was said to who hears it.

    Every event is carried twice, because that is what a stream may do.
    """

    def __init__(self, rooms: Mapping[str, Room], catalogue: Catalogue) -> None:
        self.rooms = rooms
        self.catalogue = catalogue
        (self.code,) = catalogue.counties()
        self.ref = catalogue.adopted[self.code].entries[0].programme
        self.programme_id = split_ref(self.ref)[0]
        self.parties = catalogue.parties(self.code, self.ref)
        self.town = f"{self.code}101"
        self.village = f"{self.code}101201"
        self.next_village = f"{self.code}101202"
        self._hears = topology.load().hears
        self._people = PERSON_FIRST
        self._paid: set[str] = set()
        self.today = OPENED

    # --- asking -----------------------------------------------------------------------------------

    def party(self, role: str) -> str:
        """The institution of a role; where there are several, the one of our township."""
        for institution_id in self.parties[role]:
            areas = self.catalogue.institutions[institution_id].areas
            if any(self.town.startswith(area) or area.startswith(self.town) for area in areas):
                return institution_id
        raise LookupError(role)

    def caller(self, institution_id: str, post: int, method: str) -> Caller:
        """An institution as the gateway would sign it."""
        known = self.catalogue.institutions[institution_id]
        return Caller(
            institution_id=institution_id,
            role=str(known.role),
            person_id=f"{institution_id}-p{post}",
            county_code=known.county_code,
            areas=known.areas,
            purpose="test",
            method=method,
            body_hash="",
        )

    async def ask(self, noun: str, method: str, request: Any, *, role: str, post: int = 1) -> Any:
        """One call as the institution of a role; a command gets a request id of its own."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = str(uuid4())
        request.county_code = self.code
        servicers = self.rooms[noun].servicers
        service = next(name for name, served in servicers.items() if hasattr(served, method))
        path = f"/liandong.{noun}.v1.{service}/{method}"
        caller = self.caller(self.party(role), post, path)
        return await getattr(servicers[service], method)(request, _calling(caller, request))

    # --- telling ----------------------------------------------------------------------------------

    async def tell(self) -> None:
        """Carry what was said to who hears it, until nobody has anything new to say."""
        while True:
            carried = 0
            for noun, room in self.rooms.items():
                if room.consumer is None:
                    continue
                fresh = [
                    each
                    for source in self._hears[noun]
                    if source in self.rooms
                    for each in await self._said_since(room, source)
                ]
                if fresh:
                    await room.consumer._apply(fresh)
                    again = await room.consumer._apply(fresh)
                    assert not again.take, "an event took effect twice"
                carried += len(fresh)
            if not carried:
                return

    async def _said_since(self, room: Room, source: str) -> list[Delivery]:
        rows = await self.rooms[source].schema.ask(
            "SELECT * FROM outbox WHERE position > $1 ORDER BY position", room.heard.get(source, 0)
        )
        if rows:
            room.heard[source] = rows[-1]["position"]
        return [
            Delivery(
                Envelope(
                    event_id=UUID(int=row["event_id"].int),
                    event_type=row["event_type"],
                    aggregate_type=row["aggregate_type"],
                    aggregate_id=row["aggregate_id"],
                    sequence=row["sequence"],
                    county_code=row["county_code"],
                    business_date=row["business_date"],
                    programme=row["programme"],
                    traceparent="",
                    recorded_at=row["recorded_at"],
                ),
                row["payload"],
                Msg(Client()),
            )
            for row in rows
        ]

    async def story(self, noun: str, aggregate_id: str) -> list[str]:
        """What a service said of one thing, in order."""
        rows = await self.rooms[noun].schema.ask(
            "SELECT event_type FROM outbox WHERE aggregate_id = $1 ORDER BY sequence", aggregate_id
        )
        return [row["event_type"].rsplit(".", 1)[1] for row in rows]

    # --- days and books ---------------------------------------------------------------------------

    async def advance(self, to: date) -> None:
        """Close days in every service, then let everybody hear of it."""
        for noun in SERVICES:
            request = operator_pb2.AdvanceDayRequest(
                request_id=str(uuid4()), county_code=self.code, business_date=day(to)
            )
            method = "/liandong.common.v1.OperatorService/AdvanceDay"
            caller = self.caller(self._operator(), 1, method)
            await self.rooms[noun].operator.AdvanceDay(request, _calling(caller, request))
        self.today = to
        await self.tell()

    def _operator(self) -> str:
        found = self.catalogue.institutions.values()
        return next(each.institution_id for each in found if each.role == "operator")

    async def books(self) -> Audit:
        """The audit of the platform; everything adds up."""

        async def totals(noun: str, positions_only: bool) -> operator_pb2.GetTotalsResponse:
            request = operator_pb2.GetTotalsRequest(county_code=self.code)
            caller = self.caller(self._operator(), 1, "/GetTotals")
            return await self.rooms[noun].operator.GetTotals(request, _calling(caller, request))

        found = await audit.audit(totals)
        open_lines = [line for line in found.lines if line.difference]
        assert open_lines == []
        assert found.parked_events == 0
        return found

    # --- the county begins ------------------------------------------------------------------------

    async def begin(self, *, fund_fen: int = FUND_FEN) -> None:
        """Areas, a fund with money, policies, the first day."""
        await self.advance(OPENED)
        levels = {self.code: 1, self.town: 2, self.village: 3, self.next_village: 3}
        areas = [
            households_pb2.Area(
                area_code=code, name=code, level=households_pb2.AreaLevel.ValueType(level)
            )
            for code, level in levels.items()
        ]
        request = households_pb2.RegisterAreasRequest(areas=areas)
        await self.ask("households", "RegisterAreas", request, role="county_centre")
        await self.pay_into_fund(fund_fen)
        agreement = policies_pb2.RecordAgreementRequest(
            insurer_id=self.party("insurer"),
            programme_id=self.programme_id,
            bank_ids=[self.party("lender")],
            signed_on=day(OPENED),
            from_date=day(OPENED),
            until_date=day(OPENED + timedelta(days=364)),
            document="sha256:ag",
        )
        await self.ask("claims", "RecordAgreement", agreement, role="county_centre")
        for cover_id in ("personal_accident", "natural_disaster"):
            policy = claims_pb2.IssueMasterPolicyRequest(
                insurer_id=self.party("insurer"),
                programme_id=self.programme_id,
                cover_id=cover_id,
                from_date=day(OPENED),
                until_date=day(OPENED + timedelta(days=364)),
            )
            await self.ask("claims", "IssueMasterPolicy", policy, role="insurer")

    async def pay_into_fund(self, amount_fen: int) -> None:
        """The county's fund gets money; it is opened when there is none."""
        opening = funds_pb2.OpenFundRequest(
            programme_id=self.programme_id,
            kind="county_fund",
            request_id=str(UUID(int=7)),
        )
        fund = (await self.ask("funds", "OpenFund", opening, role="finance_bureau")).fund
        paying = funds_pb2.RecordContributionRequest(
            fund_id=fund.fund_id,
            source="county_budget",
            amount_fen=amount_fen,
            value_date=day(self.today),
        )
        await self.ask("funds", "RecordContribution", paying, role="finance_bureau")

    async def household(self, *, village: str = "") -> str:
        """A poor household, registered, rated and with a limit; its id."""
        self._people += 1
        request = households_pb2.RegisterHouseholdRequest(
            household_number=f"H-{self._people}",
            area_code=village or self.village,
            status=households_pb2.REGISTRATION_STATUS_REGISTERED_POOR,
            members=[
                households_pb2.Member(
                    name="王芳",
                    identity_number=generator.identity_number("19800101", self._people),
                    relation="户主",
                )
            ],
        )
        answer = await self.ask("households", "RegisterHousehold", request, role="county_centre")
        await self.tell()
        eligibility = self.catalogue.terms(self.code, self.ref).pack.eligibility
        gates = () if eligibility is None else known(eligibility.gates)
        observed = [
            credit_pb2.Indicator(
                household_id=answer.household_id,
                code=gate.code,
                applies=True,
                observed_on=day(self.today),
            )
            for gate in gates
        ]
        recording = credit_pb2.BatchRecordIndicatorsRequest(indicators=observed)
        await self.ask("credit", "BatchRecordIndicators", recording, role="county_centre")
        rating = credit_pb2.RateHouseholdsRequest(programme_id=self.programme_id)
        await self.ask("credit", "RateHouseholds", rating, role="county_centre")
        await self.tell()
        return str(answer.household_id)

    # --- a loan -----------------------------------------------------------------------------------

    async def applied(
        self, household_id: str, amount_fen: int, *, months: int = 12, village: str = ""
    ) -> loans_pb2.Loan:
        """The village department takes an application in."""
        request = loans_pb2.ApplyForLoanRequest(
            household_id=household_id,
            lender_id=self.party("lender"),
            programme_id=self.programme_id,
            product_id="microcredit",
            principal_fen=amount_fen,
            term_months=months,
            purpose="beekeeping",
            used_in_area=village or self.village,
            assignment_evidence="sha256:ab",
        )
        answer = await self.ask("loans", "ApplyForLoan", request, role="village_department")
        return cast(loans_pb2.Loan, answer.loan)

    async def decided(self, loan_id: str, step: str, role: str, *, post: int = 1) -> loans_pb2.Loan:
        """An organ approves its step."""
        request = loans_pb2.DecideApplicationRequest(loan_id=loan_id, step=step, approve=True)
        answer = await self.ask("loans", "DecideApplication", request, role=role, post=post)
        return cast(loans_pb2.Loan, answer.loan)

    async def asked_for_cover(
        self, household_id: str, amount_fen: int, *, months: int = 12, village: str = ""
    ) -> loans_pb2.Loan:
        """Applied, passed by all but the bank; the fund has answered."""
        loan_id = (
            await self.applied(household_id, amount_fen, months=months, village=village)
        ).loan_id
        await self.decided(loan_id, "village_accepts", "village_department", post=2)
        await self.decided(loan_id, "township_reviews", "township_station")
        await self.decided(loan_id, "county_recommends_guarantee", "county_centre")
        await self.tell()
        return await self.loan(loan_id)

    async def approved(
        self, household_id: str, amount_fen: int, *, months: int = 12, village: str = ""
    ) -> loans_pb2.Loan:
        """Approved by the bank and insured."""
        loan = await self.asked_for_cover(household_id, amount_fen, months=months, village=village)
        await self.decided(loan.loan_id, "bank_approves", "lender", post=2)
        await self.tell()
        return await self.loan(loan.loan_id)

    async def disbursed(
        self, household_id: str, amount_fen: int, *, months: int = 12, village: str = ""
    ) -> loans_pb2.Loan:
        """Paid out."""
        loan = await self.approved(household_id, amount_fen, months=months, village=village)
        return await self.paid_out(loan.loan_id)

    async def paid_out(self, loan_id: str) -> loans_pb2.Loan:
        """The bank pays an approved loan out."""
        request = loans_pb2.DisburseLoanRequest(loan_id=loan_id)
        answer = await self.ask("loans", "DisburseLoan", request, role="lender", post=3)
        await self.tell()
        return cast(loans_pb2.Loan, answer.loan)

    async def repaid(self, loan_id: str, amount_fen: int) -> loans_pb2.Loan:
        """The bank posts a repayment, and everybody hears of it."""
        loan = await self.posted(loan_id, amount_fen)
        await self.tell()
        return loan

    async def posted(self, loan_id: str, amount_fen: int) -> loans_pb2.Loan:
        """The bank posts a repayment, of which nobody has heard yet."""
        request = loans_pb2.RepayLoanRequest(
            loan_id=loan_id, amount_fen=amount_fen, value_date=day(self.today)
        )
        answer = await self.ask("loans", "RepayLoan", request, role="lender")
        return cast(loans_pb2.Loan, answer.loan)

    async def undone(self, loan_id: str, number: int) -> loans_pb2.Loan:
        """The bank undoes a repayment, and everybody hears of it."""
        request = loans_pb2.ReverseRepaymentRequest(
            loan_id=loan_id, number=number, reason="a mistake"
        )
        answer = await self.ask("loans", "ReverseRepayment", request, role="lender")
        await self.tell()
        return cast(loans_pb2.Loan, answer.loan)

    async def loan(self, loan_id: str) -> loans_pb2.Loan:
        """The loan as it is."""
        request = loans_pb2.GetLoanRequest(loan_id=loan_id)
        return cast(
            loans_pb2.Loan, (await self.ask("loans", "GetLoan", request, role="county_centre")).loan
        )

    # --- a claim ----------------------------------------------------------------------------------

    async def approved_claim(
        self, household_id: str, assessed_fen: int, *, cover_id: str = "natural_disaster"
    ) -> str:
        """A loss reported and approved; the payout's id. The household has an account."""
        if household_id not in self._paid:
            self._paid.add(household_id)
            await self.registered_account(household_id)
        report = claims_pb2.ReportClaimRequest(
            household_id=household_id,
            cover_id=cover_id,
            loss_date=day(self.today),
            cause="storm",
            assessed_fen=assessed_fen,
            documents=["sha256:cd"],
        )
        claim = (await self.ask("claims", "ReportClaim", report, role="village_department")).claim
        decision = claims_pb2.AdjudicateClaimRequest(claim_id=claim.claim_id, approve=True)
        answer = await self.ask("claims", "AdjudicateClaim", decision, role="insurer", post=2)
        return str(answer.claim.payout_id)

    async def registered_account(self, household_id: str) -> None:
        """The household's own account, on its bank's list."""
        account = accounts_pb2.FirstPayeeAccount(
            household_id=household_id,
            bank_id=self.party("lender"),
            account_number="62220000" + str(UUID(household_id).int)[-8:],
            account_name="王芳",
        )
        paper = evidence_pb2.Evidence(
            kind=evidence_pb2.EVIDENCE_KIND_DOCUMENT, reference="archive/accounts"
        )
        request = accounts_pb2.BatchRegisterPayeeAccountsRequest(items=[account], evidence=paper)
        answer = await self.ask(
            "households", "BatchRegisterPayeeAccounts", request, role="county_centre"
        )
        assert answer.verdicts[0].accepted, answer.verdicts[0].message

    async def payout(self, payout_id: str) -> claims_pb2.Payout:
        """The payout as it is."""
        request = claims_pb2.GetPayoutRequest(payout_id=payout_id)
        answer = await self.ask("claims", "GetPayout", request, role="county_centre")
        return cast(claims_pb2.Payout, answer.payout)

    async def instructions(self, role: str) -> list[claims_pb2.PaymentInstruction]:
        """Open instructions that an institution sees."""
        request = claims_pb2.ListPaymentInstructionsRequest(state=claims_pb2.INSTRUCTION_STATE_OPEN)
        answer = await self.ask("claims", "ListPaymentInstructions", request, role=role)
        return list(answer.instructions)

    async def confirmed(self, role: str, *, post: int = 1) -> int:
        """An institution confirms all that is its own; how many there were."""
        kind = {
            "lender": claims_pb2.PAYEE_KIND_LENDER,
            "insurer": claims_pb2.PAYEE_KIND_HOUSEHOLD,
        }[role]
        own = [each for each in await self.instructions(role) if each.payee_kind == kind]
        for each in own:
            request = claims_pb2.ConfirmPaymentRequest(
                instruction_id=each.instruction_id,
                confirmed_fen=each.amount_fen,
                value_date=day(self.today),
            )
            await self.ask("claims", "ConfirmPayment", request, role=role, post=post)
        await self.tell()
        return len(own)

    # --- a loss -----------------------------------------------------------------------------------

    async def compensated(self, loan_id: str) -> funds_pb2.CompensationCase:
        """The bank files a case and the centre approves it."""
        filing = funds_pb2.FileCompensationCaseRequest(
            loan_id=loan_id, cause="default", evidence=["sha256:ef"]
        )
        case = (
            await self.ask("funds", "FileCompensationCase", filing, role="lender")
        ).compensation_case
        deciding = funds_pb2.DecideCompensationCaseRequest(case_id=case.case_id, approve=True)
        answer = await self.ask(
            "funds", "DecideCompensationCase", deciding, role="county_centre", post=2
        )
        await self.tell()
        return cast(funds_pb2.CompensationCase, answer.compensation_case)

    async def case(self, case_id: str) -> funds_pb2.CompensationCase:
        """The case as it is."""
        request = funds_pb2.GetCompensationCaseRequest(case_id=case_id)
        answer = await self.ask("funds", "GetCompensationCase", request, role="county_centre")
        return cast(funds_pb2.CompensationCase, answer.compensation_case)

    async def collected(self, case_id: str, amount_fen: int) -> cases_pb2.Recovery:
        """The centre collects of a compensated loan, of which nobody has heard yet."""
        request = cases_pb2.RecordRecoveryRequest(
            case_id=case_id,
            recovered_fen=amount_fen,
            value_date=day(self.today),
            evidence=["sha256:cc"],
            reference="court",
        )
        answer = await self.ask("funds", "RecordRecovery", request, role="county_centre")
        return cast(cases_pb2.Recovery, answer.recovery)

    async def recoveries(self, case_id: str) -> list[cases_pb2.Recovery]:
        """What came back of a case and stands."""
        request = cases_pb2.ListRecoveriesRequest(case_id=case_id)
        answer = await self.ask("funds", "ListRecoveries", request, role="county_centre")
        return [each for each in answer.recoveries if not each.reversed]


def _calling(caller: Caller, request: Message) -> Context:
    """The context of a call that came through the guard: well formed, caller verified."""
    rpc.check(request)
    return cast(Context, Guarded(cast(Context, None), caller))


async def a_county(schema: MakeSchema) -> County:
    """Five services on five databases, nothing in them."""
    catalogue = load([DEMO_COUNTY])
    made = {noun: await schema(noun) for noun in SERVICES}
    keys = Keys(Sealer([secrets.token_bytes(32)]), Finder(secrets.token_bytes(32)))
    servicers: dict[str, dict[str, Any]] = {
        "households": {
            "HouseholdsService": HouseholdsServicer(made["households"].db, keys),
            "AccountsService": AccountsServicer(made["households"].db, keys, waiting_days=3),
            "MovesService": MovesServicer(made["households"].db),
        },
        "credit": {"CreditService": CreditServicer(made["credit"].db, catalogue)},
        "loans": {
            f"{name}Service": door(made["loans"].db, catalogue) for name, (door, _) in DOORS.items()
        },
        "claims": {
            "ClaimsService": ClaimsServicer(made["claims"].db, catalogue),
            "PayoutsService": PayoutsServicer(made["claims"].db, catalogue),
            "PoliciesService": PoliciesServicer(made["claims"].db, catalogue),
        },
        "funds": {
            "FundsService": FundsServicer(made["funds"].db, catalogue),
            "CasesService": CaseworkServicer(made["funds"].db, catalogue),
        },
    }
    books = {
        "households": BOOKS,
        "credit": Books(totals=credit_reports.totals, close_day=credit_jobs.close_day(catalogue)),
        "loans": Books(
            totals=loans_store.totals,
            close_day=loans_jobs.close_day(catalogue),
            work_day=loans_jobs.work_day(catalogue),
        ),
        "claims": claims_reports.books(catalogue),
        "funds": Books(totals=funds_reports.totals, close_day=funds_jobs.close_day(catalogue)),
    }
    handlers = {
        "credit": credit_in.handlers(catalogue),
        "loans": loans_in.handlers(catalogue),
        "claims": claims_in.handlers(catalogue),
        "funds": funds_in.handlers(catalogue),
    }
    rooms = {
        noun: Room(
            schema=made[noun],
            servicers=servicers[noun],
            operator=OperatorServicer(made[noun].db, books[noun], handlers.get(noun, {})),
            consumer=Consumer(made[noun].db, noun, handlers[noun], batch_size_max=500)
            if noun in handlers
            else None,
        )
        for noun in SERVICES
    }
    return County(rooms, catalogue)
