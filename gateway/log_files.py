"""
Log files: the access log as lines of text, to be checked where no database is.

`H` begins the file and says behind what its rows follow, `K` a public key, `X` a cut, `D` a day
root, `C` a checkpoint right after its row, `R` a row: its digest and the very text that was hashed.
`E` ends the file: without it the tail is missing. A name that ends with `.gz` is compressed.
"""

import asyncio
import base64
import binascii
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import log_store
from gateway.log_chain import (
    BEGINNING,
    GENESIS,
    Checkpoint,
    DayRoot,
    Head,
    Row,
    Signed,
    from_plain,
    letter_of,
    position_of,
    to_plain,
)
from gateway.log_check import Part

FORMAT = "liandong-access-log/1"
LINE_BYTES_MAX = 1024 * 1024
PART_ROWS = 5_000
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Start:
    """What stands before a file's rows."""

    after: Head
    keys: Sequence[bytes]
    roots: Sequence[DayRoot]


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written."""

    rows: int
    head: Head
    sha256: str


class LogFile:
    """Reads a file once, from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete = False
        """Whether the file's last line was there and counted what was read."""
        self._lines = self._read()
        self._next: bytes | None = None

    def _read(self) -> Iterator[bytes]:
        with _open(self.path, "rb") as file:
            while True:
                try:
                    line = file.readline(LINE_BYTES_MAX)
                except (EOFError, zlib.error, gzip.BadGzipFile):
                    return
                if not line:
                    return
                yield line.rstrip(b"\n")

    def read_start(self) -> Start:
        """The lines before the rows; ValueError when it is no file of ours."""
        kind, header = _split(next(self._lines, b""))
        if kind != "H":
            raise ValueError(f"{self.path} is not an export of the access log")
        said = _object(header)
        if said.get("format") != FORMAT:
            raise ValueError(f"{self.path} has the format {said.get('format')!r}, not {FORMAT}")
        after = said["after"]
        keys: list[bytes] = []
        roots: list[DayRoot] = []
        for line in self._lines:
            kind, rest = _split(line)
            if kind == "K":
                keys.append(base64.b64decode(_object(rest)["public_key"]))
            elif kind == "D":
                root = from_plain(kind, _object(rest))
                assert isinstance(root, DayRoot)
                roots.append(root)
            elif kind != "X":
                self._next = line
                break
        head = Head(int(after["position"]), bytes.fromhex(after["digest"]))
        return Start(head, keys, roots)

    def parts(self, rows_max: int) -> Iterator[Part]:
        """The rows with their checkpoints; a line that is neither is a row that cannot hold."""
        rows: list[Row] = []
        checkpoints: list[Checkpoint] = []
        count, last = 0, 0
        for line in self._rest():
            letter = line[:2]
            if letter == b"C ":
                checkpoints.append(_checkpoint(line, last))
                continue
            if letter == b"E ":
                self.complete = _counts(line) == (count, last)
                continue
            if len(rows) >= rows_max:
                yield Part(rows, checkpoints)
                rows, checkpoints = [], []
            # Whatever comes behind the end was put there.
            row = _row(line) if not self.complete else Row(-1, line, b"")
            rows.append(row)
            count, last = count + 1, row.position
        if rows or checkpoints:
            yield Part(rows, checkpoints)

    def _rest(self) -> Iterator[bytes]:
        if self._next is not None:
            yield self._next
        yield from self._lines


