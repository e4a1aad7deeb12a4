"""Linkage: enterprises, contracts, mutual-aid societies, the library of projects."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    Enterprise,
    Evidence,
    LinkageContract,
    Project,
    Society,
    SocietyMember,
)
from services.households.operations.shared import (
    came_from,
    household_missing,
    not_after,
    refuse_if,
    require_known_area,
)
from services.households.rules import linkage as rules
from services.households.store import linkage as store
from services.households.store import people as people_store
from services.kernel import ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, NotFound, Refused, invalid_field
from services.kernel.values import replace

GROUP = "mutual_help_group"


async def register_enterprise(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    enterprise: Enterprise,
    evidence: Evidence,
) -> UUID:
    """Enter an entity, once by its code."""
    await store.lock_county(session, county_code)
    provenance = await came_from(session, caller, county_code, evidence)
    refuse_if(rules.credit_code_fault(enterprise.credit_code))
    await require_known_area(session, caller, county_code, enterprise.area_code, "area_code")
    code = enterprise.credit_code
    if await store.enterprise_known(session, county_code, enterprise_id=None, credit_code=code):
        raise Conflict(
            "ENTERPRISE_EXISTS", f"credit_code = {code}: is registered", message_zh="该主体已登记"
        )
    await store.insert_enterprise(session, county_code, enterprise, provenance)
    event = events_out.enterprise_registered(county_code, enterprise, provenance.business_date)
    await outbox.record(session, [event])
    return enterprise.enterprise_id


async def _require_enterprise(session: AsyncSession, county_code: str, enterprise_id: UUID) -> None:
    known = await store.enterprise_known(
        session, county_code, enterprise_id=enterprise_id, credit_code=""
    )
    if not known:
        raise NotFound(
            "ENTERPRISE_NOT_FOUND", f"no entity {enterprise_id}", message_zh="没有该主体"
        )


async def _require_households(
    session: AsyncSession, caller: Caller, county_code: str, household_ids: Sequence[UUID]
) -> None:
    found = await people_store.read_households(session, county_code, household_ids)
    for household_id in household_ids:
        household = found.get(household_id)
        if household is None or not caller.may_act_in(household.area_code):
            raise household_missing(household_id)


async def sign_contract(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    contract: LinkageContract,
    evidence: Evidence,
) -> UUID:
    """Keep what an entity and households agreed."""
    provenance = await came_from(session, caller, county_code, evidence)
    refuse_if(rules.terms_fault(contract.terms))
    refuse_if(rules.period_fault(contract.valid_from, contract.valid_to))
    await _require_enterprise(session, county_code, contract.enterprise_id)
    await _require_households(session, caller, county_code, contract.household_ids)
    await store.insert_contract(session, county_code, contract, provenance)
    event = events_out.linkage_contract_signed(county_code, contract, provenance.business_date)
    await outbox.record(session, [event])
    return contract.contract_id


async def end_contract(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    contract_id: UUID,
    *,
    ended_on: date,
    reason: str,
    evidence: Evidence,
) -> None:
    """End a contract before its time."""
    await store.lock_county(session, county_code)
    found = await store.list_contracts(session, county_code, contract_id=contract_id)
    if not found:
        raise NotFound("CONTRACT_NOT_FOUND", f"no contract {contract_id}", message_zh="没有该协议")
    contract = found[0]
    await _require_households(session, caller, county_code, contract.household_ids)
    provenance = await came_from(session, caller, county_code, evidence)
    if contract.ended_on is not None:
        raise Refused(
            "CONTRACT_ENDED", f"it was ended on {contract.ended_on}", message_zh="协议已终止"
        )
    today = provenance.business_date
    not_after("ended_on", ended_on, today)
    if ended_on < contract.valid_from:
        rule = f"must not be before the first day {contract.valid_from}"
        raise invalid_field("CONTRACT_PERIOD", "ended_on", ended_on, rule, "早于协议起始日")
    await store.insert_end(
        session, county_code, contract_id, ended_on=ended_on, reason=reason, provenance=provenance
    )
    event = events_out.linkage_contract_ended(county_code, contract, ended_on, today)
    await outbox.record(session, [event])


# --- societies ------------------------------------------------------------------------------------


async def register_society(
    session: AsyncSession, caller: Caller, county_code: str, society: Society, evidence: Evidence
) -> UUID:
    """Enter a society or a group."""
    provenance = await came_from(session, caller, county_code, evidence)
    await require_known_area(session, caller, county_code, society.village_code, "village_code")
    if (society.kind == GROUP) is not (society.lead_household_id is not None):
        rule = "a mutual-help group, and nothing else, has a household that leads"
        shown = society.lead_household_id or ""
        raise invalid_field(
            "LEAD_HOUSEHOLD", "lead_household_id", shown, rule, "互助小组须有带头户"
        )
    if society.lead_household_id is not None:
        await _require_households(session, caller, county_code, [society.lead_household_id])
    await store.insert_society(session, county_code, society, provenance)
    return society.society_id


async def load_society(
    session: AsyncSession, caller: Caller, county_code: str, society_id: UUID
) -> Society:
    """A society of the caller's area."""
    found = await store.list_societies(
        session, county_code, within=county_code, society_id=society_id
    )
    if not found or not caller.may_act_in(found[0].village_code):
        raise NotFound("SOCIETY_NOT_FOUND", f"no society {society_id}", message_zh="没有该互助社")
    return found[0]


