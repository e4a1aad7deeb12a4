"""`python -m tests.bench.soak`: at 70 % of saturation, memory, backlog and p99 over time."""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import typer
import uvloop
from liandong.loans.v1 import loans_pb2
from matplotlib import pyplot as plt
from nats.js import JetStreamContext
from rich.console import Console

from deploy.demo.counter import COUNTY, day_to_proto
from deploy.local import audit
from deploy.nats import topology
from services.kernel.outbox import STREAM
from tests.bench.county import BenchCounty
from tests.bench.driver import Driver
from tests.bench.figures import machine
from tests.bench.load import Outcome
from tests.bench.memory import resident_mib
from tests.bench.rig import Rig, running

METHOD = "/liandong.loans.v1.LoansService/RepayLoan"
LOANS = 400
SATURATING = 3_000
"""Repayments as fast as they go, to learn what saturation is."""
SHARE = 0.7
WINDOW_SECONDS = 20.0
FLAT_MEMORY = 1.15
FLAT_P99 = 2.0
"""By so much the last third may be above the first."""
_SCHEMAS = ("households", "credit", "loans", "claims", "funds")

console = Console()


@dataclass(frozen=True, slots=True)
class Moment:
    """One window of a soak."""

    minute: float
    asked: int
    refused: int
    """Turned away at a door that had too much to do; the books hold what was answered."""
    p50_ms: float
    p99_ms: float
    platform_mib: float
    backlog: int
    """Events that were not published or not heard when the window ended."""


