"""Loans over gRPC: translate, call one operation, translate back. No decisions."""

from services.kernel.database import Database
from services.loans.servicer.books import BooksDoor
from services.loans.servicer.lending import LendingDoor
from services.programmes.loader import Catalogue


class LoansServicer(LendingDoor, BooksDoor):
    """The loans service's methods, a door a subject."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue
