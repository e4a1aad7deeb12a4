"""Consents: given, withdrawn, and what they let a caller know."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    Consent,
    ConsentMedium,
    DataCategory,
    Evidence,
    Household,
    Relation,
)
from services.households.operations.shared import (
    HOUSEHOLD,
    IDENTITY_ROLES,
    Keys,
    came_from,
    lock_own,
    read_own,
    refuse_if,
)
from services.households.rules import consents as rules
from services.households.rules import people as people_rules
from services.households.store import consents as store
from services.households.store import people as people_store
from services.households.store import records
from services.kernel import business_day, outbox
from services.kernel.caller import Caller
from services.kernel.errors import NotFound, Refused
from services.kernel.values import replace


async def permitted(
    session: AsyncSession, caller: Caller, county_code: str, household: Household
) -> frozenset[DataCategory]:
    """What the caller may know of a household of its area: by its role, else by live consents."""
    granted = await permitted_of(session, caller, county_code, [household.household_id])
    return granted[household.household_id]


async def permitted_of(
    session: AsyncSession, caller: Caller, county_code: str, household_ids: Sequence[UUID]
) -> dict[UUID, frozenset[DataCategory]]:
    """The same for several households, with one look at the consents."""
    # For a person the gateway asks only about the own household.
    sees_all = caller.role in {*IDENTITY_ROLES, HOUSEHOLD}
    consents: list[Consent] = []
    if not sees_all and caller.purpose:
        consents = await store.list_consents(
            session, county_code, household_ids, receiver_id=caller.institution_id
        )
    today = await business_day.today_or(session, county_code, date.min)
    return {
        household_id: rules.permitted(
            [consent for consent in consents if consent.household_id == household_id],
            sees_all=sees_all,
            institution_id=caller.institution_id,
            purpose=caller.purpose,
            today=today,
        )
        for household_id in household_ids
    }


async def give_consent(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    consent: Consent,
    *,
    evidence: Evidence,
    keys: Keys,
) -> UUID:
    """Keep a consent that an adult member gives."""
    household = await lock_own(session, caller, county_code, consent.household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    today = provenance.business_date
    refuse_if(rules.medium_fault(consent.medium, evidence))
    refuse_if(rules.period_fault(consent.valid_from, consent.valid_to, today))
    members = await people_store.members_as_known(
        session, county_code, household.household_id, records.NOW
    )
    giver = next((each for each in members if each.person_id == consent.person_id), None)
    if giver is None:
        raise Refused(
            "GIVER_NOT_A_MEMBER",
            f"person_id = {consent.person_id}: must be a member of the household",
            message_zh="授权人不是本户成员",
        )
    _, identity_number, _ = keys.open_person(giver.person_id, giver.sealed)
    if not people_rules.is_adult(people_rules.kin(Relation.HEAD, identity_number).born_on, today):
        raise Refused(
            "GIVER_NOT_ADULT",
            f"person_id = {consent.person_id}: must be {people_rules.ADULT_YEARS} years old",
            message_zh="授权人未成年",
        )
    made = replace(consent, provenance=provenance)
    await store.insert_consent(session, county_code, made)
    await outbox.record(session, [events_out.consent_given(county_code, made, today)])
    return made.consent_id


async def withdraw_consent(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    consent_id: UUID,
    *,
    medium: ConsentMedium,
    evidence: Evidence,
) -> None:
    """End a consent at once."""
    found = await store.load_consent(session, county_code, consent_id)
    if found is None:
        raise _consent_missing(consent_id)
    try:
        await lock_own(session, caller, county_code, found.household_id)
    except NotFound as error:
        raise _consent_missing(consent_id) from error
    provenance = await came_from(session, caller, county_code, evidence)
    refuse_if(rules.medium_fault(medium, evidence))
    consent = await store.load_consent(session, county_code, consent_id)
    assert consent is not None
    if consent.withdrawal is not None:
        raise Refused(
            "CONSENT_WITHDRAWN", f"consent {consent_id} was withdrawn", message_zh="授权已撤回"
        )
    await store.insert_withdrawal(session, county_code, consent_id, medium, provenance)
    event = events_out.consent_withdrawn(county_code, consent, provenance.business_date)
    await outbox.record(session, [event])


def _consent_missing(consent_id: UUID) -> NotFound:
    return NotFound("CONSENT_NOT_FOUND", f"no consent {consent_id}", message_zh="没有该授权")


async def list_consents(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    *,
    known_by: date,
    after: UUID,
    limit: int,
) -> list[Consent]:
    """The consents of a household; who is no registrar sees those that it may receive under."""
    await read_own(session, caller, county_code, household_id)
    receiver_id = "" if caller.role in {*IDENTITY_ROLES, "auditor"} else caller.institution_id
    return await store.list_consents(
        session,
        county_code,
        [household_id],
        known_by=known_by,
        receiver_id=receiver_id,
        after=after,
        limit=limit,
    )
