"""The proof of the log: whatever hand changes it, the check says where and how."""

import json
import random
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlmodel.ext.asyncio.session import AsyncSession

from deploy.local.ca import LocalCA
from gateway import log_files, log_store, log_verify
from gateway.log_chain import (
    BEGINNING,
    DayRoot,
    LogSigner,
    from_plain,
    keys_of,
    link,
    moved,
    row_text,
    to_plain,
)
from gateway.log_check import Kind, Proofs, Verification
from gateway.log_files import LogFile
from gateway.log_verify import verify_file
from gateway.tables import AccessLogRow
from services.kernel import database
from tests.gateway.logs import LONG_AGO, an_entry, append, as_superuser, fill
from tests.servers import Schema, Schemas

pytestmark = [pytest.mark.postgres]

ROWS = 120
EACH = 20
IN_FILES = 800
IN_DATABASE = 200


@dataclass(frozen=True, slots=True)
class Log:
    """A log in a database, its export, and what an institution has kept."""

    schema: Schema
    signer: LogSigner
    proofs: Proofs
    lines: tuple[bytes, ...]


@pytest.fixture(scope="module")
def signer(certificates: LocalCA) -> LogSigner:
    return LogSigner(certificates.log_keys().private)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept(
    schemas: Schemas, signer: LogSigner, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Log]:
    apart = schemas.apart()
    schema = await apart.fresh("gateway")
    path = tmp_path_factory.mktemp("logs") / "log.txt"
    try:
        async with schema.db.transaction() as session:
            await fill(session, signer, rows=ROWS, each=EACH, days=3)
        async with schema.db.transaction(snapshot=True) as session:
            await log_files.write(session, path, after=BEGINNING)
            roots = await log_store.read_roots(session)
        proofs = Proofs(keys=keys_of([signer.public_key]), roots=tuple(roots))
        assert proofs.roots[-1].position == ROWS
        yield Log(schema, signer, proofs, tuple(path.read_bytes().splitlines(keepends=True)))
    finally:
        await apart.empty()


def check(lines: Sequence[bytes], proofs: Proofs, folder: Path) -> Verification:
    path = folder / "log.txt"
    path.write_bytes(b"".join(lines))
    return verify_file(LogFile(path), proofs)


def places(lines: Sequence[bytes], letter: bytes) -> list[int]:
    return [place for place, line in enumerate(lines) if line.startswith(letter + b" ")]


def rechained(lines: Sequence[bytes], first: int) -> list[bytes]:
    """Every digest from a line on computed again, as one would who cannot sign."""
    made = list(lines)
    rows = places(made, b"R")
    before = [place for place in rows if place < first]
    digest = bytes.fromhex(made[before[-1]][2:66].decode()) if before else bytes(32)
    position = len(before)
    for place in rows[len(before) :]:
        position += 1
        text = moved(made[place][67:-1], position)
        digest = link(digest, text)
        made[place] = b"R %b %b\n" % (digest.hex().encode(), text)
    return made


def flipped(line: bytes, at: int) -> bytes:
    return line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]


Tamper = Callable[[list[bytes], random.Random], list[bytes]]


