"""The `liandong pause`, `resume` and `paused` commands: what stands still, by two persons' word."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.common.v1 import operator_pb2 as pb
from rich.console import Console

from deploy.local import places
from deploy.local.cli_run import Folder, run
from deploy.local.remote import Operator, Remote
from services.kernel.pause_desk import KINDS

PAUSERS = ("gateway", "credit", "loans", "claims", "funds")
"""Whoever can pause something; households hears nobody and sells nothing."""
PAGE = 200
_NUMBERS = {name: number for number, name in KINDS.items()}
_STATES = {number: name[12:].lower() for name, number in pb.PauseState.items()}

console = Console(highlight=False, markup=False, soft_wrap=True)

Post = Annotated[int, typer.Option("--post", help="Which of the operator's persons, 1 or 2.")]
Drop = Annotated[bool, typer.Option("--drop", help="Drop what was asked instead of agreeing.")]


def pause(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(_NUMBERS)}.")],
    subject: Annotated[
        str, typer.Argument(help="An institution's id, a service, or programme/product.")
    ],
    *,
    reason: Annotated[str, typer.Option(help="Why; whom it concerns is told.")] = "",
    hours: Annotated[float, typer.Option(help="It ends by itself after so long; 0: never.")] = 0.0,
    county: Annotated[str, typer.Option(help="A product: only in this county.")] = "",
    service: Annotated[
        str, typer.Option(help="Of a product: loans (applications) or claims (policies).")
    ] = "loans",
    drop: Drop = False,
    post: Post = 1,
    folder: Folder = "main",
) -> None:
    """Ask that something be paused; the same again by another person carries it out."""
    if kind not in _NUMBERS:
        raise typer.BadParameter(f"must be one of {', '.join(_NUMBERS)}", param_hint="KIND")

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        noun = {"consumer": subject, "product": service}.get(kind, "gateway")
        async with remote.institution(remote.with_role("operator")) as client:
            operator = Operator(client)
            found = await _open(operator, noun, kind, subject, county)
            if found is not None and found.state == pb.PAUSE_STATE_PROPOSED:
                found = await _decide(operator, noun, found, post=post, confirm=not drop)
            else:
                asked = pb.ProposePauseRequest(
                    request_id=str(uuid.uuid4()),
                    kind=_NUMBERS[kind],  # type: ignore[arg-type]
                    subject=subject,
                    county_code=county,
                    reason=reason,
                )
                if hours:
                    end = Timestamp()
                    end.FromDatetime(datetime.now(UTC) + timedelta(hours=hours))
                    asked.expire_time.CopyFrom(end)
                found = (await operator.ask(noun, "ProposePause", asked, post=post)).pause
        _say(noun, found)

    run(work())


def resume(
    pause_id: Annotated[str, typer.Argument(help="As `liandong paused` names it.")],
    *,
    reason: Annotated[str, typer.Option(help="Why it may end; of the first person.")] = "",
    drop: Drop = False,
    post: Post = 1,
    folder: Folder = "main",
) -> None:
    """Ask that a pause end; the same again by another person ends it."""

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        async with remote.institution(remote.with_role("operator")) as client:
            operator = Operator(client)
            async for noun, found in _listed(operator, over_too=False):
                if found.pause_id != pause_id:
                    continue
                if found.state == pb.PAUSE_STATE_PAUSED:
                    asked = pb.ProposeResumeRequest(
                        request_id=str(uuid.uuid4()), pause_id=pause_id, reason=reason
                    )
                    answer = await operator.ask(noun, "ProposeResume", asked, post=post)
                    _say(noun, answer.pause)
                else:
                    _say(noun, await _decide(operator, noun, found, post=post, confirm=not drop))
                return
        raise LookupError(f"no pause {pause_id} is open")

    run(work())


def paused(
    *,
    over_too: Annotated[bool, typer.Option("--all", help="Also what is over.")] = False,
    folder: Folder = "main",
) -> None:
    """What stands still or is asked to, in every service."""

    async def work() -> None:
        remote = Remote.read(places.find().folder(folder))
        rows = 0
        async with remote.institution(remote.with_role("operator")) as client:
            async for noun, found in _listed(Operator(client), over_too=over_too):
                rows += 1
                console.print(_line(noun, found))
        if not rows:
            console.print("nothing is paused")

    run(work())


async def _listed(operator: Operator, *, over_too: bool) -> AsyncIterator[tuple[str, pb.Pause]]:
    for noun in PAUSERS:
        request = pb.ListPausesRequest(over_too=over_too, page_size=PAGE)
        while True:
            answer = await operator.ask(noun, "ListPauses", request)
            for each in answer.pauses:
                yield noun, each
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token


async def _open(
    operator: Operator, noun: str, kind: str, subject: str, county: str
) -> pb.Pause | None:
    async for whose, each in _listed(operator, over_too=False):
        named = (whose, KINDS[each.kind], each.subject, each.county_code)
        if named == (noun, kind, subject, county):
            return each
    return None


async def _decide(
    operator: Operator, noun: str, found: pb.Pause, *, post: int, confirm: bool
) -> pb.Pause:
    asked = pb.DecidePauseRequest(
        request_id=str(uuid.uuid4()), pause_id=found.pause_id, confirm=confirm
    )
    made: pb.Pause = (await operator.ask(noun, "DecidePause", asked, post=post)).pause
    return made


def _line(noun: str, found: pb.Pause) -> str:
    """A pause in one line: its id is what the next command needs, whole in a narrow window too."""
    what = f"{KINDS[found.kind]} {found.subject}" + (
        f" in county {found.county_code}" if found.county_code else ""
    )
    until = f" until {_moment(found)} UTC" if found.HasField("expire_time") else ""
    asked = (
        f"{found.resume_proposed_by or found.proposed_by}: {found.resume_reason or found.reason}"
    )
    return f"{found.pause_id}  {what} in {noun}: {_STATES[found.state]}{until}, asked by {asked}"


def _moment(found: pb.Pause) -> str:
    if not found.HasField("expire_time"):
        return ""
    return found.expire_time.ToDatetime().isoformat(timespec="minutes")


def _say(noun: str, found: pb.Pause) -> None:
    waits = found.state in (pb.PAUSE_STATE_PROPOSED, pb.PAUSE_STATE_RESUME_PROPOSED)
    told = f"{KINDS[found.kind]} {found.subject} in {noun}: {_STATES[found.state]}"
    console.print(f"{told}, {found.pause_id}")
    if waits:
        console.print("a second person confirms it with the same command and --post 2")
