"""Loans over gRPC: applications, their chain, money, balances, breakers."""

from collections.abc import Sequence

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Denied, LiandongError, NotFound, Refused, invalid_field
from services.kernel.gathering import Gathering
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.loans import reports, store
from services.loans.model import (
    Application,
    Breaker,
    Decision,
    Loan,
    LoanState,
    Repayment,
    Undoing,
)
from services.loans.operations import lending, money
from services.loans.operations.shared import Outcome
from services.loans.rules import position
from services.loans.rules.book import Line, Posting
from services.loans.rules.lending import LENDER_ROLES, Actor
from services.loans.rules.scopes import AREAS, lender_of
from services.loans.servicer.stated import findings_to_proto, stated_from
from services.loans.store import agreements
from services.loans.store import applications as applications_store
from services.programmes.loader import Catalogue


def actor_of(caller: Caller) -> Actor:
    return Actor(caller.institution_id, caller.role, caller.require_person())


def _application(
    message: loans_pb2.ApplyForLoanRequest | loans_pb2.LoanApplication,
) -> Application:
    return Application(
        household_id=parse_id("household_id", message.household_id),
        lender_id=message.lender_id,
        programme_id=message.programme_id,
        product_id=message.product_id,
        principal_fen=Fen(message.principal_fen),
        term_months=message.term_months,
        purpose=message.purpose,
        used_in_area=message.used_in_area,
        assignment_evidence=message.assignment_evidence,
        stated=stated_from(message.particulars),
        outlet_code=message.outlet_code,
    )


def _decision(
    message: loans_pb2.DecideApplicationRequest | loans_pb2.ApplicationDecision, person_id: str
) -> Decision:
    return Decision(
        loan_id=parse_id("loan_id", message.loan_id),
        step=message.step,
        approve=message.approve,
        reason=message.reason,
        person_id=person_id,
        evidence=message.evidence,
        proposed_rate_ppm=message.proposed_rate_ppm,
    )


def _repayment(
    message: loans_pb2.RepayLoanRequest | loans_pb2.Repayment, path: str = ""
) -> Repayment:
    return Repayment(
        loan_id=parse_id(f"{path}loan_id", message.loan_id),
        amount_fen=Fen(message.amount_fen),
        value_date=wire.date_from_proto(f"{path}value_date", message.value_date),
    )


def _state(asked: "loans_pb2.LoanState.ValueType") -> LoanState | None:
    """The state that a list is asked for, None for all."""
    if not asked:
        return None
    if asked not in loans_pb2.LoanState.values():
        raise invalid_field("UNKNOWN_STATE", "state", asked, "must be a state of the proto")
    return LoanState[loans_pb2.LoanState.Name(asked).removeprefix("LOAN_STATE_")]


def require_county(caller: Caller, county_code: str) -> None:
    """Refuse another county: an institution without areas of its own has all of its county."""
    if caller.county_code not in ("000000", county_code):
        raise Denied(
            "AREA_NOT_YOURS",
            f"{caller.institution_id} may not act in {county_code}",
            message_zh="超出本机构辖区",
        )


def scope_of(caller: Caller, county_code: str) -> tuple[list[str], str]:
    """What a caller sees of a county: areas, and the lender when it is one."""
    lender_id = caller.institution_id if caller.role in LENDER_ROLES else ""
    return list(caller.areas) or [county_code], lender_id


async def own_loan(session: AsyncSession, county_code: str, loan_id: str, caller: Caller) -> Loan:
    """One loan that the caller may see; another's is as good as none."""
    loan = await store.find_loan(session, county_code, parse_id("loan_id", loan_id))
    foreign = loan is not None and (
        not caller.may_act_in(loan.area_code)
        or (caller.role in LENDER_ROLES and caller.institution_id != loan.lender_id)
    )
    if loan is None or foreign:
        raise NotFound("LOAN_NOT_FOUND", f"no loan {loan_id}", message_zh="无此贷款")
    return loan


def tier_to_proto(tier: str) -> "loans_pb2.FiveTierClass.ValueType":
    """A class for the wire; unspecified for none."""
    return loans_pb2.FiveTierClass.Value(f"FIVE_TIER_CLASS_{tier.upper() or 'UNSPECIFIED'}")


def tier_of(asked: "loans_pb2.FiveTierClass.ValueType") -> str:
    """A class from the wire."""
    return loans_pb2.FiveTierClass.Name(asked).removeprefix("FIVE_TIER_CLASS_").lower()


