"""A county whose programme reviews, publishes, sanctions and rehabilitates; and how it is asked."""

from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from liandong.credit.v1 import credit_pb2, scores_pb2, standing_pb2

from services.credit.servicer import CreditServicer
from services.credit.store import files as store
from services.kernel import business_day, wire
from services.kernel.caller import Caller
from services.kernel.database import Database, fetch
from services.kernel.ids import new_id
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue, load_texts
from tests.credit.county import (
    COUNTY,
    OPENED,
    OTHER_COUNTY,
    VILLAGE,
    a_caller,
    a_household,
    calling,
    household_id,
)

PACK = """
programme:
  id: chained
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 评议, en: Chained}
registry:
  blacklist:
    - {id: non_malicious, second_grant: true, evidence_by: [assigned_helper, lender]}
    - {id: indebted, released_after_full_repayment: true}
  coverage: {excludes: [five_guarantee_household]}
scoring:
  type: base_points
  scheme: chained
  base_points_centi: 10000
  adjustments:
    - {id: skills, points_centi: 500}
    - {id: income, points_centi: 300, indicator: income_level, min: 2, max: 3}
    - {id: income_high, points_centi: 900, indicator: income_level, min: 4}
    - {id: late, points_centi: -1500}
  vetoes: [{id: arrears}]
  grades:
    - {id: A, min_score_centi: 9000, limit_fen: 5000000}
    - {id: AA, min_score_centi: 10500, limit_fen: 10000000}
    - {id: AAA, min_score_centi: 12000, limit_fen: 20000000}
  min_grade: A
  limit_validity_months: 36
  observation_months: 6
  override_with_reason: true
  waivers: [{id: calamity, cause: force_majeure, evidence_by: [assigned_helper, lender]}]
  rehabilitation: {after_full_repayment: true}
  review_chain:
    - {step: village_appraises, organ: moral_panel, working_days: 5, quorum_pct: 60}
    - {step: township_reviews, organ: township_station, kind: check}
    - {step: county_audits, organ: county_centre, kind: audit}
  public_notice: {after_step: county_audits, scope: village, days: 7}
  credit_areas: [{scope: village, at_least_pct: 70}, {scope: township, at_least_pct: 65}]
  targets: [{id: rated_ratio, at_least_pct: 100, of: lender}]
loans:
  benchmark: {open: not needed here}
  npl: {measure: overdue_days, more_than_days: 70}
  npl_actions: [stop_subsidy, lower_grade, blacklist, court]
  rehabilitation: {after: full_repayment, steps: [re_rate]}
  sanctions:
    - {id: evader, effects: [no_rating, no_credit, no_subsidy], ban_months: 60}
"""

ADOPTION = """
adoption:
  county: "990101"
  entries:
    - {programme: chained@1, from: 2020-01-01, parties: {}}
"""

CALENDAR = """
calendar:
  - {year: 2021, holidays: []}
"""

VILLAGE_PANEL = a_caller("village_department", institution_id="vil-1", areas=(VILLAGE,))
STATION = a_caller("township_station", institution_id="tst-1", areas=(VILLAGE[:9],))
CENTRE = a_caller("county_centre", institution_id="cfc-1")
GRANTER = a_caller("county_centre", institution_id="cfc-2")
OFFICE = a_caller("poverty_office", institution_id="pov-1")
BANK = a_caller("bank", institution_id="rcb-1")
EVIDENCE = "ab" * 32


@pytest.fixture(scope="session")
def chained() -> Catalogue:
    return load_texts({"chained@1.yaml": PACK, "adoption.yaml": ADOPTION, "cn.yaml": CALENDAR})


class Desk:
    """Asks the credit service as whoever is named; a request id is made for commands."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self.db = db
        self.catalogue = catalogue
        self.servicer = CreditServicer(db, catalogue)

    async def ask(self, method: str, request: Message, *, by: Caller = CENTRE) -> Any:
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:  # type: ignore[attr-defined]
            request.request_id = str(new_id())  # type: ignore[attr-defined]
        request.county_code = request.county_code or COUNTY  # type: ignore[attr-defined]
        by = replace(by, method=f"/liandong.credit.v1.CreditService/{method}")
        return await getattr(self.servicer, method)(request, calling(by, request))

    async def put(self, *numbers: int, area_code: str = VILLAGE, status: str = "non_poor") -> None:
        async with self.db.transaction(EVERY_COUNTY) as session:
            households = [a_household(n, area_code=area_code, status=status) for n in numbers]
            await store.put_households(session, COUNTY, households, relist=True)

    async def observe(self, number: int, **values: int) -> None:
        async with self.db.transaction(EVERY_COUNTY) as session:
            today = await business_day.today(session, COUNTY)
        request = credit_pb2.BatchRecordIndicatorsRequest(
            indicators=[
                credit_pb2.Indicator(
                    household_id=str(household_id(number)),
                    code=code,
                    value=value,
                    observed_on=wire.date_to_proto(today),
                )
                for code, value in values.items()
            ]
        )
        answer = await self.ask("BatchRecordIndicators", request)
        assert not answer.refused

    def rate_request(self, programme_id: str = "chained") -> credit_pb2.RateHouseholdsRequest:
        return credit_pb2.RateHouseholdsRequest(programme_id=programme_id)

    async def rate(self) -> credit_pb2.RateHouseholdsResponse:
        answer: credit_pb2.RateHouseholdsResponse = await self.ask(
            "RateHouseholds", self.rate_request()
        )
        return answer

    async def file(self, number: int) -> credit_pb2.CreditFile:
        request = credit_pb2.GetCreditFileRequest(household_id=str(household_id(number)))
        answer: credit_pb2.CreditFile = (await self.ask("GetCreditFile", request)).file
        return answer

    async def rederive(self, rating_id: str) -> scores_pb2.RederiveRatingResponse:
        request = scores_pb2.RederiveRatingRequest(rating_id=rating_id)
        answer: scores_pb2.RederiveRatingResponse = await self.ask("RederiveRating", request)
        return answer

    async def propose(
        self,
        number: int,
        kind: standing_pb2.MeasureKind.ValueType,
        code: str,
        *,
        by: Caller = STATION,
        **more: Any,
    ) -> standing_pb2.Measure:
        request = standing_pb2.ProposeMeasureRequest(
            household_id=str(household_id(number)),
            programme_id="chained",
            kind=kind,
            code=code,
            reason="as found",
            evidence_sha256=EVIDENCE,
            **more,
        )
        answer: standing_pb2.Measure = (await self.ask("ProposeMeasure", request, by=by)).measure
        return answer

    async def decide(
        self, measure: standing_pb2.Measure, *, by: Caller = CENTRE, approve: bool = True
    ) -> standing_pb2.DecideMeasureResponse:
        request = standing_pb2.DecideMeasureRequest(
            measure_id=measure.measure_id, approve=approve, reason="seen"
        )
        answer: standing_pb2.DecideMeasureResponse = await self.ask("DecideMeasure", request, by=by)
        return answer

    async def open_day(self, day: Any) -> None:
        async with self.db.transaction(EVERY_COUNTY) as session:
            await business_day.open_day(session, COUNTY, day)

    async def said(self) -> list[str]:
        async with self.db.transaction(EVERY_COUNTY) as session:
            rows = await fetch(session, "SELECT event_type FROM outbox ORDER BY position")
        return [row["event_type"].rsplit(".", 1)[-1] for row in rows]


@pytest_asyncio.fixture(loop_scope="session")
async def desk(db: Database, chained: Catalogue) -> Desk:
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, OTHER_COUNTY, OPENED)
    return Desk(db, chained)
