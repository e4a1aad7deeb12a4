"""A breaker that trips at every step of an approval: no loan comes through, no money goes out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from liandong.loans.v1 import loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.walls import EVERY_COUNTY
from services.loans import store
from services.loans.events_in import handlers
from services.loans.model import Breaker, BreakerScope
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.lengths import LONG
from tests.loans import plenty, steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    CASHIER,
    CENTRE,
    COUNTY,
    LENDER,
    Fund,
    House,
    calling,
)
from tests.loans.plenty import Entity, an_application, ask, command, particulars

pytestmark = pytest.mark.postgres

EFFECTS = ("stop_grant", "stop_approve", "stop_draw", "stop_disburse")

Step = Callable[[], Awaitable[Any]]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return plenty.a_catalogue()


@pytest.fixture
def servicer(db: Database, catalogue: Catalogue) -> LoansServicer:
    return LoansServicer(db, catalogue)


@pytest.fixture
def consumer(db: Database, catalogue: Catalogue) -> Consumer:
    return Consumer(db, "loans", handlers(catalogue), batch_size_max=500)


@dataclass
class Life:
    """One loan's way from the application to the money, a step at a time."""

    servicer: LoansServicer
    consumer: Consumer
    borrower: House | Entity
    loan_id: str = ""

    async def apply(self, product_id: str, caller: Any, stated: loans_pb2.Particulars) -> None:
        request = an_application(self.borrower, product_id, stated, principal_fen=10_000 * YUAN)
        self.loan_id = (await ask(self.servicer, caller, request)).loan.loan_id

    async def decide(self, step: str, caller: Any) -> None:
        await steps.decide(self.servicer, self.loan_id, step, caller)

    async def reserved(self) -> None:
        await steps.take(self.consumer, Fund().reserved(self.loan_id))

    async def draw(self) -> None:
        request = command(
            loans_pb2.DrawOnLimitRequest,
            self.loan_id,
            amount_fen=1_000 * YUAN,
            channel="online",
            identity_proof="face_recognition",
        )
        await self.servicer.DrawOnLimit(request, calling(CASHIER, request))

    async def disburse(self) -> None:
        await steps.disburse(self.servicer, self.loan_id)

    def chains(self) -> list[list[Step]]:
        """A line decided in a chain, an outlet that waits for the fund, the machine."""
        entity = isinstance(self.borrower, Entity)
        online = particulars(
            channel="online", identity_proof="remote_biometric", proposed_rate_ppm=43_500
        )
        outlet = particulars(proposed_rate_ppm=39_000)
        if entity:
            plain = particulars(birth_date=None)
            return [
                [
                    lambda: self.apply("village_line", CENTRE, plain),
                    lambda: self.decide("county_checks", CENTRE),
                    lambda: self.decide("bank_approves", APPROVER),
                    self.draw,
                ]
            ]
        return [
            [lambda: self.apply("online_credit", LENDER, online), self.draw, self.draw],
            [
                lambda: self.apply("outlet_credit", LENDER, outlet),
                self.reserved,
                lambda: self.decide("outlet_approves", APPROVER),
                self.disburse,
            ],
        ]


WAYS = [("entity", 0, place) for place in range(4)]
WAYS += [("house", 0, place) for place in range(3)]
WAYS += [("house", 1, place) for place in range(4)]
TRIALS = 1_000 if LONG else 2 * len(WAYS)
"""Each is one village, one loan, one trip: at every step, before it and behind it."""


# LS17.mon.3, LS18.mon.1
async def test_a_trip_at_every_step_lets_no_loan_through(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    before_trip = stopped = 0
    for number in range(TRIALS):
        village = f"990101{number // 900 + 1:03d}{number % 900 + 1:03d}"
        kind, which, place = WAYS[number % len(WAYS)]
        life = await a_life(servicer, consumer, kind, village)
        way = life.chains()[which]
        for step in way[:place]:
            await step()

        async def trip(village: str = village) -> tuple[int, int]:
            async with db.transaction(EVERY_COUNTY) as session:
                breaker = Breaker(COUNTY, BreakerScope.VILLAGE, village, True, 0, EFFECTS, 6, 9, 0)
                await store.trip_breakers(session, [breaker])
                # The breaker is ours now: whoever is not done yet must see it tripped.
                return await through(db, village)

        # The trip begins before the step, or behind it, and meets it in between.
        first = (number // len(WAYS)) % 2 == 0
        work: list[Awaitable[Any]] = [trip(), way[place]()] if first else [way[place](), trip()]
        answers = list(await steps.at_once(*work))
        told = answers.pop(0 if first else 1)
        if isinstance(answers[0], BaseException):
            assert isinstance(answers[0], LiandongError), answers[0]
        after = await through(db, village)
        assert told == after, f"trial {number}: {after} after, {told} before the trip"
        before_trip += after != (0, 0)

        # And what is left of the way is closed too.
        for step in way[place + 1 :]:
            try:
                await step()
            except LiandongError:
                stopped += 1
        assert await through(db, village) == after, f"trial {number} went on"

    assert before_trip > 0
    assert stopped > 0
    await steps.books_are_whole(db)


async def a_life(servicer: LoansServicer, consumer: Consumer, kind: str, village: str) -> Life:
    """A borrower in a village of its own."""
    if kind == "entity":
        company = Entity("village_company", area_code=village)
        await steps.take(consumer, company.registered())
        return Life(servicer, consumer, company)
    house = House(status="registered_poor", area_code=village)
    await steps.know(consumer, house)
    return Life(servicer, consumer, house)


async def through(db: Database, village: str) -> tuple[int, int]:
    """Loans of a village that were approved, and what was paid out of them."""
    ((approved, paid),) = await steps.rows(
        db,
        """SELECT count(*), coalesce(sum(outstanding_fen), 0)::bigint FROM loan
           WHERE area_code = $1 AND state IN ('approved', 'active', 'settled')""",
        village,
    )
    return int(approved), int(paid)
