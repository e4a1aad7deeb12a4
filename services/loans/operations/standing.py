"""Loans: how loans stand: classes by judgement, frozen loans and their reviews, early warnings."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox
from services.kernel.errors import LiandongError, NotFound, Refused
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import ClassChange, Loan, LoanState, Review, Warned
from services.loans.operations import collecting, projects
from services.loans.operations.desk import Desk
from services.loans.operations.shared import found, said, terms_by_ref
from services.loans.rules import changing, lending, securing
from services.loans.rules import standing as rules
from services.loans.rules.lending import Actor
from services.loans.store import securing as securing_store
from services.loans.store import standing as standing_store
from services.programmes.loader import Catalogue
from services.programmes.terms import Terms

PAYOUT_DAYS = 3
"""A payout that its receivers have not confirmed after so many days is warned of."""

MayActIn = Callable[[str], None]


def require_party(loan: Loan, actor: Actor, may_act_in: MayActIn) -> None:
    """Refuse a lender that is not the loan's own, and anybody outside the own areas."""
    lending.require_party(loan, actor, may_act_in)


async def one_loan(session: AsyncSession, county_code: str, loan_id: UUID) -> dict[UUID, Loan]:
    """A loan that is held, as the only one of a batch; refused when there is none."""
    loans = await store.lock_loans(session, county_code, [loan_id])
    found(loans, loan_id)
    return loans


async def reclassify(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    to: str,
    reason: str,
    actor: Actor,
    catalogue: Catalogue,
) -> Loan:
    """Set a class by judgement; the days may only make it worse (S14)."""
    today = await business_day.today(session, county_code)
    loans = await one_loan(session, county_code, loan_id)
    loan = loans[loan_id]
    lending.require_lender(loan, actor)
    terms_of = terms_by_ref(catalogue, county_code)
    desk = Desk(county_code, loans, today, terms_of, person_id=actor.person_id)
    judgement = rules.judge(loan, to, terms_of(loan.programme))
    await standing_store.save_judgement(session, county_code, loan_id, judgement)
    change = ClassChange(
        loan_id,
        today,
        loan.five_tier_class,
        to,
        loan.overdue_days,
        loan.programme,
        actor.person_id,
        reason,
    )
    await standing_store.add_class_changes(session, county_code, [change])
    # Whether it is non-performing now, and what follows, the day close decides for all alike.
    loans[loan_id] = replace(loan, five_tier_class=to)
    desk.say(loan_id, lambda now: events_out.loan_reclassified(now, change))
    await desk.write(session)
    return loans[loan_id]


# --- frozen loans ---------------------------------------------------------------------------------


async def freeze(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    cause: str,
    actor: Actor,
    may_act_in: MayActIn,
) -> Review:
    """Freeze a loan and open its review."""
    today = await business_day.today(session, county_code)
    loans = await one_loan(session, county_code, loan_id)
    loan = loans[loan_id]
    require_party(loan, actor, may_act_in)
    if loan.state not in rules.OPEN_STATES:
        raise Refused("LOAN_NOT_OPEN", f"the loan is {loan.state}", message_zh="贷款已了结")
    frozen = await standing_store.frozen(session, county_code, [loan_id])
    changing.not_frozen(frozen.get(loan_id))
    review = Review(ids.new_id(), loan_id, cause, today)
    await standing_store.open_reviews(session, county_code, [review], actor.person_id)
    loans[loan_id] = now = said(loan)
    await store.save_loans(session, [now])
    await outbox.record(session, [events_out.loan_frozen(now, review, today)])
    return review


async def close_review(
    session: AsyncSession,
    county_code: str,
    review_id: UUID,
    *,
    outcome: str,
    reason: str,
    actor: Actor,
    may_act_in: MayActIn,
) -> Review:
    """End a review; where it came to collecting, a case is opened."""
    today = await business_day.today(session, county_code)
    review = await standing_store.lock_review(session, county_code, review_id)
    if review is None:
        raise NotFound("REVIEW_NOT_FOUND", f"no review {review_id}", message_zh="无此复核")
    loans = await one_loan(session, county_code, review.loan_id)
    require_party(loans[review.loan_id], actor, may_act_in)
    if review.closed_on is not None:
        raise Refused("REVIEW_CLOSED", f"it ended on {review.closed_on}", message_zh="复核已结束")
    ended = replace(review, closed_on=today, outcome=outcome, reason=reason)
    await standing_store.close_review(session, county_code, ended, actor.person_id)
    loans[review.loan_id] = now = said(loans[review.loan_id])
    events = [events_out.loan_unfrozen(now, ended, today)]
    if outcome == "collect" and now.disbursed_on is not None:
        events += await collecting.open_on(
            session, loans, [review.loan_id], cause="review", day=today
        )
    await store.save_loans(session, list(loans.values()))
    await outbox.record(session, events)
    return ended


