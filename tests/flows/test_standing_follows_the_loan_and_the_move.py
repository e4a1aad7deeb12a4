"""A loan that goes bad lowers its household's standing; a household that moves takes it along."""

from datetime import date
from typing import Any

import pytest
from liandong.credit.v1 import credit_pb2, scores_pb2, standing_pb2
from liandong.households.v1 import evidence_pb2, moves_pb2

from tests.flows.county import YUAN, County, day

pytestmark = pytest.mark.postgres

SEVENTY_ONE_DAYS = date(2018, 6, 16)


async def credit_file(county: County, household_id: str) -> Any:
    request = credit_pb2.GetCreditFileRequest(household_id=household_id)
    return (await county.ask("credit", "GetCreditFile", request, role="county_centre")).file


# LS18.loa.6: stop the subsidy, collect, lower the grade, list, then court.
async def test_a_bad_loan_lowers_the_grade_and_lists_the_household(county: County) -> None:
    household_id = await county.household()
    loan = await county.disbursed(household_id, 30_000 * YUAN, months=1)
    assert (await credit_file(county, household_id)).limit_fen > 0

    await county.advance(SEVENTY_ONE_DAYS)

    file = await credit_file(county, household_id)
    assert (file.limit_fen, list(file.holds)) == (0, ["sanction:blacklist"])
    listing = standing_pb2.ListMeasuresRequest(household_id=household_id)
    measures = (await county.ask("credit", "ListMeasures", listing, role="county_centre")).measures
    assert {each.code for each in measures} == {"lower_grade", "blacklist"}
    request = scores_pb2.ExplainScoreRequest(household_id=household_id)
    words = (await county.ask("credit", "ExplainScore", request, role="county_centre")).words
    for action in ("lower_grade", "blacklist", "court"):
        assert any(each.startswith(f"{action} was ordered") for each in words)
    late = await county.applied(household_id, 1_000 * YUAN)
    assert {"NO_CREDIT_LIMIT", "SANCTIONED", "SANCTION_BLACKLIST"} <= set(late.refusal_reasons)
    assert "loan_action_taken" in await county.story("loans", loan.loan_id)


async def test_a_household_that_moved_borrows_where_it_lives_now(county: County) -> None:
    household_id = await county.household()
    old = await county.disbursed(household_id, 10_000 * YUAN)
    request = moves_pb2.MoveHouseholdRequest(
        household_id=household_id,
        area_code=county.next_village,
        moved_on=day(county.today),
        reason="relocation",
        evidence=evidence_pb2.Evidence(
            kind=evidence_pb2.EVIDENCE_KIND_DOCUMENT, reference="archive/moves/1"
        ),
    )

    await county.ask("households", "MoveHousehold", request, role="poverty_office")
    await county.tell()

    assert (await credit_file(county, household_id)).area_code == county.next_village
    assert (await county.loan(old.loan_id)).area_code == county.village
    new = await county.applied(household_id, 1_000 * YUAN, village=county.next_village)
    assert (new.area_code, list(new.refusal_reasons)) == (county.next_village, [])
    (area,) = await county.rooms["claims"].schema.ask("SELECT area_code FROM household")
    assert area["area_code"] == county.next_village
