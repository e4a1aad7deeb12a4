"""Loans: notices: queued by hand and by the day, taken by their senders, reported, withdrawn."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids, outbox
from services.kernel.errors import Conflict, LiandongError, NotFound
from services.loans import events_out, store
from services.loans.model import Loan, Warned
from services.loans.operations import standing
from services.loans.operations.shared import found, terms_by_ref
from services.loans.rules import notices as rules
from services.loans.rules.lending import LENDER_ROLES, Actor
from services.loans.rules.notices import Attempt, Notice, Report, Wanted
from services.loans.store import notices as notice_store
from services.programmes import bulletins
from services.programmes import notices as clauses
from services.programmes.loader import Catalogue
from services.programmes.schema.reports import EarlyWarning
from services.programmes.schema.values import Open
from services.programmes.terms import Terms

CHUNK_MAX = 2_000
ROUNDS_MAX = 20
"""How often a taker looks again when what it found was not wanted any more."""

FROM_DEPARTMENTS = ("industry_risk", "disaster")
"""Their warnings are told as one, when they are received."""

MayActIn = Callable[[str], None]


async def queue(
    session: AsyncSession,
    county_code: str,
    items: Sequence[Wanted],
    *,
    actor: Actor,
    may_act_in: MayActIn,
    catalogue: Catalogue,
) -> list[UUID | LiandongError]:
    """Put notices into the queue by hand; the same cause is told once."""
    today = await business_day.today(session, county_code)
    terms_of = terms_by_ref(catalogue, county_code)
    loans = await store.lock_loans(session, county_code, {item.loan_id for item in items})
    outcomes: list[UUID | LiandongError] = []
    made: list[Notice] = []
    for item in items:
        try:
            loan = _own(loans, item.loan_id, actor, may_act_in)
            notice = rules.about_loan(
                ids.new_id(),
                loan,
                terms_of(loan.programme),
                kind=item.kind,
                channel=item.channel,
                cause_id=item.cause_id or str(today),
                day=today,
                queued_by=actor.person_id,
            )
        except LiandongError as error:
            outcomes.append(error)
        else:
            made.append(notice)
            outcomes.append(notice.notice_id)
    new = await notice_store.queue(session, county_code, made)
    again = Conflict(
        "NOTICE_SAID_ALREADY", "this cause is in the queue already", message_zh="同一事由已通知"
    )
    return [again if isinstance(each, UUID) and each not in new else each for each in outcomes]


def _own(loans: Mapping[UUID, Loan], loan_id: UUID, actor: Actor, may_act_in: MayActIn) -> Loan:
    loan = found(loans, loan_id)
    standing.require_party(loan, actor, may_act_in)
    return loan


async def take(
    session: AsyncSession,
    county_code: str,
    *,
    actor: Actor,
    areas: Sequence[str],
    channels: Sequence[str],
    count_max: int,
    lease_seconds: int,
) -> list[Notice]:
    """Give a sender its next batch; what is not wanted any more is put aside on the way."""
    taken: list[Notice] = []
    for _ in range(ROUNDS_MAX):
        if len(taken) == count_max:
            break
        waiting = await notice_store.lock_waiting(
            session,
            county_code,
            sender_id=actor.institution_id,
            organ=actor.role,
            areas=areas,
            channels=channels,
            limit=count_max - len(taken),
        )
        if not waiting:
            break
        turns = [
            rules.take(notice, taker=actor.institution_id, settled=rules.settled(state))
            for notice, state in waiting
        ]
        await notice_store.add_attempts(
            session, county_code, [turn.lost for turn in turns if turn.lost is not None]
        )
        saved = await notice_store.save(
            session, county_code, [turn.notice for turn in turns], lease_seconds=lease_seconds
        )
        taken += [notice for notice in saved if notice.state == rules.TAKEN]
        await _say_failed(session, county_code, saved)
    return taken


async def _say_failed(session: AsyncSession, county_code: str, notices: Sequence[Notice]) -> None:
    failed = [notice for notice in notices if notice.state == rules.FAILED]
    if failed:
        today = await business_day.today(session, county_code)
        said = [events_out.notice_failed(notice, county_code, today) for notice in failed]
        await outbox.record(session, said)


async def report(
    session: AsyncSession, county_code: str, reports: Sequence[Report], *, actor: Actor
) -> list[UUID | LiandongError]:
    """Note what became of attempts."""
    today = await business_day.today(session, county_code)
    held = await notice_store.lock(session, county_code, {each.notice_id for each in reports})
    outcomes: list[UUID | LiandongError] = []
    changed: dict[UUID, Notice] = {}
    attempts: list[Attempt] = []
    for said in reports:
        try:
            now = rules.report(
                held.get(said.notice_id), said, sender=actor.institution_id, today=today
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        held[said.notice_id] = changed[said.notice_id] = now
        attempts.append(
            Attempt(
                said.notice_id,
                said.attempt,
                actor.institution_id,
                actor.person_id,
                said.result,
                said.reason,
                said.reference,
            )
        )
        outcomes.append(said.notice_id)
    await notice_store.add_attempts(session, county_code, attempts)
    await _say_failed(
        session, county_code, await notice_store.save(session, county_code, list(changed.values()))
    )
    return outcomes


async def withdraw(
    session: AsyncSession,
    county_code: str,
    notice_ids: Sequence[UUID],
    *,
    reason: str,
    actor: Actor,
    may_act_in: MayActIn,
) -> list[UUID | LiandongError]:
    """Take back notices that were not sent."""
    held = await notice_store.lock(session, county_code, notice_ids)
    outcomes: list[UUID | LiandongError] = []
    for notice_id in notice_ids:
        try:
            notice = held.get(notice_id)
            if notice is not None and not _may_see(notice, actor, may_act_in):
                notice = None
            held[notice_id] = rules.withdraw(notice, notice_id, reason)
            outcomes.append(notice_id)
        except LiandongError as error:
            outcomes.append(error)
    done = [held[each] for each in outcomes if isinstance(each, UUID)]
    await notice_store.save(session, county_code, done)
    return outcomes


def _may_see(notice: Notice, actor: Actor, may_act_in: MayActIn) -> bool:
    if actor.role in LENDER_ROLES:
        return notice.lender_id == actor.institution_id
    try:
        may_act_in(notice.area_code)
    except LiandongError:
        return False
    return True


async def get(
    session: AsyncSession, county_code: str, notice_id: UUID, scope: notice_store.Scope
) -> tuple[Notice, list[Attempt]]:
    """One notice and its attempts; one out of scope is as good as none."""
    notice = await notice_store.find(session, county_code, notice_id, scope)
    if notice is None:
        raise NotFound("NOTICE_NOT_FOUND", f"no notice {notice_id}", message_zh="无此通知")
    return notice, await notice_store.attempts_of(session, county_code, notice_id)


# --- what the day brings --------------------------------------------------------------------------


def of_maturity(loan: Loan, terms: Terms, day: date) -> list[Notice]:
    """Who is told of a maturity, on the lead day and on the day itself."""
    clause = terms.loans.maturity_notice
    assert clause is not None
    assert loan.matures_on is not None
    kind = "due_today" if day >= loan.matures_on else "due_soon"
    return [
        rules.about_loan(
            ids.new_id(),
            loan,
            terms,
            kind=kind,
            channel=channel,
            organ=organ,
            cause_id=str(loan.matures_on),
            day=day,
        )
        for channel, organ in rules.routes_of_maturity(clause)
    ]


def of_reminder(loan: Loan, terms: Terms, day: date) -> list[Notice]:
    """An overdue borrower is reminded where the programme says so, by its channels."""
    return [
        rules.about_loan(
            ids.new_id(),
            loan,
            terms,
            kind="reminder",
            channel=str(channel),
            cause_id=str(loan.next_due_on),
            day=day,
        )
        for channel in clauses.channels_of(terms.pack.loans)
    ]


async def queue_warnings(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """Tell the lender, and whom the programme names, of the day's early warnings."""
    terms_of = terms_by_ref(catalogue, county_code)
    while True:
        untold = await notice_store.untold(
            session, county_code, day, but=FROM_DEPARTMENTS, limit=CHUNK_MAX
        )
        made = [
            notice
            for warned, loan in untold
            for notice in rules.of_warning(ids.new_id, warned, loan, terms_of(loan.programme), day)
        ]
        await notice_store.queue(session, county_code, made)
        if len(untold) < CHUNK_MAX:
            return


