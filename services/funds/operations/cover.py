"""Funds: cover reserved, refused and released, and what is heard of covered loans."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import (
    Amounts,
    Cover,
    CoverState,
    Insured,
    Key,
    LoanPayment,
    Statement,
)
from services.funds.operations.shared import Leverage, Work
from services.funds.rules import cover as cover_rules
from services.funds.rules.accounts import pots
from services.funds.store import cover as cover_store
from services.funds.store import funds as fund_store
from services.kernel import business_day
from services.kernel.caller import Caller, require_role
from services.kernel.errors import LiandongError, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.pack import split_ref

CHOOSERS = ("county_centre", "finance_bureau")


async def reserve_covers(
    session: AsyncSession, catalogue: Catalogue, wanted: Sequence[Cover], on: Mapping[str, date]
) -> None:
    """Answer requests for cover in their order, under the locks of their counties' funds."""
    if not wanted:
        return
    covers = await cover_store.lock_covers(session, [cover.key for cover in wanted])
    work = Work(await fund_store.lock_funds(session, [cover.county_code for cover in wanted]))
    if new := [cover.key for cover in wanted if cover.key not in covers]:
        # Whoever asked for the same loan at the same moment has committed by now.
        covers.update(await cover_store.lock_covers(session, new))
    counties = [cover.county_code for cover in wanted]
    terms = _Terms(catalogue, await cover_store.choices_of(session, counties))
    answered: dict[Key, Cover] = {}
    for asked in wanted:
        before = covers.get(asked.key)
        if before is not None and before.state is CoverState.COMPENSATED:
            continue
        day = on[asked.county_code]
        cover = asked if before is None else cover_rules.ask_again(before, asked)
        done = _reserve_one(terms, work, cover, day)
        covers[asked.key] = answered[asked.key] = done.cover
        _answer(work, done, day)
    await cover_store.save_covers(session, list(answered.values()))
    await work.write(session)


def _answer(work: Work, done: cover_rules.Reservation, on: date) -> None:
    """Say what became of a request, and keep what it did to its fund."""
    if done.reason:
        refused = events_out.cover_refused(
            done.cover,
            done.reason,
            on,
            headroom_fen=done.headroom_fen,
            capacity_fen=done.capacity_fen,
            fund=done.fund,
        )
        work.events.append(refused)
    else:
        work.events.append(events_out.cover_reserved(done.cover, on))
    if done.fund is not None:
        work.put(done.fund)
        if done.reached_now:
            work.events.append(events_out.leverage_reached(done.fund, done.capacity_fen, on))


class _Terms:
    """What decides on cover: programmes, their leverage on a day, and what counties chose."""

    def __init__(self, catalogue: Catalogue, choices: Mapping[str, cover_store.Choices]) -> None:
        self.leverage = Leverage(catalogue)
        self._catalogue = catalogue
        self._choices = choices

    def model(self, cover: Cover) -> SharingModel | None:
        """How a loss of this loan would be shared."""
        chosen = self._choices.get(cover.county_code, {})
        return cover_rules.sharing_model(
            self._catalogue.terms(cover.county_code, cover.programme),
            cover.borrower_class,
            product_id=cover.product_id,
            chosen=chosen.get((split_ref(cover.programme)[0], cover.product_id), ""),
        )


def _reserve_one(terms: _Terms, work: Work, cover: Cover, on: date) -> cover_rules.Reservation:
    """A programme that is open or unknown is a reason to refuse, never a fault of the event."""
    try:
        model = terms.model(cover)
        programme_id = split_ref(cover.programme)[0]
        funds = pots(work.of(cover.county_code, programme_id), area_code=cover.area_code)
        fund = cover_rules.backing_fund(model, funds) if model else None
        if model is None or fund is None:
            return cover_rules.refuse(cover, "NO_FUND")
        multiple = terms.leverage.multiple(cover.county_code, programme_id, on)
        reserve = cover_rules.take_over if cover.opening else cover_rules.reserve
        return reserve(cover, fund, model_id=model.id, multiple=multiple, on=on)
    except LiandongError as error:
        return cover_rules.refuse(cover, error.reason)
    except ValueError:
        return cover_rules.refuse(cover, "PROGRAMME_UNKNOWN")


