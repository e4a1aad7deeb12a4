"""Rows of the counties' programmes, each held by the credit service under the packaged pack."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from liandong.credit.v1 import areas_pb2, credit_pb2

from services.credit.store import files as store
from services.kernel.database import Database
from services.kernel.walls import EVERY_COUNTY
from services.programmes.loader import Catalogue, load
from services.programmes.schema.scoring import BasePointsScoring, WeightedScoring
from services.programmes.schema.values import known
from tests.credit.chained import Desk
from tests.credit.county import COUNTY, VILLAGE, a_household

pytestmark = pytest.mark.postgres

LUSHI, SICHUAN = "henan-lushi", "sichuan-5221"
YUAN = 100

# The points of a grade are printed nowhere (S09): these make each grade reachable.
OVERLAYS: Mapping[str, str] = {
    "lushi.yaml": """
overlay: {name: trial, county: "990101", programme: henan-lushi@2, status: example}
values:
  scoring:
    adjustments:
      - {id: skills, points_centi: 500}
      - {id: timely_repayment, points_centi: 1000}
      - {id: stable_industry, points_centi: 500}
      - {id: late, points_centi: -1500}
    grades:
      - {id: A, min_score_centi: 9000}
      - {id: AA, min_score_centi: 10500}
      - {id: AAA, min_score_centi: 11000}
      - {id: AAA+, min_score_centi: 12000}
    observation_months: 12
    limit_validity_months: 12
""",
    "sichuan.yaml": """
overlay: {name: trial, county: "990101", programme: sichuan-5221@1, status: example}
values:
  scoring:
    grades:
      - {id: A, min_score_centi: 6000, limit_fen: 1000000}
    public_notice: {days: 3}
""",
    "adoption.yaml": """
adoption:
  county: "990101"
  entries:
    - programme: "henan-lushi@2:trial"
      from: 2020-01-01
      parties:
        {county_fund: fin-1, bank: rcb-1, insurer: ins-1, agri_guarantee: agr-1,
         guarantee_group: grp-1, enterprise_mutual_fund: fin-1}
    - programme: "sichuan-5221@1:trial"
      from: 2020-01-01
      parties: {fund: fin-1, village_mutual_fund: fin-1, bank: rcb-1}
""",
}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder: Path = tmp_path_factory.mktemp("rows")
    for name, text in OVERLAYS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return load([folder])


class Office(Desk):
    """The desk of a county that lives under packs as they are released."""

    async def people(self, *numbers: int, honour: str = "", area_code: str = VILLAGE) -> None:
        """Households of whom every condition of entry holds."""
        async with self.db.transaction(EVERY_COUNTY) as session:
            households = [a_household(n, area_code=area_code, honour=honour) for n in numbers]
            await store.put_households(session, COUNTY, households, relist=True)
        for number in numbers:
            await self.observe(number, **dict.fromkeys(self.gates, 1))

    @property
    def gates(self) -> tuple[str, ...]:
        eligibility = self.catalogue.terms(COUNTY, "henan-lushi@2:trial").eligibility
        return tuple(gate.code for gate in known(eligibility.gates))

    async def grade(self, programme_id: str = LUSHI) -> None:
        """Rate everybody."""
        await self.ask("RateHouseholds", self.rate_request(programme_id))

    async def graded(self, number: int, **values: int) -> credit_pb2.CreditFile:
        """A household's file after these facts of it."""
        if values:
            await self.observe(number, **values)
        await self.grade()
        return await self.file(number)


@pytest_asyncio.fixture(loop_scope="session")
async def office(db: Database, packaged: Catalogue) -> Office:
    return Office(db, packaged)


def file_of(file: credit_pb2.CreditFile) -> tuple[int, str, int]:
    return file.score_centi, file.grade, file.limit_fen


# LS17.sco.1: a hundred points to begin with, additions and deductions from there.
# LS17.sco.3: A, AA, AAA and AAA+, from low to high.
async def test_a_hundred_points_go_up_and_down_through_four_grades(office: Office) -> None:
    scheme = office.catalogue.terms(COUNTY, "henan-lushi@2:trial").scoring
    assert isinstance(scheme, BasePointsScoring)
    assert known(scheme.base_points_centi) == 100_00
    assert [grade.id for grade in known(scheme.grades)] == ["A", "AA", "AAA", "AAA+"]
    await office.people(1)

    assert file_of(await office.graded(1)) == (100_00, "A", 50_000 * YUAN)
    assert file_of(await office.graded(1, skills=1)) == (105_00, "AA", 100_000 * YUAN)
    assert file_of(await office.graded(1, stable_industry=1)) == (110_00, "AAA", 150_000 * YUAN)
    assert file_of(await office.graded(1, timely_repayment=1)) == (120_00, "AAA+", 200_000 * YUAN)
    assert file_of(await office.graded(1, late=1)) == (105_00, "AA", 100_000 * YUAN)


