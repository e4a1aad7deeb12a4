"""The `liandong events` and `liandong parked` commands."""

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2 as claims_events
from liandong.common.v1 import operator_pb2
from liandong.credit.v1 import events_pb2 as credit_events
from liandong.funds.v1 import events_pb2 as funds_events
from liandong.gateway.v1 import events_pb2 as gateway_events
from liandong.households.v1 import events_pb2 as households_events
from liandong.loans.v1 import events_pb2 as loans_events
from nats.js.api import DeliverPolicy
from rich.console import Console
from rich.table import Table

from deploy.local import places, rebuilding
from deploy.local.audit import SERVICES
from deploy.local.cli_run import Folder, run
from deploy.local.nats import connect
from deploy.local.remote import Operator, Remote
from services.kernel import cloudevents
from services.kernel.outbox import STREAM
from services.kernel.projections import Rebuilt

FILES = (
    households_events,
    credit_events,
    loans_events,
    claims_events,
    funds_events,
    gateway_events,
)
PAGE = 500
COUNTY_FOLDER = Path(__file__).resolve().parents[1] / "demo" / "county"
HEARERS = (*SERVICES, "gateway")
"""Where an event may wait for a person."""

events = typer.Typer(no_args_is_help=True, help="The stream of events.")
parked = typer.Typer(no_args_is_help=True, help="Events that wait for a person.")
console = Console()

Service = Annotated[str, typer.Option("--service", help="Whose events; all when left out.")]


def message_types() -> dict[str, type[Message]]:
    """Event type to its message, from the descriptors."""
    found: dict[str, type[Message]] = {}
    for file in FILES:
        for name in file.DESCRIPTOR.message_types_by_name:
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
            found[f"{file.DESCRIPTOR.package}.{snake}"] = getattr(file, name)
    return found


@asynccontextmanager
async def _operator(folder: str) -> AsyncIterator[Operator]:
    remote = Remote.read(places.find().folder(folder))
    async with remote.institution(remote.with_role("operator")) as client:
        yield Operator(client)


@events.command()
def tail(
    *,
    folder: Folder = "main",
    service: Service = "",
    beginning: Annotated[bool, typer.Option(help="From the stream's first event.")] = False,
    most: Annotated[int, typer.Option("-n", help="End after so many; 0 for never.")] = 0,
) -> None:
    """Print events as they come: envelope and message, a line each."""

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        client = await connect(remote.nats_url, remote.service_credentials("operator"), "operator")
        types = message_types()
        subject = f"liandong.{service or '*'}.v1.>"
        policy = DeliverPolicy.ALL if beginning else DeliverPolicy.NEW
        subscription = await client.jetstream().subscribe(
            subject, stream=STREAM, ordered_consumer=True, deliver_policy=policy
        )
        count = 0
        async for message in subscription.messages:
            envelope = cloudevents.read(message.headers or {})
            body = types[envelope.event_type].FromString(message.data)
            shown = json_format.MessageToDict(body, preserving_proto_field_name=True)
            line = {
                "type": envelope.event_type,
                "county": envelope.county_code,
                "aggregate": f"{envelope.aggregate_type}/{envelope.aggregate_id}",
                "sequence": envelope.sequence,
                "business_date": str(envelope.business_date or ""),
                "event_id": str(envelope.event_id),
                "message": shown,
            }
            print(json.dumps(line, ensure_ascii=False), flush=True)
            count += 1
            if most and count >= most:
                break
        await client.close()

    # Ctrl-C is how one leaves it.
    with suppress(KeyboardInterrupt):
        run(work())


@events.command()
def republish(
    service: Annotated[str, typer.Argument(help="Whose events.")],
    first: Annotated[int, typer.Argument(help="First position of its outbox.")],
    last: Annotated[int, typer.Argument(help="Last position.")],
    *,
    folder: Folder = "main",
) -> None:
    """Publish a range of a service's events again; who applied them is unmoved."""

    async def work() -> None:
        async with _operator(folder) as operator:
            request = operator_pb2.RepublishEventsRequest(
                request_id=str(uuid.uuid4()), from_position=first, to_position=last
            )
            answer = await operator.ask(service, "RepublishEvents", request)
            console.print(f"{answer.events} events go out again")

    run(work())


