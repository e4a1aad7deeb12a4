"""Claims over gRPC: translate, call one operation, translate back. No decisions."""

from services.claims.servicer.claims import ClaimsDoor
from services.claims.servicer.claims_life import ClaimsLifeDoor
from services.claims.servicer.payouts import PayoutsDoor
from services.claims.servicer.policies import PoliciesDoor
from services.kernel.database import Database
from services.programmes.loader import Catalogue


class ClaimsServicer(PoliciesDoor, ClaimsDoor, ClaimsLifeDoor, PayoutsDoor):
    """The methods of ClaimsService, a door a subject."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue
