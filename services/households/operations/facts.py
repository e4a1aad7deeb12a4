"""Facts: supplied in one's own name, replaced but never overwritten, contested and answered."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    Content,
    Dispute,
    DisputeOutcome,
    DisputeSide,
    DisputeSubject,
    Evidence,
    Fact,
    FactKind,
    Household,
    Labour,
    LeaveReason,
    Membership,
    NewFact,
    PersonQuery,
    Provenance,
)
from services.households.operations.consents import permitted
from services.households.operations.identities import resolve_persons
from services.households.operations.shared import (
    HOUSEHOLD,
    IDENTITY_ROLES,
    Keys,
    came_from,
    household_missing,
    next_version,
    person_missing,
    read_own,
    refuse_if,
)
from services.households.rules import consents as consent_rules
from services.households.rules import facts as rules
from services.households.rules import registration
from services.households.store import consents as consent_store
from services.households.store import facts as store
from services.households.store import people as people_store
from services.households.store import records
from services.households.store import standing as standing_store
from services.kernel import business_day, ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Denied, LiandongError, NotFound, Refused, invalid_field
from services.kernel.values import replace

_CONTENT_PLACE: Final = b"households.fact.sealed."
_STATEMENT_PLACE: Final = b"households.dispute.sealed."
_ANSWER_PLACE: Final = b"households.dispute_answer.sealed."
_FACTS_MAX: Final = 10_000


def _opener(keys: Keys) -> store.Open:
    def open_content(sealed: bytes, fact_id: UUID) -> Content:
        content: Content = json.loads(keys.open_text(sealed, _CONTENT_PLACE, fact_id))
        return content

    return open_content


def _text_opener(keys: Keys, place: bytes) -> store.OpenText:
    return lambda sealed, record_id: keys.open_text(sealed, place, record_id)


def _sealed(fact: Fact, keys: Keys) -> tuple[Fact, bytes]:
    text = json.dumps(dict(fact.content), ensure_ascii=False)
    return fact, keys.seal_text(text, _CONTENT_PLACE, fact.fact_id)


# --- supplying ------------------------------------------------------------------------------------


async def record_facts(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    facts: Sequence[NewFact],
    keys: Keys,
) -> list[UUID | LiandongError]:
    """Keep facts in the caller's name; each is decided by itself."""
    today = await business_day.today(session, county_code)
    acted_by = caller.require_person()
    named = await _named(session, caller, county_code, facts, keys)
    supplied = [each for each in named if isinstance(each, NewFact)]
    people = {person_id for fact in supplied for person_id in _people(fact)}
    places = await people_store.memberships_of(session, county_code, list(people))
    household_ids = [found for fact in supplied if (found := _household_id(fact, places))]
    households = await people_store.lock_households(session, county_code, household_ids)
    verdicts: list[UUID | LiandongError] = []
    kept: list[Fact] = []
    for each in named:
        if isinstance(each, LiandongError):
            verdicts.append(each)
            continue
        fault = _fault(caller, each, places, households, today)
        if fault is not None:
            verdicts.append(fault)
            continue
        household_id = _household_id(each, places)
        assert household_id is not None
        provenance = Provenance(caller.institution_id, acted_by, each.evidence, today)
        fact = Fact(
            fact_id=ids.new_id(),
            household_id=household_id,
            person_id=each.person_id,
            kind=each.kind,
            content=each.content,
            valid_from=each.valid_from,
            valid_to=each.valid_to,
            source_role=caller.role,
            provenance=provenance,
        )
        kept.append(fact)
        verdicts.append(fact.fact_id)
    await _keep(session, county_code, kept, keys)
    return verdicts


async def _named(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    facts: Sequence[NewFact],
    keys: Keys,
) -> list[NewFact | LiandongError]:
    """Facts with the ids of the people whom some name by identity number."""
    by_number = [fact for fact in facts if fact.identity_number]
    found = await resolve_persons(
        session,
        caller,
        county_code,
        [PersonQuery(fact.identity_number, "", None) for fact in by_number],
        keys,
    )
    answers = iter(found)
    named: list[NewFact | LiandongError] = []
    for fact in facts:
        if not fact.identity_number:
            named.append(fact)
            continue
        answer = next(answers)
        if isinstance(answer, LiandongError):
            named.append(answer)
        else:
            named.append(replace(fact, person_id=answer.person_id))
    return named


def _people(fact: NewFact) -> list[UUID]:
    """The people that a fact names."""
    named = [fact.person_id] if fact.person_id else []
    agent_id = fact.content.get("agent_id")
    return [*named, UUID(str(agent_id))] if agent_id else named


def _household_id(fact: NewFact, places: dict[UUID, Membership]) -> UUID | None:
    if fact.person_id is not None and fact.person_id in places:
        return places[fact.person_id].household_id
    return None if fact.person_id is not None else fact.household_id


def _fault(
    caller: Caller,
    fact: NewFact,
    places: dict[UUID, Membership],
    households: dict[UUID, Household],
    today: date,
) -> LiandongError | None:
    """Why a fact cannot be kept; None when it can."""
    if error := rules.source_fault(fact.kind, caller.role):
        return error
    household_id = _household_id(fact, places)
    if household_id is None and fact.person_id is not None:
        return person_missing(fact.person_id)
    if household_id is None:
        rule = "a household or a person must be named"
        return invalid_field("SUBJECT_NEEDED", "household_id", "", rule, "须指明农户或人员")
    household = households.get(household_id)
    if household is None or not caller.may_act_in(household.area_code):
        return household_missing(household_id)
    if fact.household_id not in {None, household_id}:
        rule = f"person {fact.person_id} belongs to {household_id}"
        return invalid_field(
            "NOT_A_MEMBER", "household_id", fact.household_id, rule, "人员不属于该户"
        )
    if fact.kind is FactKind.REMOTE_AUTHORITY:
        agent = places.get(UUID(str(fact.content["agent_id"])))
        if agent is None or agent.household_id != household_id:
            rule = "must be a member of the same household"
            agent_id = fact.content["agent_id"]
            field = "content.remote_authority.agent_id"
            return invalid_field("NOT_A_MEMBER", field, agent_id, rule, "受托人不属于该户")
    return consent_rules.evidence_fault(fact.evidence) or rules.fact_fault(fact, today)


async def _keep(session: AsyncSession, county_code: str, facts: Sequence[Fact], keys: Keys) -> None:
    await store.insert_facts(session, county_code, [_sealed(fact, keys) for fact in facts])
    await outbox.record(session, [events_out.fact_recorded(county_code, fact) for fact in facts])
    await _take_effect(session, county_code, facts, keys)


async def _take_effect(
    session: AsyncSession, county_code: str, facts: Sequence[Fact], keys: Keys
) -> None:
    """What facts change of the records: a household's honour, a member's labour."""
    honoured: dict[UUID, Fact] = {
        fact.household_id: fact for fact in facts if fact.kind is FactKind.HONOUR
    }
    for household_id, fact in honoured.items():
        await _honour(session, county_code, household_id, fact.provenance, keys)
    for fact in facts:
        if fact.kind is FactKind.LABOUR and fact.valid_to is None and fact.person_id is not None:
            await _relabel(session, county_code, fact)


async def _honour(
    session: AsyncSession,
    county_code: str,
    household_id: UUID,
    provenance: Provenance,
    keys: Keys,
) -> None:
    held = await people_store.lock_households(session, county_code, [household_id])
    household = held[household_id]
    facts = await store.list_facts(
        session,
        county_code,
        household_id,
        _opener(keys),
        kinds=[FactKind.HONOUR],
        limit=_FACTS_MAX,
    )
    honour = rules.best_honour(facts, provenance.business_date)
    if honour is household.honour:
        return
    changed = next_version(household, honour=honour)
    await people_store.save_households(session, [changed], provenance)
    event = events_out.household_changed(changed, provenance.business_date)
    await outbox.record(session, [event])


async def _relabel(session: AsyncSession, county_code: str, fact: Fact) -> None:
    assert fact.person_id is not None
    places = await people_store.memberships_of(session, county_code, [fact.person_id])
    place = places.get(fact.person_id)
    labour: Labour = registration.LABOUR_WORDS[str(fact.content["labour"])]
    if place is None or place.labour is labour:
        return
    await people_store.end_memberships(
        session,
        county_code,
        [fact.person_id],
        fact.provenance,
        ended_on=fact.provenance.business_date,
        reason=LeaveReason.RESEATED,
    )
    seat = replace(place, labour=labour)
    await people_store.seat(session, county_code, [seat], fact.provenance)


