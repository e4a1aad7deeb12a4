"""Payee accounts: registered on evidence, changed by a second person after a waiting time."""

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households import events_out
from services.households.model import (
    DataCategory,
    DisputeSubject,
    Evidence,
    PayeeAccount,
    PayeeAccountState,
    Provenance,
)
from services.households.operations.consents import permitted
from services.households.operations.shared import (
    Keys,
    came_from,
    lock_own,
    read_own,
    refuse_if,
)
from services.households.rules import accounts as rules
from services.households.store import consents as store
from services.households.store import facts as fact_store
from services.households.store import people as people_store
from services.households.store import records
from services.kernel import ids, outbox
from services.kernel.caller import Caller
from services.kernel.errors import LiandongError, NotFound, Refused
from services.kernel.values import replace

_PLACE: Final = b"households.payee_account.sealed."


def open_number(account: PayeeAccount, keys: Keys) -> str:
    """The number of an account."""
    return keys.open_text(account.sealed, _PLACE, account.account_id)


async def register_account(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    account: PayeeAccount,
    keys: Keys,
    *,
    account_name: str,
    waiting_days: int,
    evidence: Evidence,
) -> PayeeAccount:
    """Keep an account: the first is in force, another waits for a second person."""
    household = await lock_own(session, caller, county_code, account.household_id)
    provenance = await came_from(session, caller, county_code, evidence)
    holder_name = await _holder_name(session, county_code, account, keys)
    refuse_if(rules.name_fault(account_name, holder_name))
    known = await store.list_accounts(session, county_code, [household.household_id])
    if any(each.state is PayeeAccountState.PROPOSED for each in known):
        raise Refused(
            "PAYEE_CHANGE_OPEN",
            "another change waits for its second person",
            message_zh="已有变更待复核",
        )
    first = not any(each.state is PayeeAccountState.IN_FORCE for each in known)
    account_id = ids.new_id()
    made = replace(
        account,
        account_id=account_id,
        state=PayeeAccountState.IN_FORCE if first else PayeeAccountState.PROPOSED,
        earliest_on=None if first else rules.earliest_on(provenance.business_date, waiting_days),
        provenance=provenance,
        sealed=keys.seal_text(account.account_number, _PLACE, account_id),
    )
    await store.insert_account(session, county_code, made)
    if first:
        await _put_in_force(session, county_code, made, provenance)
    return made


async def register_first_accounts(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    accounts: Sequence[tuple[PayeeAccount, str]],
    keys: Keys,
    *,
    evidence: Evidence,
) -> list[PayeeAccount | LiandongError]:
    """Keep the first accounts of households, each with the name on it; each on its own."""
    provenance = await came_from(session, caller, county_code, evidence)
    outcomes: list[PayeeAccount | LiandongError] = []
    for account, account_name in sorted(accounts, key=lambda each: each[0].household_id):
        try:
            holder_id = await _only_holder(
                session, caller, county_code, account, keys=keys, account_name=account_name
            )
        except LiandongError as error:
            outcomes.append(error)
            continue
        account_id = ids.new_id()
        made = replace(
            account,
            account_id=account_id,
            holder_id=holder_id,
            state=PayeeAccountState.IN_FORCE,
            provenance=provenance,
            sealed=keys.seal_text(account.account_number, _PLACE, account_id),
        )
        await store.insert_account(session, county_code, made)
        await _put_in_force(session, county_code, made, provenance)
        outcomes.append(made)
    order = sorted(range(len(accounts)), key=lambda place: accounts[place][0].household_id)
    by_place = dict(zip(order, outcomes, strict=True))
    return [by_place[place] for place in range(len(accounts))]


async def _only_holder(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    account: PayeeAccount,
    *,
    keys: Keys,
    account_name: str,
) -> UUID:
    """The member who has the account's name, of a household that has no account yet."""
    household = await lock_own(session, caller, county_code, account.household_id)
    if await store.list_accounts(session, county_code, [household.household_id]):
        raise Refused(
            "PAYEE_ACCOUNT_EXISTS",
            "the household has an account: change it with a second person",
            message_zh="本户已登记收款账户",
        )
    members = await people_store.members_as_known(
        session, county_code, account.household_id, records.NOW
    )
    for member in members:
        name = keys.open_person(member.person_id, member.sealed)[0]
        if rules.name_fault(account_name, name) is None:
            return member.person_id
    raise Refused(
        "PAYEE_NAME_DIFFERS",
        "account_name = ***: must be the name of a member of the household",
        message_zh="账户户名与户内成员姓名不一致",
    )


async def _holder_name(
    session: AsyncSession, county_code: str, account: PayeeAccount, keys: Keys
) -> str:
    members = await people_store.members_as_known(
        session, county_code, account.household_id, records.NOW
    )
    for member in members:
        if member.person_id == account.holder_id:
            return keys.open_person(member.person_id, member.sealed)[0]
    raise Refused(
        "HOLDER_NOT_A_MEMBER",
        f"holder_id = {account.holder_id}: must be a member of the household",
        message_zh="户名所属人不是本户成员",
    )


async def _put_in_force(
    session: AsyncSession, county_code: str, account: PayeeAccount, provenance: Provenance
) -> None:
    day = provenance.business_date
    version = await store.put_in_force(session, county_code, account, day)
    event = events_out.payee_account_changed(county_code, account, version, day)
    await outbox.record(session, [event])


async def decide_account(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    account_id: UUID,
    keys: Keys,
    *,
    confirmed: bool,
    evidence: Evidence,
) -> PayeeAccountState:
    """Confirm or refuse a change as the second person."""
    missing = NotFound("ACCOUNT_NOT_FOUND", f"no account {account_id}", message_zh="没有该账户")
    household_id = await store.household_of_account(session, county_code, account_id)
    if household_id is None:
        raise missing
    try:
        await lock_own(session, caller, county_code, household_id)
    except NotFound as error:
        raise missing from error
    provenance = await came_from(session, caller, county_code, evidence)
    accounts = await store.list_accounts(session, county_code, [household_id])
    account = next(each for each in accounts if each.account_id == account_id)
    refuse_if(
        rules.decision_fault(
            account,
            institution_id=caller.institution_id,
            person_id=provenance.acted_by,
            confirmed=confirmed,
            today=provenance.business_date,
        )
    )
    if confirmed:
        await _holder_name(session, county_code, account, keys)
    await store.insert_decision(session, county_code, account_id, provenance, confirmed=confirmed)
    if not confirmed:
        return PayeeAccountState.REFUSED
    await _put_in_force(session, county_code, account, provenance)
    return PayeeAccountState.IN_FORCE


async def list_accounts(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    household_id: UUID,
    keys: Keys,
    *,
    known_by: date,
) -> Sequence[PayeeAccount]:
    """The accounts of a household; numbers masked unless the caller may know them."""
    household = await read_own(session, caller, county_code, household_id)
    granted = await permitted(session, caller, county_code, household)
    contested = await fact_store.open_disputes(session, county_code, household_id, known_by)
    seen = []
    for account in await store.list_accounts(session, county_code, [household_id], known_by):
        number = open_number(account, keys)
        shown = number if DataCategory.ACCOUNTS in granted else rules.mask_account(number)
        disputed = (DisputeSubject.PAYEE_ACCOUNT, account.account_id) in contested
        seen.append(replace(account, account_number=shown, disputed=disputed))
    return seen
