"""`python -m tests.bench`: measure, hold the books against one another, print, keep."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from deploy.demo.run import print_books
from deploy.local import audit
from services.kernel import process
from tests.bench import (
    access_logs,
    doors,
    imports,
    loans,
    memory,
    peers,
    relay,
    rescores,
    reservations,
    settlements,
    strangers,
)
from tests.bench.county import BenchCounty
from tests.bench.driver import Driver
from tests.bench.figures import Figure, Results, machine, show, write_json, write_page
from tests.bench.rig import Rig, running
from tests.bench.settlements import Plan, Saga
from tests.bench.sizes import AMOUNTS, Amounts, Size

Found = tuple[list[Figure], int]

console = Console()


class Part(StrEnum):
    """What can be measured by itself, in the order of a run."""

    RELAY = "relay"
    IMPORT = "import"
    GATEWAY = "gateway"
    LOANS = "loans"
    PEERS = "peers"
    RESCORES = "rescores"
    RESERVATIONS = "reservations"
    ACCESS_LOG = "access-log"
    SETTLEMENTS = "settlements"
    STRANGERS = "strangers"


WRONG = {
    Part.RELAY: "relayed events lost or doubled",
    Part.IMPORT: "imported lines lost, doubled or unanswered",
    Part.GATEWAY: "calls refused at a door",
    Part.LOANS: "fen by which books of loans differ",
    Part.PEERS: "fen by which books beside peers differ",
    Part.RESCORES: "re-scored households wrong or doubled",
    Part.RESERVATIONS: "fen of cover above capacity or off the books",
    Part.ACCESS_LOG: "rows of the access log that do not hold",
    Part.SETTLEMENTS: "effects or payouts lost, doubled or not settled",
    Part.STRANGERS: "peers that ended without what they were asked for",
}
"""What must be zero after each part."""

IN_PROCESSES = frozenset({Part.SETTLEMENTS, Part.STRANGERS})
"""Measured on one process per service, as it is deployed: a settlement goes through all of them."""


class Bench:
    """One run on a platform of its own."""

    def __init__(self, rig: Rig, results: Results, amounts: Amounts, rounds: int) -> None:
        self._rig = rig
        self._results = results
        self._amounts = amounts
        self._rounds = rounds
        self._work = rig.stack.folder.private("files")
        self._county = BenchCounty.on(rig.stack, self._work)

    async def run(self, parts: list[Part]) -> None:
        """Each part by itself, then the books of the platform held against one another."""
        try:
            for part in Part:
                if part in parts:
                    await self._measure(part)
            if Part.SETTLEMENTS in parts:
                await self._audit()
        finally:
            await self._county.close()

    async def _measure(self, part: Part) -> None:
        console.print(f"{part} …")
        held = self._results.memory.setdefault(part.value, {})
        began = time.perf_counter()
        async with memory.watched(held):
            figures, wrong = await self._parts()[part]()
        console.print(f"  {time.perf_counter() - began:.0f} s", style="dim")
        self._results.figures += figures
        self._results.checks.append((WRONG[part], wrong))

    def _parts(self) -> dict[Part, Callable[[], Awaitable[Found]]]:
        amounts, rounds = self._amounts, self._rounds
        return {
            Part.RELAY: lambda: relay.measure(self._rig, events=amounts.events, rounds=rounds),
            Part.IMPORT: lambda: imports.measure(
                self._rig, lines=amounts.lines, villages=amounts.villages, rounds=rounds
            ),
            Part.GATEWAY: self._gateway,
            Part.LOANS: lambda: loans.measure(loans=amounts.loans, rounds=rounds),
            Part.PEERS: lambda: peers.measure(rounds=rounds),
            Part.RESCORES: lambda: rescores.measure(
                self._rig, households=amounts.households, villages=amounts.villages, rounds=rounds
            ),
            Part.RESERVATIONS: lambda: reservations.measure(rounds=rounds),
            Part.ACCESS_LOG: lambda: access_logs.measure(rows=amounts.log_rows, rounds=rounds),
            Part.SETTLEMENTS: self._settle,
            Part.STRANGERS: lambda: strangers.measure(self._rig, self._results, rounds=rounds),
        }

    def _driver(self, institution_id: str, *, post: int) -> Driver:
        institution = self._rig.stack.institution(institution_id)
        return Driver(self._work, institution, f"{institution_id}-p{post}")

    async def _gateway(self) -> Found:
        driver = self._driver(self._county.lender, post=1)
        return await doors.measure(
            self._rig, driver, requests=self._amounts.requests, rounds=self._rounds
        )

    async def _settle(self) -> Found:
        amounts = self._amounts
        plan = Plan(amounts.claims, amounts.rates, amounts.paced_seconds, self._rounds)
        console.print(f"  making a county of {plan.needed} insured loans …", style="dim")
        loop = asyncio.get_running_loop()
        began, cpu = loop.time(), self._rig.platform_cpu_seconds()
        numbers = await self._county.found(plan.needed)
        await self._county.lend(numbers)
        claim_ids = await self._county.storm(numbers)
        spent = self._rig.platform_cpu_seconds() - cpu
        self._results.facts["the county before"] = (
            f"{plan.needed} households registered, rated, lent to, insured and hit by the storm "
            f"in {loop.time() - began:.0f} s, {1_000 * spent / plan.needed:.1f} ms of the "
            "platform's processor time each"
        )
        saga = Saga(self._rig, self._driver(self._county.insurer, post=2), claim_ids)
        figures, wrong = await settlements.measure(saga, plan)
        await self._county.quiet()
        return figures, wrong + await saga.wrong()

    async def _audit(self) -> None:
        books = await audit.audit(self._county.get_totals)
        print_books(books, console)
        self._results.checks.append(("unbalanced_fen", books.unbalanced_fen))
        self._results.checks.append(("parked_events", books.parked_events))


async def bench(results: Results, parts: list[Part], amounts: Amounts, rounds: int) -> None:
    """Start a platform, measure on it, stop it; then likewise one of several processes."""
    for processes in (False, True):
        own = [part for part in parts if (part in IN_PROCESSES) is processes]
        if own:
            async with running(processes=processes) as rig:
                await Bench(rig, results, amounts, rounds).run(own)


def _keep(results: Results, parts: list[Part], json_path: Path, page: Path | None) -> None:
    measured = {name for name, _ in results.checks}
    results.skipped += [
        f"{part}: the run broke off before it was measured"
        for part in parts
        if WRONG[part] not in measured
    ]
    write_json(results, json_path)
    if page is not None:
        write_page(results, page, "make bench")


def main(
    *,
    size: Annotated[Size, typer.Option(help="How much is measured.")] = Size.SHORT,
    times: Annotated[float, typer.Option(min=0.001, help="So many times as much.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Of each figure; its median counts.")] = 3,
    only: Annotated[list[Part] | None, typer.Option(help="Measure this alone.")] = None,
    json_path: Annotated[Path, typer.Option("--json")] = Path(".liandong/bench.json"),
    page: Annotated[Path | None, typer.Option(help="Also write a page of Markdown.")] = None,
    note: Annotated[str, typer.Option(help="Said on the page: what else ran.")] = "",
) -> None:
    """Measure each figure beside this machine's own limit, in turns, in one run."""
    parts = only or list(Part)
    scaled = "" if times == 1 else f", {times:g} times as much"
    told = {"size": f"{size}{scaled}; {rounds} rounds; {', '.join(parts)}"}
    results = Results(facts=machine() | told | ({"beside it": note} if note else {}))
    # What is measured in this process works as in a process of the platform.
    process.rest_collector()
    began = time.perf_counter()
    try:
        uvloop.run(bench(results, parts, AMOUNTS[size].times(times), rounds))
    finally:
        # A run that breaks keeps what it measured, and says which parts are missing.
        seconds = f"{time.perf_counter() - began:.0f}"
        results.facts["seconds"] = seconds
        _keep(results, parts, json_path, page)
    show(results, console)
    console.print(f"bench: {results.line} seconds={seconds}", soft_wrap=True, highlight=False)
    raise typer.Exit(0 if results.counts else 1)


if __name__ == "__main__":
    typer.run(main)