async def correct_fact(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    fact_id: UUID,
    keys: Keys,
    *,
    content: tuple[FactKind, Content] | None,
    valid_from: date | None,
    valid_to: date | None,
    evidence: Evidence,
) -> UUID:
    """Put another fact in the place of one; both are kept."""
    missing = NotFound("FACT_NOT_FOUND", f"no fact {fact_id}", message_zh="没有该信息")
    found = await store.load_fact(session, county_code, fact_id, _opener(keys))
    if found is None:
        raise missing
    household_id = found[0].household_id
    held = await people_store.lock_households(session, county_code, [household_id])
    if not caller.may_act_in(held[household_id].area_code):
        raise missing
    found = await store.load_fact(session, county_code, fact_id, _opener(keys))
    assert found is not None
    fact, replaced = found
    refuse_if(rules.correction_fault(fact, caller.institution_id, caller.role))
    if replaced:
        raise Refused(
            "FACT_REPLACED", f"fact {fact_id} was replaced already", message_zh="该信息已被更正"
        )
    provenance = await came_from(session, caller, county_code, evidence)
    kind, said = content or (fact.kind, fact.content)
    if kind is not fact.kind:
        rule = f"a {fact.kind} is corrected by a {fact.kind}"
        raise invalid_field("FACT_KIND", "content", kind, rule, "信息种类不一致")
    right = replace(
        fact,
        fact_id=ids.new_id(),
        content=said,
        valid_from=valid_from or fact.valid_from,
        valid_to=valid_to or fact.valid_to,
        source_role=caller.role,
        provenance=provenance,
        replaces_id=fact_id,
    )
    supplied = NewFact(
        household_id, right.person_id, "", kind, said, right.valid_from, right.valid_to, evidence
    )
    refuse_if(rules.fact_fault(supplied, provenance.business_date))
    await _keep(session, county_code, [right], keys)
    return right.fact_id


async def list_facts(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    keys: Keys,
    *,
    known_by: date,
    replaced: bool,
    after: UUID,
    limit: int,
) -> list[Fact]:
    """Facts about a household: all for registrars, else one's own and what consents cover."""
    household = await read_own(session, caller, county_code, household_id)
    granted = await permitted(session, caller, county_code, household)
    facts = await store.list_facts(
        session,
        county_code,
        household_id,
        _opener(keys),
        known_by=known_by,
        kinds=[kind for kind, category in rules.CATEGORIES.items() if category in granted],
        own_of=caller.institution_id,
        replaced=replaced,
        after=after,
        limit=limit,
    )
    contested = await store.open_disputes(session, county_code, household_id, known_by)
    return [
        replace(fact, disputed=(DisputeSubject.FACT, fact.fact_id) in contested) for fact in facts
    ]


# --- disputes -------------------------------------------------------------------------------------


async def open_dispute(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    keys: Keys,
    *,
    subject: DisputeSubject,
    subject_id: UUID,
    side: DisputeSide,
    statement: str,
    evidence: Evidence,
) -> Dispute:
    """Mark something as contested until it is answered."""
    held = await people_store.lock_households(session, county_code, [household_id])
    household = held.get(household_id)
    if household is None or not caller.may_act_in(household.area_code):
        raise household_missing(household_id)
    if side is DisputeSide.HOUSEHOLD and caller.role not in {*IDENTITY_ROLES, HOUSEHOLD}:
        raise Denied(
            "ROLE_NOT_ALLOWED",
            f"role {caller.role} may not contest for a household",
            message_zh="本角色不得代农户提出异议",
        )
    provenance = await came_from(session, caller, county_code, evidence)
    source_id = await _source_of(session, county_code, household, subject, subject_id, keys=keys)
    if source_id is None:
        raise Refused(
            "DISPUTE_SUBJECT_UNKNOWN",
            f"subject_id = {subject_id}: is no {subject} of the household",
            message_zh="异议对象不属于该户",
        )
    if (subject, subject_id) in await store.open_disputes(session, county_code, household_id):
        raise Refused("DISPUTE_OPEN", "it is contested already", message_zh="已有未答复的异议")
    made = Dispute(
        dispute_id=ids.new_id(),
        household_id=household_id,
        area_code=household.area_code,
        subject=subject,
        subject_id=subject_id,
        subject_source_id=source_id,
        side=side,
        statement=statement,
        due_on=rules.due_on(provenance.business_date),
        provenance=provenance,
    )
    sealed = keys.seal_text(statement, _STATEMENT_PLACE, made.dispute_id)
    await store.insert_dispute(session, county_code, made, sealed)
    await outbox.record(session, [events_out.dispute_opened(county_code, made)])
    return made