# LS17.sco.2: public order, breach of faith, arrears: one of them is enough.
@pytest.mark.parametrize("veto", ["public_order", "dishonesty", "arrears"])
async def test_one_veto_takes_grade_and_limit_whatever_the_score(office: Office, veto: str) -> None:
    await office.people(1)
    best = await office.graded(1, skills=1, stable_industry=1, timely_repayment=1)
    assert best.grade == "AAA+"

    vetoed = await office.graded(1, **{veto: 1})

    assert (vetoed.grade, vetoed.limit_fen, list(vetoed.vetoes)) == ("", 0, [veto])


# LS17.sco.5: whoever does not reach A gets no loan.
async def test_below_a_nothing_is_granted(office: Office) -> None:
    await office.people(1)

    assert file_of(await office.graded(1, late=1)) == (85_00, "", 0)
    assert file_of(await office.graded(1, skills=1)) == (90_00, "A", 50_000 * YUAN)
    assert (await office.said()).count("limit_granted") == 1


# LS18.sco.1: an honour counts for households of grade A or above only.
async def test_an_honour_below_a_adds_nothing(office: Office) -> None:
    await office.people(1, honour="model")

    assert file_of(await office.graded(1, late=1)) == (85_00, "", 0)
    assert file_of(await office.graded(1, skills=1)) == (90_00, "A", 150_000 * YUAN)


# LS18.sco.2: 30,000, 50,000 and 100,000 yuan on top of the limit of the grade.
@pytest.mark.parametrize(
    ("honour", "uplift_yuan"),
    [("law_abiding", 0), ("honest", 30_000), ("civilised", 50_000), ("model", 100_000)],
)
async def test_an_honour_raises_the_original_limit(
    office: Office, honour: str, uplift_yuan: int
) -> None:
    await office.people(1, honour=honour)

    assert file_of(await office.graded(1)) == (100_00, "A", (50_000 + uplift_yuan) * YUAN)
    better = await office.graded(1, skills=1)
    assert (better.grade, better.limit_fen) == ("AA", (100_000 + uplift_yuan) * YUAN)


# SC.sco.2: the digits of the label are the weights in tens, in the order of the factors.
async def test_5221_is_fifty_twenty_twenty_ten(office: Office) -> None:
    scheme = office.catalogue.terms(COUNTY, "sichuan-5221@1:trial").scoring
    assert isinstance(scheme, WeightedScoring)
    factors = known(scheme.factors)
    assert "".join(str(known(factor.weight_pct) // 10) for factor in factors) == "5221"
    full = dict.fromkeys((factor.id for factor in factors), 0)
    await office.people(*range(1, len(factors) + 1))
    for number, factor in enumerate(factors, 1):
        await office.observe(number, **{**full, factor.id: 100})

    await office.grade(SICHUAN)

    scores = [(await office.file(number)).score_centi for number in range(1, len(factors) + 1)]
    assert scores == [50_00, 20_00, 20_00, 10_00]
    assert [factor.id for factor in factors][:2] == ["integrity", "labour"]


TOWN = "990101009"


def village(number: int) -> str:
    return f"{TOWN}{number:03d}"


# LS17.mon.2: a credit township has credit villages for 65 % of its villages, and not one less.
@pytest.mark.parametrize(("credit_villages", "certified"), [(13, True), (12, False)])
async def test_a_credit_township_has_credit_villages_for_65_per_cent(
    office: Office, credit_villages: int, certified: bool
) -> None:
    villages = 20
    for number in range(1, villages + 1):
        await office.people(number, area_code=village(number))
        if number > credit_villages:
            await office.observe(number, arrears=1)
    await office.grade()

    await office.ask("AssessAreas", areas_pb2.AssessAreasRequest(programme_id=LUSHI))

    listed = await office.ask("ListCreditAreas", areas_pb2.ListCreditAreasRequest(page_size=100))
    [town] = [area for area in listed.areas if area.area_code == TOWN]
    assert (town.numerator, town.denominator, town.min_units) == (credit_villages, villages, 13)
    assert town.certified is certified
    standing = [area for area in listed.areas if area.area_code != TOWN and area.certified]
    assert len(standing) == credit_villages
