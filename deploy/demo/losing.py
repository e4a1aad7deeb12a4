"""Those who never paid: losses shared, a village stopped."""

import uuid

from liandong.funds.v1 import funds_pb2, funds_pb2_grpc
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.demo.counter import BATCH_ITEMS, COUNTY, parts
from deploy.demo.lending import Lending


class Losing(Lending):
    """Compensation after the 70 days, and applications where a breaker tripped."""

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
            stated = {field.name: value for field, value in item.ListFields()}
            request = loans_pb2.ApplyForLoanRequest(county_code=COUNTY, **stated)
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