async def change_society_members(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    society_id: UUID,
    *,
    joining: Sequence[tuple[UUID, int]],
    leaving: Sequence[UUID],
    changed_on: date,
    evidence: Evidence,
) -> int:
    """Let households join (with a share) or leave, all or none; how many members there are."""
    await store.lock_county(session, county_code)
    await load_society(session, caller, county_code, society_id)
    provenance = await came_from(session, caller, county_code, evidence)
    not_after("changed_on", changed_on, provenance.business_date)
    await _require_households(
        session, caller, county_code, [household_id for household_id, _ in joining]
    )
    members = await store.list_society_members(session, county_code, society_id, gone=False)
    held = {member.household_id: member.membership_id for member in members}
    named: set[UUID] = set()
    for household_id, _ in joining:
        if household_id in held or household_id in named:
            raise Refused(
                "SOCIETY_MEMBER_ALREADY",
                f"joining = {household_id}: is a member",
                message_zh="该户已是成员",
            )
        named.add(household_id)
    for household_id in leaving:
        if household_id not in held:
            raise Refused(
                "NOT_A_SOCIETY_MEMBER",
                f"leaving = {household_id}: is no member",
                message_zh="该户不是成员",
            )
    joined = [
        SocietyMember(ids.new_id(), household_id, share_fen, changed_on)
        for household_id, share_fen in joining
    ]
    await store.insert_society_members(session, county_code, society_id, joined, provenance)
    gone = [held[household_id] for household_id in leaving]
    await store.insert_society_leaves(session, county_code, gone, changed_on, provenance)
    return len(held) + len(joined) - len(gone)


# --- projects -------------------------------------------------------------------------------------


async def register_project(
    session: AsyncSession, caller: Caller, county_code: str, project: Project, evidence: Evidence
) -> Project:
    """Put a project into the library; one that is known gets a new version."""
    await store.lock_county(session, county_code)
    provenance = await came_from(session, caller, county_code, evidence)
    await require_known_area(session, caller, county_code, project.area_code, "project.area_code")
    if project.amount_max_fen < project.amount_min_fen:
        rule = f"must not be below amount_min_fen {project.amount_min_fen}"
        field = "project.amount_max_fen"
        raise invalid_field(
            "PROJECT_AMOUNTS", field, project.amount_max_fen, rule, "金额上限低于下限"
        )
    if project.enterprise_id is not None:
        await _require_enterprise(session, county_code, project.enterprise_id)
    made = project
    if project.version > 0:
        known = await store.list_projects(
            session, county_code, within=county_code, project_id=project.project_id
        )
        if not known:
            raise NotFound(
                "PROJECT_NOT_FOUND", f"no project {project.project_id}", message_zh="没有该项目"
            )
        made = replace(project, version=known[0].version + 1)
    else:
        made = replace(project, version=1)
    await store.insert_project(session, county_code, made, provenance)
    return made
