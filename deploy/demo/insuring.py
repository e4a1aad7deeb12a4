"""Storms, deaths and early repayments: what the insurer pays goes to the bank first."""

import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date, timedelta
from functools import partial

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from liandong.households.v1 import accounts_pb2, accounts_pb2_grpc, evidence_pb2
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.demo import generator
from deploy.demo.counter import BATCH_ITEMS, COUNTY, COVERS, Counter, day_to_proto, parts
from deploy.local.client import new_trace


class Insuring(Counter):
    """Claims reported, decided and settled; repayments."""

    async def _register_accounts(self, numbers: Iterable[str]) -> None:
        """Households that will be paid have an account on their bank's list; once each."""
        wanted = sorted({number for number in numbers if number in self._household_ids})
        names = self._head_names(wanted)
        centre, bank = self._party("county_centre"), self._parties["lender"][0]
        paper = evidence_pb2.Evidence(
            kind=evidence_pb2.EVIDENCE_KIND_DOCUMENT, reference="demo/accounts"
        )
        for part in parts(wanted, BATCH_ITEMS):
            items = [
                accounts_pb2.FirstPayeeAccount(
                    household_id=self._household_ids[number],
                    bank_id=bank,
                    account_number=_account_number(self._household_ids[number]),
                    account_name=names[number],
                )
                for number in part
            ]
            request = accounts_pb2.BatchRegisterPayeeAccountsRequest(
                county_code=COUNTY, items=items, evidence=paper
            )
            stub = accounts_pb2_grpc.AccountsServiceStub
            answer = await self._command(centre, stub, "BatchRegisterPayeeAccounts", request)
            self._check(answer.verdicts, "payee accounts")
        if wanted:
            self._say(f"accounts: {len(wanted)} households that will be paid have one")

    def _head_names(self, numbers: Sequence[str]) -> dict[str, str]:
        """The names of the heads of some households, as their file has them."""
        return generator.head_names(self._seed, self._scale, set(numbers))

    async def _live_events(self) -> None:
        """Storms, deaths and early repayments in the order in which they happen."""
        losses = [loss.household_number for storm in self.plan.disasters for loss in storm.losses]
        dead = [death.household_number for death in self.plan.deaths]
        await self._register_accounts([*losses, *dead])
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
            died = [
                (death.village_code, self._report(death.household_number, "death", day, 10_000_000))
                for death in self.plan.deaths
                if death.died_on == day
            ]
            events.append((day + timedelta(days=1), partial(self._claim, died)))
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
            loss_date=day_to_proto(loss_date),
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
        today = (await self.get_totals("claims", positions_only=True)).business_date
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

    async def _repay(self, day: date, numbers: Sequence[str]) -> None:
        wanted = {self._household_ids[number] for number in numbers}
        stub = loans_pb2_grpc.LoansServiceStub
        for bank in self._parties["lender"]:
            loans = await self._loans(bank, loans_pb2.LOAN_STATE_ACTIVE)
            due = [loan for loan in loans if loan.household_id in wanted]
            items = []
            for loan in due:
                asking = loans_pb2.GetPayoffQuoteRequest(
                    county_code=COUNTY, loan_id=loan.loan_id, value_date=day_to_proto(day)
                )
                quote = await self._client(bank).call(stub, "GetPayoffQuote", asking)
                owed = quote.principal_fen + quote.interest_fen
                items.append(
                    loans_pb2.Repayment(
                        loan_id=loan.loan_id, amount_fen=owed, value_date=day_to_proto(day)
                    )
                )
            for part in parts(items, BATCH_ITEMS):
                request = loans_pb2.BatchRepayLoansRequest(county_code=COUNTY, items=part)
                answer = await self._command(bank, stub, "BatchRepayLoans", request)
                self._check(answer.verdicts, f"repayments at {bank}")
        self._say(f"loans: {len(numbers)} households repaid on {day}")


def _account_number(household_id: str) -> str:
    """Sixteen digits that no bank gave out."""
    return f"62220000{uuid.UUID(household_id).int % 10**8:08d}"
