"""Claims: agreements of government, banks and insurers, and lines shared out under them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.claims.model import Agreement, LineDivision
from services.claims.operations.premium import terms_on
from services.claims.operations.shared import actor_of
from services.claims.rules import agreements as rules
from services.claims.store import agreements as store
from services.claims.store import policies as policies_store
from services.kernel import business_day, ids
from services.kernel.caller import Caller
from services.kernel.errors import NotFound, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes import policies as clauses
from services.programmes.loader import Catalogue
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.schema.insurance import LOAN_LINKED, Cover

LENDERS = (InstitutionRole.BANK, InstitutionRole.MUTUAL_AID_SOCIETY)


@dataclass(frozen=True, slots=True)
class Signed:
    """An agreement that somebody wants to record."""

    insurer_id: str
    programme_id: str
    bank_ids: tuple[str, ...]
    signed_on: date
    from_date: date
    until_date: date
    document: str


async def record_agreement(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str, signed: Signed
) -> Agreement:
    """Keep a signed agreement; the caller signed for the government."""
    actor = actor_of(caller)
    _check_parties(catalogue, signed)
    await policies_store.hold_policies_alone(session, county_code)
    today = await business_day.today(session, county_code)
    catalogue.in_force(county_code, signed.programme_id, max(today, signed.from_date))
    agreement = Agreement(
        county_code=county_code,
        agreement_id=ids.new_id(),
        insurer_id=signed.insurer_id,
        programme_id=signed.programme_id,
        government_id=caller.institution_id,
        bank_ids=tuple(dict.fromkeys(signed.bank_ids)),
        signed_on=signed.signed_on,
        from_date=signed.from_date,
        until_date=signed.until_date,
        document=signed.document,
    )
    rules.check_agreement(agreement, today)
    for other in await store.agreements_of(
        session, county_code, signed.programme_id, signed.insurer_id
    ):
        ends = other.until_date if other.ended_from is None else other.ended_from
        meets = other.from_date <= agreement.until_date and ends > agreement.from_date
        if meets or (other.ended_from is None and ends == agreement.from_date):
            raise rules.agreement_exists(other)
    await store.add_agreement(session, agreement, actor=actor, on=today)
    return agreement


def _check_parties(catalogue: Catalogue, signed: Signed) -> None:
    known = catalogue.institutions
    if not known:
        return
    insurer = known.get(signed.insurer_id)
    if insurer is None or insurer.role is not InstitutionRole.INSURER:
        raise NotFound(
            "INSURER_UNKNOWN", f"no insurer {signed.insurer_id}", message_zh="无此保险机构"
        )
    for place, bank_id in enumerate(signed.bank_ids):
        bank = known.get(bank_id)
        if bank is None or bank.role not in LENDERS:
            raise invalid_field(
                "BANK_UNKNOWN", f"bank_ids[{place}]", bank_id, "must be a lender", "无此银行"
            )


async def end_agreement(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    agreement_id: UUID,
    *,
    ended_from: date,
    reason: str,
) -> Agreement:
    """End an agreement before its term; policies go on, new ones are refused."""
    actor = actor_of(caller)
    await policies_store.hold_policies_alone(session, county_code)
    found = await store.lock_agreement(session, county_code, agreement_id)
    if found is None:
        raise NotFound("AGREEMENT_NOT_FOUND", f"no agreement {agreement_id}", message_zh="无此协议")
    today = await business_day.today(session, county_code)
    rules.check_end(found, ended_from, today)
    ended = replace(found, ended_from=ended_from, end_reason=reason)
    await store.end_agreement(session, ended, person_id=actor.person_id)
    return ended


async def list_agreements(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    insurer_id: str,
    after: UUID,
    limit: int,
) -> list[Agreement]:
    """A page of agreements; an insurer or a bank sees its own."""
    own_insurer = caller.role == InstitutionRole.INSURER
    return await store.list_agreements(
        session,
        county_code,
        insurer_id=caller.institution_id if own_insurer else insurer_id,
        bank_id=caller.institution_id if caller.role in LENDERS else "",
        after=after,
        limit=limit,
    )


async def share_line(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    programme_id: str,
    *,
    cover_id: str,
    premium_fen: Fen,
    from_date: date,
    until_date: date,
) -> LineDivision:
    """Share a profitable line out among the insurers of an agreement by guarantee volume."""
    actor = actor_of(caller)
    if until_date < from_date:
        rule = f"must not be before from_date {from_date}"
        raise invalid_field("TERM_ENDS_BEFORE_IT_STARTS", "until_date", until_date, rule)
    terms, today = await terms_on(session, catalogue, county_code, programme_id, None)
    terms.cover(cover_id)
    rules.require_shared_lines(terms.insurance)
    agreements = await store.agreements_of(session, county_code, programme_id)
    partners = {a.insurer_id for a in agreements if a.holds_on(today)}
    volumes = await store.guarantee_volumes(
        session,
        county_code,
        programme_id,
        _guarantees(terms.insurance.covers),
        from_date=from_date,
        until_date=until_date,
    )
    own = {insurer: volume for insurer, volume in volumes.items() if insurer in partners}
    shares = clauses.line_shares(premium_fen, own)
    division = LineDivision(
        county_code=county_code,
        division_id=ids.new_id(),
        programme_id=programme_id,
        programme=terms.ref,
        cover_id=cover_id,
        premium_fen=premium_fen,
        from_date=from_date,
        until_date=until_date,
        shares=tuple((name, own[name], shares[name]) for name in sorted(shares)),
    )
    await store.add_division(session, division, actor=actor, on=today)
    return division


def _guarantees(covers: Sequence[Cover]) -> list[str]:
    return [cover.id for cover in covers if cover.kind in LOAN_LINKED]


async def list_divisions(
    session: AsyncSession, county_code: str, *, after: UUID, limit: int
) -> list[LineDivision]:
    """A page of divisions: who was given how much of which line is no secret among partners."""
    return await store.list_divisions(session, county_code, after=after, limit=limit)
