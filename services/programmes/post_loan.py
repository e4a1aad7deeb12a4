"""Post-loan: duties held apart, signatures on a joint account, the line that funds a loan."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from services.kernel.money import Fen
from services.programmes.schema.post_loan import Duty, JointAccount, Relending, Segregation
from services.programmes.schema.values import Organ, known


@dataclass(frozen=True, slots=True)
class Held:
    """Whether duties are apart, and the persons who hold two of them."""

    apart: bool
    persons: tuple[str, ...]
    working: str


@dataclass(frozen=True, slots=True)
class LineCheck:
    """Whether a line funds an amount, and what is left of it."""

    allowed: bool
    headroom_fen: Fen
    working: str


def held_apart(clause: Segregation | None, held: Mapping[Duty, Collection[str]]) -> Held:
    """No person may hold two of the named duties on one loan (S52)."""
    duties = clause.apart if clause else ()
    times: dict[str, int] = {}
    for duty in duties:
        for person in set(held.get(duty, ())):
            times[person] = times.get(person, 0) + 1
    both = tuple(sorted(person for person, count in times.items() if count > 1))
    names = ", ".join(duty.value for duty in duties) or "nothing"
    return Held(not both, both, f"{names} apart; {', '.join(both) or 'nobody'} holds two")


def unsigned(account: JointAccount, signed: Collection[Organ]) -> tuple[Organ, ...]:
    """Who has not signed yet, in the pack's order."""
    return tuple(organ for organ in account.signatories if organ not in signed)


def line_check(clause: Relending, *, drawn_fen: Fen, requested_fen: Fen) -> LineCheck:
    """Within the quota; what is repaid may be drawn again on a revolving line."""
    limit = Fen(0) if clause.limit_fen is None else known(clause.limit_fen)
    headroom = Fen(limit - drawn_fen)
    allowed = 0 < requested_fen <= headroom
    working = f"{limit} − {drawn_fen} = {headroom} ≥ {requested_fen} fen? {allowed}"
    return LineCheck(allowed, headroom, working)


def drawn(clause: Relending, *, borrowed_fen: Fen, repaid_fen: Fen) -> Fen:
    """What counts against the quota: repayments restore it only where it revolves."""
    return Fen(borrowed_fen - repaid_fen) if clause.revolving else borrowed_fen


def source_of(clause: Relending, *, poor_county: bool) -> str | None:
    """Which kind of line a county borrows from."""
    named = "poor" if poor_county else "other"
    for source in clause.sources:
        if source.counties in ("all", named):
            return source.id
    return None