def loan_to_proto(loan: Loan) -> loans_pb2.Loan:
    """A loan for the wire."""
    return loans_pb2.Loan(
        loan_id=str(loan.loan_id),
        county_code=loan.county_code,
        household_id=str(loan.household_id),
        area_code=loan.area_code,
        lender_id=loan.lender_id,
        programme=loan.programme,
        product_id=loan.product_id,
        borrower_class=loan.borrower_class,
        state=loans_pb2.LoanState.Value(f"LOAN_STATE_{loan.state.name}"),
        next_step=loan.next_step,
        refusal_reasons=loan.refusal_reasons,
        principal_fen=loan.principal_fen,
        term_months=loan.term_months,
        rate_ppm=loan.rate_ppm,
        disbursed_on=wire.date_to_proto(loan.disbursed_on),
        matures_on=wire.date_to_proto(loan.matures_on),
        outstanding_fen=loan.outstanding_fen,
        interest_fen=loan.owed_fen - loan.outstanding_fen,
        overdue_days=loan.overdue_days,
        five_tier_class=tier_to_proto(loan.five_tier_class),
        non_performing=loan.non_performing_on is not None,
        subrogated_fen=loan.subrogated_fen,
        covers_missing=loan.covers_missing,
        sla_due_on=wire.date_to_proto(loan.sla_due_on),
        suspense_fen=loan.suspense_fen,
        next_due_on=wire.date_to_proto(loan.next_due_on),
        undrawn_fen=loan.undrawn_fen,
        revolving_until=wire.date_to_proto(loan.revolving_until),
        notice_on=wire.date_to_proto(loan.notice_on),
        outlet_code=loan.outlet_code,
    )


def _posting_to_proto(posting: Posting, line: Line | None) -> loans_pb2.Posting:
    moved = position.split(posting, line)
    return loans_pb2.Posting(
        number=posting.number,
        kind=loans_pb2.PostingKind.Value(f"POSTING_KIND_{posting.kind.name}"),
        value_date=wire.date_to_proto(posting.value_date),
        amount_fen=posting.amount_fen,
        interest_fen=moved.interest_fen,
        principal_fen=moved.principal_fen,
        suspense_fen=line.suspense_fen if line else 0,
        outstanding_fen=line.outstanding_fen if line else 0,
        rate_ppm=posting.rate_ppm,
        reverses=posting.reverses or 0,
        counts=line is not None,
        reference=posting.reference,
    )


def _sees(caller: Caller, breaker: Breaker) -> bool:
    """An area's breaker is for who acts there, a lender's own not for other lenders."""
    if breaker.scope in AREAS:
        return caller.may_act_in(breaker.scope_id)
    lender_id = lender_of(breaker)
    own = not lender_id or caller.role not in LENDER_ROLES or lender_id == caller.institution_id
    return own and caller.county_code in ("000000", breaker.county_code)


def breaker_to_proto(breaker: Breaker) -> loans_pb2.Breaker:
    """A breaker for the wire."""
    return loans_pb2.Breaker(
        scope=breaker.scope,
        scope_id=breaker.scope_id,
        effects=breaker.effects,
        numerator=breaker.numerator,
        denominator=breaker.denominator,
        epoch=breaker.epoch,
    )


def _only(outcomes: Sequence[Outcome]) -> Loan:
    """The single outcome of a single command: a loan, or the refusal raised."""
    [outcome] = outcomes
    if isinstance(outcome, LiandongError):
        raise outcome
    return outcome


