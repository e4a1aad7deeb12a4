"""Drawdown: large loans are released batch by batch, each with its evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.money import Fen
from services.programmes.schema.loans import ControlledDrawdown


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """One batch and what came with it."""

    amount_fen: Fen
    evidence_ok: bool = False
    county_approved: bool = False
    entrusted_payment: bool = False


@dataclass(frozen=True, slots=True)
class Drawdown:
    """Whether a loan is controlled, and which batches were released."""

    controlled: bool
    released: tuple[bool, ...]
    released_total_fen: Fen
    working: str


def is_controlled(clause: ControlledDrawdown | None, approved_fen: Fen) -> bool:
    """From the threshold on, inclusive (S51)."""
    return clause is not None and approved_fen >= clause.threshold_fen


def controlled_drawdown(
    approved_fen: Fen,
    requests: Sequence[DrawRequest],
    *,
    threshold_fen: Fen,
    requires: Sequence[str] = ("evidence", "county_approval", "entrusted_payment"),
) -> Drawdown:
    """Release batches in order: each with all that is required, never above what is approved."""
    controlled = approved_fen >= threshold_fen
    total = Fen(0)
    released: list[bool] = []
    for request in requests:
        complete = not controlled or not missing(request, requires)
        fits = 0 < request.amount_fen <= approved_fen - total
        released.append(complete and fits)
        if released[-1]:
            total = Fen(total + request.amount_fen)
    working = f"{total} of {approved_fen} fen released, controlled: {controlled}"
    return Drawdown(controlled, tuple(released), total, working)


def missing(request: DrawRequest, requires: Sequence[str]) -> tuple[str, ...]:
    """What a batch still lacks."""
    has = {
        "evidence": request.evidence_ok,
        "county_approval": request.county_approved,
        "entrusted_payment": request.entrusted_payment,
    }
    return tuple(need for need in requires if not has[need])