@contextmanager
def _open(path: Path, mode: str, name: str = "") -> Iterator[IO[bytes]]:
    with path.open(mode) as raw:
        if not (name or path.name).endswith(".gz"):
            yield raw
            return
        # Without a name and a time inside, the same rows make the same file.
        with gzip.GzipFile("", mode, _LEVEL, raw, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def _split(line: bytes) -> tuple[str, bytes]:
    return line[:1].decode("ascii", "replace"), line[2:]


def _object(text: bytes) -> Mapping[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("a line of the file is not an object")  # noqa: TRY004
    return found


def _row(line: bytes) -> Row:
    text = line[67:]
    try:
        digest = binascii.unhexlify(line[2:66])
    except ValueError:
        digest = b""
    whole = line[:2] == b"R " and line[66:67] == b" "
    return Row(position_of(text) if whole else -1, text, digest)


def _checkpoint(line: bytes, position: int) -> Checkpoint:
    """A checkpoint; one that cannot be read is one that nobody signed."""
    try:
        found = from_plain("C", _object(line[2:]))
    except ValueError:
        found = None
    # Only as we write it: base64 has spare bits that would change unseen.
    if isinstance(found, Checkpoint) and _line("C", to_plain(found)).rstrip() == line:
        return found
    return Checkpoint(
        number=0,
        made_at=datetime.fromtimestamp(0, UTC),
        position=max(position, 0),
        digest=GENESIS,
        previous=GENESIS,
        key_id="",
    )


def _counts(line: bytes) -> tuple[int, int]:
    try:
        said = _object(line[2:])
        return int(said["rows"]), int(said["position"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return -1, -1


async def write(
    session: AsyncSession, path: Path, *, after: Head, upto: int = log_store.POSITION_MAX
) -> Written:
    """
    Write the rows behind a head, which must be a checkpoint's or the beginning, to a file.

    The file stands under its name only when it is whole and on disk.
    """
    building = path.with_name(f".{path.name}.new")
    last, count = after, 0
    with _open(building, "wb", path.name) as file:
        before = await log_store.read_checkpoints(session, after.position - 1, after.position, 1)
        await asyncio.to_thread(file.writelines, [*await _header(session, after), *_words(before)])
        while True:
            rows = await log_store.read_rows(session, last.position, PART_ROWS, upto=upto)
            if not rows:
                break
            end = rows[-1].position
            found = await log_store.read_checkpoints(session, last.position, end, PART_ROWS)
            await asyncio.to_thread(file.writelines, _lines(rows, found))
            last, count = Head(end, rows[-1].digest), count + len(rows)
        end_line = _line("E", {"rows": count, "position": last.position if count else 0})
        await asyncio.to_thread(file.writelines, [end_line])
    sha256 = await asyncio.to_thread(_settle, building, path)
    return Written(count, last, sha256)


async def _header(session: AsyncSession, after: Head) -> list[bytes]:
    said = {"position": after.position, "digest": after.digest.hex()}
    keys = [
        {"key_id": row["key_id"], "public_key": base64.b64encode(row["public_key"]).decode()}
        for row in await log_store.read_keys(session)
    ]
    return [
        _line("H", {"format": FORMAT, "after": said}),
        *(_line("K", key) for key in keys),
        *_words(await log_store.read_cuts(session)),
        *_words(await log_store.read_roots(session)),
    ]


def _lines(rows: Sequence[Row], checkpoints: Sequence[Checkpoint]) -> Iterator[bytes]:
    at = {checkpoint.position: checkpoint for checkpoint in checkpoints}
    for position, text, digest in rows:
        yield b"R %b %b\n" % (digest.hex().encode(), text)
        if position in at:
            yield from _words([at[position]])


def _words(words: Iterable[Signed]) -> Iterator[bytes]:
    return (_line(letter_of(word), to_plain(word)) for word in words)


def _line(letter: str, said: Mapping[str, object]) -> bytes:
    return f"{letter} {json.dumps(said, separators=(',', ':'))}\n".encode()


def _settle(building: Path, path: Path) -> str:
    with building.open("rb") as file:
        os.fsync(file.fileno())
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    building.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return sha256


async def start_of(session: AsyncSession, since: datetime | None) -> Head:
    """Behind what an export begins: the last checkpoint before a time, a cut, or the beginning."""
    cuts = await log_store.read_cuts(session)
    first = cuts[-1].head if cuts else BEGINNING
    if since is None:
        return first
    found = await log_store.last_checkpoint(session, before=since)
    return found.head if found and found.position > first.position else first


def write_roots(path: Path, roots: Sequence[DayRoot]) -> None:
    """Keep day roots in a file, as institutions do."""
    path.write_bytes(b"".join(_words(roots)))


def read_roots(path: Path) -> list[DayRoot]:
    """The day roots that were kept in a file."""
    found = []
    for line in path.read_bytes().splitlines():
        kind, rest = _split(line)
        word = from_plain(kind, _object(rest)) if kind == "D" else None
        if not isinstance(word, DayRoot):
            raise ValueError(f"{path} holds a line that is no day root")  # noqa: TRY004
        found.append(word)
    return found