async def release_covers(
    session: AsyncSession, loans: Iterable[Key], on: Mapping[str, date]
) -> None:
    """Give back the cover of loans that were refused or settled, where there is any."""
    await _release(session, await cover_store.lock_covers(session, loans), CoverState.RELEASED, on)


AREAS = ("village", "township", "county")


async def void_unused(
    session: AsyncSession, county_code: str, *, scope: str, scope_id: str, on: date
) -> None:
    """Lending stopped in a scope: cover that no disbursed loan stands on goes back."""
    found: dict[str, str] = {}
    whole, _, part = scope_id.partition("/")
    if scope in AREAS:
        found = {"area_prefix": scope_id}
    elif scope in ("programme", "product"):
        found = {"programme_id": whole.split("@", maxsplit=1)[0], "product_id": part}
    elif scope == "lender":
        found = {"lender_id": whole}
    elif scope == "outlet":
        # A lender that names no outlets counts as one; those it names are others.
        found = {"lender_id": whole, "outlet_code": part}
    if not scope_id or not found:
        return
    covers = await cover_store.lock_unused_covers(session, county_code, **found)
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


def release_one(
    work: Work, cover: Cover, state: CoverState, on: date, *, reason: str = ""
) -> Cover:
    """Give one cover back to its fund, and say so."""
    assert cover.fund_id is not None
    released, fund = cover_rules.release(cover, work.funds[cover.fund_id], state)
    work.put(fund)
    said = events_out.cover_released(released, on, reason=reason or state.value)
    work.events.append(said)
    return released


@dataclass(frozen=True, slots=True)
class Renewal:
    """A loan with a new term, or one that renews another."""

    county_code: str
    loan_id: UUID
    until_on: date | None
    renews: UUID | None = None


async def renew_covers(
    session: AsyncSession,
    catalogue: Catalogue,
    renewals: Sequence[Renewal],
    on: Mapping[str, date],
) -> None:
    """
    Cover goes on with an extension, with new terms, or with the loan that renews another.

    The cover of the old loan goes back first: a full fund carries on what it carries already.
    """
    wanted = [(each.county_code, each.loan_id) for each in renewals]
    wanted += [(each.county_code, each.renews) for each in renewals if each.renews]
    covers = await cover_store.lock_covers(session, wanted)
    if not covers:
        return
    work = Work(await fund_store.lock_funds(session, {county for county, _ in covers}))
    counties = {county for county, _ in covers}
    terms = _Terms(catalogue, await cover_store.choices_of(session, counties))
    changed: dict[Key, Cover] = {}
    for each in renewals:
        key, day = (each.county_code, each.loan_id), on[each.county_code]
        cover = covers.get(key)
        if cover is None:
            continue
        old = covers.get((each.county_code, each.renews)) if each.renews else None
        if old is not None and old.state is CoverState.RESERVED:
            old = release_one(work, old, CoverState.RELEASED, day, reason="renewed")
            covers[old.key] = changed[old.key] = old
        if old is not None and cover.state is CoverState.REFUSED:
            done = _reserve_one(terms, work, cover, day)
            if not done.reason:
                cover = done.cover
                _answer(work, done, day)
        if cover.state is CoverState.RESERVED:
            cover = cover_rules.renewed(cover, until_on=each.until_on, renews=each.renews)
            work.events.append(events_out.cover_renewed(cover, day))
        covers[key] = changed[key] = cover
    await cover_store.save_covers(session, list(changed.values()))
    await work.write(session)


EXPIRED_AT_ONCE = 500
"""Covers that one day close lets go at most; the next takes the rest."""


async def close_day(
    session: AsyncSession, catalogue: Catalogue, county_code: str, day: date
) -> None:
    """Ask again for loans that came in before their fund, and let cover go that has expired."""
    keys = await cover_store.refused_openings(session, county_code, limit=EXPIRED_AT_ONCE)
    again = await cover_store.lock_covers(session, keys)
    await reserve_covers(session, catalogue, list(again.values()), {county_code: day})
    for entry in catalogue.adoptions(county_code, day):
        fund = catalogue.terms(county_code, entry.programme).pack.fund
        clause = fund.cover_expiry if fund else None
        if clause is None:
            continue
        covers = await cover_store.lock_expired_covers(
            session,
            county_code,
            programme_id=split_ref(entry.programme)[0],
            undisbursed_before=cover_rules.last_day(clause.undisbursed_days, day),
            matured_before=cover_rules.last_day(clause.after_maturity_days, day),
            limit=EXPIRED_AT_ONCE,
        )
        await _release(session, covers, CoverState.EXPIRED, {county_code: day})


