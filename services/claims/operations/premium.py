"""Claims: what insuring costs: products, quotes, payments, balances, and true-ups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Payment
from services.claims.operations import lists
from services.claims.operations.insured import insurer_of
from services.claims.operations.lists import terms_of
from services.claims.operations.policies import own_policy
from services.claims.operations.shared import actor_of
from services.claims.rules import policies as policy_rules
from services.claims.rules import premium as rules
from services.claims.store import policies as policies_store
from services.claims.store import premium as store
from services.claims.store.premium import Balance
from services.kernel import business_day, ids, journal
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.programmes import policies as clauses
from services.programmes.loader import Catalogue
from services.programmes.terms import Terms


async def terms_on(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    programme_id: str,
    on: date | None,
) -> tuple[Terms, date]:
    """What the county lives under on a day, the business date unless one is said."""
    day = on or await business_day.today(session, county_code)
    return catalogue.terms(county_code, catalogue.in_force(county_code, programme_id, day)), day


async def record_payments(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    payments: Sequence[Payment],
) -> list[UUID | LiandongError]:
    """Keep what arrived, each with its verdict; covers that waited for it come into force."""
    actor = actor_of(caller)
    await policies_store.hold_policies_alone(session, county_code)
    today = await business_day.today(session, county_code)
    policies = await policies_store.find_policies(
        session, county_code, [payment.policy_id for payment in payments]
    )
    asked = [(payment.policy_id, payment.payer_id) for payment in payments]
    balances = await store.balances(session, county_code, asked)
    known = await store.known_references(
        session, county_code, caller.institution_id, [p.reference for p in payments]
    )
    owed = {key: balance.owed_fen for key, balance in balances.items()}
    outcomes: list[UUID | LiandongError] = []
    kept: list[tuple[UUID, Payment]] = []
    for payment in payments:
        try:
            policy = policies.get(payment.policy_id)
            if policy is None or policy.insurer_id != caller.institution_id:
                raise policy_rules.policy_not_found(payment.policy_id)
            key = (payment.policy_id, payment.payer_id)
            rules.check_payment(payment, owed.get(key), today)
            if payment.reference in known:
                raise rules.payment_exists(payment)
            known.add(payment.reference)
            owed[key] = Fen(owed[key] - payment.amount_fen)
            kept.append((ids.new_id(), payment))
            outcomes.append(kept[-1][0])
        except LiandongError as error:
            outcomes.append(error)
    await store.add_payments(
        session,
        county_code,
        kept,
        insurer_id=caller.institution_id,
        person_id=actor.person_id,
        on=today,
    )
    booked = [
        _paid(payment_id, payment, county_code, caller.institution_id, today)
        for payment_id, payment in kept
    ]
    await journal.post(session, booked)
    await lists.begin_entries(session, catalogue, county_code, upto=today, on=today)
    return outcomes


def _paid(payment_id: UUID, payment: Payment, county_code: str, insurer_id: str, on: date) -> Entry:
    cash = Account("insurer_cash", insurer_id)
    receivable = Account("premium_receivable", payment.payer_id)
    arrived = payment.amount_fen > 0
    return Entry(
        county_code=county_code,
        kind="premium_paid" if arrived else "premium_refund_paid",
        cause_id=str(payment_id),
        value_date=payment.value_date,
        business_date=on,
        transfers=(
            Transfer(
                debit=cash if arrived else receivable,
                credit=receivable if arrived else cash,
                amount_fen=Fen(abs(payment.amount_fen)),
            ),
        ),
    )


async def list_premiums(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    policy_id: UUID | None,
    open_only: bool,
    after: tuple[UUID, str],
    limit: int,
) -> list[Balance]:
    """A page of receivables."""
    return await store.list_balances(
        session,
        county_code,
        policy_id=policy_id,
        insurer_id=insurer_of(caller),
        open_only=open_only,
        after=after,
        limit=limit,
    )


@dataclass(frozen=True, slots=True)
class TrueUp:
    """What was lent, the premium on it, and what a call charged."""

    lending_fen: Fen
    premium_fen: Fen
    charged_fen: Fen


async def true_up(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str, policy_id: UUID
) -> TrueUp:
    """Bring a policy's premium to the rate on what was really lent."""
    await policies_store.hold_policies_alone(session, county_code)
    policy = await own_policy(session, caller, county_code, policy_id)
    clause = policy_rules.lending_premium(policy, terms_of(catalogue, policy).insurance)
    if clause is None:
        raise Refused(
            "PREMIUM_NOT_ON_LENDING",
            "the programme charges this policy entry by entry",
            message_zh="该保单保费不按贷款额计收",
        )
    if (other := await store.lending_elsewhere(session, county_code, policy_id)) is not None:
        raise Refused(
            "LENDING_PREMIUM_ELSEWHERE",
            f"policy {other} is charged on the same lending",
            message_zh="同一贷款额已在另一保单计收保费",
        )
    today = await business_day.today(session, county_code)
    lent = await policies_store.lending_fen(session, policy)
    premium = clauses.policy_premium(clause, lending_fen=lent)
    charged = await store.lending_charged(session, county_code, policy_id)
    more = Fen(premium.premium_fen - charged)
    if more:
        charge = policy_rules.lending_charge(
            policy, clause, more, kind="true_up", value_date=today, charge_id=ids.new_id()
        )
        await lists.post_charges(session, [charge], {county_code: today})
    return TrueUp(lent, premium.premium_fen, more)
