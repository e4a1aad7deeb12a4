"""Registration status: which step may follow which, and what both sides sign. Pure."""

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from types import MappingProxyType
from typing import Final
from uuid import UUID

from services.households.model import DelistedLoan, Household, RegistrationStatus
from services.kernel.errors import LiandongError, Refused, invalid_field

_STATUS = RegistrationStatus
_ON_FILE: Final = frozenset(
    {_STATUS.REGISTERED_POOR, _STATUS.NEAR_POOR, _STATUS.NON_POOR, _STATUS.FIVE_GUARANTEE}
)
_ALL: Final = frozenset(_STATUS)

STEPS: Final = MappingProxyType(
    {
        **dict.fromkeys(_ON_FILE, _ALL - {_STATUS.EXITED}),
        # Only who was poor can have left poverty.
        _STATUS.REGISTERED_POOR: _ALL,
        _STATUS.NEAR_POOR: _ALL,
        _STATUS.FLAGGED: _ALL,
        _STATUS.EXITED: _ALL,
        # Back on the file, or the household died out; never from off the file to left poverty.
        _STATUS.DELISTED: _ON_FILE | {_STATUS.DECEASED},
        _STATUS.DECEASED: frozenset[RegistrationStatus](),
    }
)


def change_fault(
    household: Household, status: RegistrationStatus, effective_on: date, today: date
) -> LiandongError | None:
    """Why the poverty office cannot give a household a status; None when it can."""
    if effective_on > today:
        rule = f"must not be after the business date {today}"
        return invalid_field("DATE_IN_FUTURE", "effective_on", effective_on, rule, "日期晚于营业日")
    if household.registered_on is not None and effective_on < household.registered_on:
        rule = f"must not be before the registration on {household.registered_on}"
        return invalid_field("DATE_TOO_EARLY", "effective_on", effective_on, rule, "早于登记日期")
    if status is household.status:
        return Refused(
            "STATUS_UNCHANGED", f"the household is {status} already", message_zh="登记状态未变"
        )
    if status not in STEPS[household.status]:
        return Refused(
            "STATUS_STEP_FORBIDDEN",
            f"status = {status}: does not follow {household.status}",
            message_zh="登记状态不能这样变更",
        )
    return None


def statement_hash(
    household_id: UUID,
    lender_id: str,
    loans: Sequence[DelistedLoan],
    archive_holders: Sequence[str],
) -> bytes:
    """What both sides sign: the debts in loan order, and who keeps a copy."""
    text = json.dumps(
        {
            "household_id": str(household_id),
            "lender_id": lender_id,
            "loans": sorted([str(loan.loan_id), loan.outstanding_fen] for loan in loans),
            "archive_holders": sorted(archive_holders),
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).digest()
