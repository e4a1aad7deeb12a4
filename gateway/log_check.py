"""
Log check: does the chain hold, and if not, where does it break first and how. Pure, part by part.

Memory is bounded: a part's rows, and one digest for each root that is to come.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from gateway.log_chain import (
    BEGINNING,
    Checkpoint,
    Cut,
    DayRoot,
    Head,
    Keys,
    Row,
    Signed,
    link,
    moved,
)

S = TypeVar("S", bound=Signed)

LOOK_AHEAD = 10_000
"""So many rows behind a broken one are looked through for what happened."""


class Kind(StrEnum):
    """What was done to the log."""

    FLIP = "flip"
    DELETION = "deletion"
    INSERTION = "insertion"
    SWAP = "swap"
    CUT_TAIL = "cut tail"
    REWRITTEN = "rewritten"
    """The rows follow from one another, and yet not to what was signed or kept."""
    FORGED_CHECKPOINT = "forged checkpoint"
    MISSING_CHECKPOINT = "missing checkpoint"
    FORGED_ROOT = "forged day root"
    FORGED_CUT = "forged cut"
    UNPROVEN_START = "unproven start"
    """The file begins in the middle, and nothing signed or kept says what was before."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The first position that does not hold, and why."""

    position: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found."""

    rows: int
    checkpoints: int
    head: Head
    """The last row that holds."""
    sealed: Head
    """The last row that a checkpoint, or a head kept elsewhere, proves."""
    broken: Broken | None

    @property
    def intact(self) -> bool:
        """Whether everything holds."""
        return self.broken is None

    @property
    def broken_at(self) -> int | None:
        """First position that does not hold; None when all do."""
        return None if self.broken is None else self.broken.position


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What a log is held against beside itself."""

    keys: Keys
    heads: tuple[Head, ...] = ()
    """Heads that were kept elsewhere."""
    roots: tuple[DayRoot, ...] = ()
    """Day roots that institutions kept."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows in order, and the checkpoints up to the last of them."""

    rows: Sequence[Row]
    checkpoints: Sequence[Checkpoint] = ()


def classify(before: Head, last: Head, rows: Sequence[Row]) -> Broken:
    """What happened at the first of these rows, which does not follow from `last`."""
    expected = last.position + 1
    first = rows[0]
    if link(before.digest, moved(first.text, last.position)) == first.digest and before != last:
        # The row before it was put in with a digest of its own; this one was there.
        return Broken(last.position, Kind.INSERTION)
    for place, row in enumerate(rows[:LOOK_AHEAD]):
        belongs = link(last.digest, moved(row.text, expected))
        if place and belongs in (row.digest, first.digest):
            return Broken(expected, _displaced(last, rows, place))
    if first.position == expected and _goes_on(last, rows):
        return Broken(expected, Kind.FLIP)
    if first.position > expected or _renumbered(last, rows):
        return Broken(expected, Kind.DELETION)
    if first.position < expected:
        return Broken(expected, Kind.INSERTION)
    return Broken(expected, Kind.FLIP)


def _displaced(last: Head, rows: Sequence[Row], place: int) -> Kind:
    """The row that belongs first stands at `place`: was it swapped, or pushed back?"""
    first, home = rows[0], rows[place]
    expected = last.position + 1
    if link(last.digest, moved(home.text, expected)) != home.digest:
        return Kind.SWAP  # The texts changed places, the digests did not.
    before = rows[place - 1].digest if place > 1 else home.digest
    swapped = link(before, moved(first.text, expected + place)) == first.digest
    return Kind.SWAP if swapped else Kind.INSERTION


def _goes_on(last: Head, rows: Sequence[Row]) -> bool:
    """Whether the row behind follows, from the digest that is written or from the right one."""
    first = rows[0]
    return len(rows) > 1 and rows[1].digest in (
        link(first.digest, rows[1].text),
        link(link(last.digest, first.text), rows[1].text),
    )


def _renumbered(last: Head, rows: Sequence[Row]) -> bool:
    """Whether rows were taken out here and those behind them moved up."""
    if len(rows) < 2:
        return False
    first, second = rows[0], rows[1]
    return any(
        link(first.digest, moved(second.text, last.position + 2 + gap)) == second.digest
        for gap in range(1, LOOK_AHEAD)
    )