class LendingDoor(loans_pb2_grpc.LoansServiceServicer):
    """From application to repayment."""

    _database: Database
    _catalogue: Catalogue
    _repaying: Gathering[loans_pb2.RepayLoanRequest, loans_pb2.RepayLoanResponse]

    async def ApplyForLoan(
        self, request: loans_pb2.ApplyForLoanRequest, context: Context
    ) -> loans_pb2.ApplyForLoanResponse:
        """Take one application in."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> loans_pb2.ApplyForLoanResponse:
            loan = _only(await self._apply(session, request, [_application(request)], caller))
            files = await applications_store.files_of(session, loan.county_code, [loan.loan_id])
            return loans_pb2.ApplyForLoanResponse(
                loan=loan_to_proto(loan),
                findings=findings_to_proto(files[loan.loan_id].findings),
            )

        return await once(self._database, caller, request, loans_pb2.ApplyForLoanResponse, work)

    async def BatchApplyForLoans(
        self, request: loans_pb2.BatchApplyForLoansRequest, context: Context
    ) -> loans_pb2.BatchApplyForLoansResponse:
        """Take many applications in."""
        caller = caller_of(context)

        async def work(session: AsyncSession) -> loans_pb2.BatchApplyForLoansResponse:
            applications = [_application(item) for item in request.items]
            outcomes = await self._apply(session, request, applications, caller)
            return loans_pb2.BatchApplyForLoansResponse(
                verdicts=wire.verdicts(outcomes, lambda each: each.loan_id)
            )

        return await once(
            self._database, caller, request, loans_pb2.BatchApplyForLoansResponse, work
        )

    async def _apply(
        self,
        session: AsyncSession,
        request: loans_pb2.ApplyForLoanRequest | loans_pb2.BatchApplyForLoansRequest,
        applications: Sequence[Application],
        caller: Caller,
    ) -> list[Outcome]:
        return await lending.apply_for_loans(
            session,
            request.county_code,
            applications,
            self._catalogue,
            caller.require_area,
            person_id=caller.person_id,
        )

    async def DecideApplication(
        self, request: loans_pb2.DecideApplicationRequest, context: Context
    ) -> loans_pb2.DecideApplicationResponse:
        """Decide a step of one application."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.DecideApplicationResponse:
            decisions = [_decision(request, actor.person_id)]
            loan = _only(await self._decide(session, request, decisions, caller, actor))
            return loans_pb2.DecideApplicationResponse(loan=loan_to_proto(loan))

        return await once(
            self._database, caller, request, loans_pb2.DecideApplicationResponse, work
        )

    async def BatchDecideApplications(
        self, request: loans_pb2.BatchDecideApplicationsRequest, context: Context
    ) -> loans_pb2.BatchDecideApplicationsResponse:
        """Decide a step of many applications."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.BatchDecideApplicationsResponse:
            decisions = [_decision(item, actor.person_id) for item in request.items]
            outcomes = await self._decide(session, request, decisions, caller, actor)
            return loans_pb2.BatchDecideApplicationsResponse(
                verdicts=wire.verdicts(outcomes, lambda each: each.loan_id)
            )

        return await once(
            self._database, caller, request, loans_pb2.BatchDecideApplicationsResponse, work
        )

    async def _decide(
        self,
        session: AsyncSession,
        request: loans_pb2.DecideApplicationRequest | loans_pb2.BatchDecideApplicationsRequest,
        decisions: Sequence[Decision],
        caller: Caller,
        actor: Actor,
    ) -> list[Outcome]:
        return await lending.decide_applications(
            session,
            request.county_code,
            decisions,
            actor,
            catalogue=self._catalogue,
            may_act_in=caller.require_area,
        )

    async def DisburseLoan(
        self, request: loans_pb2.DisburseLoanRequest, context: Context
    ) -> loans_pb2.DisburseLoanResponse:
        """Pay out one loan."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.DisburseLoanResponse:
            loan_ids = [parse_id("loan_id", request.loan_id)]
            outcomes = await lending.disburse_loans(
                session, request.county_code, loan_ids, actor, self._catalogue
            )
            return loans_pb2.DisburseLoanResponse(loan=loan_to_proto(_only(outcomes)))

        return await once(self._database, caller, request, loans_pb2.DisburseLoanResponse, work)

    async def BatchDisburseLoans(
        self, request: loans_pb2.BatchDisburseLoansRequest, context: Context
    ) -> loans_pb2.BatchDisburseLoansResponse:
        """Pay out many loans."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.BatchDisburseLoansResponse:
            loan_ids = [parse_id("loan_id", item.loan_id) for item in request.items]
            outcomes = await lending.disburse_loans(
                session, request.county_code, loan_ids, actor, self._catalogue
            )
            return loans_pb2.BatchDisburseLoansResponse(
                verdicts=wire.verdicts(outcomes, lambda each: each.loan_id)
            )

        return await once(
            self._database, caller, request, loans_pb2.BatchDisburseLoansResponse, work
        )

    async def RepayLoan(
        self, request: loans_pb2.RepayLoanRequest, context: Context
    ) -> loans_pb2.RepayLoanResponse:
        """Post one repayment."""
        caller = caller_of(context)
        caller.require_person()
        return await self._repaying.do(caller, request.county_code, request)

    async def _repay(
        self,
        session: AsyncSession,
        caller: Caller,
        requests: Sequence[loans_pb2.RepayLoanRequest],
    ) -> list[loans_pb2.RepayLoanResponse | LiandongError]:
        """Post repayments of one lender in one county."""
        outcomes = await money.repay_loans(
            session,
            requests[0].county_code,
            [_repayment(request) for request in requests],
            actor_of(caller),
            self._catalogue,
        )
        return [
            each
            if isinstance(each, LiandongError)
            else loans_pb2.RepayLoanResponse(loan=loan_to_proto(each))
            for each in outcomes
        ]

    async def BatchRepayLoans(
        self, request: loans_pb2.BatchRepayLoansRequest, context: Context
    ) -> loans_pb2.BatchRepayLoansResponse:
        """Post many repayments."""
        caller = caller_of(context)
        actor = actor_of(caller)

        async def work(session: AsyncSession) -> loans_pb2.BatchRepayLoansResponse:
            repayments = [
                _repayment(item, f"items[{place}].") for place, item in enumerate(request.items)
            ]
            outcomes = await money.repay_loans(
                session, request.county_code, repayments, actor, self._catalogue
            )
            return loans_pb2.BatchRepayLoansResponse(
                verdicts=wire.verdicts(outcomes, lambda each: each.loan_id)
            )

        return await once(self._database, caller, request, loans_pb2.BatchRepayLoansResponse, work)

    async def ReverseRepayment(
        self, request: loans_pb2.ReverseRepaymentRequest, context: Context
    ) -> loans_pb2.ReverseRepaymentResponse:
        """Undo a repayment."""
        caller = caller_of(context)
        actor = actor_of(caller)
        undoing = Undoing(parse_id("loan_id", request.loan_id), request.number, request.reason)

        async def work(session: AsyncSession) -> loans_pb2.ReverseRepaymentResponse:
            loan, _ = await money.reverse_repayment(
                session, request.county_code, undoing, actor, self._catalogue
            )
            return loans_pb2.ReverseRepaymentResponse(loan=loan_to_proto(loan))

        return await once(self._database, caller, request, loans_pb2.ReverseRepaymentResponse, work)

    async def MoveRepayment(
        self, request: loans_pb2.MoveRepaymentRequest, context: Context
    ) -> loans_pb2.MoveRepaymentResponse:
        """Move a repayment to the loan it was meant for."""
        caller = caller_of(context)
        actor = actor_of(caller)
        undoing = Undoing(
            parse_id("loan_id", request.loan_id),
            request.number,
            request.reason,
            parse_id("to_loan_id", request.to_loan_id),
        )
        if undoing.to_loan_id == undoing.loan_id:
            rule = "must be another loan"
            raise invalid_field("SAME_LOAN", "to_loan_id", request.to_loan_id, rule)

        async def work(session: AsyncSession) -> loans_pb2.MoveRepaymentResponse:
            loan, meant = await money.reverse_repayment(
                session, request.county_code, undoing, actor, self._catalogue
            )
            assert meant is not None
            return loans_pb2.MoveRepaymentResponse(
                loan=loan_to_proto(loan), to_loan=loan_to_proto(meant)
            )

        return await once(self._database, caller, request, loans_pb2.MoveRepaymentResponse, work)

    async def RefundOverpayment(
        self, request: loans_pb2.RefundOverpaymentRequest, context: Context
    ) -> loans_pb2.RefundOverpaymentResponse:
        """Note that money was given back."""
        caller = caller_of(context)
        actor = actor_of(caller)
        refund = Repayment(
            loan_id=parse_id("loan_id", request.loan_id),
            amount_fen=Fen(request.amount_fen),
            value_date=wire.date_from_proto("value_date", request.value_date),
        )

        async def work(session: AsyncSession) -> loans_pb2.RefundOverpaymentResponse:
            loan = await money.refund_overpayment(
                session, request.county_code, refund, actor, self._catalogue
            )
            return loans_pb2.RefundOverpaymentResponse(loan=loan_to_proto(loan))

        return await once(
            self._database, caller, request, loans_pb2.RefundOverpaymentResponse, work
        )

    async def CloseAccountingPeriod(
        self, request: loans_pb2.CloseAccountingPeriodRequest, context: Context
    ) -> loans_pb2.CloseAccountingPeriodResponse:
        """Close the books of a county through a day."""
        caller = caller_of(context)
        caller.require_person()
        require_county(caller, request.county_code)
        through = wire.date_from_proto("through", request.through)

        async def work(session: AsyncSession) -> loans_pb2.CloseAccountingPeriodResponse:
            await money.close_period(session, request.county_code, through)
            return loans_pb2.CloseAccountingPeriodResponse()

        return await once(
            self._database, caller, request, loans_pb2.CloseAccountingPeriodResponse, work
        )

    async def GetLoanStatement(
        self, request: loans_pb2.GetLoanStatementRequest, context: Context
    ) -> loans_pb2.GetLoanStatementResponse:
        """The book of a loan."""
        caller = caller_of(context)
        loan, postings = await self._own_book(request, caller)
        async with self._database.transaction(caller) as session:
            today = await business_day.today(session, request.county_code)
        return loans_pb2.GetLoanStatementResponse(
            postings=[
                _posting_to_proto(posting, line)
                for posting, line in reports.statement(loan, postings, self._catalogue)
            ],
            as_of=wire.date_to_proto(today),
        )

    async def GetRepaymentSchedule(
        self, request: loans_pb2.GetRepaymentScheduleRequest, context: Context
    ) -> loans_pb2.GetRepaymentScheduleResponse:
        """What was agreed to fall due when."""
        caller = caller_of(context)
        async with self._database.transaction(caller) as session:
            loan = await own_loan(session, request.county_code, request.loan_id, caller)
            agreed = await agreements.plans_of(session, loan.county_code, [loan.loan_id])
        if loan.disbursed_on is None:
            raise Refused(
                "LOAN_NOT_ACTIVE", f"the loan is {loan.state}", message_zh="贷款未在还款期"
            )
        return loans_pb2.GetRepaymentScheduleResponse(
            instalments=[
                loans_pb2.Instalment(
                    number=each.number,
                    due_on=wire.date_to_proto(each.due_on),
                    principal_fen=each.principal_fen,
                    interest_fen=each.interest_fen,
                )
                for each in position.instalments(loan, agreed.get(loan.loan_id))
            ],
            method=loan.method,
            next_due_on=wire.date_to_proto(loan.next_due_on),
        )

    async def _own_book(
        self,
        request: loans_pb2.GetLoanStatementRequest | loans_pb2.GetPayoffQuoteRequest,
        caller: Caller,
    ) -> tuple[Loan, list[Posting]]:
        loan = await self._own_loan(request.county_code, request.loan_id, caller)
        async with self._database.transaction(caller) as session:
            books = await store.postings_of(session, loan.county_code, [loan.loan_id])
        return loan, books[loan.loan_id]

    async def GetLoan(
        self, request: loans_pb2.GetLoanRequest, context: Context
    ) -> loans_pb2.GetLoanResponse:
        """One loan; another lender's is as good as none."""
        loan = await self._own_loan(request.county_code, request.loan_id, caller_of(context))
        return loans_pb2.GetLoanResponse(loan=loan_to_proto(loan))

    async def _own_loan(self, county_code: str, loan_id: str, caller: Caller) -> Loan:
        async with self._database.transaction(caller) as session:
            return await own_loan(session, county_code, loan_id, caller)

    async def ListLoans(
        self, request: loans_pb2.ListLoansRequest, context: Context
    ) -> loans_pb2.ListLoansResponse:
        """Loans that the caller may see."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        if request.within:
            caller.require_area(request.within)
        size = wire.page_size(request.page_size)
        start = wire.page_start(request.page_token)
        areas = [request.within] if request.within else list(caller.areas)
        household = request.household_id
        async with self._database.transaction(caller) as session:
            loans = await store.list_loans(
                session,
                request.county_code,
                areas=areas or [request.county_code],
                lender_id=caller.institution_id if caller.role in LENDER_ROLES else "",
                household_id=parse_id("household_id", household) if household else None,
                state=_state(request.state),
                after=parse_id("page_token", start) if start else None,
                limit=size + 1,
            )
        page, token = wire.page_of(loans, size, lambda each: each.loan_id)
        return loans_pb2.ListLoansResponse(
            loans=[loan_to_proto(loan) for loan in page],
            next_page_token=token,
        )

    async def GetPayoffQuote(
        self, request: loans_pb2.GetPayoffQuoteRequest, context: Context
    ) -> loans_pb2.GetPayoffQuoteResponse:
        """What settles a loan on a day."""
        on = wire.date_from_proto("value_date", request.value_date)
        loan, postings = await self._own_book(request, caller_of(context))
        quote = reports.payoff(loan, postings, on, self._catalogue)
        return loans_pb2.GetPayoffQuoteResponse(
            principal_fen=quote.principal_fen,
            interest_fen=quote.interest_fen,
            subsidised_interest_fen=quote.subsidised_interest_fen,
            working=quote.working,
        )

    async def ListBreakers(
        self, request: loans_pb2.ListBreakersRequest, context: Context
    ) -> loans_pb2.ListBreakersResponse:
        """Where lending is stopped."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        start = wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            tripped = await store.tripped_breakers(session, request.county_code)
        seen = [breaker for breaker in tripped if _sees(caller, breaker)]
        page = seen[start : start + size]
        more = len(seen) > start + size
        return loans_pb2.ListBreakersResponse(
            breakers=[breaker_to_proto(breaker) for breaker in page],
            next_page_token=wire.page_token(str(start + size)) if more else "",
        )
