"""Funds: what guarantors stand behind, and fees: worked out, approved, paid, by three persons."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import reports
from services.funds.operations import accounts as money
from services.funds.rules import accounts as rules
from services.funds.rules import accounts_dues as dues_rules
from services.funds.rules.accounts_values import FacilityLine, FeeClaim
from services.funds.store import accounts as store
from services.funds.store import accounts_lending as lending
from services.kernel import business_day, ids, journal
from services.kernel.caller import Caller, require_role
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen, ceil_div
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.fund import RatioLayer
from services.programmes.schema.pack import split_ref
from services.programmes.schema.values import Open

LENDERS = ("bank", "mutual_aid_society", "insurer")
COLLECTORS = (*LENDERS, "county_centre", "township_station", "village_department", "credit_bureau")
LENDING, DATA = "lending", "data_collection"


@dataclass(frozen=True, slots=True)
class Facility:
    """A line and how much of it is used."""

    line: FacilityLine
    used_fen: int

    @property
    def free_fen(self) -> int:
        """What is left; negative when it is overdrawn."""
        return self.line.line_fen - self.used_fen


async def list_facilities(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, county_code: str
) -> list[Facility]:
    """The lines in force today; a guarantor sees its own."""
    require_role(caller, reports.READERS)
    caller.require_area(county_code)
    today = await business_day.today(session, county_code)
    lines = await store.facilities_on(session, county_code, today)
    if caller.role not in reports.OVERSEERS:
        lines = [line for line in lines if line.institution_id == caller.institution_id]
    used = await _used(session, catalogue, county_code) if lines else {}
    return [Facility(line, used.get((line.programme_id, line.party), 0)) for line in lines]


async def _used(
    session: AsyncSession, catalogue: Catalogue, county_code: str
) -> Mapping[tuple[str, str], int]:
    """By programme and party: its part of what is covered now, and what it owes on cases."""
    used: dict[tuple[str, str], int] = {}
    owed = await lending.owed_by_party(session, county_code)
    for programme_id, party, amount in owed:
        used[programme_id, party] = used.get((programme_id, party), 0) + amount
    for ref, model_id, covered in await lending.covered_by_model(session, county_code):
        model = catalogue.terms(county_code, ref).sharing_model(model_id)
        last = None if isinstance(model.layers, Open) else model.layers[-1]
        if not isinstance(last, RatioLayer):
            continue
        for party, share in last.ratio.items():
            key = (split_ref(ref)[0], party)
            used[key] = used.get(key, 0) + ceil_div(covered * share, sum(last.ratio.values()))
    return used


@dataclass(frozen=True, slots=True)
class Asked:
    """A fee asked for."""

    county_code: str
    programme_id: str
    kind: str
    from_date: date
    until_date: date
    households: int
    evidence: tuple[str, ...]


async def file_claim(
    session: AsyncSession, catalogue: Catalogue, caller: Caller, asked: Asked
) -> FeeClaim:
    """Work a fee out by the programme's rule: from what was lent, or from what was collected."""
    is_lending = asked.kind == LENDING
    require_role(caller, LENDERS if is_lending else COLLECTORS)
    caller.require_area(asked.county_code)
    person_id = caller.require_person()
    today = await business_day.today(session, asked.county_code)
    if not asked.from_date <= asked.until_date <= today:
        rule = f"from {asked.from_date} to at most the business date {today}"
        raise invalid_field("PERIOD_WRONG", "until_date", asked.until_date, rule, "期间有误")
    if not is_lending and not asked.evidence:
        raise invalid_field("EVIDENCE_NEEDED", "evidence", "", "at least one hash", "须附凭据")
    ref = catalogue.in_force(asked.county_code, asked.programme_id, asked.until_date)
    clause = catalogue.terms(asked.county_code, ref).fund.fee_subsidy
    lent = await lending.lent_in(
        session,
        asked.county_code,
        asked.programme_id,
        caller.institution_id,
        from_date=asked.from_date,
        until_date=asked.until_date,
    )
    fee = dues_rules.fee(
        clause,
        lending=is_lending,
        disbursed_fen=lent,
        households=asked.households,
        lender=caller.role in LENDERS,
    )
    claim = FeeClaim(
        county_code=asked.county_code,
        claim_id=ids.new_id(),
        kind=asked.kind,
        state="filed",
        institution_id=caller.institution_id,
        programme=ref,
        programme_id=asked.programme_id,
        from_date=asked.from_date,
        until_date=asked.until_date,
        disbursed_fen=lent if is_lending else Fen(0),
        households=0 if is_lending else asked.households,
        amount_fen=fee.amount_fen,
        evidence=asked.evidence,
        working=fee.working,
        filed_by=person_id,
        filed_on=today,
    )
    await store.alone(session, asked.county_code, caller.institution_id)
    if await store.fee_claimed(session, claim):
        raise Refused(
            "PERIOD_CLAIMED_ALREADY",
            f"a claim touches {asked.from_date} to {asked.until_date} already",
            message_zh="该期间已申请",
        )
    await store.add_fee_claim(session, claim)
    return claim