async def households_stand(
    session: AsyncSession, county_code: str, standings: Mapping[UUID, str], today: date
) -> None:
    """Freeze the loans of households that died, were delisted, flagged or left (MAS.reg.1)."""
    causes = {
        household: rules.FREEZING[status]
        for household, status in standings.items()
        if status in rules.FREEZING
    }
    if not causes:
        return
    loans = {
        loan.loan_id: loan
        for loan in await standing_store.lock_open_of(session, county_code, list(causes))
    }
    if not loans:
        return
    reviews = [
        Review(ids.new_id(), loan.loan_id, causes[loan.household_id], today)
        for loan in loans.values()
    ]
    opened = await standing_store.open_reviews(session, county_code, reviews)
    events: list[OutgoingEvent] = []
    for review in reviews:
        if review.loan_id in opened:
            loans[review.loan_id] = now = said(loans[review.loan_id])
            events.append(events_out.loan_frozen(now, review, today))
    warnings = [Warned(r.loan_id, r.cause, today, str(today)) for r in reviews]
    events += await _warn(session, county_code, loans, warnings)
    await store.save_loans(session, list(loans.values()))
    await outbox.record(session, events)


async def barred(
    session: AsyncSession,
    county_code: str,
    loans: Mapping[UUID, Loan],
    terms_of: Callable[[str], Terms],
) -> dict[UUID, LiandongError]:
    """Of loans that are held: why each of some may not be decided or paid out now."""
    found_ = await projects.not_drawable(session, county_code, loans, terms_of)
    frozen = await standing_store.frozen(session, county_code, list(loans))
    needing = [
        loan
        for loan in loans.values()
        if terms_of(loan.programme).product(loan.product_id).security.collateral == "required"
    ]
    held = (
        await securing_store.securing(session, county_code, [loan.loan_id for loan in needing])
        if needing
        else []
    )
    taken_away = await store.limits_held(
        session, county_code, {loan.household_id for loan in loans.values()}
    )
    for loan in loans.values():
        try:
            changing.not_frozen(frozen.get(loan.loan_id))
            changing.limit_stands(taken_away.get(loan.household_id, ()))
            own = [each for each in held if each.loan_id == loan.loan_id]
            product = terms_of(loan.programme).product(loan.product_id)
            if loan.state is LoanState.APPROVED:
                securing.require_secured(loan, product.security, own)
        except LiandongError as error:
            found_[loan.loan_id] = error
    return found_


# --- early warnings -------------------------------------------------------------------------------


async def _warn(
    session: AsyncSession,
    county_code: str,
    loans: dict[UUID, Loan],
    warnings: Sequence[Warned],
) -> list[OutgoingEvent]:
    """Raise warnings on loans that are held, each once; the caller saves the loans."""
    new = await standing_store.add_warnings(session, county_code, warnings)
    events: list[OutgoingEvent] = []
    for warned in warnings:
        if (warned.loan_id, warned.kind, warned.cause_id) in new:
            loans[warned.loan_id] = now = said(loans[warned.loan_id])
            events.append(events_out.early_warning_raised(now, warned))
    return events


async def warn(session: AsyncSession, county_code: str, warnings: Sequence[Warned]) -> None:
    """Raise warnings, each once."""
    if not warnings:
        return
    loans = await store.lock_loans(session, county_code, {each.loan_id for each in warnings})
    known = [each for each in warnings if each.loan_id in loans]
    events = await _warn(session, county_code, loans, known)
    await store.save_loans(session, list(loans.values()))
    await outbox.record(session, events)


async def warn_of_payouts(session: AsyncSession, county_code: str, day: date) -> None:
    """Warn of payouts that nobody confirmed: the money may not have come."""
    late = await standing_store.unconfirmed_payouts(
        session, county_code, day - timedelta(days=PAYOUT_DAYS)
    )
    await warn(
        session,
        county_code,
        [Warned(loan_id, "payout_unconfirmed", day, str(payout)) for loan_id, payout in late],
    )


async def warn_uncovered(
    session: AsyncSession, county_code: str, loan_ids: Collection[UUID], today: date
) -> None:
    """Warn of loans that renew others and that no fund stands behind any more."""
    loans = await store.lock_loans(session, county_code, loan_ids)
    active = [loan.loan_id for loan in loans.values() if loan.state is LoanState.ACTIVE]
    await warn(session, county_code, [Warned(each, "renewal_uncovered", today) for each in active])


async def payouts_confirmed(session: AsyncSession, payouts: Collection[tuple[str, UUID]]) -> None:
    """Note that payouts have come."""
    await standing_store.confirm_payouts(session, sorted(set(payouts)))
