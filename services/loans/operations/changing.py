"""Loans: what is agreed anew: extensions, renewals, new terms, relief in hardship."""

from collections.abc import Collection
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans import events_out, store
from services.loans.model import Judgement, Loan
from services.loans.operations.desk import Desk
from services.loans.operations.shared import found, terms_by_ref
from services.loans.rules import changing as rules
from services.loans.rules import lending, subsidy
from services.loans.rules.book import Posting, PostingKind
from services.loans.rules.lending import Actor
from services.loans.rules.standing import UNJUDGED
from services.loans.store import agreements
from services.loans.store import standing as standing_store
from services.loans.store import subsidy as subsidy_store
from services.programmes.loader import Catalogue
from services.programmes.settlement import Amounts


async def _desk_for(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    actor: Actor,
    catalogue: Catalogue,
) -> Desk:
    """A desk with one loan of the actor's that is not frozen, its book loaded."""
    today = await business_day.today(session, county_code)
    loans = await store.lock_loans(session, county_code, [loan_id])
    lending.require_lender(found(loans, loan_id), actor)
    frozen = await standing_store.frozen(session, county_code, [loan_id])
    rules.not_frozen(frozen.get(loan_id))
    terms_of = terms_by_ref(catalogue, county_code)
    desk = Desk(county_code, loans, today, terms_of, person_id=actor.person_id)
    await desk.load(session, [loan_id])
    return desk


async def extend(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    months: int,
    conditions: Collection[str],
    reason: str,
    actor: Actor,
    catalogue: Catalogue,
) -> Loan:
    """Move a maturity."""
    desk = await _desk_for(session, county_code, loan_id, actor, catalogue)
    loan = desk.loans[loan_id]
    terms = catalogue.terms(county_code, loan.programme)
    plan = rules.extend(
        loan,
        terms,
        months=months,
        conditions=conditions,
        agreed=desk.agreed_of(loan_id),
        today=desk.today,
        reason=reason,
    )
    before = loan.matures_on
    assert before is not None
    now = desk.agree(loan_id, plan)
    desk.loans[loan_id] = replace(now, notice_on=rules.first_notice(now, terms))
    desk.say(loan_id, lambda it: events_out.loan_extended(it, before, desk.today))
    await agreements.add(session, county_code, loan_id, plan, actor.person_id)
    await desk.write(session)
    return desk.loans[loan_id]


async def restructure(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    term_months: int,
    method: str,
    rate_ppm: int,
    reason: str,
    actor: Actor,
    catalogue: Catalogue,
) -> Loan:
    """Give a loan new terms; its class stays until a person judges it better."""
    desk = await _desk_for(session, county_code, loan_id, actor, catalogue)
    loan = desk.loans[loan_id]
    terms = catalogue.terms(county_code, loan.programme)
    flexible = (await agreements.forgiven(session, county_code, loan_id)).get("hardship", False)
    plan = rules.restructure(
        loan,
        terms,
        term_months=term_months,
        method=method,
        rate_ppm=rate_ppm,
        flexible=flexible,
        today=desk.today,
        reason=reason,
    )
    if plan.rate_ppm != loan.rate_ppm:
        desk.post(loan_id, Posting(0, PostingKind.RATE, desk.today, rate_ppm=plan.rate_ppm))
    now = desk.agree(loan_id, plan)
    desk.loans[loan_id] = replace(now, notice_on=rules.first_notice(now, terms))
    desk.say(loan_id, lambda it: events_out.loan_restructured(it, desk.today))
    if loan.five_tier_class != "normal":
        # New terms do not make a bad loan good: the class is kept as judged.
        kept = Judgement(loan.five_tier_class, loan.non_performing_on is not None)
        await standing_store.save_judgement(session, county_code, loan_id, kept)
    await agreements.add(session, county_code, loan_id, plan, actor.person_id)
    await desk.write(session)
    return desk.loans[loan_id]