async def _locked(session: AsyncSession, county_code: str, claim_id: UUID) -> FeeClaim:
    claim = await store.lock_fee_claim(session, county_code, claim_id)
    if claim is None:
        raise NotFound("CLAIM_NOT_FOUND", f"no fee claim {claim_id}", message_zh="无此费用申请")
    return claim


async def decide_claim(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    claim_id: UUID,
    *,
    approve: bool,
    reason: str,
) -> FeeClaim:
    """Approve a fee, which is owed from then on, or refuse it."""
    person_id = money.require_finance(caller, county_code)
    today = await business_day.today(session, county_code)
    claim = await _locked(session, county_code, claim_id)
    if claim.state != "filed":
        raise Refused("CLAIM_DECIDED", f"the claim is {claim.state}", message_zh="申请已处理")
    if claim.filed_by == person_id:
        raise rules.same_person()
    if not approve:
        rules.reason_given(reason)
    state = "approved" if approve else "refused"
    decided = replace(claim, state=state, approved_by=person_id, reason=reason)
    await store.save_fee_claim(session, decided)
    if approve:
        expense = Account("fee_expense", str(claim_id))
        owed = Account("fee_payable", claim.institution_id)
        moved = (Transfer(expense, owed, claim.amount_fen),)
        entry = Entry(county_code, "fee_approved", str(claim_id), today, today, moved)
        await journal.post(session, [entry])
    return decided


async def pay_claim(
    session: AsyncSession, caller: Caller, county_code: str, claim_id: UUID, value_date: date
) -> FeeClaim:
    """Pay an approved fee out of the treasury; by a third person."""
    person_id = money.require_finance(caller, county_code)
    today = await business_day.today(session, county_code)
    closed = await store.closed_through(session, county_code)
    rules.check_dates(value_date, today=today, closed_through=closed)
    claim = await _locked(session, county_code, claim_id)
    if claim.state != "approved":
        raise Refused("CLAIM_NOT_APPROVED", f"the claim is {claim.state}", message_zh="申请未批准")
    if person_id in (claim.filed_by, claim.approved_by):
        raise rules.same_person()
    paid = replace(claim, state="paid", paid_by=person_id)
    await store.save_fee_claim(session, paid)
    owed = Account("fee_payable", claim.institution_id)
    moved = (Transfer(owed, Account("treasury_cash", county_code), claim.amount_fen),)
    await journal.post(
        session, [Entry(county_code, "fee_paid", str(claim_id), value_date, today, moved)]
    )
    return paid


async def list_claims(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    *,
    state: str,
    after: UUID,
    limit: int,
) -> list[FeeClaim]:
    """A page of claims; whoever does not oversee sees its own."""
    require_role(caller, (*reports.OVERSEERS, *COLLECTORS))
    caller.require_area(county_code)
    mine = "" if caller.role in reports.OVERSEERS else caller.institution_id
    return await store.list_fee_claims(
        session, county_code, institution_id=mine, state=state, after=after, limit=limit
    )
