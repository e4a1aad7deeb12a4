"""Drawdown: large loans are released batch by batch, each with its evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.kernel.money import Fen
from services.programmes.post_loan import unsigned
from services.programmes.schema.loans import ControlledDrawdown
from services.programmes.schema.post_loan import JointAccount
from services.programmes.schema.values import Organ


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """One batch and what came with it."""

    amount_fen: Fen
    evidence_ok: bool = False
    county_approved: bool = False
    entrusted_payment: bool = False
    progress_signed: bool = False
    signed_by: frozenset[Organ] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Drawdown:
    """Whether a loan is controlled, and which batches were released."""

    controlled: bool
    released: tuple[bool, ...]
    released_total_fen: Fen
    working: str


def is_controlled(
    clause: ControlledDrawdown | None, approved_fen: Fen, product: str | None = None
) -> bool:
    """From the threshold on, inclusive (S51), and for the named products where any is named."""
    if clause is None or (clause.products and product not in clause.products):
        return False
    return approved_fen >= clause.threshold_fen


def drawdown_of(
    clause: ControlledDrawdown, approved_fen: Fen, requests: Sequence[DrawRequest]
) -> Drawdown:
    """Release the batches of a loan that the clause controls."""
    return controlled_drawdown(
        approved_fen,
        requests,
        threshold_fen=clause.threshold_fen,
        requires=clause.requires,
        account=clause.account,
    )


def controlled_drawdown(
    approved_fen: Fen,
    requests: Sequence[DrawRequest],
    *,
    threshold_fen: Fen,
    requires: Sequence[str] = ("evidence", "county_approval", "entrusted_payment"),
    account: JointAccount | None = None,
) -> Drawdown:
    """Release batches in order: each with all that is required, never above what is approved."""
    controlled = approved_fen >= threshold_fen
    total = Fen(0)
    released: list[bool] = []
    for request in requests:
        complete = not controlled or not missing(request, requires, account=account)
        fits = 0 < request.amount_fen <= approved_fen - total
        released.append(complete and fits)
        if released[-1]:
            total = Fen(total + request.amount_fen)
    working = f"{total} of {approved_fen} fen released, controlled: {controlled}"
    return Drawdown(controlled, tuple(released), total, working)


def missing(
    request: DrawRequest, requires: Sequence[str], *, account: JointAccount | None = None
) -> tuple[str, ...]:
    """What a batch still lacks."""
    has = {
        "evidence": request.evidence_ok,
        "county_approval": request.county_approved,
        "entrusted_payment": request.entrusted_payment,
        "progress_signed": request.progress_signed,
        "joint_signatures": account is not None and not unsigned(account, request.signed_by),
    }
    return tuple(need for need in requires if not has[need])
