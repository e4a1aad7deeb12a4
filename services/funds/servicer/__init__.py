"""Funds over gRPC: translate, call one operation, translate back. No decisions."""

from services.funds.servicer.cases import CasesDoor
from services.funds.servicer.funds import FundsDoor
from services.kernel.database import Database
from services.programmes.loader import Catalogue


class FundsServicer(FundsDoor, CasesDoor):
    """The county's compensation funds, a door a subject."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue
