"""Settlements through the real saga beside the bare chain: how many a second, and how soon."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from liandong.claims.v1 import claims_pb2

from deploy.demo.counter import BATCH_ITEMS, COUNTY, parts
from tests.bench.chain import Chain, bare_chain
from tests.bench.driver import Driver
from tests.bench.figures import Figure
from tests.bench.load import quantile
from tests.bench.rig import Rig
from tests.eventually import eventually

SERVICE = "/liandong.claims.v1.ClaimsService"
SECONDS_MAX = 600.0
BATCHES_AT_ONCE = 4

# Approved in claims, allocated in loans, instructed in claims: when each was committed, in seconds.
_COMMITS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(a.transaction_id::xid))::float8 AS approved,
       extract(epoch FROM pg_xact_commit_timestamp(s.xmin))::float8 AS settled,
       extract(epoch FROM pg_xact_commit_timestamp(i.transaction_id::xid))::float8 AS instructed
FROM claims.claim
JOIN claims.journal AS a ON a.kind = 'payout_authorised' AND a.cause_id = claim.payout_id::text
                        AND a.line = 0
JOIN loans.allocation AS s ON s.county_code = claim.county_code AND s.payout_id = claim.payout_id
JOIN claims.instruction AS o ON o.county_code = claim.county_code AND o.payout_id = claim.payout_id
JOIN claims.journal AS i ON i.kind = 'instruction_opened' AND i.cause_id = o.instruction_id::text
                        AND i.line = 0
WHERE claim.county_code = $1 AND claim.claim_id = ANY ($2::uuid[])
"""
_INSTRUCTED = "SELECT count(*) FROM claims.payout WHERE state <> 'authorised'"
_SETTLED = "SELECT count(*) FROM loans.loan WHERE state = 'settled'"
_WRONG = """
SELECT (SELECT count(*) FROM (SELECT payout_id FROM claims.payout EXCEPT
                              SELECT payout_id FROM loans.allocation) AS never)
     + (SELECT count(*) FROM (SELECT payout_id FROM claims.instruction WHERE payee_kind = 'lender'
                              GROUP BY payout_id HAVING count(*) <> 1) AS again)
"""


@dataclass(frozen=True, slots=True)
class Commits:
    """When the steps of settlements were committed, each in the order of the claims."""

    approved: tuple[float, ...]
    settled: tuple[float, ...]
    instructed: tuple[float, ...]

    @property
    def hops_ms(self) -> list[float]:
        """From each approval to the settlement of the loan."""
        pairs = zip(self.approved, self.settled, strict=True)
        return [1_000 * (settled - approved) for approved, settled in pairs]


