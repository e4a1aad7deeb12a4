"""The `liandong find` and `liandong trace` commands: what an id is, its story, a trace's tree."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer
from liandong.gateway.v1 import find_pb2 as pb
from liandong.gateway.v1 import find_pb2_grpc
from rich.console import Console
from rich.markup import escape

from deploy.local import places
from deploy.local.cli_run import Folder, run
from deploy.local.client import Institution
from deploy.local.remote import Remote
from deploy.local.spans import SpanStore, StoredSpan, TraceSummary, tree
from services.programmes.schema.deployment import InstitutionRole

STUB: Any = find_pb2_grpc.FindServiceStub
PAGE = 100
PAGES_MAX = 50

console = Console()


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
            async for answer in _story(client, kind, one):
                for step in answer.steps:
                    for line in _lines(step):
                        console.print(line, highlight=False, soft_wrap=True)

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


def _lines(step: pb.StoryStep) -> list[str]:
    """A step in lines that a narrow terminal shows whole, ids to be copied among them."""
    day = step.business_date
    amounts = [
        f"{each.words_zh} {each.amount_fen // 100:,}.{each.amount_fen % 100:02d} yuan"
        for each in step.amounts
    ]
    who = step.institution_name_zh or step.institution_id
    on = f"{day.year:04d}-{day.month:02d}-{day.day:02d}" if day.year else "no business day"
    said = [f"{step.words_zh} {escape(step.words)}".strip(), *amounts, f"by {who}" if who else ""]
    call = f"{step.call.method.rpartition('/')[2]} {step.call.call_id}".strip()
    below = {
        step.about.kind: step.about.id,
        "trace": step.trace_id,
        "call": call,
        "recorded": f"{step.recorded_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC",
    }
    return [
        f"{on}  " + " · ".join(each for each in said if each),
        *(f"    {name} {value}" for name, value in below.items() if value),
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
    if not found:
        console.print("no trace is kept")
    for each in found:
        ms = (each.end_ns - each.start_ns) // 1_000_000
        parts = (
            f"{each.service}: {each.name}",
            each.institution_id,
            each.county_code and f"county {each.county_code}",
            f"{each.spans} spans",
            f"{ms} ms",
            ", ".join(each.services),
            "failed" if each.failed else "",
        )
        # One line each: the id is what the next command needs.
        said = " · ".join(part for part in parts if part)
        console.print(f"{each.trace_id}  {escape(said)}", highlight=False, soft_wrap=True)
