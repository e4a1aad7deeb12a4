"""The days of lending: applications, the chain, disbursement."""

import uuid
from collections.abc import Sequence
from functools import partial

from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.demo.counter import BATCH_ITEMS, COUNTY, PRODUCT, Counter, parts
from deploy.demo.year_plan import Application


class Lending(Counter):
    """Villages apply, the chain decides, banks pay out."""

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
        banks = self._parties["lender"]
        await self._each([partial(self._decide, bank, "bank_approves", 2) for bank in banks])

    async def _decide(self, institution_id: str, step: str, post: int) -> None:
        # The year ends with an application that is left open, also when it is lived on after that.
        left_open = self._application(self.plan.control_application).household_id
        waiting = [
            loan
            for loan in await self._loans(institution_id, loans_pb2.LOAN_STATE_IN_REVIEW)
            if loan.next_step == step and loan.household_id != left_open
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

    async def _disburse(self) -> None:
        async def insured() -> bool:
            loans = await self._loans(self._party("county_centre"), loans_pb2.LOAN_STATE_APPROVED)
            return not any(loan.covers_missing for loan in loans)

        await self._until(insured, "every approved loan is insured")
        banks = self._parties["lender"]
        await self._each([partial(self._pay_out, bank) for bank in banks])
        active = await self.get_totals("loans")
        totals = {total.name: total.value for total in active.totals}
        self._say(
            f"loans: {totals['loans.applications_count']} applications so far, "
            f"{totals['loans.disbursed_count']} paid out, "
            f"{totals['loans.outstanding_principal_fen'] // 100:,} yuan outstanding"
        )

    async def _pay_out(self, bank: str) -> None:
        approved = await self._loans(bank, loans_pb2.LOAN_STATE_APPROVED)
        for part in parts(approved, BATCH_ITEMS):
            request = loans_pb2.BatchDisburseLoansRequest(
                county_code=COUNTY,
                items=[loans_pb2.Disbursement(loan_id=loan.loan_id) for loan in part],
            )
            stub = loans_pb2_grpc.LoansServiceStub
            answer = await self._command(bank, stub, "BatchDisburseLoans", request, post=3)
            self._check(answer.verdicts, f"disbursement by {bank}")