async def warn_of_maturities(
    session: AsyncSession, county_code: str, day: date, catalogue: Catalogue
) -> None:
    """Warn before and at maturity, and after it, where a programme asks for it (AH.mon.3)."""
    rules_of = _maturity_rules(catalogue, county_code)
    if not rules_of:
        return
    lead = max(_lead(rule) for own in rules_of.values() for rule in own)
    through = day + timedelta(days=lead)
    after: UUID | None = None
    while True:
        near = await notice_store.near_maturity(
            session, county_code, list(rules_of), through, after=after, limit=CHUNK_MAX
        )
        warned = [
            Warned(loan_id, kind, day, str(matures_on))
            for loan_id, matures_on, programme, before in near
            for kind in bulletins.warnings(rules_of[programme], matures_on, on=day, settled=False)
            if kind not in before
        ]
        await standing.warn(session, county_code, warned)
        if len(near) < CHUNK_MAX:
            return
        after = near[-1][0]


def _lead(rule: EarlyWarning) -> int:
    return rule.lead_days if isinstance(rule.lead_days, int) else 0


def _maturity_rules(catalogue: Catalogue, county_code: str) -> dict[str, list[EarlyWarning]]:
    """By ref that the county ever adopted: its warnings about maturities, as far as they are known.

    A lead that is open warns of nothing yet, and stops no day.
    """
    found_: dict[str, list[EarlyWarning]] = {}
    for ref in catalogue.ever_adopted(county_code):
        monitoring = catalogue.terms(county_code, ref).pack.monitoring
        own = [
            rule
            for rule in (monitoring.early_warnings if monitoring is not None else ())
            if rule.of != "industry_risk" and not isinstance(rule.lead_days, Open)
        ]
        if own:
            found_[ref] = own
    return found_
