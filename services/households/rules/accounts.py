"""Payee accounts: whose they are and when a change may take effect. Pure."""

from datetime import date, timedelta
from typing import Final

from services.households.model import PayeeAccount, PayeeAccountState
from services.households.rules.people import plain_name
from services.kernel.errors import LiandongError, Refused

_SHOWN_DIGITS: Final = 4


def name_fault(account_name: str, holder_name: str) -> LiandongError | None:
    """Why an account is not the holder's; the names are in no message."""
    if plain_name(account_name) == plain_name(holder_name):
        return None
    return Refused(
        "PAYEE_NAME_DIFFERS",
        "account_name = ***: must be the holder's name",
        message_zh="账户户名与户内成员姓名不一致",
    )


def earliest_on(proposed_on: date, waiting_days: int) -> date:
    """The first day on which a change may be confirmed."""
    return proposed_on + timedelta(days=waiting_days)


def decision_fault(
    account: PayeeAccount, *, institution_id: str, person_id: str, confirmed: bool, today: date
) -> LiandongError | None:
    """Why somebody may not decide on a change now; None when it may."""
    if account.state is not PayeeAccountState.PROPOSED:
        return Refused(
            "PAYEE_DECIDED", f"the account is {account.state} already", message_zh="账户变更已处理"
        )
    proposer = account.provenance
    if (proposer.source_id, proposer.acted_by) == (institution_id, person_id):
        return Refused(
            "SECOND_PERSON_NEEDED",
            f"{person_id} proposed it: another person decides",
            message_zh="须由另一人复核",
        )
    if confirmed and account.earliest_on is not None and today < account.earliest_on:
        return Refused(
            "PAYEE_WAITING",
            f"business date {today}: a change may be confirmed from {account.earliest_on} on",
            message_zh="账户变更等待期未满",
            facts={"earliest_on": account.earliest_on.isoformat()},
        )
    return None


def mask_account(number: str) -> str:
    """`********1234`: the last four digits."""
    return "*" * max(0, len(number) - _SHOWN_DIGITS) + number[-_SHOWN_DIGITS:]
