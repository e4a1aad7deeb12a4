"""Log verify: the whole log against all that proves it, from the database or from a file."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import log_store
from gateway.log_chain import BEGINNING, Head, Keys, Row, keys_of
from gateway.log_check import (
    LOOK_AHEAD,
    Broken,
    Checker,
    Kind,
    Part,
    Proofs,
    Verification,
    check_cuts,
    check_roots,
)
from gateway.log_files import LogFile

PART_ROWS = 10_000


async def verify(
    session: AsyncSession,
    proofs: Proofs | None = None,
    *,
    kept: Sequence[Head] = (),
    part_rows: int = PART_ROWS,
) -> Verification:
    """
    The database's log; a snapshot, or checkpoints made meanwhile would seem to be missing.

    Without keys of one's own, the keys that the database itself names are believed.
    """
    if proofs is None:
        proofs = Proofs(keys=await _own_keys(session))
    roots = await log_store.read_roots(session)
    cuts = await log_store.read_cuts(session)
    stored = {root.position: root for root in roots} | {
        root.position: root for root in proofs.roots
    }
    held = replace(proofs, heads=(*proofs.heads, *kept), roots=tuple(stored.values()))
    checker = Checker(held, start=cuts[-1].head if cuts else BEGINNING)
    checker.fail(check_roots(roots, proofs, first=True))
    checker.fail(check_cuts(cuts, proofs.keys))
    await _take_checkpoints_before(session, checker)
    while checker.broken is None:
        rows = await log_store.read_rows(session, checker.last.position, part_rows)
        if not rows:
            break
        first, last = checker.last.position, rows[-1].position
        checkpoints = await log_store.read_checkpoints(session, first, last, part_rows)
        place = checker.take(Part(rows, checkpoints))
        if place is not None:
            rest = rows[place:]
            rest += await log_store.read_rows(session, last, LOOK_AHEAD)
            checker.explain(rest)
        if len(checkpoints) == part_rows and checker.broken is None:
            checker.fail(Broken(last, Kind.FORGED_CHECKPOINT))
    last = checker.last.position
    return checker.end(await log_store.read_checkpoints(session, last, 2**62, part_rows))


async def _own_keys(session: AsyncSession) -> Keys:
    return keys_of(row["public_key"] for row in await log_store.read_keys(session))


async def _take_checkpoints_before(session: AsyncSession, checker: Checker) -> None:
    """The checkpoints of rows that were cut stay, and are chained like all."""
    position, start = 0, checker.start.position
    while position < start:
        found = await log_store.read_checkpoints(session, position, start, PART_ROWS)
        if not found:
            return
        checker.take(Part((), found))
        position = found[-1].position


def verify_file(file: LogFile, proofs: Proofs | None = None, *, whole: bool = True) -> Verification:
    """
    An export or an archive, by itself and against what was kept.

    `whole` is to say that it reaches to the log's end: what was kept of later is missing then.

    Without keys of one's own, the keys that the file itself brings are believed.
    """
    start = file.read_start()
    if proofs is None:
        proofs = Proofs(keys=keys_of(start.keys))
    stored = {root.position: root for root in start.roots}
    stored |= {root.position: root for root in proofs.roots}
    inside = [root for root in stored.values() if root.position >= start.after.position]
    checker = Checker(
        replace(proofs, roots=tuple(inside)),
        start=start.after,
        previous=bytes(32) if start.after == BEGINNING else b"",
        whole=whole,
    )
    checker.fail(check_roots(start.roots, proofs, first=start.after == BEGINNING))
    parts = file.parts(PART_ROWS)
    for part in parts:
        place = checker.take(part)
        if place is not None:
            checker.explain([*part.rows[place:], *_rest(parts)])
        if checker.broken is not None:
            break
    else:
        if not file.complete:
            checker.fail(Broken(checker.last.position + 1, Kind.CUT_TAIL))
    return checker.end()


def _rest(parts: Iterator[Part]) -> list[Row]:
    rows: list[Row] = []
    for part in parts:
        rows += part.rows
        if len(rows) >= LOOK_AHEAD:
            break
    return rows
