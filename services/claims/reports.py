"""Claims: what is read and changes nothing: claims, payouts, instructions, control totals."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Claim, Instruction, MoneyEvent, PayeeKind, Payout, Sight
from services.claims.operations import payouts, policies
from services.claims.rules import notes
from services.claims.rules.claims import claim_not_found
from services.claims.store import claims as claims_store
from services.claims.store import payouts as payouts_store
from services.claims.store import reversals as reversals_store
from services.claims.store import totals as totals_store
from services.kernel.caller import Caller
from services.kernel.errors import NotFound
from services.kernel.operator import Books
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole

LENDERS = (InstitutionRole.BANK, InstitutionRole.MUTUAL_AID_SOCIETY)
FIRST = UUID(int=0)
RECEIVABLES_MAX = 500


def sight_of(caller: Caller) -> Sight:
    """An insurer sees its own policies' claims, a lender those of its loans, others their areas."""
    if caller.role == InstitutionRole.INSURER:
        return Sight(insurer_id=caller.institution_id)
    if caller.role in LENDERS:
        return Sight(lender_id=caller.institution_id)
    return Sight(areas=caller.areas)


async def get_claim(
    session: AsyncSession, caller: Caller, county_code: str, claim_id: UUID
) -> Claim:
    """One claim."""
    claim = await claims_store.find_claim(session, county_code, sight_of(caller), claim_id)
    if claim is None:
        raise claim_not_found(claim_id)
    return claim


async def list_claims(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    within: str,
    state: str,
    after: UUID | None,
    limit: int,
) -> list[Claim]:
    """A page of claims, in id order."""
    if within:
        caller.require_area(within)
    return await claims_store.list_claims(
        session,
        county_code,
        sight_of(caller),
        within=within,
        state=state,
        after=after or FIRST,
        limit=limit,
    )


async def get_payout(
    session: AsyncSession, caller: Caller, county_code: str, payout_id: UUID
) -> Payout:
    """One payout; a lender sees of its instructions only those to itself."""
    payout = await payouts_store.find_payout(session, county_code, sight_of(caller), payout_id)
    if payout is None:
        raise NotFound("PAYOUT_NOT_FOUND", f"no payout {payout_id}", message_zh="无此赔付")
    return seen_by(caller, payout)


def seen_by(caller: Caller, payout: Payout) -> Payout:
    """A payout without what is not the caller's to see."""
    if caller.role not in LENDERS:
        return payout
    own = tuple(
        i
        for i in payout.instructions
        if i.payee_kind is PayeeKind.LENDER and i.payee_id == caller.institution_id
    )
    return replace(payout, instructions=own)


async def list_payouts(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    state: str,
    after: UUID | None,
    limit: int,
) -> list[Payout]:
    """A page of payouts, in id order; a lender sees of their instructions only its own."""
    found = await payouts_store.list_payouts(
        session, county_code, sight_of(caller), state=state, after=after or FIRST, limit=limit
    )
    return [seen_by(caller, payout) for payout in found]


async def payout_notes(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str, payout_id: UUID
) -> list[tuple[MoneyEvent, str]]:
    """What the household is told about each money event of a payout."""
    payout = await payouts_store.find_payout(session, county_code, sight_of(caller), payout_id)
    if payout is None:
        raise NotFound("PAYOUT_NOT_FOUND", f"no payout {payout_id}", message_zh="无此赔付")
    reversal = await reversals_store.reversal_of(session, county_code, payout_id)
    receivables = await reversals_store.list_receivables(
        session,
        county_code,
        Sight(),
        payout_id=payout_id,
        open_only=False,
        after=FIRST,
        limit=RECEIVABLES_MAX,
    )
    terms = catalogue.terms(county_code, payout.programme)
    names = {name: each.name.zh for name, each in catalogue.institutions.items()}
    return [
        (event, notes.text_of(event, terms.insurance.payouts.notes, names))
        for event in notes.events_of(payout, reversal, receivables)
    ]


async def list_instructions(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    state: str,
    after: UUID | None,
    limit: int,
) -> list[Instruction]:
    """A page of the calling institution's instructions, in id order."""
    return await payouts_store.list_instructions(
        session,
        county_code,
        sight_of(caller),
        state=state,
        after=after or FIRST,
        limit=limit,
    )


async def totals(session: AsyncSession, county_code: str) -> Mapping[str, int]:
    """The county's control totals."""
    return await totals_store.totals(session, county_code)


def books(catalogue: Catalogue) -> Books:
    """What the operator's surface asks of this service."""

    async def close_day(session: AsyncSession, county_code: str, day: date) -> None:
        await policies.close_day(session, catalogue, county_code, day)
        await payouts.close_day(session, catalogue, county_code, day)

    return Books(totals=totals, close_day=close_day)
