"""Claims: what is read and changes nothing: claims, payouts, instructions, control totals."""

from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import (
    Claim,
    ClaimFilter,
    History,
    IndexPeriod,
    IndexValue,
    Instruction,
    LineResult,
    MoneyEvent,
    PayeeKind,
    Payout,
    Sight,
)
from services.claims.operations import claims_life, indices, payouts, policies
from services.claims.rules import notes
from services.claims.rules.claims import claim_not_found
from services.claims.store import claims as claims_store
from services.claims.store import claims_history
from services.claims.store import indices as indices_store
from services.claims.store import payouts as payouts_store
from services.claims.store import reversals as reversals_store
from services.claims.store import totals as totals_store
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import NotFound
from services.kernel.operator import Books
from services.kernel.values import replace
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
) -> History:
    """One claim with all that happened to it."""
    claim = await claims_store.find_claim(session, county_code, sight_of(caller), claim_id)
    if claim is None:
        raise claim_not_found(claim_id)
    (claim,) = await claims_store.with_context(session, [claim])
    steps, documents = await claims_history.steps_of(session, county_code, claim_id)
    disputes = await claims_history.disputes_of(session, county_code, claim_id)
    return History(claim, steps, documents, disputes)


async def in_context(session: AsyncSession, claims: Sequence[Claim]) -> list[Claim]:
    """Claims with what was paid on them and the household's other claims of the loss."""
    return await claims_store.with_context(session, claims)


async def list_claims(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    asked: ClaimFilter,
    *,
    after: UUID | None,
    limit: int,
) -> list[Claim]:
    """A page of claims, in id order."""
    if asked.within:
        caller.require_area(asked.within)
    found = await claims_store.list_claims(
        session, county_code, sight_of(caller), asked, after=after or FIRST, limit=limit
    )
    return await claims_store.with_context(session, found)


async def list_index_values(
    session: AsyncSession,
    county_code: str,
    *,
    programme_id: str,
    cover_id: str,
    after: UUID | None,
    limit: int,
) -> list[IndexValue]:
    """A page of prices, in id order."""
    return await indices_store.list_values(
        session,
        county_code,
        programme_id=programme_id,
        cover_id=cover_id,
        after=after or FIRST,
        limit=limit,
    )


async def list_index_periods(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    cover_id: str,
    offset: int,
    limit: int,
) -> list[IndexPeriod]:
    """A page of settlement periods, the oldest first."""
    insurer_id = sight_of(caller).insurer_id
    return await indices_store.list_periods(
        session, county_code, insurer_id=insurer_id, cover_id=cover_id, offset=offset, limit=limit
    )


async def list_line_results(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    insurer_id: str,
    offset: int,
    limit: int,
) -> list[LineResult]:
    """A page of lines' results, by line and number; an insurer sees its own."""
    own = sight_of(caller).insurer_id
    if own and insurer_id not in ("", own):
        return []
    return await indices_store.list_results(
        session, county_code, insurer_id=own or insurer_id, offset=offset, limit=limit
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
    instruction_id: UUID | None = None,
) -> list[Payout]:
    """
    A page of payouts, in id order; a lender sees of their instructions only its own.

    With an instruction only its payout, and none where the instruction is not the caller's to see.
    """
    found = await payouts_store.list_payouts(
        session,
        county_code,
        sight_of(caller),
        state=state,
        instruction_id=instruction_id,
        after=after or FIRST,
        limit=limit,
    )
    seen = [seen_by(caller, payout) for payout in found]
    if instruction_id is None:
        return seen
    return [p for p in seen if any(i.instruction_id == instruction_id for i in p.instructions)]


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
        await claims_life.close_day(session, county_code, day)
        await indices.close_day(session, catalogue, county_code, day)

    async def work_day(db: Database, county_code: str, day: date) -> None:
        await indices.settle_periods(db, catalogue, county_code, day)

    return Books(totals=totals, close_day=close_day, work_day=work_day)
