"""The payout load: claims are paid and confirmed while processes die and letters go astray."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date, timedelta
from typing import Self
from uuid import UUID, uuid4

import asyncpg
import nats.errors
from liandong.claims.v1 import claims_pb2
from liandong.common.v1 import operator_pb2

from deploy.demo.counter import COUNTY, day_to_proto
from deploy.local.nats import connect
from deploy.local.remote import Operator
from deploy.local.stack import Stack
from services.kernel import wire
from services.kernel.outbox import STREAM
from services.kernel.pull import Puller
from tests.faults.harness import Kill, Load, Outcome, ask

log = logging.getLogger(__name__)

SAGA = ("loans", "claims", "funds")
CLAIMS_EACH = 12
"""Claims in one round of the load."""
ROUNDS_MAX = 150
LOSS_MIN_FEN, LOSS_MAX_FEN = 3_000, 400_000
STOLEN_MAX = 12
BACK_SECONDS_MAX = 0.6
PAUSE_SECONDS = 0.4
DOUBLED_MAX = 40


def often(names: Sequence[str], *, seed: int, kills: int) -> list[Kill]:
    """So many kills of anybody, a few commands apart."""
    rng = random.Random(seed)
    at, found = 0, []
    for _ in range(kills):
        at += rng.randint(1, 5)
        found.append(Kill(at, rng.choice(names), rng.randrange(300)))
    return sorted(found)


class Mess:
    """Takes letters off their durables and gives them back late; has old ones published again."""

    def __init__(self, stack: Stack, load: Load, *, seed: int) -> None:
        self._stack = stack
        self._load = load
        self._rng = random.Random(seed)
        self.stolen = 0
        self.doubled = 0

    @property
    def is_made(self) -> bool:
        """Whether letters came late and came again: without it a load shows nothing."""
        return self.stolen > 0 and self.doubled > 0

    @asynccontextmanager
    async def made(self) -> AsyncIterator["Mess"]:
        """Make it while the block lasts."""
        tasks = [asyncio.create_task(self._steal(noun)) for noun in SAGA]
        tasks.append(asyncio.create_task(self._double()))
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _steal(self, noun: str) -> None:
        """What is given back late is overtaken by what follows it."""
        own = self._stack.ca.service("operator")
        client = await connect(
            self._stack.nats.url,
            own,
            "operator",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.3,
        )
        try:
            while True:
                with suppress(TimeoutError, nats.errors.Error, OSError):
                    puller = await Puller.bind(
                        client, stream=STREAM, durable=noun, batch_max=STOLEN_MAX
                    )
                    for letter in await puller.fetch(self._rng.randint(1, STOLEN_MAX)):
                        await letter.nak(delay=self._rng.uniform(0.01, BACK_SECONDS_MAX))
                        self.stolen += 1
                    await puller.close()
                await asyncio.sleep(self._rng.uniform(0, PAUSE_SECONDS))
        finally:
            # A client whose server has just died has nobody to say goodbye to.
            with suppress(AttributeError, nats.errors.Error, OSError):
                await client.close()

    async def _double(self) -> None:
        """An operator has a range of some service's events published again."""
        operator = Operator(self._load.year._client("opr-0001"))
        while True:
            noun = self._rng.choice(SAGA)
            last = (await operator.totals(noun, COUNTY, positions_only=True)).event_position
            first = self._rng.randint(max(1, last - 5 * DOUBLED_MAX), last)
            request = operator_pb2.RepublishEventsRequest(
                request_id=str(uuid4()), from_position=first, to_position=first + DOUBLED_MAX
            )
            answer = await operator.ask(noun, "RepublishEvents", request)
            self.doubled += answer.events
            await asyncio.sleep(self._rng.uniform(PAUSE_SECONDS, 3 * PAUSE_SECONDS))


class Paying:
    """Households that can be paid, and rounds of claims by them."""

    def __init__(self, stack: Stack, load: Load, *, seed: int) -> None:
        self._stack = stack
        self._load = load
        self._rng = random.Random(seed)
        self._rows: Sequence[asyncpg.Record] = ()
        self._losses = Losses(date.min, ())
        self.rounds = 0

    async def prepare(self) -> Self:
        """Find out who can be paid, and for which days."""
        self._rows = await ask(
            self._stack,
            # Who has no account is not paid, and a borrower who died is paid through the heirs.
            """SELECT i.household_id, max(h.area_code) AS area_code
               FROM claims.insured AS i JOIN claims.household AS h USING (county_code, household_id)
               JOIN claims.payee_account AS a USING (county_code, household_id)
               WHERE i.cover_id = 'natural_disaster' AND h.status NOT IN ('delisted', 'deceased')
               GROUP BY 1 ORDER BY 1""",
        )
        assert self._rows, "nobody can be paid"
        today = (await self._load.year.get_totals("claims", positions_only=True)).business_date
        self._losses = Losses(wire.date_from_proto("today", today), await _claimed(self._stack))
        return self

    async def round(self) -> None:
        """Some households claim, and all of it is paid and confirmed."""
        self.rounds += 1
        reports = [
            (row["area_code"], _report(row["household_id"], self._losses, self._rng))
            for row in self._rng.sample(self._rows, min(CLAIMS_EACH, len(self._rows)))
        ]
        await self._load.year._claim(reports)


