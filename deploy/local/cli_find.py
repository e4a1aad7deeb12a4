"""The `liandong find` and `liandong trace` commands: what an id is, its story, a trace's tree."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer
from liandong.gateway.v1 import find_pb2 as pb
from liandong.gateway.v1 import find_pb2_grpc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.local import places
from deploy.local.cli_run import run
from deploy.local.client import Institution
from deploy.local.remote import Remote
from deploy.local.spans import SpanStore, StoredSpan, TraceSummary, tree
from services.programmes.schema.deployment import InstitutionRole

STUB: Any = find_pb2_grpc.FindServiceStub
PAGE = 100
PAGES_MAX = 50

console = Console()

Folder = Annotated[str, typer.Option("--folder", help="Data folder of the platform.")]


def find(
    one: Annotated[str, typer.Argument(metavar="ID", help="A UUID, or a trace.")],
    *,
    folder: Folder = "main",
    institution: Annotated[
        str, typer.Option("--as", help="As which institution; the auditor when left out.")
    ] = "",
) -> None:
    """Say what an id is and tell its story, as far as the institution may know of it."""

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        caller = institution or remote.with_role(InstitutionRole.AUDITOR)
        async with remote.institution(caller) as client:
            found = await client.call(STUB, "Find", pb.FindRequest(id=one))
            for each in found.findings:
                console.print(
                    f"{each.words_zh} ({each.words}) {each.id}"
                    + (f", county {each.county_code}" if each.county_code else "")
                    + (f", household {each.household_id}" if each.household_id else ""),
                    highlight=False,
                )
            kind = found.findings[0].kind
            table = Table("day", "recorded", "what", "of", "yuan", "by", "trace", "call")
            async for answer in _story(client, kind, one):
                for step in answer.steps:
                    table.add_row(*_row(step))
            console.print(table)

    run(work())


async def _story(client: Institution, kind: str, one: str) -> AsyncIterator[pb.TellStoryResponse]:
    """A story page by page, so many at most."""
    token = ""
    for _ in range(PAGES_MAX):
        request = pb.TellStoryRequest(kind=kind, id=one, page_size=PAGE, page_token=token)
        answer = await client.call(STUB, "TellStory", request)
        yield answer
        token = answer.next_page_token
        if not token:
            return


def _row(step: pb.StoryStep) -> list[str]:
    day = step.business_date
    amounts = [f"{each.words_zh} {each.amount_fen / 100:,.2f}" for each in step.amounts]
    return [
        f"{day.year:04d}-{day.month:02d}-{day.day:02d}" if day.year else "",
        f"{step.recorded_time.ToDatetime():%Y-%m-%d %H:%M:%S}",
        f"{step.words_zh} {escape(step.words)}",
        f"{step.about.kind} {step.about.id}".strip(),
        "\n".join(amounts),
        step.institution_name_zh or step.institution_id,
        step.trace_id,
        f"{step.call.method.rpartition('/')[2]} {step.call.call_id}".strip(),
    ]


def trace(
    trace_id: Annotated[
        str, typer.Argument(metavar="[TRACE]", help="32 hexadecimal digits; none for the newest.")
    ] = "",
    *,
    folder: Folder = "main",
    failed: Annotated[bool, typer.Option(help="List those that failed, not the newest.")] = False,
    most: Annotated[int, typer.Option("-n", min=1, max=200, help="So many of a list.")] = 20,
) -> None:
    """Print a trace as a tree, of the spans that this machine keeps; or list the newest."""

    async def work() -> None:
        path = places.find().folder(folder).path / "spans" / "spans.sqlite"
        if not path.exists():
            raise LookupError(f"no spans are kept in {path.parent}; they are in Jaeger, or nowhere")
        store = SpanStore(path, reading=True)
        try:
            if trace_id:
                _print_tree(trace_id, store.trace(trace_id.replace("-", "").lower()))
            else:
                _print_list(store.failed(most) if failed else store.newest(most))
        finally:
            store.close()

    run(work())


def _print_tree(trace_id: str, spans: list[StoredSpan]) -> None:
    if not spans:
        raise LookupError(f"no span of trace {trace_id} is kept")
    for line in tree(spans):
        console.print(escape(line), highlight=False)
    links = {link.trace_id for span in spans for link in span.links} - {spans[0].trace_id}
    for linked in sorted(links)[:10]:
        console.print(f"linked: trace {linked}", highlight=False)


def _print_list(found: list[TraceSummary]) -> None:
    table = Table("trace", "begins with", "institution", "county", "spans", "ms", "services", "")
    for each in found:
        table.add_row(
            each.trace_id,
            escape(f"{each.service}: {each.name}"),
            each.institution_id,
            each.county_code,
            str(each.spans),
            str((each.end_ns - each.start_ns) // 1_000_000),
            ", ".join(each.services),
            "failed" if each.failed else "",
        )
    console.print(table if found else "no trace is kept")
