"""The demo: a platform of its own, the county's year on it, its books and one trace."""

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.demo import bulletin
from deploy.demo.counter import Story
from deploy.demo.year import Year
from deploy.local import audit, places
from deploy.local.audit import Audit
from deploy.local.client import Institution, credentials_in
from deploy.local.processes import remove_folder, ticks
from deploy.local.remote import Remote
from deploy.local.spans import SpanStore, StoredSpan, tree
from deploy.local.stack import Shape, Stack
from deploy.nats import topology
from services.programmes.loader import load

COUNTY_FOLDER = Path(__file__).parent / "county"
SEED = 20180301
TRACE_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How the demo is to run."""

    seed: int = SEED
    scale: float = 1.0
    resume: bool = False
    processes: bool = False
    keep: bool = False
    gateway: str = ""
    """Address of a platform that runs already; empty to start one."""
    certificates: Path | None = None
    env: str = "local"
    folder: str = "demo"


def shape(*, processes: bool, console: bool = False) -> Shape:
    """The example county on one machine."""
    return Shape(
        programme_folders=(COUNTY_FOLDER,),
        institutions_path=COUNTY_FOLDER / "institutions.yaml",
        processes=processes,
        console=console,
    )


def print_console(stack: Stack, console: Console) -> None:
    """Where the console is, and a link into it for each role that looks at the whole county."""
    print(f"console: {stack.console_url}")
    roles = Remote.read(stack.folder).institutions
    for wanted in ("county_centre", "bank", "operator", "auditor"):
        first = next((each for each, role in roles.items() if role == wanted), None)
        if first is not None:
            print(f"  {wanted}: {stack.console_link(first)}")
    console.print("other links: liandong console link --institution ID --person ID --folder …")


async def run(options: Options, console: Console) -> int:
    """Run the demo; 0 when nothing is unbalanced or parked and the bulletin is the journal's."""
    if options.gateway:
        assert options.certificates is not None
        return await _live(options, console, options.gateway, options.certificates, None)
    found = places.find()
    folder = found.folder(options.folder)
    if not options.resume:
        await remove_folder(folder)
        folder = found.folder(options.folder)
    console.print("starting PostgreSQL, NATS, five services and the gateway …")
    stack = Stack(found, folder, shape(processes=options.processes, console=options.keep))
    async with stack:
        console.print(f"the platform serves at {stack.gateway_address}")
        certificates = folder.private("certs")
        keeps = stack if options.keep else None
        code = await _live(
            options, console, stack.gateway_address, certificates, stack.spans, keeps=keeps
        )
        if options.keep:
            console.print(f"kept up at {stack.gateway_address}; end it with Ctrl-C or `make down`")
            await stack.until_asked_to_stop()
    return code


async def _live(
    options: Options,
    console: Console,
    address: str,
    certificates: Path,
    spans: SpanStore | None,
    *,
    keeps: Stack | None = None,
) -> int:
    began = time.monotonic()
    work = places.find().folder(f"{options.folder}-files").private("files")

    def open_institution(institution_id: str) -> Institution:
        own = credentials_in(certificates, institution_id, options.env)
        return Institution(address, own, institution_id)

    year = Year(
        open_institution,
        load([COUNTY_FOLDER]),
        topology.load(),
        folder=work,
        seed=options.seed,
        scale=options.scale,
        say=lambda text: console.print(
            f"[dim]{time.monotonic() - began:6.1f} s[/dim]  {escape(text)}", highlight=False
        ),
    )
    try:
        story = await year.live()
        books = await audit.audit(year.get_totals)
        annual = await year.annual_bulletin(books.totals)
    finally:
        await year.close()
    print_books(books, console)
    if spans is not None:
        _print_trace(story, await _trace(spans, story.trace_id), console)
    seconds = round(time.monotonic() - began)
    calls = f"{year.calls} calls, {year.retries} asked again"
    console.print(f"[dim]{calls}[/dim]")
    bulletin.print_bulletin(annual, console)
    if keeps is not None:
        print_console(keeps, console)
    totals = books.totals
    # The last line is read by machines.
    print(
        f"demo: households={totals['households.households_count']}"
        f" loans={totals['loans.disbursed_count']}"
        f" payouts={totals['claims.payouts_count']}"
        f" compensated={totals['funds.cases_paid_count']}"
        f" unbalanced_fen={books.unbalanced_fen} parked_events={books.parked_events}"
        f" seconds={seconds}",
        flush=True,
    )
    whole = books.unbalanced_fen == 0 and books.parked_events == 0 and annual.wrong == 0
    return 0 if whole else 1


def print_books(books: Audit, console: Console) -> None:
    """The money table, and every check with its difference."""
    money = Table(title="Money", title_justify="left")
    money.add_column("what")
    money.add_column("fen", justify="right")
    for name, value in sorted(books.totals.items()):
        if name.endswith("_fen") and not name.startswith("journal."):
            money.add_row(name, f"{value:,}")
    console.print(money)
    checks = Table(title="Checks", title_justify="left")
    checks.add_column("what must be equal")
    for column in ("left", "right", "difference"):
        checks.add_column(column, justify="right")
    for line in books.lines:
        style = "bold red" if line.difference else ""
        checks.add_row(
            line.check, f"{line.left:,}", f"{line.right:,}", f"{line.difference:,}", style=style
        )
    console.print(checks)


async def _trace(spans: SpanStore, trace_id: str) -> list[StoredSpan]:
    """The spans of a trace, once all of it has arrived."""
    found: list[StoredSpan] = []
    async for _ in ticks(TRACE_SECONDS_MAX, pause=0.5):
        now = spans.trace(trace_id)
        services = {span.service for span in now}
        if now and len(now) == len(found) and {"gateway", "claims", "loans", "funds"} <= services:
            return now
        found = now
    return found


def _print_trace(story: Story, spans: list[StoredSpan], console: Console) -> None:
    console.print(f"\nOne payout, trace {story.trace_id}:")
    for line in tree(spans):
        console.print(f"  {escape(line)}", highlight=False)
