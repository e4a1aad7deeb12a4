"""Claims: where payees are paid, quotes, and the messages that carry instructions."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import PaymentMessage, Quote
from services.claims.operations import payouts
from services.claims.operations.shared import actor_of, days_of
from services.claims.rules import payouts as rules
from services.claims.store import assignments, claims, insured
from services.claims.store import payments as store
from services.kernel import business_day, ids
from services.kernel.caller import Caller
from services.kernel.errors import Denied, NotFound, Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.loader import Catalogue

MESSAGE_INSTRUCTIONS_MAX = 500


async def keep_accounts(
    session: AsyncSession,
    catalogue: Catalogue,
    accounts: Sequence[tuple[str, UUID, UUID, str, date]],
) -> None:
    """Keep where households are paid, and send what was held for want of an account."""
    await store.save_accounts(session, accounts)
    days = await days_of(session, [(row[0], row[4]) for row in accounts])
    payees: dict[str, list[str]] = {}
    for row in accounts:
        payees.setdefault(row[0], []).append(str(row[1]))
    await payouts.release(session, catalogue, payees, days)


async def record_lender_account(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str, account_ref: str
) -> int:
    """Keep the calling lender's account; how many held instructions were sent."""
    today = await business_day.today(session, county_code)
    await store.add_lender_account(session, county_code, actor_of(caller), account_ref, today)
    payees = {county_code: [caller.institution_id]}
    return await payouts.release(session, catalogue, payees, {county_code: today})


async def register_heir(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    *,
    household_id: UUID,
    account_id: UUID,
    evidence: str,
) -> int:
    """Keep whom a deceased household's part goes to; how many held instructions were sent."""
    today = await business_day.today(session, county_code)
    key = (county_code, household_id)
    known = (await store.household_payees(session, [key]))[key]
    if known.account_id != account_id:
        raise Refused(
            "ACCOUNT_NOT_IN_FORCE",
            f"account {account_id} is not the one that household {household_id} is paid to",
            message_zh="该账户不是本户现行收款账户",
        )
    actor = actor_of(caller)
    await store.add_heir(
        session,
        county_code,
        household_id,
        account_id,
        evidence=evidence,
        actor=actor,
        on=today,
    )
    payees = {county_code: [str(household_id)]}
    return await payouts.release(session, catalogue, payees, {county_code: today})


async def quote(
    session: AsyncSession,
    catalogue: Catalogue,
    county_code: str,
    household_id: UUID,
    *,
    cover_id: str,
    amount_fen: Fen,
    on: date,
    insurer_id: str,
) -> Quote:
    """
    What each payee would get of an amount on a day; nothing is booked.

    An insurer learns what a household owes only while one of its claims is open (S47); without an
    insurer's id whoever asks is none.
    """
    if insurer_id and not await claims.has_open_claim(
        session, county_code, household_id, insurer_id=insurer_id
    ):
        raise Denied(
            "NO_OPEN_CLAIM",
            f"{insurer_id} has no open claim of household {household_id}",
            message_zh="本机构无该户待处理的理赔,不得查看其债务",
        )
    asked = (household_id, cover_id)
    standings = (await insured.standings(session, county_code, [asked])).get(asked, [])
    if not standings:
        raise Refused(
            "NOT_INSURED", f"{household_id} has no cover {cover_id}", message_zh="该户未投保此险种"
        )
    programme = standings[-1].programme
    terms = catalogue.terms(county_code, programme)
    key = (household_id, cover_id, on)
    loans = (await assignments.assignments_in_force(session, county_code, [key])).get(key, [])
    groups = rules.payee_groups(terms, cover_id, loans, catalogue.parties(county_code, programme))
    by_id = {loan.loan_id: loan for loan in loans}
    debts = await store.debts_of(session, county_code, list(by_id))
    return rules.quote(amount_fen, groups, by_id, debts, terms=terms, on=on)


async def send(
    session: AsyncSession, caller: Caller, county_code: str, number_max: int
) -> PaymentMessage:
    """Put the insurer's open instructions into a message; it is stored before it is answered."""
    actor = actor_of(caller)
    today = await business_day.today(session, county_code)
    message = PaymentMessage(county_code, ids.new_id(), actor.institution_id, today, ())
    taken = await store.take_into_message(session, message, actor.person_id, number_max)
    return replace(message, instructions=taken)


async def message(
    session: AsyncSession, caller: Caller, county_code: str, message_id: UUID
) -> PaymentMessage:
    """A message of the calling insurer."""
    found = await store.find_message(session, county_code, caller.institution_id, message_id)
    if found is None:
        raise NotFound("MESSAGE_NOT_FOUND", f"no message {message_id}", message_zh="无此支付报文")
    return found
