"""Claims over gRPC: the methods of PoliciesService together."""

from services.claims.servicer.agreements import AgreementsDoor
from services.claims.servicer.assignments import AssignmentsDoor
from services.claims.servicer.insured import InsuredDoor, MasterPoliciesDoor
from services.claims.servicer.premium import PremiumDoor
from services.claims.servicer.products import ProductsDoor
from services.kernel.database import Database
from services.programmes.loader import Catalogue


class PoliciesServicer(
    ProductsDoor, AgreementsDoor, MasterPoliciesDoor, InsuredDoor, PremiumDoor, AssignmentsDoor
):
    """The methods of PoliciesService, a door a subject."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue
