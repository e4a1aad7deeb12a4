"""Credit areas and coverage, computed with dates."""

from datetime import date
from typing import Any

import pytest
from liandong.credit.v1 import areas_pb2

from services.credit import jobs
from services.kernel import wire
from services.kernel.errors import Denied, NotFound
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue
from tests.credit.chained import STATION, Desk
from tests.credit.county import COUNTY, OTHER_VILLAGE, TOWN, VILLAGE
from tests.credit.test_limits import Lender

pytestmark = pytest.mark.postgres

OTHER_TOWN = OTHER_VILLAGE[:9]


async def assess(desk: Desk) -> areas_pb2.AssessAreasResponse:
    request = areas_pb2.AssessAreasRequest(programme_id="chained")
    answer: areas_pb2.AssessAreasResponse = await desk.ask("AssessAreas", request)
    return answer


async def listed(desk: Desk, **more: Any) -> list[tuple[str, bool, int, int]]:
    answer = await desk.ask("ListCreditAreas", areas_pb2.ListCreditAreasRequest(**more))
    return [(a.area_code, a.certified, a.numerator, a.denominator) for a in answer.areas]


async def coverage(desk: Desk, **more: Any) -> areas_pb2.GetCoverageResponse:
    request = areas_pb2.GetCoverageRequest(**{"level": areas_pb2.COVERAGE_LEVEL_TOWNSHIP, **more})
    answer: areas_pb2.GetCoverageResponse = await desk.ask("GetCoverage", request)
    return answer


async def test_a_village_and_its_township_are_recognised_and_lose_it_again(desk: Desk) -> None:
    await desk.put(*range(1, 11))
    await desk.put(11, area_code=OTHER_VILLAGE)
    for number in (8, 9, 10, 11):
        await desk.observe(number, late=1)
    await desk.rate()

    first = await assess(desk)
    again = await assess(desk)

    assert (first.assessed, first.certified, first.changed) == (4, 2, 2)
    assert again.changed == 0
    assert await listed(desk) == [
        (TOWN, True, 1, 1),
        (VILLAGE, True, 7, 10),
        (OTHER_TOWN, False, 0, 1),
        (OTHER_VILLAGE, False, 0, 1),
    ]
    await desk.open_day(date(2021, 2, 1))
    await desk.observe(7, late=1)
    await desk.rate()
    lost = await assess(desk)
    assert lost.changed == 2
    assert await listed(desk, certified_only=True) == []
    on = wire.date_to_proto(date(2021, 1, 31))
    assert await listed(desk, on=on) == [(TOWN, True, 1, 1), (VILLAGE, True, 7, 10)]
    assert (await desk.said()).count("area_certified") == 4


async def test_coverage_counts_who_is_rated_granted_and_lent_beside_the_target(
    desk: Desk,
) -> None:
    await desk.put(1, 2, 3)
    await desk.put(4, status="five_guarantee")
    await desk.put(5, area_code=OTHER_VILLAGE)
    await desk.observe(2, late=1)
    await desk.rate()
    await Lender(desk).disbursed(1_000_000)

    figures = (await coverage(desk, by_institution=True, within=TOWN)).figures

    assert [
        (f.institution_id, f.measure, f.numerator, f.denominator, f.target_ppm) for f in figures
    ] == [
        ("", "granted", 0, 3, 0),
        ("", "lent", 1, 3, 0),
        ("", "rated", 3, 3, 1_000_000),
        ("cfc-1", "rated", 3, 3, 1_000_000),
        ("rcb-1", "lent", 1, 3, 0),
    ]
    assert figures[1].ratio_ppm == 333_333
    everywhere = await coverage(desk, page_size=4)
    assert len(everywhere.figures) == 4
    rest = await coverage(desk, page_size=4, page_token=everywhere.next_page_token)
    assert [f.area_code for f in rest.figures] == [OTHER_TOWN] * 2


async def test_a_months_end_is_kept_and_read_as_it_was(desk: Desk, chained: Catalogue) -> None:
    await desk.put(1)
    with pytest.raises(NotFound, match="COVERAGE_NOT_KEPT"):
        await coverage(desk, on=wire.date_to_proto(date(2021, 1, 31)))
    for day in (date(2021, 1, 30), date(2021, 1, 31)):
        async with desk.db.transaction(EVERY_COUNTY) as session:
            await jobs.close_day(chained)(session, COUNTY, day)
    await desk.put(2)
    await desk.rate()

    kept = await coverage(desk, on=wire.date_to_proto(date(2021, 2, 15)))

    assert kept.as_of == wire.date_to_proto(date(2021, 1, 31))
    assert [(f.measure, f.numerator, f.denominator) for f in kept.figures] == [
        ("granted", 0, 1),
        ("lent", 0, 1),
        ("rated", 0, 1),
    ]
    assert len(await listed(desk)) == 2


async def test_only_the_countys_offices_assess(desk: Desk) -> None:
    request = areas_pb2.AssessAreasRequest(programme_id="chained")

    with pytest.raises(Denied, match="ROLE_NOT_ALLOWED"):
        await desk.ask("AssessAreas", request, by=STATION)