async def pay(stack: Stack, load: Load, kills: Sequence[Kill], *, seed: int) -> Outcome:
    """Claims upon claims until everybody who was to die has died; then rest, and a look."""
    killer = load.under_fire(kills)
    paying = await Paying(stack, load, seed=seed).prepare()
    async with Mess(stack, load, seed=seed).made() as mess:
        while paying.rounds < ROUNDS_MAX and not (killer.is_done and mess.is_made):
            await paying.round()
    killed = await killer.finish()
    await load.year.quiet()
    assert mess.stolen > 0, "no letter went astray"
    assert mess.doubled > 0, "no letter came twice"
    log.info(
        "%d letters came late, %d came again, %d rounds", mess.stolen, mess.doubled, paying.rounds
    )
    return await load.look(killed)


class Losses:
    """Days on which a household has lost nothing yet: one event is paid once."""

    def __init__(self, today: date, claimed: Collection[tuple[UUID, date]]) -> None:
        self._today = today
        self._claimed = set(claimed)

    def next_of(self, household_id: UUID) -> date:
        """The last such day."""
        day = self._today
        while (household_id, day) in self._claimed:
            day -= timedelta(days=1)
        self._claimed.add((household_id, day))
        return day


async def _claimed(stack: Stack) -> list[tuple[UUID, date]]:
    rows = await ask(stack, "SELECT DISTINCT household_id, loss_date FROM claims.claim")
    return [(row["household_id"], row["loss_date"]) for row in rows]


def _report(household_id: UUID, losses: Losses, rng: random.Random) -> claims_pb2.ClaimReport:
    lost_on = losses.next_of(household_id)
    return claims_pb2.ClaimReport(
        household_id=str(household_id),
        cover_id="natural_disaster",
        loss_date=day_to_proto(lost_on),
        cause="storm",
        assessed_fen=rng.randint(LOSS_MIN_FEN, LOSS_MAX_FEN),
        documents=[f"sha256:{lost_on}"],
    )


async def require_once(stack: Stack) -> int:
    """Every payout is allocated, booked and settled, once; how many there are."""
    rows = await ask(
        stack,
        """SELECT p.payout_id, p.state, p.amount_fen,
                  (SELECT count(*) FROM loans.allocation AS a WHERE a.payout_id = p.payout_id
                     AND a.lenders_fen = p.lenders_fen AND a.household_fen = p.household_fen)
                      AS allocated,
                  (SELECT count(*) FROM loans.outbox AS o WHERE o.aggregate_id = p.payout_id::text
                     AND o.event_type = 'liandong.loans.v1.payout_allocated') AS said,
                  (SELECT coalesce(sum(s.amount_fen), 0) FROM loans.posting AS s
                     WHERE s.kind = 'payout' AND s.reference = p.payout_id::text) AS posted,
                  p.lenders_fen,
                  (SELECT coalesce(sum(i.amount_fen), 0) FROM claims.instruction AS i
                     WHERE i.payout_id = p.payout_id AND i.state = 'confirmed') AS paid
           FROM claims.payout AS p""",
    )
    for row in rows:
        assert row["state"] == "settled", row
        assert (row["allocated"], row["said"]) == (1, 1), row
        assert row["posted"] == row["lenders_fen"], row
        assert row["paid"] == row["amount_fen"], row
    return len(rows)


async def doubled(stack: Stack) -> int:
    """How many payouts were allocated or booked more than once."""
    rows = await ask(
        stack,
        """SELECT count(*) FROM claims.payout AS p
           WHERE (SELECT count(*) FROM loans.allocation AS a WHERE a.payout_id = p.payout_id) > 1
              OR (SELECT coalesce(sum(s.amount_fen), 0) FROM loans.posting AS s
                  WHERE s.kind = 'payout' AND s.reference = p.payout_id::text) > p.lenders_fen""",
    )
    return int(rows[0][0])
