"""An office that starts re-scores over the service and does the job's chunks by hand."""

from typing import Any

from liandong.credit.v1 import rescores_pb2

from services.credit import jobs
from services.credit.servicer import CreditServicer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.programmes.loader import Catalogue
from tests.credit.county import COUNTY, a_caller, calling


class Bureau:
    """Asks for re-scores under one catalogue and does the job's chunks by hand."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self.db = db
        self.catalogue = catalogue
        self.servicer = CreditServicer(db, catalogue)
        self.ahead = jobs.Ahead()

    async def start(self, *, by: Caller | None = None, **more: Any) -> str:
        values = {"county_code": COUNTY, "programme_id": "many", "reason": "as decided", **more}
        request = rescores_pb2.StartRescoreRequest(request_id=str(new_id()), **values)
        context = calling(by or a_caller(), request)
        return (await self.servicer.StartRescore(request, context)).rescore_id

    async def get(
        self, rescore_id: str, *, by: Caller | None = None, county_code: str = COUNTY
    ) -> rescores_pb2.GetRescoreResponse:
        request = rescores_pb2.GetRescoreRequest(county_code=county_code, rescore_id=rescore_id)
        return await self.servicer.GetRescore(request, calling(by or a_caller(), request))

    async def finish(self) -> None:
        while await self.advance():
            pass

    async def advance(self) -> bool:
        return await jobs.advance_rescore(self.db, self.catalogue, self.ahead)

    async def run(self, **more: Any) -> rescores_pb2.GetRescoreResponse:
        rescore_id = await self.start(**more)
        await self.finish()
        return await self.get(rescore_id)
