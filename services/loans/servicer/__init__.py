"""Loans over gRPC: translate, call one operation, translate back. No decisions."""

from liandong.loans.v1 import loans_pb2

from services.kernel.database import Database
from services.kernel.gathering import Gathering
from services.loans.servicer.applications import ApplicationsDoor
from services.loans.servicer.books import BooksDoor
from services.loans.servicer.collecting import CollectingDoor
from services.loans.servicer.drawing import DrawingDoor
from services.loans.servicer.lending import LendingDoor
from services.loans.servicer.securing import SecuringDoor
from services.loans.servicer.standing import StandingDoor
from services.loans.servicer.subsidy import SubsidyDoor
from services.programmes.loader import Catalogue


class LoansServicer(
    ApplicationsDoor,
    LendingDoor,
    DrawingDoor,
    BooksDoor,
    StandingDoor,
    CollectingDoor,
    SecuringDoor,
    SubsidyDoor,
):
    """The loans service's methods, a door a subject."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue
        self._repaying = Gathering(
            database,
            loans_pb2.RepayLoanResponse,
            self._repay,
            about=lambda request: request.loan_id,
        )
