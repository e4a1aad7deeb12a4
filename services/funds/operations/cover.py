"""Funds: cover reserved, refused and released, and what is heard of covered loans."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import Amounts, Cover, CoverState, Key, LoanPayment, Statement
from services.funds.operations.shared import Leverage, Work
from services.funds.rules import cover as cover_rules
from services.funds.store import cover as cover_store
from services.funds.store import funds as fund_store
from services.kernel.errors import LiandongError
from services.kernel.money import Fen
from services.programmes.loader import Catalogue
from services.programmes.schema.pack import split_ref


async def reserve_covers(
    session: AsyncSession, catalogue: Catalogue, wanted: Sequence[Cover], on: Mapping[str, date]
) -> None:
    """Answer requests for cover in their order, under the locks of their counties' funds."""
    if not wanted:
        return
    covers = await cover_store.lock_covers(session, [cover.key for cover in wanted])
    work = Work(await fund_store.lock_funds(session, [cover.county_code for cover in wanted]))
    leverage = Leverage(catalogue)
    answered: dict[Key, Cover] = {}
    for asked in wanted:
        before = covers.get(asked.key)
        if before is not None and before.state is CoverState.COMPENSATED:
            continue
        day = on[asked.county_code]
        cover = asked if before is None else cover_rules.ask_again(before, asked)
        done = _reserve_one(catalogue, leverage, work, cover, day)
        covers[asked.key] = answered[asked.key] = done.cover
        if done.reason:
            refused = events_out.cover_refused(done.cover, done.reason, done.headroom_fen, day)
            work.events.append(refused)
        else:
            work.events.append(events_out.cover_reserved(done.cover, day))
        if done.fund is not None:
            work.put(done.fund)
            if done.reached_now:
                work.events.append(events_out.leverage_reached(done.fund, done.capacity_fen, day))
    await cover_store.save_covers(session, list(answered.values()))
    await work.write(session)


def _reserve_one(
    catalogue: Catalogue, leverage: Leverage, work: Work, cover: Cover, on: date
) -> cover_rules.Reservation:
    """A programme that is open or unknown is a reason to refuse, never a fault of the event."""
    try:
        terms = catalogue.terms(cover.county_code, cover.programme)
        model = cover_rules.sharing_model(terms, cover.borrower_class)
        programme_id = split_ref(cover.programme)[0]
        funds = work.of(cover.county_code, programme_id)
        fund = cover_rules.backing_fund(model, funds) if model else None
        if model is None or fund is None:
            return cover_rules.refuse(cover, "NO_FUND")
        multiple = leverage.multiple(cover.county_code, programme_id, on)
        return cover_rules.reserve(cover, fund, model_id=model.id, multiple=multiple)
    except LiandongError as error:
        return cover_rules.refuse(cover, error.reason)
    except ValueError:
        return cover_rules.refuse(cover, "PROGRAMME_UNKNOWN")


async def release_covers(
    session: AsyncSession, loans: Iterable[Key], on: Mapping[str, date]
) -> None:
    """Give back the cover of loans that were refused or settled, where there is any."""
    await _release(session, await cover_store.lock_covers(session, loans), CoverState.RELEASED, on)


async def void_unused(
    session: AsyncSession, county_code: str, *, scope: str, scope_id: str, on: date
) -> None:
    """Lending stopped in a scope: cover that no disbursed loan stands on goes back."""
    prefix = scope_id if scope in ("village", "township", "county") else ""
    lender_id = scope_id if scope == "lender" else ""
    if not prefix and not lender_id:
        return
    covers = await cover_store.lock_unused_covers(
        session, county_code, area_prefix=prefix, lender_id=lender_id
    )
    await _release(session, covers, CoverState.VOIDED, {county_code: on})


async def _release(
    session: AsyncSession,
    covers: Mapping[Key, Cover],
    state: CoverState,
    on: Mapping[str, date],
) -> None:
    held = [cover for cover in covers.values() if cover.state is CoverState.RESERVED]
    if not held:
        return
    work = Work(await fund_store.lock_funds(session, [cover.county_code for cover in held]))
    released = [release_one(work, cover, state, on[cover.county_code]) for cover in held]
    await cover_store.save_covers(session, released)
    await work.write(session)


def release_one(work: Work, cover: Cover, state: CoverState, on: date) -> Cover:
    """Give one cover back to its fund, and say so."""
    assert cover.fund_id is not None
    released, fund = cover_rules.release(cover, work.funds[cover.fund_id], state)
    work.put(fund)
    work.events.append(events_out.cover_released(released, on))
    return released


async def mark_disbursed(
    session: AsyncSession, catalogue: Catalogue, loans: Sequence[Key], on: Mapping[str, date]
) -> None:
    """
    Note that loans were paid out.

    Where a breaker's trip overtook the news, cover was given back too early: it is asked for again.
    """
    covers = await cover_store.lock_covers(session, loans)
    paid_out = [replace(cover, disbursed=True) for cover in covers.values()]
    await cover_store.save_covers(session, paid_out)
    voided = [cover for cover in paid_out if cover.state is CoverState.VOIDED]
    await reserve_covers(session, catalogue, voided, on)


async def cover_again(
    session: AsyncSession, catalogue: Catalogue, loans: Sequence[Key], on: Mapping[str, date]
) -> None:
    """
    Stand behind loans again that are owed once more, as when a repayment was taken back.

    Their cover went back when they were settled; there may be no room for it now.
    """
    covers = await cover_store.lock_covers(session, loans)
    gone = (CoverState.RELEASED, CoverState.REFUSED)
    wanted = [cover for cover in covers.values() if cover.state in gone]
    await reserve_covers(session, catalogue, wanted, on)


async def keep_statements(session: AsyncSession, statements: Sequence[Statement]) -> None:
    """Keep the latest word on each overdue loan."""
    latest: dict[Key, Statement] = {}
    for each in statements:
        key = (each.county_code, each.loan_id)
        if key not in latest or latest[key].loan_sequence < each.loan_sequence:
            latest[key] = each
    await cover_store.save_statements(session, list(latest.values()))


async def keep_payments(session: AsyncSession, payments: Sequence[LoanPayment]) -> None:
    """Keep what was paid on loans; one row a loan and event."""
    merged: dict[tuple[UUID, UUID], LoanPayment] = {}
    for each in payments:
        key = (each.loan_id, each.event_id)
        if key in merged:
            paid = Amounts(
                Fen(merged[key].paid.principal_fen + each.paid.principal_fen),
                Fen(merged[key].paid.interest_fen + each.paid.interest_fen),
            )
            merged[key] = replace(each, paid=paid)
        else:
            merged[key] = each
    await cover_store.add_payments(session, list(merged.values()))


async def undo_payout(
    session: AsyncSession, county_code: str, payout_id: str, *, event_id: UUID, on: date
) -> None:
    """An allocation was undone: its loans are owed again what it had paid."""
    await cover_store.undo_payout(session, county_code, payout_id, event_id=event_id, on=on)
