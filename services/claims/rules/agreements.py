"""Claims: who may insure under a signed agreement, and how a line is shared out."""

from collections.abc import Sequence
from datetime import date

from services.claims.model import Agreement
from services.kernel.errors import Conflict, Refused, invalid_field
from services.programmes.schema.insurance import Insurance


def check_agreement(agreement: Agreement, today: date) -> None:
    """Refuse dates that do not follow each other."""
    if agreement.signed_on > today:
        rule = f"must not be after the business date {today}"
        raise invalid_field("SIGNED_AHEAD", "signed_on", agreement.signed_on, rule)
    if agreement.from_date < agreement.signed_on:
        rule = f"must not be before it was signed on {agreement.signed_on}"
        raise invalid_field("AGREEMENT_BEFORE_SIGNATURE", "from_date", agreement.from_date, rule)
    if agreement.until_date < agreement.from_date:
        rule = f"must not be before from_date {agreement.from_date}"
        raise invalid_field("TERM_ENDS_BEFORE_IT_STARTS", "until_date", agreement.until_date, rule)


def agreement_exists(agreement: Agreement) -> Conflict:
    """An insurer has one agreement of a programme at a time."""
    return Conflict(
        "AGREEMENT_EXISTS",
        f"agreement {agreement.agreement_id} holds from {agreement.from_date}"
        f" to {agreement.until_date}",
        message_zh="该期间已有协议",
    )


def check_end(agreement: Agreement, ended_from: date, today: date) -> None:
    """Refuse to end what is ended, and to change days that are over."""
    if agreement.ended_from is not None:
        raise Refused(
            "AGREEMENT_ENDED",
            f"it holds no more from {agreement.ended_from}",
            message_zh="该协议已终止",
        )
    if not today <= ended_from <= agreement.until_date:
        rule = f"must be from the business date {today} to {agreement.until_date}"
        raise invalid_field("AGREEMENT_END_OUT_OF_RANGE", "ended_from", ended_from, rule)


def require_agreement(
    insurance: Insurance, agreements: Sequence[Agreement], insurer_id: str, days: Sequence[date]
) -> None:
    """Where the programme wants one, an agreement must hold on every one of these days."""
    if insurance.participation is None or not insurance.participation.agreement_required:
        return
    for day in days:
        if not any(a.insurer_id == insurer_id and a.holds_on(day) for a in agreements):
            raise Refused(
                "AGREEMENT_MISSING",
                f"{insurer_id} has no signed agreement of government and banks on {day}",
                message_zh="保险机构未签订政银保合作协议",
                facts={"insurer_id": insurer_id, "day": day.isoformat()},
            )


def require_shared_lines(insurance: Insurance) -> None:
    """Refuse where the programme does not share lines out."""
    if insurance.participation is None:
        raise Refused(
            "LINES_NOT_SHARED",
            "the programme does not share lines out by guarantee volume",
            message_zh="方案未规定按保证保险业务量分配险种",
        )