async def open_covers(
    session: AsyncSession, catalogue: Catalogue, wanted: Sequence[Cover], on: Mapping[str, date]
) -> None:
    """Opening entries of loans that were taken over, where their product wants cover."""
    shared = []
    for each in wanted:
        try:
            terms = catalogue.terms(each.county_code, each.programme)
            model = terms.default_sharing_model(terms.product(each.product_id))
        except (LiandongError, ValueError):
            continue
        if model is not None:
            shared.append(each)
    await reserve_covers(session, catalogue, shared, on)


async def reopen_covers(
    session: AsyncSession, catalogue: Catalogue, loans: Sequence[Key], on: Mapping[str, date]
) -> None:
    """Something is owed again on loans that were settled: their cover is asked for once more."""
    covers = await cover_store.lock_covers(session, loans)
    released = [each for each in covers.values() if each.state is CoverState.RELEASED]
    await reserve_covers(session, catalogue, [each for each in released if each.disbursed], on)


async def choose_model(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    *,
    programme_id: str,
    product_id: str,
    model_id: str,
    reason: str,
) -> str:
    """Let another of a product's sharing models hold from now on; which one held before."""
    require_role(caller, CHOOSERS)
    caller.require_area(county_code)
    person_id = caller.require_person()
    today = await business_day.today(session, county_code)
    ref = catalogue.in_force(county_code, programme_id, today)
    offered = catalogue.terms(county_code, ref).product(product_id).sharing_models
    if model_id not in offered:
        raise invalid_field(
            "MODEL_NOT_OF_PRODUCT",
            "sharing_model",
            model_id,
            f"must be one of {', '.join(offered) or 'none: no fund stands behind this product'}",
            "该产品无此分担模式",
        )
    choices = await cover_store.choices_of(session, [county_code])
    before = choices.get(county_code, {}).get((programme_id, product_id), offered[0])
    await cover_store.add_choice(
        session,
        county_code,
        programme_id=programme_id,
        product_id=product_id,
        model_id=model_id,
        reason=reason,
        person_id=person_id,
        on=today,
    )
    return before


async def mark_disbursed(
    session: AsyncSession,
    catalogue: Catalogue,
    loans: Sequence[Key],
    on: Mapping[str, date],
    until: Mapping[Key, date] | None = None,
) -> None:
    """
    Note that loans were paid out.

    Where a breaker's trip overtook the news, cover was given back too early: it is asked for again.
    """
    covers = await cover_store.lock_covers(session, loans)
    paid_out = [
        replace(cover, disbursed=True, until_on=(until or {}).get(key, cover.until_on))
        for key, cover in covers.items()
    ]
    await cover_store.save_covers(session, paid_out)
    voided = [cover for cover in paid_out if cover.state is CoverState.VOIDED]
    await reserve_covers(session, catalogue, voided, on)


async def keep_statements(session: AsyncSession, statements: Sequence[Statement]) -> None:
    """Keep the latest word on each overdue loan."""
    latest: dict[Key, Statement] = {}
    for each in statements:
        key = (each.county_code, each.loan_id)
        if key not in latest or latest[key].loan_sequence < each.loan_sequence:
            latest[key] = each
    await cover_store.save_statements(session, list(latest.values()))


async def keep_standing(
    session: AsyncSession,
    rows: Sequence[tuple[str, UUID, bool | None, str | None, date | None]],
) -> None:
    """Keep how loans stand, and that they were written off."""
    await cover_store.save_standing(session, sorted(rows))


async def keep_insured(session: AsyncSession, insured: Sequence[Insured]) -> None:
    """Keep what insurers of loans bear; the last word on a loan and cover counts."""
    last = {(each.county_code, each.loan_id, each.cover_id): each for each in insured}
    await cover_store.save_insured(session, list(last.values()))


async def end_insured(
    session: AsyncSession, ended: Sequence[tuple[str, UUID, str, date | None]]
) -> None:
    """Insurers' covers of loans ended."""
    last = {each[:3]: each for each in ended}
    if last:
        await cover_store.end_insured(session, list(last.values()))


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
