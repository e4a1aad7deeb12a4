"""`python -m tests.bench`: measure, hold the books against one another, print, keep."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from deploy.demo.run import print_books
from deploy.local import audit
from tests.bench import (
    access_logs,
    doors,
    imports,
    loans,
    relay,
    rescores,
    reservations,
    settlements,
)
from tests.bench.county import BenchCounty
from tests.bench.driver import Driver
from tests.bench.figures import Results, machine, show, write_json, write_page
from tests.bench.rig import Rig, running
from tests.bench.settlements import Plan, Saga

RELAY_EVENTS = 50_000
REQUESTS = 4_000
RECORDED = "Absurd 154-173, Restate 144-164, DBOS 22-25 settlements/s of three steps"

console = Console()


class Part(StrEnum):
    """What can be measured by itself."""

    SETTLEMENTS = "settlements"
    RELAY = "relay"
    GATEWAY = "gateway"
    LOANS = "loans"
    RESCORES = "rescores"
    RESERVATIONS = "reservations"
    IMPORT = "import"
    ACCESS_LOG = "access-log"


def plan_of(*, full: bool, claims: int, rounds: int) -> Plan:
    """How much is settled in a short run and in a full one."""
    if full:
        return Plan(claims or 20_000, rates=(50, 300), seconds=20, rounds=rounds, loans=100_000)
    return Plan(claims or 2_000, rates=(50,), seconds=20 / 3, rounds=rounds, loans=6_000)


async def bench(plan: Plan, parts: list[Part], *, full: bool = False) -> Results:
    """Start a platform, measure on it, stop it."""
    results = Results(facts=machine())
    async with running() as rig:
        work = rig.stack.folder.private("files")
        county = BenchCounty.on(rig.stack, work)
        try:
            if Part.RELAY in parts:
                console.print("relay …")
                figures, wrong = await relay.measure(rig, events=RELAY_EVENTS, rounds=plan.rounds)
                results.figures += figures
                results.checks.append(("relayed events lost or doubled", wrong))
            if Part.IMPORT in parts:
                console.print("import …")
                figures, wrong = await imports.measure(rig, rounds=plan.rounds)
                results.figures += figures
                results.checks.append(("imported lines lost, doubled or unanswered", wrong))
            if Part.GATEWAY in parts:
                console.print("gateway …")
                driver = _driver(rig, work, county.lender, post=1)
                results.figures += await doors.measure(
                    rig, driver, requests=REQUESTS, rounds=plan.rounds
                )
            if Part.LOANS in parts:
                console.print("loans …")
                figures, wrong = await loans.measure(loans=plan.loans, rounds=plan.rounds)
                results.figures += figures
                results.checks.append(("fen by which books of loans differ", wrong))
            if Part.RESCORES in parts:
                console.print("re-scores …")
                size = rescores.PROVINCE_PART if full else rescores.COUNTY_SIZE
                figures, wrong = await rescores.measure(rig, households=size, rounds=plan.rounds)
                results.figures += figures
                results.checks.append(("re-scored households wrong or doubled", wrong))
            if Part.RESERVATIONS in parts:
                console.print("reservations …")
                figures, wrong = await reservations.measure(rounds=plan.rounds)
                results.figures += figures
                results.checks.append(("fen of cover above capacity or off the books", wrong))
            if Part.ACCESS_LOG in parts:
                await _check_access_log(results, full=full, rounds=plan.rounds)
            if Part.SETTLEMENTS in parts:
                await _settle(rig, county, plan, results)
            if Part.SETTLEMENTS in parts:
                await _audit(county, results)
        finally:
            await county.close()
    return results


async def _check_access_log(results: Results, *, full: bool, rounds: int) -> None:
    console.print("access log …")
    rows = 1_000_000 if full else 100_000
    figures, wrong = await access_logs.measure(rows=rows, rounds=rounds)
    results.figures += figures
    results.checks.append(("rows of the access log that do not hold", wrong))


def _driver(rig: Rig, work: Path, institution_id: str, *, post: int) -> Driver:
    return Driver(work, rig.stack.institution(institution_id), f"{institution_id}-p{post}")


async def _settle(rig: Rig, county: BenchCounty, plan: Plan, results: Results) -> None:
    console.print(f"making a county of {plan.needed} insured loans …")
    loop = asyncio.get_running_loop()
    began, cpu = loop.time(), rig.platform_cpu_seconds()
    numbers = await county.found(plan.needed)
    await county.lend(numbers)
    claim_ids = await county.storm(numbers)
    spent = rig.platform_cpu_seconds() - cpu
    results.facts["the county before"] = (
        f"{plan.needed} households registered, rated, lent to, insured and hit by the storm in "
        f"{loop.time() - began:.0f} s, {1_000 * spent / plan.needed:.1f} ms of the platform's "
        "processor time each"
    )
    console.print("settlements …")
    driver = _driver(rig, rig.stack.folder.private("files"), county.insurer, post=2)
    saga = Saga(rig, driver, claim_ids)
    figures, wrong = await settlements.measure(saga, plan)
    results.figures[:0] = figures
    results.facts["others, as recorded before and not run here"] = RECORDED
    await county.quiet()
    results.checks.append(("bare effects lost or doubled", wrong))
    results.checks.append(("payouts lost, doubled or not settled", await saga.wrong()))


async def _audit(county: BenchCounty, results: Results) -> None:
    await county.quiet()
    books = await audit.audit(county.get_totals)
    print_books(books, console)
    results.checks.append(("unbalanced_fen", books.unbalanced_fen))
    results.checks.append(("parked_events", books.parked_events))


def main(
    *,
    full: Annotated[bool, typer.Option(help="20,000 claims a round, and 300/s too.")] = False,
    claims: Annotated[int, typer.Option(help="Approved at once a round; 0 for the usual.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Of each figure; its median counts.")] = 3,
    only: Annotated[list[Part] | None, typer.Option(help="Measure this alone.")] = None,
    json_path: Annotated[Path, typer.Option("--json")] = Path(".liandong/bench.json"),
    page: Annotated[Path | None, typer.Option(help="Also write a page of Markdown.")] = None,
) -> None:
    """Measure each figure beside this machine's own limit, in turns, in one run."""
    plan = plan_of(full=full, claims=claims, rounds=rounds)
    results = uvloop.run(bench(plan, only or list(Part), full=full))
    show(results, console)
    write_json(results, json_path)
    if page is not None:
        write_page(results, page, "make bench" if not full else "make bench FULL=1")
    ratios = " ".join(f"{each.name.replace(' ', '_')}={each.ratio:.2f}" for each in results.figures)
    checks = " ".join(f"{name.replace(' ', '_')}={off}" for name, off in results.checks)
    console.print(f"bench: {ratios} {checks}", soft_wrap=True, highlight=False)
    raise typer.Exit(0 if results.counts else 1)


if __name__ == "__main__":
    typer.run(main)
