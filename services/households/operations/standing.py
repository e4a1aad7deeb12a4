"""Registration status and what follows from it: changes, delisting, reconciliation."""

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    DelistedLoan,
    DisputeSubject,
    Evidence,
    Household,
    Reconciliation,
    RegistrationStatus,
    StatusChange,
)
from services.households.operations.shared import (
    came_from,
    household_missing,
    lock_own,
    next_version,
    read_own,
    refuse_if,
)
from services.households.rules import standing as rules
from services.households.store import facts as fact_store
from services.households.store import people as people_store
from services.households.store import standing as store
from services.kernel import ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.values import replace

LENDER_SIDE: Final = "lender"
OFFICE_SIDE: Final = "poverty_office"


async def change_status(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    *,
    status: RegistrationStatus,
    effective_on: date,
    reason: str,
    evidence: Evidence,
) -> tuple[UUID, int]:
    """Give a household another status; the change's id and the household's version."""
    household = await lock_own(session, caller, county_code, household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    today = provenance.business_date
    refuse_if(rules.change_fault(household, status, effective_on, today))
    changed = next_version(household, status=status)
    change = StatusChange(ids.new_id(), status, effective_on, reason, provenance)
    await people_store.save_households(session, [changed], provenance)
    await store.insert_change(session, changed, change, before=household.status)
    if status is RegistrationStatus.DELISTED:
        event = events_out.household_delisted(changed, reason, today)
    else:
        event = events_out.household_changed(changed, today)
    await outbox.record(session, [event])
    return change.change_id, changed.version


async def list_history(
    session: AsyncSession, caller: Caller, county_code: str, household_id: UUID, known_by: date
) -> list[StatusChange]:
    """Every status of a household, oldest first; the first is the registration's."""
    household = await read_own(session, caller, county_code, household_id, known_by)
    changes = await store.list_changes(session, county_code, household_id, known_by)
    contested = await fact_store.open_disputes(session, county_code, household_id, known_by)
    first_version = await people_store.first_version(session, county_code, household_id)
    assert first_version is not None
    assert first_version.registered_on is not None
    assert first_version.provenance is not None
    first = StatusChange(
        change_id=household_id,
        status=changes[0][1] if changes else household.status,
        effective_on=first_version.registered_on,
        reason="",
        provenance=replace(first_version.provenance, source_id=household.registrar_id),
    )
    return [
        replace(each, disputed=(DisputeSubject.STATUS, each.change_id) in contested)
        for each in [first, *(change for change, _ in changes)]
    ]


# --- reconciliation -------------------------------------------------------------------------------


async def state_delisted_loans(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    *,
    loans: Sequence[DelistedLoan],
    archive_holders: Sequence[str],
    evidence: Evidence,
) -> Reconciliation:
    """State and sign, as a lender, what a delisted household owes it."""
    household = await lock_own(session, caller, county_code, household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    _require_delisted(household)
    if caller.institution_id not in archive_holders:
        shown = " ".join(archive_holders)
        rule = f"the lender {caller.institution_id} keeps a copy too"
        raise invalid_field(
            "ARCHIVE_HOLDERS", "archive_holders", shown, rule, "存档单位应含放贷机构"
        )
    made = Reconciliation(
        reconciliation_id=ids.new_id(),
        household_id=household_id,
        lender_id=caller.institution_id,
        loans=tuple(sorted(loans, key=lambda loan: loan.loan_id)),
        statement_hash=rules.statement_hash(
            household_id, caller.institution_id, loans, archive_holders
        ),
        archive_holders=tuple(archive_holders),
        signatures={},
    )
    await store.insert_reconciliation(session, county_code, made, provenance.business_date)
    await store.insert_signature(
        session, county_code, made.reconciliation_id, LENDER_SIDE, provenance
    )
    return made


def _require_delisted(household: Household) -> None:
    if household.status is not RegistrationStatus.DELISTED:
        raise Refused(
            "HOUSEHOLD_NOT_DELISTED",
            f"status = {household.status}: only a delisted household's loans are reconciled",
            message_zh="该户不是清退户",
        )


async def sign_reconciliation(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    reconciliation_id: UUID,
    *,
    statement_hash: bytes,
    evidence: Evidence,
) -> None:
    """Sign a lender's statement as the poverty office: the newest, and the one that was read."""
    missing = NotFound(
        "RECONCILIATION_NOT_FOUND",
        f"no reconciliation {reconciliation_id}",
        message_zh="没有该对账单",
    )
    household_id = await store.household_of_reconciliation(session, county_code, reconciliation_id)
    if household_id is None:
        raise missing
    try:
        await lock_own(session, caller, county_code, household_id)
    except NotFound as error:
        raise missing from error
    provenance = await came_from(session, caller, county_code, evidence)
    statements = await store.list_reconciliations(session, county_code, household_id)
    wanted = next(each for each in statements if each.reconciliation_id == reconciliation_id)
    newest = next(each for each in statements if each.lender_id == wanted.lender_id)
    if newest.reconciliation_id != reconciliation_id:
        raise Refused(
            "STATEMENT_REPLACED",
            f"the lender stated anew: {newest.reconciliation_id}",
            message_zh="放贷机构已提交新的对账单",
        )
    if statement_hash != wanted.statement_hash:
        raise Refused(
            "STATEMENT_DIFFERS",
            f"statement_hash = {statement_hash.hex()}: must be the stated one's",
            message_zh="签署内容与对账单不一致",
        )
    if OFFICE_SIDE in wanted.signatures:
        raise Refused("SIGNED_ALREADY", "the poverty office has signed", message_zh="已签署")
    await store.insert_signature(session, county_code, reconciliation_id, OFFICE_SIDE, provenance)


async def list_reconciliations(
    session: AsyncSession, caller: Caller, county_code: str, household_id: UUID
) -> list[Reconciliation]:
    """The statements about a household; a lender sees its own."""
    household = await people_store.read_households(session, county_code, [household_id])
    found = household.get(household_id)
    if found is None or not caller.may_act_in(found.area_code):
        raise household_missing(household_id)
    statements = await store.list_reconciliations(session, county_code, household_id)
    lender = caller.role in {"bank", "mutual_aid_society"}
    return [each for each in statements if not lender or each.lender_id == caller.institution_id]
