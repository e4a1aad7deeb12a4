"""Funds: who stands behind a loan, and up to how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from services.funds.model import Cover, CoverState, Fund, FundState
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.leverage import leverage
from services.programmes.schema.fund import SharingModel
from services.programmes.terms import Terms


@dataclass(frozen=True, slots=True)
class Reservation:
    """What became of a request for cover."""

    cover: Cover
    fund: Fund | None
    reason: str
    """Why there is no cover; empty when it is reserved."""
    headroom_fen: Fen
    capacity_fen: Fen
    reached_now: bool
    """The fund ran out of headroom with this request."""


def sharing_model(
    terms: Terms, borrower_class: str, *, product_id: str = "", chosen: str = ""
) -> SharingModel | None:
    """
    The way of sharing that the county chose among the product's, or the product's first.

    Without a product it is the first one meant for this borrower; none: no fund stands behind.
    """
    if terms.pack.fund is None:
        return None
    if product_id:
        offered = terms.product(product_id).sharing_models
        if not offered:
            return None
        return terms.sharing_model(chosen if chosen in offered else offered[0])
    for model in terms.pack.fund.models:
        if borrower_class in model.borrower_classes:
            return model
    return None


def backing_fund(model: SharingModel, funds: Sequence[Fund]) -> Fund | None:
    """The first party of the sharing that is a fund which is not closed; pots come after shares."""
    by_kind = {fund.kind: fund for fund in funds if fund.state is not FundState.CLOSED}
    for party in (*model.parties, *model.pots):
        if party in by_kind:
            return by_kind[party]
    return None


def ask_again(before: Cover, asked: Cover) -> Cover:
    """A second request: what is reserved stays as it is, anything else begins anew."""
    if before.state is CoverState.RESERVED:
        return before
    return replace(
        asked,
        version=before.version,
        disbursed=before.disbursed or asked.disbursed,
        renews_loan_id=before.renews_loan_id,
        until_on=asked.until_on or before.until_on,
        opening=before.opening or asked.opening,
    )


def refuse(cover: Cover, reason: str, *, fund: Fund | None = None) -> Reservation:
    """No cover, with the reason."""
    refused = replace(cover, state=CoverState.REFUSED, version=cover.version + 1)
    return Reservation(refused, fund, reason, Fen(0), Fen(0), reached_now=False)


def take_over(cover: Cover, fund: Fund, *, model_id: str, multiple: int, on: date) -> Reservation:
    """
    Cover that was promised before our books began: an opening entry, whatever room there is.

    It may leave the fund with headroom below zero (S26); then nobody new gets any.
    """
    if cover.state is CoverState.RESERVED:
        return reserve(cover, fund, model_id=model_id, multiple=multiple, on=on)
    covered = Fen(fund.covered_fen + cover.principal_fen)
    now = leverage(fund.balance_fen, multiple=multiple, outstanding_fen=covered)
    return Reservation(
        replace(
            cover,
            state=CoverState.RESERVED,
            fund_id=fund.fund_id,
            model_id=model_id,
            reserved_on=on,
            version=cover.version + 1,
        ),
        replace(fund, covered_fen=covered),
        "",
        Fen(max(0, now.headroom_fen)),
        now.capacity_fen,
        reached_now=False,
    )


def reserve(cover: Cover, fund: Fund, *, model_id: str, multiple: int, on: date) -> Reservation:
    """
    Reserve cover while balance times multiple holds it; exactly full is within (S26).

    A fund that owes for want of money takes no new cover (S20). A cover that is reserved already
    answers the same again.
    """
    now = leverage(fund.balance_fen, multiple=multiple, outstanding_fen=fund.covered_fen)
    headroom = Fen(max(0, now.headroom_fen))
    answered = replace(cover, version=cover.version + 1)
    if cover.state is CoverState.RESERVED:
        return Reservation(answered, fund, "", headroom, now.capacity_fen, reached_now=False)
    if fund.state is FundState.SUSPENDED:
        refused = refuse(cover, "FUND_SUSPENDED", fund=fund)
        return replace(refused, headroom_fen=headroom, capacity_fen=now.capacity_fen)
    if cover.principal_fen > headroom:
        reached_now = not fund.leverage_reached
        return Reservation(
            replace(answered, state=CoverState.REFUSED),
            replace(fund, leverage_reached=True, version=fund.version + reached_now),
            "LEVERAGE_REACHED",
            headroom,
            now.capacity_fen,
            reached_now=reached_now,
        )
    covered = Fen(fund.covered_fen + cover.principal_fen)
    return Reservation(
        replace(
            answered,
            state=CoverState.RESERVED,
            fund_id=fund.fund_id,
            model_id=model_id,
            reserved_on=on,
        ),
        replace(fund, covered_fen=covered, leverage_reached=False),
        "",
        Fen(headroom - cover.principal_fen),
        now.capacity_fen,
        reached_now=False,
    )


def release(cover: Cover, fund: Fund, state: CoverState) -> tuple[Cover, Fund]:
    """Give reserved cover back to its fund."""
    assert cover.state is CoverState.RESERVED
    assert cover.fund_id == fund.fund_id
    return (
        replace(cover, state=state, version=cover.version + 1),
        replace(fund, covered_fen=Fen(fund.covered_fen - cover.principal_fen)),
    )


def renewed(cover: Cover, *, until_on: date | None, renews: UUID | None = None) -> Cover:
    """Cover goes on with the loan's new term, or with the loan that renews another."""
    return replace(
        cover,
        until_on=until_on or cover.until_on,
        renews_loan_id=renews or cover.renews_loan_id,
        version=cover.version + 1,
    )


def last_day(clause_days: int | None, on: date) -> date | None:
    """What began or was due before this day has expired; None: nothing expires so."""
    return None if clause_days is None else on - timedelta(days=clause_days)