class Soak:
    """A county's banks take repayments, one by one, for as long as told."""

    def __init__(self, rig: Rig, county: BenchCounty) -> None:
        self._rig = rig
        self._county = county
        self._lender_id = ""
        self._loan_ids: list[str] = []
        self._asked = self._answered = 0

    @property
    def _driver(self) -> Driver:
        work = self._rig.stack.folder.private("files")
        return Driver(work, self._rig.stack.institution(self._lender_id), f"{self._lender_id}-p1")

    async def make(self) -> None:
        """Households with loans."""
        numbers = await self._county.found(LOANS)
        await self._county.lend(numbers)
        async with self._rig.look() as connection:
            found = await connection.fetch(
                """SELECT lender_id, array_agg(loan_id::text) AS loan_ids FROM loans.loan
                   WHERE state = 'active' GROUP BY lender_id ORDER BY count(*) DESC LIMIT 1"""
            )
        assert found, "nobody borrowed"
        self._lender_id, self._loan_ids = found[0]["lender_id"], list(found[0]["loan_ids"])

    def _bodies(self, count: int) -> list[bytes]:
        day = day_to_proto(self._county.plan.starts_on)
        return [
            loans_pb2.RepayLoanRequest(
                request_id=str(uuid.uuid4()),
                county_code=COUNTY,
                loan_id=loan_id,
                amount_fen=1,
                value_date=day,
            ).SerializeToString()
            for loan_id in islice(cycle(self._loan_ids), count)
        ]

    async def _drive(self, count: int, *, rate: float = 0.0) -> Outcome:
        address = self._rig.stack.gateway_address
        outcome = await self._driver.drive(address, METHOD, self._bodies(count), rate=rate)
        self._asked += count
        self._answered += outcome.answered
        return outcome

    async def lost_or_doubled(self) -> int:
        """Repayments that were answered and are not in the books, or are there and nobody asked."""
        async with self._rig.look() as connection:
            posted: int = await connection.fetchval(
                "SELECT count(*) FROM loans.posting WHERE kind = 'repayment' AND amount_fen = 1"
            )
        return max(0, self._answered - posted) + max(0, posted - self._asked)

    async def saturation(self) -> float:
        """Repayments a second as fast as they go."""
        await self._drive(SATURATING // 10)
        outcome = await self._drive(SATURATING)
        assert outcome.refused == 0, outcome
        return SATURATING / outcome.seconds

    async def window(self, rate: float, seconds: float, minute: float) -> Moment:
        """Repayments at a steady rate, and how things stand after them."""
        asked = round(rate * seconds)
        outcome = await self._drive(asked, rate=rate)
        return Moment(
            minute=round(minute, 2),
            asked=asked,
            refused=outcome.refused,
            p50_ms=round(outcome.p50_ms, 2),
            p99_ms=round(outcome.p99_ms, 2),
            platform_mib=round(resident_mib().get("platform", 0.0), 1),
            backlog=await self._backlog(),
        )

    async def _backlog(self) -> int:
        async with self._rig.look() as connection:
            waiting = 0
            for schema in _SCHEMAS:
                waiting += await connection.fetchval(
                    f"SELECT count(*) FROM {schema}.outbox WHERE stream_sequence IS NULL"
                )
        operator = await self._rig.connect("operator")
        try:
            return waiting + await _unheard(operator.jetstream())
        finally:
            await operator.close()


async def _unheard(stream: JetStreamContext) -> int:
    hears = topology.load().hears
    found = [await stream.consumer_info(STREAM, noun) for noun in _SCHEMAS if hears.get(noun)]
    return sum((each.num_pending or 0) + (each.num_ack_pending or 0) for each in found)


async def soak(minutes: float) -> tuple[float, list[Moment], int]:
    """Saturation, how it went, and what is wrong in the books afterwards."""
    async with running() as rig:
        county = BenchCounty.on(rig.stack, rig.stack.folder.private("files"))
        try:
            work = Soak(rig, county)
            console.print("making a county of loans …")
            await work.make()
            saturated = await work.saturation()
            console.print(f"saturated at {saturated:.0f}/s; {minutes:g} minutes at {SHARE:.0%}")
            loop = asyncio.get_running_loop()
            began, moments = loop.time(), []
            while (passed := loop.time() - began) < minutes * 60:
                seconds = min(WINDOW_SECONDS, minutes * 60 - passed)
                moments.append(await work.window(SHARE * saturated, seconds, passed / 60))
            await county.quiet()
            books = await audit.audit(county.get_totals)
            wrong = await work.lost_or_doubled() + books.unbalanced_fen + books.parked_events
        finally:
            await county.close()
    return saturated, moments, wrong


def _thirds(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and the last third."""
    size = max(1, len(values) // 3)
    first, last = sorted(values[:size]), sorted(values[-size:])
    return first[len(first) // 2], last[len(last) // 2]


def _plot(moments: Sequence[Moment], path: Path) -> None:
    mpl.use("Agg")
    figure, rows = plt.subplots(3, 1, figsize=(7, 7), sharex=True)
    minutes = [each.minute for each in moments]
    for axes, name, label in (
        (rows[0], "platform_mib", "memory, MiB"),
        (rows[1], "backlog", "backlog, events"),
        (rows[2], "p99_ms", "p99, ms"),
    ):
        axes.plot(minutes, [getattr(each, name) for each in moments], marker=".")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
    rows[-1].set_xlabel("minutes")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)


def main(
    *,
    minutes: Annotated[float, typer.Option(envvar="LIANDONG_SOAK_MINUTES")] = 30.0,
    folder: Annotated[Path, typer.Option(help="Where page and picture go.")] = Path(
        "docs/evidence"
    ),
    note: Annotated[str, typer.Option(help="Said on the page: what else ran.")] = "",
) -> None:
    """Soak, plot, print."""
    began = time.perf_counter()
    facts = machine() | ({"beside it": note} if note else {})
    saturated, moments, wrong = uvloop.run(soak(minutes))
    folder.mkdir(parents=True, exist_ok=True)
    _plot(moments, folder / "soak.png")
    memory = _thirds([each.platform_mib for each in moments])
    p99 = _thirds([each.p99_ms for each in moments])
    backlog = max(each.backlog for each in moments)
    flat = memory[1] <= FLAT_MEMORY * memory[0] and p99[1] <= FLAT_P99 * p99[0]
    line = (
        f"soak: minutes={minutes:g} saturation={saturated:.0f}/s rate={SHARE * saturated:.0f}/s "
        f"memory_mib={memory[0]:.0f}->{memory[1]:.0f} p99_ms={p99[0]:.1f}->{p99[1]:.1f} "
        f"backlog_max={backlog} turned_away={sum(each.refused for each in moments)} "
        f"flat={'yes' if flat else 'no'} wrong={wrong} "
        f"seconds={time.perf_counter() - began:.0f}"
    )
    held = {"facts": facts, "line": line, "moments": [asdict(each) for each in moments]}
    (folder / "soak.json").write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    page = [
        "# Soak",
        "",
        "Written by `make soak`; do not edit. Repayments one by one through the gateway at 70 % of",
        "what saturates it: memory of the platform, events not yet published or heard, p99.",
        "",
        f"`{line}`",
        "",
        "![memory, backlog and p99 over time](soak.png)",
        "",
        *(f"- {name}: {text}" for name, text in facts.items()),
        "",
    ]
    (folder / "soak.md").write_text("\n".join(page), encoding="utf-8")
    console.print(line, soft_wrap=True, highlight=False)
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