@dataclass(slots=True)
class Saga:
    """Claims that wait for their approval, and how to give it."""

    rig: Rig
    driver: Driver
    claim_ids: list[str]
    settled: int = 0
    refused: int = 0

    def take(self, count: int) -> list[str]:
        """Claims that were never approved."""
        taken, self.claim_ids = self.claim_ids[:count], self.claim_ids[count:]
        assert len(taken) == count, "the county has too few claims"
        return taken

    async def at_once(self, count: int) -> tuple[float, float]:
        """Approve in batches; settlements a second until all are instructed, and CPU ms of each."""
        taken = self.take(count)
        bodies = [
            claims_pb2.BatchAdjudicateClaimsRequest(
                request_id=str(uuid.uuid4()),
                county_code=COUNTY,
                items=[claims_pb2.ClaimDecision(claim_id=each, approve=True) for each in part],
            ).SerializeToString()
            for part in parts(taken, BATCH_ITEMS)
        ]
        cpu = self.rig.platform_cpu_seconds()
        method = f"{SERVICE}/BatchAdjudicateClaims"
        address = self.rig.stack.gateway_address
        outcome = await self.driver.drive(address, method, bodies, at_once=BATCHES_AT_ONCE)
        assert outcome.refused == 0, outcome
        commits = await self._commits(taken)
        cpu = self.rig.platform_cpu_seconds() - cpu
        seconds = max(commits.instructed) - outcome.began
        return count / seconds, 1_000 * cpu / count

    async def paced(self, rate: float, seconds: float) -> list[float]:
        """Approve one by one at a steady rate; milliseconds from approved to settled."""
        taken = self.take(round(rate * seconds))
        bodies = [
            claims_pb2.AdjudicateClaimRequest(
                request_id=str(uuid.uuid4()), county_code=COUNTY, claim_id=each, approve=True
            ).SerializeToString()
            for each in taken
        ]
        method = f"{SERVICE}/AdjudicateClaim"
        address = self.rig.stack.gateway_address
        outcome = await self.driver.drive(address, method, bodies, rate=rate)
        # On an overloaded machine some are; then the run goes on, and does not count.
        self.refused += outcome.refused
        return (await self._commits(taken, refused=outcome.refused)).hops_ms

    async def wrong(self) -> int:
        """Payouts never allocated or not instructed exactly once, and approvals refused."""
        async with self.rig.look() as connection:
            found: int = await connection.fetchval(_WRONG)
            settled: int = await connection.fetchval(_SETTLED)
        return found + abs(settled - self.settled) + self.refused

    async def _commits(self, claim_ids: Sequence[str], *, refused: int = 0) -> Commits:
        self.settled += len(claim_ids) - refused
        async with self.rig.look() as connection:
            # One that was refused for its deadline may have been done all the same.
            await eventually(
                lambda: _count(connection), self.settled.__le__, seconds_max=SECONDS_MAX
            )
            rows = await connection.fetch(
                _COMMITS, COUNTY, [uuid.UUID(claim_id) for claim_id in claim_ids]
            )
        went = len(rows) + refused
        assert went >= len(claim_ids), f"{went} of {len(claim_ids)} went all the way"
        return Commits(
            *(tuple(row[step] for row in rows) for step in ("approved", "settled", "instructed"))
        )


async def _count(connection: asyncpg.Connection) -> int:
    found: int = await connection.fetchval(_INSTRUCTED)
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is settled."""

    claims: int
    rates: tuple[int, ...]
    seconds: float
    """Of every round of a rate."""
    rounds: int

    @property
    def needed(self) -> int:
        """Claims that the whole plan approves, with one small batch to warm up."""
        paced = sum(round(rate * self.seconds) for rate in self.rates)
        return WARM_UP + self.rounds * (self.claims + paced)


WARM_UP = 100


async def measure(saga: Saga, plan: Plan) -> tuple[list[Figure], int]:
    """All figures of settlements, and how many of the bare chain's effects are wrong."""
    figures = []
    async with bare_chain(saga.rig) as chain:
        await saga.at_once(WARM_UP)
        await chain.drained(WARM_UP)
        pairs, cpus = [], []
        for _ in range(plan.rounds):
            ours, cpu = await saga.at_once(plan.claims)
            pairs.append((ours, await chain.drained(plan.claims)))
            cpus.append(cpu)
        figures.append(
            Figure(
                name="settlements",
                unit="/s",
                limit_name=f"the bare chain (one hop; ours is two), {plan.claims} drained",
                pairs=tuple(pairs),
                goal=0.5,
                stretch=0.8,
                note=f"one process per service; they used {sorted(cpus)[len(cpus) // 2]:.2f} ms of "
                "processor time for each, gateway to instruction",
            )
        )
        for rate in plan.rates:
            figures += await _latency(saga, chain, plan, rate)
        return figures, await chain.lost_or_doubled()


async def _latency(saga: Saga, chain: Chain, plan: Plan, rate: int) -> list[Figure]:
    rounds = []
    for _ in range(plan.rounds):
        ours = await saga.paced(rate, plan.seconds)
        rounds.append((ours, await chain.hops(rate, plan.seconds)))
    return [
        Figure(
            name=f"approved to settled at {rate}/s, {name}",
            unit="ms",
            limit_name=f"the bare chain's hop at {rate}/s, commit to commit, {plan.seconds:g} s",
            pairs=tuple((quantile(ours, share), quantile(bare, share)) for ours, bare in rounds),
            goal=goal,
            stretch=stretch,
            less_is_better=True,
            note="one process per service",
        )
        for name, share, goal, stretch in (("p50", 0.50, 2.0, 1.5), ("p99", 0.99, 3.0, 2.0))
    ]