def flip(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.choice(places(lines, b"R"))
    # One bit of the text or of the digest; a line's end is not a byte of the row.
    lines[place] = flipped(lines[place], chance.randrange(2, len(lines[place]) - 1))
    return lines


def delete(lines: list[bytes], chance: random.Random) -> list[bytes]:
    rows = places(lines, b"R")
    first = chance.randrange(len(rows) - 3)
    gone = set(rows[first : first + chance.randint(1, 3)])
    return [line for place, line in enumerate(lines) if place not in gone]


def insert(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.choice(places(lines, b"R"))
    copy = lines[chance.choice(places(lines, b"R"))]
    return [*lines[:place], copy, *lines[place:]]


def insert_rechained(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.choice(places(lines, b"R"))
    return rechained(insert(lines, chance), place)


def swap(lines: list[bytes], chance: random.Random) -> list[bytes]:
    one, other = chance.sample(places(lines, b"R"), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def cut_tail(lines: list[bytes], chance: random.Random) -> list[bytes]:
    rows = places(lines, b"R")
    first = rows[chance.randint(1, len(rows) - 1)]
    left = lines[:first]
    if chance.random() < 0.5:
        count = len(places(left, b"R"))
        left.append(b'E {"rows":%d,"position":%d}\n' % (count, count))
    return left


def rewrite(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.choice(places(lines, b"R"))
    lines[place] = lines[place].replace(b"bank-1-p1", b"bank-1-p2")
    return rechained(lines, place)


def forge(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """All computed again, and every checkpoint behind it signed by another hand."""
    own = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
    key = own.public_key().public_bytes_raw()
    ((key_id, _),) = keys_of([key]).items()
    lines = rewrite(lines, chance)
    digest = b""
    for place, line in enumerate(lines):
        if line[:1] == b"R":
            digest = bytes.fromhex(line[2:66].decode())
        elif line[:1] == b"C":
            word = from_plain("C", json.loads(line[2:]))
            if word.digest != digest:
                forged = replace(word, digest=digest, key_id=key_id)
                forged = replace(forged, signature=own.sign(forged.text))
                lines[place] = f"C {json.dumps(to_plain(forged))}\n".encode()
    shown = b'K {"key_id":"%b","public_key":"%b"}\n' % (key_id.encode(), b64encode(key))
    return [lines[0], shown, *lines[1:]]


def forge_one(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.choice(places(lines, b"C"))
    lines[place] = flipped(lines[place], chance.randrange(2, len(lines[place]) - 1))
    return lines


def lose_checkpoint(lines: list[bytes], chance: random.Random) -> list[bytes]:
    del lines[chance.choice(places(lines, b"C")[:-1])]
    return lines


TAMPERS: Mapping[str, Tamper] = {
    "flip": flip,
    "deletion": delete,
    "insertion": insert,
    "insertion, all computed again": insert_rechained,
    "swap": swap,
    "cut tail": cut_tail,
    "rewritten": rewrite,
    "forged checkpoints": forge,
    "flipped checkpoint": forge_one,
    "lost checkpoint": lose_checkpoint,
}


def test_the_log_that_nobody_touched_holds(kept: Log, tmp_path: Path) -> None:
    found = check(kept.lines, kept.proofs, tmp_path)

    assert found.broken is None
    assert (found.rows, found.checkpoints) == (ROWS, ROWS // EACH)
    assert found.sealed == found.head
    assert len(kept.proofs.roots) == 4


def test_every_tampering_with_an_export_is_found(kept: Log, tmp_path: Path) -> None:
    chance = random.Random(20190506)
    missed, tried = [], 0
    while tried < IN_FILES:
        name = chance.choice(list(TAMPERS))
        lines = TAMPERS[name](list(kept.lines), chance)
        if lines == list(kept.lines):
            continue
        tried += 1
        if check(lines, kept.proofs, tmp_path).intact:
            missed.append(name)

    assert missed == []


@pytest.mark.parametrize(
    "end",
    [b"{", b"[]", b"{}", b'{"rows":null,"position":1}', b'{"rows":Infinity,"position":1}', b"\xff"],
)
def test_an_end_that_cannot_be_read_is_none(kept: Log, tmp_path: Path, end: bytes) -> None:
    assert kept.lines[-1].startswith(b"E ")

    broken = check([*kept.lines[:-1], b"E %b\n" % end], kept.proofs, tmp_path).broken

    assert broken is not None
    assert (broken.kind, broken.position) == (Kind.CUT_TAIL, ROWS + 1)


@pytest.mark.parametrize("name", ["flip", "deletion", "insertion", "swap", "cut tail"])
def test_the_kind_and_the_first_position_are_said(kept: Log, tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    for _ in range(20):
        lines = TAMPERS[name](list(kept.lines), chance)
        if lines == list(kept.lines):
            continue
        rows = [kept.lines[place] for place in places(kept.lines, b"R")]
        now = [lines[place] for place in places(lines, b"R")]
        first = next((at for at, row in enumerate(now) if row != rows[at]), len(now)) + 1
        broken = check(lines, kept.proofs, tmp_path).broken
        assert broken is not None
        # A row that was put in behind itself is the same as itself put in before.
        assert broken.kind == name
        assert broken.position == first


def _sql(kind: str, one: int, other: int, column: str) -> str:
    match kind:
        case "flip":
            return f"UPDATE access_log SET {column} = {column} || 'x' WHERE position = {one}"
        case "resources":
            return f"UPDATE access_log SET resources = '{{loan:x}}' WHERE position = {one}"
        case "time":
            return f"""UPDATE access_log SET called_at = called_at + interval '1 microsecond'
                       WHERE position = {one}"""
        case "version":
            return f"UPDATE access_log SET chain_version = 1 WHERE position = {one}"
        case "decision":
            return f"UPDATE access_log SET decision = 'refused' WHERE position = {one}"
        case "delete":
            return f"DELETE FROM access_log WHERE position = {one}"
        case "delete and move up":
            return f"""WITH gone AS (DELETE FROM access_log WHERE position = {one})
                       UPDATE access_log SET position = position - 1 + 1000000
                       WHERE position > {one}"""
        case "cut":
            return f"DELETE FROM access_log WHERE position >= {one}"
        case "swap":
            return f"""UPDATE access_log SET position = CASE position WHEN {one} THEN {other}
                       ELSE {one} END + 1000000 WHERE position IN ({one}, {other})"""
        case "insert":
            return f"""UPDATE access_log SET position = position + 1 + 1000000
                       WHERE position > {one}"""
        case "checkpoint":
            return f"""UPDATE access_log_checkpoint SET digest = sha256(digest)
                       WHERE position = {one - one % EACH + EACH}"""
        case "root":
            return "UPDATE access_log_day_root SET digest = sha256(digest)"
    return f"UPDATE access_log SET digest = sha256(digest) WHERE position = {one}"


_KINDS = (
    *("flip", "resources", "time", "version", "decision", "delete", "delete and move up", "cut"),
    *("swap", "insert", "checkpoint", "root", "digest"),
)
_COLUMNS = ("peer", "institution_id", "person_id", "method", "purpose", "reason", "break_glass_id")


async def _tamper(session: AsyncSession, chance: random.Random) -> str:
    one, other = sorted(chance.sample(range(1, ROWS), 2))
    kind, column = chance.choice(_KINDS), chance.choice(_COLUMNS)
    await database.execute(session, _sql(kind, one, other, column))
    await database.execute(
        session, "UPDATE access_log SET position = position - 1000000 WHERE position > 1000000"
    )
    if kind == "insert":
        names = ", ".join(name for name in AccessLogRow.model_fields if name != "position")
        taken = names.replace("call_id", "uuidv7()")
        await database.execute(
            session,
            f"""INSERT INTO access_log (position, {names})
                SELECT position + 1, {taken} FROM access_log WHERE position = {one}""",
        )
    return f"{kind} {column} at {one}, {other}"


async def test_every_tampering_with_the_database_is_found(kept: Log) -> None:
    chance = random.Random(20190507)
    missed = []
    async with as_superuser(kept.schema) as session:
        assert (await log_verify.verify(session, kept.proofs)).intact
        for _ in range(IN_DATABASE):
            await database.execute(session, "SAVEPOINT untouched")
            done = await _tamper(session, chance)
            if (await log_verify.verify(session, kept.proofs)).intact:
                missed.append(done)
            await database.execute(session, "ROLLBACK TO untouched")

    assert missed == []


async def test_who_holds_the_key_cannot_rewrite_what_an_institution_keeps(
    kept: Log, signer: LogSigner
) -> None:
    """We ourselves: another log with checkpoints and roots of our own hand."""
    async with as_superuser(kept.schema) as session:
        for table in (
            *("access_log_root_taking", "access_log_day_root", "access_log_checkpoint"),
            "access_log",
        ):
            await database.execute(session, f"DELETE FROM {table}")
        await database.execute(session, "DELETE FROM outbox")
        await fill(session, signer, rows=ROWS, each=EACH, days=3)
        alone = await log_verify.verify(session, replace(kept.proofs, roots=()))
        against = await log_verify.verify(session, kept.proofs)

    assert alone.intact
    assert not against.intact


async def test_a_cut_tail_is_found_only_by_what_was_kept_elsewhere(kept: Log) -> None:
    async with as_superuser(kept.schema) as session:
        for table in ("access_log_checkpoint", "access_log"):
            await database.execute(session, f"DELETE FROM {table} WHERE position > {ROWS - EACH}")
        await database.execute(
            session, f"DELETE FROM access_log_day_root WHERE position > {ROWS - EACH}"
        )
        alone = await log_verify.verify(session, replace(kept.proofs, roots=()))
        against = await log_verify.verify(session, kept.proofs)

    assert alone.intact
    assert against.broken is not None
    assert (against.broken.position, against.broken.kind) == (ROWS - EACH + 1, Kind.CUT_TAIL)


async def test_rows_of_the_first_version_still_hold(kept: Log, signer: LogSigner) -> None:
    async with as_superuser(kept.schema) as session:
        end = await log_store.end_of(session)
        entry = an_entry()
        values = [getattr(entry, name) for name in entry.__slots__]
        text = row_text(1, end.position + 1, values)
        assert text.startswith(b'[%d,"' % (end.position + 1))
        await append(session, [entry])
        await database.execute(
            session,
            "UPDATE access_log SET chain_version = 1, digest = $2 WHERE position = $1",
            end.position + 1,
            link(end.digest, text),
        )
        await append(session, [an_entry(), an_entry()])
        both = await log_verify.verify(session, kept.proofs)
        # What the first version does not hash may not stand in such a row.
        await database.execute(
            session,
            "UPDATE access_log SET break_glass_id = 'x' WHERE position = $1",
            end.position + 1,
        )
        added = await log_verify.verify(session, kept.proofs)

    assert both.intact
    assert both.rows == ROWS + 3
    assert added.broken_at == end.position + 1


async def test_the_server_writes_a_rows_text_as_we_do(kept: Log) -> None:
    odd = ["\x7f", "贫困户 é \U0001f600", 'a"b\\c/d', "\n\t\r\b\f\x01\x1f", "<&>' ", "[],", "%s"]
    entries = [
        replace(an_entry(resources=("a", "b") if place % 2 else ()), reason=text, called_at=when)
        for place, text in enumerate(odd)
        for when in (LONG_AGO, datetime(2031, 1, 1, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC))
    ]
    async with as_superuser(kept.schema) as session:
        await append(session, entries)
        rows = await log_store.read_rows(session, ROWS, 100)
        found = await log_verify.verify(session, kept.proofs)

    made = [
        row_text(2, position, [getattr(entry, name) for name in entry.__slots__])
        for position, entry in enumerate(entries, ROWS + 1)
    ]
    assert [row.text for row in rows] == made
    assert found.intact


async def test_a_part_of_the_log_is_proven_by_the_checkpoint_that_it_begins_behind(
    kept: Log, tmp_path: Path
) -> None:
    path = tmp_path / "part.gz"
    async with kept.schema.db.transaction(snapshot=True) as session:
        start = await log_files.start_of(session, LONG_AGO)
        second = (await log_store.read_checkpoints(session, 0, ROWS, 2))[1]
        await log_files.write(session, path, after=second.head, upto=4 * EACH)
        found = verify_file(LogFile(path), kept.proofs, whole=False)
        unkept = verify_file(LogFile(path), kept.proofs)

    assert start == BEGINNING
    assert found.broken is None
    assert (found.rows, found.head.position) == (2 * EACH, 4 * EACH)
    assert unkept.broken is not None
    assert unkept.broken.kind is Kind.CUT_TAIL
    path.write_bytes(path.read_bytes()[:-200])
    assert verify_file(LogFile(path), kept.proofs, whole=False).broken is not None


async def test_day_roots_survive_a_file(kept: Log, tmp_path: Path) -> None:
    log_files.write_roots(tmp_path / "roots", kept.proofs.roots)

    assert tuple(log_files.read_roots(tmp_path / "roots")) == kept.proofs.roots
    assert all(isinstance(root, DayRoot) for root in kept.proofs.roots)
    chained = [root.previous for root in kept.proofs.roots[1:]]
    assert chained == [root.own_digest for root in kept.proofs.roots[:-1]]