@events.command()
def rebuild(
    noun: Annotated[
        str, typer.Argument(help="Whose copies of others' facts; `all` for everybody's.")
    ],
    *,
    folder: Folder = "main",
    county_folder: Annotated[
        Path, typer.Option(help="Overlays and adoptions of the counties.")
    ] = COUNTY_FOLDER,
    write: Annotated[bool, typer.Option(help="Put right what differs.")] = False,
) -> None:
    """
    Make a service's copies of others' facts again from the event logs, and compare them.

    It goes to the databases themselves: those of the folder, or of `<NOUN>_DATABASE_URL`.
    """

    async def work() -> None:
        made = rebuilding.projections_of((county_folder,))
        chosen = list(made) if noun == "all" else [noun]
        if noun != "all" and noun not in made:
            raise LookupError(f"{noun} keeps no copies; those who do: {', '.join(made)}")
        dsn = rebuilding.dsn_in(places.find().folder(folder))
        unlike = 0
        for each in chosen:
            done = await rebuilding.rebuild_one(dsn, made[each], write=write)
            unlike += 0 if done.is_equal or write else 1
            _show_rebuilt(each, done)
        if unlike:
            raise typer.Exit(1)

    run(work())


def _show_rebuilt(noun: str, done: Rebuilt) -> None:
    for each in done.tables:
        word = "equal" if each.is_equal else "DIFFERS"
        print(f"{noun}.{each.table}: {word} held={each.held} rebuilt={each.rebuilt}")
        for key in each.keys:
            print(f"  {key}")
    print(f"rebuild {noun}: events={done.events} equal={done.is_equal} written={done.written}")


async def _waiting(
    operator: Operator, service: str
) -> AsyncIterator[tuple[str, operator_pb2.ParkedEvent]]:
    for noun in [service] if service else HEARERS:
        request = operator_pb2.ListParkedEventsRequest(page_size=PAGE)
        while True:
            answer = await operator.ask(noun, "ListParkedEvents", request)
            for event in answer.events:
                yield noun, event
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token


@parked.command(name="list")
def list_parked(*, folder: Folder = "main", service: Service = "") -> None:
    """What waits for a person, and why."""

    async def work() -> None:
        table = Table("in", "event", "type", "aggregate", "seq", "attempts", "reason")
        async with _operator(folder) as operator:
            async for noun, event in _waiting(operator, service):
                table.add_row(
                    noun,
                    event.event_id,
                    event.event_type,
                    event.aggregate_id,
                    str(event.sequence),
                    str(event.attempts),
                    event.reason,
                )
        console.print(table if table.row_count else "nothing is parked")

    run(work())


@parked.command()
def show(event_id: str, *, folder: Folder = "main") -> None:
    """One parked event, whole."""

    async def work() -> None:
        async with _operator(folder) as operator:
            async for noun, event in _waiting(operator, ""):
                if event.event_id == event_id:
                    console.print(f"parked in {noun}")
                    console.print_json(json_format.MessageToJson(event))
                    return
        raise LookupError(f"no parked event {event_id}")

    run(work())


@parked.command()
def replay(
    *,
    folder: Folder = "main",
    service: Service = "",
    aggregate: Annotated[str, typer.Option(help="Only this aggregate.")] = "",
) -> None:
    """Run parked events again, each aggregate's in sequence."""

    async def work() -> None:
        async with _operator(folder) as operator:
            for noun in [service] if service else HEARERS:
                request = operator_pb2.ReplayParkedEventsRequest(
                    request_id=str(uuid.uuid4()), aggregate_id=aggregate
                )
                answer = await operator.ask(noun, "ReplayParkedEvents", request)
                console.print(f"{noun}: {answer.applied} applied, {answer.parked} parked still")

    run(work())


@parked.command()
def drop(
    service: str,
    event_id: str,
    *,
    reason: Annotated[str, typer.Option(help="Why it may be given up.")],
    post: Annotated[int, typer.Option(help="Which of the operator's persons, 1 or 2.")] = 1,
    folder: Folder = "main",
) -> None:
    """Give an event up: one person proposes, a second one's call carries it out."""

    async def work() -> None:
        async with _operator(folder) as operator:
            request = operator_pb2.DropParkedEventRequest(
                request_id=str(uuid.uuid4()), event_id=event_id, reason=reason
            )
            answer = await operator.ask(service, "DropParkedEvent", request, post=post)
            console.print("dropped" if answer.dropped else "proposed; a second person confirms it")

    run(work())
