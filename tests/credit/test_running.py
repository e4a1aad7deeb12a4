"""The running credit service: killed in the middle of a re-score; its rules changed under it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from liandong.credit.v1 import credit_pb2, rescores_pb2, scores_pb2

from deploy.local.ca import LocalCA
from services.kernel.wire import date_to_proto
from tests.conftest import MakeSchema
from tests.credit import many
from tests.credit.county import household_id
from tests.credit.serving import Serving, serving
from tests.eventually import eventually
from tests.servers import NatsServer, Schema

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

HOUSEHOLDS = 16_000
SECONDS_MAX = 180.0
DONE = rescores_pb2.RESCORE_STATE_DONE
RUNNING = rescores_pb2.RESCORE_STATE_RUNNING


@pytest_asyncio.fixture(loop_scope="session")
async def credit(schema: MakeSchema) -> AsyncIterator[Schema]:
    yield await schema("credit")


async def progress(served: Serving, rescore_id: str) -> rescores_pb2.GetRescoreResponse:
    request = rescores_pb2.GetRescoreRequest(county_code=many.COUNTY, rescore_id=rescore_id)
    answer: rescores_pb2.GetRescoreResponse = await served.ask("GetRescore", request)
    return answer


async def start(served: Serving, *, dry_run: bool = False) -> str:
    request = rescores_pb2.StartRescoreRequest(
        county_code=many.COUNTY, programme_id="many", reason="new points", dry_run=dry_run
    )
    found: str = (await served.ask("StartRescore", request)).rescore_id
    return found


ONCE = """
SELECT (SELECT count(*) FROM rating WHERE cause = 'rescored') AS rated,
       (SELECT count(*) FROM (SELECT FROM rating WHERE cause = 'rescored'
                              GROUP BY household_id HAVING count(*) > 1) AS r) AS twice,
       (SELECT count(*) FROM outbox WHERE event_type LIKE '%household_graded') AS graded,
       (SELECT count(DISTINCT aggregate_id) FROM outbox) AS told,
       (SELECT count(*) FROM (SELECT FROM outbox GROUP BY aggregate_id
            HAVING count(*) <> max(sequence) - min(sequence) + 1) AS g) AS gaps,
       (SELECT count(*) FROM credit_file AS f JOIN rating AS b
               ON b.household_id = f.household_id AND b.cause = 'rated'
            WHERE (f.score_centi, f.grade, f.limit_fen)
                  <> (b.score_centi, b.grade, b.limit_fen)) AS differing
"""


@pytest.mark.timeout(600)
async def test_a_re_score_that_is_killed_in_the_middle_goes_on_and_does_everything_once(
    credit: Schema, stream: NatsServer, certificates: LocalCA, tmp_path: Path
) -> None:
    await many.seed(credit, HOUSEHOLDS)
    folder = tmp_path / "programmes"

    async with serving(credit, stream, certificates, folder, many.FILES_NEXT) as served:
        rescore_id = await start(served)
        cut = await eventually(
            lambda: progress(served, rescore_id),
            lambda found: found.done > 0,
            seconds_max=SECONDS_MAX,
        )
        await served.kill()
    at_kill = await credit.one("SELECT done FROM rescore")

    async with serving(credit, stream, certificates, folder, many.FILES_NEXT) as served:
        done = await eventually(
            lambda: progress(served, rescore_id),
            lambda found: found.state != RUNNING,
            seconds_max=SECONDS_MAX,
        )

    [found] = await credit.ask(ONCE)
    assert cut.state == RUNNING
    assert 0 < at_kill < HOUSEHOLDS
    assert (done.state, done.done) == (DONE, HOUSEHOLDS)
    assert (found["rated"], found["twice"], found["gaps"]) == (HOUSEHOLDS, 0, 0)
    assert done.changed == found["differing"] == found["told"] == found["graded"]


@pytest.mark.timeout(300)
async def test_a_score_made_before_a_pack_change_is_derived_again_identically_after_it(
    credit: Schema, stream: NatsServer, certificates: LocalCA, tmp_path: Path
) -> None:
    await many.seed(credit, 0, today=many.RATED_ON)
    await credit.ask(
        """INSERT INTO credit_file (county_code, household_id, area_code, household_status, honour)
           VALUES ($1, $2, '990101001001', 'registered_poor', '')""",
        many.COUNTY,
        household_id(1),
    )
    folder = tmp_path / "programmes"
    rating = credit_pb2.RateHouseholdsRequest(county_code=many.COUNTY, programme_id="many")
    asked = credit_pb2.GetCreditFileRequest(
        county_code=many.COUNTY, household_id=str(household_id(1))
    )
    async with serving(credit, stream, certificates, folder, many.FILES) as served:
        indicators = [
            credit_pb2.Indicator(
                household_id=str(household_id(1)),
                code=code,
                applies=True,
                observed_on=date_to_proto(many.RATED_ON),
            )
            for code in ("item_1", "item_4")
        ]
        recording = credit_pb2.BatchRecordIndicatorsRequest(
            county_code=many.COUNTY, indicators=indicators
        )
        await served.ask("BatchRecordIndicators", recording)
        await served.ask("RateHouseholds", rating)
        first = (await served.ask("GetCreditFile", asked)).file

    await credit.ask("UPDATE business_day SET business_date = $1", many.RESCORED_ON)
    async with serving(credit, stream, certificates, folder, many.FILES_NEXT) as served:
        rescore_id = await start(served)
        await eventually(
            lambda: progress(served, rescore_id),
            lambda found: found.state == DONE,
            seconds_max=SECONDS_MAX,
        )
        second = (await served.ask("GetCreditFile", asked)).file
        derived = [
            await served.ask(
                "RederiveRating",
                scores_pb2.RederiveRatingRequest(county_code=many.COUNTY, rating_id=each.rating_id),
            )
            for each in (first, second)
        ]

    assert (first.programme, first.score_centi, first.grade) == ("many@1", 10_700, "AA")
    assert (second.programme, second.score_centi, second.grade) == ("many@2", 10_300, "A")
    for file, again in zip((first, second), derived, strict=True):
        assert again.identical
        assert again.same_terms
        assert not again.differing
        assert again.stored.digest
        assert again.stored == again.derived
        assert (again.stored.score_centi, again.stored.working) == (file.score_centi, file.working)
