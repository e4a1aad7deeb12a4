"""Credit over gRPC: translate, call one operation, translate back. No decisions."""

from liandong.credit.v1 import credit_pb2_grpc

from services.credit.servicer.areas import AreasDoor
from services.credit.servicer.indicators import IndicatorsDoor
from services.credit.servicer.rating import RatingDoor
from services.credit.servicer.rescoring import RescoringDoor
from services.credit.servicer.reviewing import ReviewingDoor
from services.credit.servicer.standing import StandingDoor
from services.kernel.database import Database
from services.programmes.loader import Catalogue


class CreditServicer(
    IndicatorsDoor,
    RatingDoor,
    RescoringDoor,
    ReviewingDoor,
    StandingDoor,
    AreasDoor,
    credit_pb2_grpc.CreditServiceServicer,
):
    """The county's shared credit record, a door a subject."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._database = db
        self._catalogue = catalogue