async def _source_of(
    session: AsyncSession,
    county_code: str,
    household: Household,
    subject: DisputeSubject,
    subject_id: UUID,
    *,
    keys: Keys,
) -> str | None:
    """The institution that recorded what is contested; None when it is not the household's."""
    household_id = household.household_id
    if subject is DisputeSubject.FACT:
        found = await store.load_fact(session, county_code, subject_id, _opener(keys))
        mine = found is not None and found[0].household_id == household_id
        return found[0].provenance.source_id if found and mine else None
    if subject is DisputeSubject.STATUS:
        if subject_id == household_id:
            return household.registrar_id
        changes = await standing_store.list_changes(session, county_code, household_id, records.NOW)
        sources = {change.change_id: change.provenance.source_id for change, _ in changes}
        return sources.get(subject_id)
    if subject is DisputeSubject.MEMBERSHIP:
        return await people_store.membership_source(session, county_code, household_id, subject_id)
    accounts = await consent_store.list_accounts(session, county_code, [household_id])
    held = {account.account_id: account.provenance.source_id for account in accounts}
    return held.get(subject_id)


async def answer_dispute(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    dispute_id: UUID,
    keys: Keys,
    *,
    outcome: DisputeOutcome,
    statement: str,
    evidence: Evidence,
) -> bool:
    """Answer a dispute; whether the answer is late. Both sides are kept."""
    missing = NotFound("DISPUTE_NOT_FOUND", f"no dispute {dispute_id}", message_zh="没有该异议")
    dispute = await _load_dispute(session, county_code, dispute_id, keys)
    if dispute is None:
        raise missing
    await people_store.lock_households(session, county_code, [dispute.household_id])
    dispute = await _load_dispute(session, county_code, dispute_id, keys)
    assert dispute is not None
    if not caller.may_act_in(dispute.area_code):
        raise missing
    refuse_if(rules.answer_fault(dispute, caller.institution_id, caller.role))
    provenance = await came_from(session, caller, county_code, evidence)
    sealed = keys.seal_text(statement, _ANSWER_PLACE, dispute_id)
    await store.insert_answer(
        session, county_code, dispute_id, outcome, sealed, provenance=provenance
    )
    day = provenance.business_date
    await outbox.record(session, [events_out.dispute_answered(county_code, dispute, outcome, day)])
    return day > dispute.due_on


async def _load_dispute(
    session: AsyncSession, county_code: str, dispute_id: UUID, keys: Keys
) -> Dispute | None:
    return await store.load_dispute(
        session,
        county_code,
        dispute_id,
        _text_opener(keys, _STATEMENT_PLACE),
        _text_opener(keys, _ANSWER_PLACE),
    )


async def list_disputes(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    keys: Keys,
    *,
    household_id: UUID | None,
    answered: bool,
    after: UUID,
    limit: int,
) -> tuple[list[Dispute], date]:
    """Disputes: registrars see their area's, others those to which they are a party."""
    prefixes: list[str] = []
    if caller.role in {*IDENTITY_ROLES, HOUSEHOLD, "auditor"}:
        prefixes = registration.prefixes_seen(county_code, caller.areas)
    found = await store.list_disputes(
        session,
        county_code,
        _text_opener(keys, _STATEMENT_PLACE),
        _text_opener(keys, _ANSWER_PLACE),
        household_id=household_id,
        party=caller.institution_id,
        prefixes=prefixes,
        answered=answered,
        after=after,
        limit=limit,
    )
    return found, await business_day.today(session, county_code)
