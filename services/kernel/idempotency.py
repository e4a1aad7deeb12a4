"""Idempotency: the same request once. The answer is kept with the change that it tells of."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import database, walls
from services.kernel.away import broken_unique, is_away, may_run_again
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import Conflict, Unavailable
from services.kernel.ids import parse_id

R = TypeVar("R", bound=Message)

ATTEMPTS_MAX = 5
RETENTION_DAYS = 400
"""Of answers to commands that move no money; those that do are kept for ever."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes a request the same: who, which method, which id, which body."""

    institution_id: str
    method: str
    request_id: UUID
    request_hash: bytes


async def recall(session: AsyncSession, keys: Sequence[RequestKey]) -> dict[RequestKey, bytes]:
    """The answers that requests of one caller and method got before."""
    rows = await database.fetch(
        session,
        """SELECT request_id, request_hash, response FROM idempotency
           WHERE institution_id = $1 AND method = $2 AND request_id = ANY ($3::uuid[])""",
        keys[0].institution_id,
        keys[0].method,
        [key.request_id for key in keys],
    )
    stored = {row["request_id"]: row for row in rows}
    found = {}
    for key in keys:
        row = stored.get(key.request_id)
        if row is None:
            continue
        if row["request_hash"] != key.request_hash:
            raise Conflict(
                "REQUEST_ID_REUSED",
                f"request id {key.request_id} was used before with another body",
                message_zh="请求编号已被另一请求使用",
            )
        found[key] = row["response"]
    return found


async def keep(
    session: AsyncSession, answers: Sequence[tuple[RequestKey, bytes]], *, money: bool
) -> None:
    """Keep answers with the change that they tell of."""
    rows = [
        (key.institution_id, key.method, key.request_id, key.request_hash, response, money)
        for key, response in answers
    ]
    await database.write(
        session,
        """INSERT INTO idempotency (institution_id, method, request_id, request_hash, response,
                                    money)
           SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[], $5::bytea[],
                                $6::boolean[])""",
        *database.columns(rows, 6),
    )


def key_of(caller: Caller, request: Message) -> RequestKey:
    """What makes a caller's request the same."""
    return RequestKey(
        institution_id=caller.institution_id,
        method=caller.method,
        request_id=parse_id("request_id", getattr(request, "request_id", "")),
        request_hash=hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
    )


async def _recall(session: AsyncSession, key: RequestKey) -> bytes | None:
    return (await recall(session, [key])).get(key)


async def answered(
    db: Database, caller: Caller, request: Message, response_type: type[R]
) -> R | None:
    """The answer that a request got before; None when it has none yet."""
    async with db.transaction(walls.of_command(caller)) as session:
        stored = await _recall(session, key_of(caller, request))
    return None if stored is None else response_type.FromString(stored)


async def once(
    db: Database,
    caller: Caller,
    request: Message,
    response_type: type[R],
    work: Callable[[AsyncSession], Awaitable[R]],
    *,
    money: bool = True,
) -> R:
    """
    Do a command in one transaction, once per request id, and give the same answer ever after.

    A lost race (deadlock, or the same request at the same moment) is run again; then the answer of
    the one that won is given. So it is when this one is refused because of what that one did.
    """
    key = key_of(caller, request)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            async with db.transaction(walls.of_command(caller)) as session:
                stored = await _recall(session, key)
                if stored is not None:
                    return response_type.FromString(stored)
                response = await work(session)
                await keep(session, [(key, response.SerializeToString())], money=money)
                return response
        except Exception as error:
            if is_away(error):
                raise
            again = may_run_again(error) or broken_unique(error) == "idempotency_pkey"
            if not again:
                async with db.transaction(walls.of_command(caller)) as session:
                    stored = await _recall(session, key)
                if stored is None:
                    raise
                return response_type.FromString(stored)
            if attempt == ATTEMPTS_MAX:
                raise Unavailable("TOO_BUSY", "others hold what this needs") from error
            await asyncio.sleep(0.02 * 2**attempt)
    raise AssertionError("the loop returns or raises")


async def forget_old(session: AsyncSession, *, rows_max: int = 10_000) -> int:
    """Delete answers that are past their retention, a bounded number at a time."""
    return await database.execute(
        session,
        """DELETE FROM idempotency WHERE ctid IN (
               SELECT ctid FROM idempotency WHERE NOT money
                 AND recorded_at < now() - make_interval(days => $1) LIMIT $2)""",
        RETENTION_DAYS,
        rows_max,
    )
