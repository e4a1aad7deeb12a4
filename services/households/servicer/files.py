"""Household files over gRPC: one chunk is prepared while another is written; pages go out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from operator import attrgetter
from typing import Final

from liandong.households.v1 import households_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Evidence,
    EvidenceKind,
    Household,
    Line,
    Refusal,
    Roll,
)
from services.households.operations import imports
from services.households.operations.imports import Chunk
from services.households.operations.prepared import Prepared
from services.households.operations.shared import Keys, require_county
from services.households.operations.trials import Trial
from services.households.rules import registration as rules
from services.households.servicer import shared
from services.kernel import walls, wire
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.idempotency import once

PAGE_MAX: Final = 200
RELATION_WORDS: Final = {relation: word for word, relation in rules.RELATION_WORDS.items()}
LABOUR_WORDS: Final = {labour: word for word, labour in rules.LABOUR_WORDS.items()}
STANDING_WORDS: Final = {status: word for word, status in rules.STANDING_WORDS.items()}
HONOUR_WORDS: Final = {honour: word for word, honour in rules.HONOUR_WORDS.items()}

Request = households_pb2.ImportHouseholdsRequest
Response = households_pb2.ImportHouseholdsResponse


_COLUMNS: Final = attrgetter(*Line._fields)


# --- in -------------------------------------------------------------------------------------------


async def import_file(
    db: Database, keys: Keys, caller: Caller, requests: AsyncIterator[Request]
) -> AsyncIterator[Response]:
    """Answer the chunks of a file in their order."""
    trial = Trial()
    async with aclosing(_prepared_ahead(db, keys, caller, requests)) as ready:
        async for request, prepared in ready:
            if request.dry_run:
                trial.update = request.update
                yield await _try_chunk(db, keys, caller, request, prepared, trial=trial)
            else:
                yield await _import_chunk(db, keys, caller, request, prepared)


async def _prepared_ahead(
    db: Database, keys: Keys, caller: Caller, requests: AsyncIterator[Request]
) -> AsyncGenerator[tuple[Request, Prepared], None]:
    """
    The same requests, each prepared before it is needed.

    While the database writes one chunk the processor reads, hashes and seals the next: never more
    than one, so that memory stays bounded.
    """

    async def prepared() -> tuple[Request, Prepared] | None:
        request = await anext(requests, None)
        if request is None:
            return None
        require_county(caller, request.county_code)
        async with db.transaction(walls.of_command(caller)) as session:
            made = await imports.prepare_today(session, request.county_code, _lines(request), keys)
        return request, made

    ahead = asyncio.ensure_future(prepared())
    try:
        while (item := await ahead) is not None:
            ahead = asyncio.ensure_future(prepared())
            yield item
    finally:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)


async def _import_chunk(
    db: Database, keys: Keys, caller: Caller, request: Request, prepared: Prepared
) -> Response:
    async def work(session: AsyncSession) -> Response:
        chunk = await imports.import_chunk(
            session,
            caller,
            request.county_code,
            prepared,
            keys,
            update=request.update,
            evidence=_evidence(request),
        )
        return _chunk_to_proto(request.request_id, chunk, dry_run=False)

    return await once(db, caller, request, Response, work, money=False)


async def _try_chunk(
    db: Database, keys: Keys, caller: Caller, request: Request, prepared: Prepared, *, trial: Trial
) -> Response:
    async with db.transaction(walls.of_command(caller)) as session:
        chunk = await imports.try_chunk(
            session,
            caller,
            request.county_code,
            prepared,
            keys,
            trial=trial,
            update=request.update,
        )
    return _chunk_to_proto(request.request_id, chunk, dry_run=True)


def _evidence(request: Request) -> Evidence:
    """What the chunk rests on: the file, or else the request that brought it."""
    if request.HasField("evidence"):
        return shared.evidence_of(request.evidence)
    return Evidence(EvidenceKind.SYSTEM, f"import:{request.request_id}", b"")


def _lines(request: Request) -> list[Line]:
    return list(map(Line._make, map(_COLUMNS, request.lines)))


def _refusal_to_proto(refusal: Refusal) -> households_pb2.RefusedLine:
    rule = rules.RULES[refusal.reason]
    return households_pb2.RefusedLine(
        line_number=refusal.line_number,
        column=refusal.column,
        value=refusal.value,
        reason=refusal.reason,
        message=rule.en,
        message_zh=rule.zh,
    )


def _named(
    households: Sequence[Household], *, new_in_trial: bool
) -> list[households_pb2.ImportedHousehold]:
    return [
        households_pb2.ImportedHousehold(
            household_number=household.household_number,
            household_id="" if new_in_trial else str(household.household_id),
        )
        for household in households
    ]


def _chunk_to_proto(request_id: str, chunk: Chunk, *, dry_run: bool) -> Response:
    return Response(
        request_id=request_id,
        households=_named(chunk.households, new_in_trial=dry_run),
        people=chunk.people_count,
        refused=[_refusal_to_proto(refusal) for refusal in chunk.refusals],
        changed=_named(chunk.changed, new_in_trial=dry_run),
        changed_lines=chunk.changed_lines,
    )


# --- out ------------------------------------------------------------------------------------------


async def export_file(
    db: Database,
    keys: Keys,
    caller: Caller,
    requests: AsyncIterator[households_pb2.ExportHouseholdsRequest],
) -> AsyncIterator[households_pb2.ExportHouseholdsResponse]:
    """A page for each request."""
    async for request in requests:
        require_county(caller, request.county_code)
        size = request.page_size or PAGE_MAX
        async with db.transaction(caller) as session:
            found = await imports.export_rolls(
                session,
                caller,
                request.county_code,
                keys,
                within=request.within,
                after=shared.start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.household.household_id)
        yield households_pb2.ExportHouseholdsResponse(
            lines=[line for roll in page for line in _roll_to_proto(roll)],
            households=len(page),
            next_page_token=token,
        )


def _roll_to_proto(roll: Roll) -> list[households_pb2.HouseholdLine]:
    household = roll.household
    return [
        households_pb2.HouseholdLine(
            household_number=household.household_number,
            village_code=household.area_code,
            relation=RELATION_WORDS[seat.relation],
            name=seat.name,
            identity_number=seat.identity_number,
            phone=seat.phone,
            registration_status=STANDING_WORDS[household.status],
            honour=HONOUR_WORDS[household.honour] if household.honour else "",
            labour=LABOUR_WORDS[seat.labour] if seat.labour else "",
            registered_on=seat.joined_on.isoformat(),
        )
        for seat in roll.seats
    ]