async def relieve(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    conditions: Collection[str],
    evidence: str,
    actor: Actor,
    catalogue: Catalogue,
) -> tuple[Loan, Fen, bool]:
    """Let a household in hardship off a part of its interest."""
    desk = await _desk_for(session, county_code, loan_id, actor, catalogue)
    terms = catalogue.terms(county_code, desk.loans[loan_id].programme)
    used = "hardship" in await agreements.forgiven(session, county_code, loan_id)
    accrued = rules.accrued(desk.loans[loan_id], terms, desk.today)
    found_ = rules.relief(accrued, terms.loans, conditions, used)
    if found_.reduction_fen:
        off = Amounts(interest_fen=found_.reduction_fen)
        desk.post(
            loan_id, Posting(0, PostingKind.DISCOUNT, desk.today, fixed=off, reference="hardship")
        )
        desk.settle_up(loan_id, desk.today)
    desk.say(
        loan_id,
        lambda it: events_out.interest_forgiven(it, found_.reduction_fen, "hardship", desk.today),
    )
    await agreements.add_forgiven(
        session,
        county_code,
        loan_id,
        cause="hardship",
        stage="",
        on=desk.today,
        amount_fen=found_.reduction_fen,
        flexible=found_.flexible_repayment,
        evidence=evidence,
        person_id=actor.person_id,
    )
    await desk.write(session)
    return desk.loans[loan_id], found_.reduction_fen, found_.flexible_repayment


async def renew(
    session: AsyncSession,
    county_code: str,
    loan_id: UUID,
    *,
    term_months: int,
    conditions: Collection[str],
    evidence: str,
    actor: Actor,
    catalogue: Catalogue,
) -> tuple[Loan, Loan, int]:
    """A new loan for the old one; its principal is carried and moves no cash (S34)."""
    today = await business_day.today(session, county_code)
    loans = await store.lock_loans(session, county_code, [loan_id])
    old = found(loans, loan_id)
    lending.require_lender(old, actor)
    frozen = await standing_store.frozen(session, county_code, [loan_id])
    rules.not_frozen(frozen.get(loan_id))
    terms_of = terms_by_ref(catalogue, county_code)
    terms = terms_of(old.programme)
    spells = await subsidy_store.subsidised_spells(session, county_code, [old.household_id])
    used = subsidy.months_used([spell[1:] for spell in spells[old.household_id]], today)
    accrued = rules.accrued(old, terms, today)
    decided = rules.renew(
        accrued, terms, term_months=term_months, conditions=conditions, months_used=used
    )
    judged = await standing_store.judgements_of(session, county_code, [loan_id])
    rules.require_sound(old, judged.get(loan_id, UNJUDGED))
    new = rules.renewed(
        old,
        terms,
        loan_id=ids.new_id(),
        term_months=term_months,
        today=today,
        months_left=decided.remaining_subsidy_months,
    )
    await store.insert_loans(session, [new])
    loans[new.loan_id] = new
    desk = Desk(county_code, loans, today, terms_of, person_id=actor.person_id)
    await desk.load(session, [old.loan_id, new.loan_id])
    carried = Amounts(principal_fen=decided.new_principal_fen)
    out = PostingKind.CARRIED_OUT
    desk.post(loan_id, Posting(0, out, today, fixed=carried, reference=str(new.loan_id)))
    desk.settle_up(loan_id, today)
    into = PostingKind.CARRIED_IN
    desk.post(
        new.loan_id,
        Posting(0, into, today, fixed=carried, rate_ppm=new.rate_ppm, reference=str(loan_id)),
    )
    _say_renewed(desk, new.loan_id, loan_id, decided.remaining_subsidy_months, fund=old.covered)
    await agreements.add_renewal(
        session,
        county_code,
        loan_id=new.loan_id,
        renewed_loan_id=loan_id,
        on=today,
        conditions=sorted(conditions),
        evidence=evidence,
        person_id=actor.person_id,
    )
    await desk.write(session)
    return desk.loans[new.loan_id], desk.loans[loan_id], decided.remaining_subsidy_months


def _say_renewed(
    desk: Desk, loan_id: UUID, renewed_id: UUID, months_left: int, *, fund: bool
) -> None:
    """To the other services it is a loan like any other; cover is asked for once more."""
    desk.say(loan_id, lambda it: events_out.loan_applied(it, desk.today))
    if fund:
        desk.say(loan_id, lambda it: events_out.cover_requested(it, desk.today))
    desk.say(loan_id, lambda it: events_out.loan_approved(it, desk.today))
    desk.say(loan_id, lambda it: events_out.loan_disbursed(it, desk.today))
    renewed = desk.loans[renewed_id]
    desk.say(loan_id, lambda it: events_out.loan_renewed(it, renewed, months_left, desk.today))