@dataclass(slots=True)
class Checker:
    """Takes the log part by part; `broken` once something does not hold."""

    proofs: Proofs
    start: Head = BEGINNING
    number: int = 0
    """Of the checkpoint before the first one that is given."""
    previous: bytes = bytes(32)
    """Its digest; empty when that is not known, because a file begins in the middle."""
    whole: bool = True
    """Whether the log ends where this ends; a part of it may end before what was kept."""
    rows: int = 0
    checkpoints: int = 0
    broken: Broken | None = None
    last: Head = field(init=False)
    _before: Head = field(init=False)
    _sealed: Head = field(init=False)
    _expected: dict[int, bytes] = field(init=False)
    _roots: dict[int, DayRoot] = field(init=False)
    """By the position of the checkpoint that they are."""
    _proven: bool = field(init=False)
    """Whether something signed or kept says what was before the start."""
    _sealed_at: int = 0
    """Position of the last checkpoint."""

    def __post_init__(self) -> None:
        self.last = self._before = self._sealed = self.start
        kept = [*self.proofs.heads, *(root.head for root in self.proofs.roots)]
        self._expected = {one.position: one.digest for one in kept}
        self._roots = {root.position: root for root in self.proofs.roots}
        for root in self.proofs.roots:
            if not root.is_signed(self.proofs.keys):
                self.fail(Broken(root.position, Kind.FORGED_ROOT))
        self._proven = self.start == BEGINNING or self.start in kept

    def take(self, part: Part) -> int | None:
        """Hold a part against all before it; the index of the first row that does not follow."""
        for checkpoint in part.checkpoints:
            self._seal(checkpoint)
        return self._follow(part.rows)

    def explain(self, rows: Sequence[Row]) -> None:
        """Say what happened, from the rows that begin with the one that does not follow."""
        self.fail(classify(self._before, self.last, rows))

    def fail(self, found: Broken | None) -> None:
        """Note something that does not hold; the first position counts."""
        if found and (self.broken is None or found.position < self.broken.position):
            self.broken = found

    def _follow(self, rows: Sequence[Row]) -> int | None:
        position, previous = self.last.position, self.last.digest
        expected = self._expected
        for index, (own, text, written) in enumerate(rows):
            digest = link(previous, text)
            if own != position + 1 or digest != written:
                self._advance(rows, index)
                return index
            if own in expected:
                if expected.pop(own) == digest:
                    self._sealed = Head(own, digest)
                else:
                    self.fail(Broken(self._sealed.position + 1, Kind.REWRITTEN))
            position, previous = own, digest
        self._advance(rows, len(rows))
        return None

    def _advance(self, rows: Sequence[Row], count: int) -> None:
        """So many rows of a part hold."""
        heads = [self._before, self.last]
        heads += [Head(row.position, row.digest) for row in rows[max(count - 2, 0) : count]]
        self._before, self.last = heads[-2:]
        self.rows += count

    def _seal(self, checkpoint: Checkpoint) -> None:
        """A checkpoint: signed, next in number, chained; what it says is expected of the rows."""
        self.checkpoints += 1
        at = checkpoint.position
        follows = checkpoint.number == self.number + 1 and checkpoint.previous == self.previous
        if not checkpoint.is_signed(self.proofs.keys) or at <= self._sealed_at:
            self.fail(Broken(at, Kind.FORGED_CHECKPOINT))
        elif self.previous and not follows:
            self.fail(Broken(at, Kind.MISSING_CHECKPOINT))
        root = self._roots.pop(at, None)
        if root is not None and root.checkpoint_number != checkpoint.number:
            self.fail(Broken(at, Kind.FORGED_CHECKPOINT))
        self.number, self.previous = checkpoint.number, checkpoint.own_digest
        self._sealed_at = at
        if at == self.start.position:
            self._proven = True
            self._expected.setdefault(at, self.start.digest)
        if self._expected.setdefault(at, checkpoint.digest) != checkpoint.digest:
            self.fail(Broken(at, Kind.REWRITTEN))
        if at <= self.start.position:
            # The rows of before are not here; those to come are held against it.
            del self._expected[at]

    def end(self, later: Sequence[Checkpoint] = ()) -> Verification:
        """The whole log was given; `later` are checkpoints behind its last row."""
        if self.broken is None:
            for checkpoint in later:
                self._seal(checkpoint)
            last = self.last.position
            kept = self._expected if self.whole else ()
            if max(self._sealed_at, max(kept, default=0)) > last:
                self.fail(Broken(last + 1, Kind.CUT_TAIL))
            for position in self._roots:
                if self.start.position < position <= last:
                    self.fail(Broken(position, Kind.MISSING_CHECKPOINT))
            if not self._proven:
                self.fail(Broken(self.start.position + 1, Kind.UNPROVEN_START))
        return Verification(self.rows, self.checkpoints, self.last, self._sealed, self.broken)


def check_words(words: Sequence[S], keys: Keys, kind: Kind, *, first: bool) -> Broken | None:
    """Whether day roots or cuts are signed and chained; `first` when the first one must begin."""
    previous = bytes(32) if first else None
    for word in words:
        chained = previous is None or word.previous == previous
        if not (chained and word.is_signed(keys)):
            return Broken(word.position, kind)
        previous = word.own_digest
    return None


def check_roots(stored: Sequence[DayRoot], proofs: Proofs, *, first: bool) -> Broken | None:
    """Whether the log's own day roots are signed, chained, and what institutions kept."""
    by_day = {root.day: root for root in stored}
    for kept in proofs.roots:
        if by_day and kept.day in by_day and by_day[kept.day].text != kept.text:
            return Broken(kept.position, Kind.FORGED_ROOT)
        if by_day and kept.day not in by_day and min(by_day) < kept.day < max(by_day):
            return Broken(kept.position, Kind.FORGED_ROOT)
    return check_words(stored, proofs.keys, Kind.FORGED_ROOT, first=first)


def check_cuts(cuts: Sequence[Cut], keys: Keys) -> Broken | None:
    """Whether all cuts are signed and chained from the first one on."""
    return check_words(cuts, keys, Kind.FORGED_CUT, first=True)
