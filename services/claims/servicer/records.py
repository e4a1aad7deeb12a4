"""Claims over gRPC: RecordsService, a door a subject."""

from services.claims.servicer.insurance_report import InsuranceReportDoor
from services.claims.servicer.opening import OpeningDoor
from services.claims.servicer.reconciliation import ReconciliationDoor
from services.kernel.database import Database
from services.programmes.loader import Catalogue


class RecordsServicer(ReconciliationDoor, OpeningDoor, InsuranceReportDoor):
    """The methods of RecordsService."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue
