"""Steps of a case test: what reviewers, approvers, payers, lenders and collectors ask."""

from datetime import date
from typing import Any, cast
from uuid import uuid4

from liandong.funds.v1 import cases_pb2, funds_pb2

from services.funds.servicer import FundsServicer
from services.funds.servicer.casework import CaseworkServicer
from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.programmes.loader import Catalogue, load_texts
from tests.funds.county import (
    _ADOPTION,
    _PACK,
    _UNDECIDED,
    CAUSE,
    COUNTY,
    OTHER_COUNTY,
    a_caller,
    calling,
)

REVIEWER = a_caller(person_id="cfc-1-p2")
SECOND_REVIEWER = a_caller("poverty_office", institution_id="pov-1")
TREASURER = a_caller("finance_bureau", institution_id="fin-1", person_id="fin-1-p1")
PAYER = a_caller("finance_bureau", institution_id="fin-1", person_id="fin-1-p2")

CLAUSES = """
  payment_control:
    payments: [compensation]
    audit: true
    public_notice: {graded: true, days: 7}
  case_deadlines:
    file_within_days: 30
    verify_working_days: 3
    pay_working_days: 2
    repair_days: 5
    appeal_days: 10
  cover_expiry: {undisbursed_days: 20, after_maturity_days: 90}
gateway:
  compensation_approved_by: [county_centre, finance_bureau]
"""
"""What a strict programme asks for beside the plain one."""


def a_strict_catalogue() -> Catalogue:
    """The plain programme with notice at three levels, deadlines and two approvers."""
    adoption = _ADOPTION.replace("&parties", "")
    return load_texts(
        {
            "plain@1.yaml": _PACK + CLAUSES,
            "undecided@1.yaml": _UNDECIDED,
            "days.yaml": "calendar: [{year: 2021, holidays: [2021-01-06]}]",
            "adoption.yaml": adoption % COUNTY,
            "other.yaml": adoption % OTHER_COUNTY,
        }
    )


class Casework:
    """The doors of funds of one catalogue, asked by name."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self.funds = FundsServicer(db, catalogue)
        self.cases = CaseworkServicer(db, catalogue)

    async def ask(self, method: str, caller: Caller, **values: Any) -> Any:
        """One call of CasesService; a command gets a request id of its own."""
        request = getattr(cases_pb2, f"{method}Request")(county_code=COUNTY, **values)
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = str(uuid4())
        return await getattr(self.cases, method)(request, calling(caller, request))

    async def step(
        self, method: str, caller: Caller, case: funds_pb2.CompensationCase, **values: Any
    ) -> funds_pb2.CompensationCase:
        """One step of a case; the case as it is then."""
        answer = await self.ask(method, caller, case_id=case.case_id, **values)
        return cast(funds_pb2.CompensationCase, answer.compensation_case)

    async def file(
        self, loan_id: object, caller: Caller, *, on: date, **values: Any
    ) -> funds_pb2.CompensationCase:
        """A lender's case with a step of collection."""
        request = funds_pb2.FileCompensationCaseRequest(
            request_id=str(uuid4()),
            county_code=COUNTY,
            loan_id=str(loan_id),
            cause=values.pop("cause", CAUSE),
            evidence=["sha256:ab"],
            collection_steps=[
                funds_pb2.CollectionStep(kind="visited", on=wire.date_to_proto(on), evidence="x")
            ],
            **values,
        )
        answer = await self.funds.FileCompensationCase(request, calling(caller, request))
        return answer.compensation_case
