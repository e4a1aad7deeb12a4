"""A paused product takes no applications; what was applied for before goes on."""

import pytest

from services.kernel import database, pauses
from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Refused
from services.kernel.walls import EVERY_COUNTY
from services.loans.model import BreakerScope
from services.loans.servicer import LoansServicer
from services.loans.store import readings
from services.programmes import offers
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.county import APPROVER, CENTRE, COUNTY, ORDINARY, OTHER_COUNTY, PROGRAMME, House

pytestmark = pytest.mark.postgres

PRODUCT = f"{PROGRAMME}/{ORDINARY}"


async def pause(db: Database, county_code: str = "") -> None:
    async with db.transaction() as session:
        made = await pauses.propose(
            session,
            kind=pauses.PRODUCT,
            subject=PRODUCT,
            county_code=county_code,
            reason="its insurer has left",
            expires_at=None,
            person_id="opr-1-p1",
        )
        await pauses.decide(session, made["pause_id"], confirm=True, person_id="opr-1-p2")


async def test_a_paused_product_takes_no_applications(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    before, house = House(), House()
    await steps.know(consumer, before, house)
    loan_id = (await steps.apply(servicer, before)).loan_id
    await pause(db)

    with pytest.raises(Refused, match="its insurer has left") as refusal:
        await steps.apply(servicer, house)
    many = await steps.apply_for_many(servicer, steps.an_application(house))

    assert refusal.value.reason == "PRODUCT_PAUSED"
    assert [verdict.reason for verdict in many.verdicts] == ["PRODUCT_PAUSED"]
    await steps.decide(servicer, loan_id, "county_checks", CENTRE)
    await steps.decide(servicer, loan_id, "bank_approves", APPROVER)


async def test_another_countys_pause_concerns_nobody_here(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    await steps.know(consumer, house)
    await pause(db, OTHER_COUNTY)

    assert (await steps.apply(servicer, house)).loan_id


async def test_only_products_that_there_are_can_be_paused(catalogue: Catalogue) -> None:
    assert offers.has_product(catalogue, PROGRAMME, ORDINARY)
    assert not offers.has_product(catalogue, PROGRAMME, "nothing")
    assert not offers.has_product(catalogue, "nothing", ORDINARY)


async def test_breakers_are_read_by_county_and_scope(db: Database) -> None:
    async with db.transaction(EVERY_COUNTY) as session:
        await database.execute(
            session,
            """INSERT INTO breaker (county_code, scope, scope_id, tripped)
               VALUES ($1, 'village', 'a', true), ($1, 'village', 'b', false)""",
            COUNTY,
        )
        await database.execute(
            session,
            "INSERT INTO business_day VALUES ($1, '2018-03-01'::date) ON CONFLICT DO NOTHING",
            COUNTY,
        )
        found = await readings.read(session)

    told = {each.labels["scope"]: each.value for each in found if each.labels["county"] == COUNTY}
    assert told == {each.value: int(each == "village") for each in BreakerScope}
