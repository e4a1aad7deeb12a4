"""Funds: what is paid late, what comes back, what goes back again, and what is given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.funds.model import (
    Case,
    CaseState,
    Collected,
    Fund,
    FundState,
    Part,
    Recovery,
    Source,
    TakenUp,
)
from services.funds.rules import cases
from services.funds.rules.accounts import pay_out, reach
from services.kernel.errors import Denied, NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace


def check_paid(case: Case) -> None:
    """Only after a compensation is there anybody to whom a recovery belongs."""
    if case.state not in (CaseState.PAID, CaseState.CLOSED):
        raise Refused(
            "CASE_NOT_PAID",
            f"case {case.case_id} is {case.state}: nobody has been compensated",
            message_zh="案件尚未代偿",
            facts={"state": case.state.value},
        )


def check_part(case: Case, parts: Sequence[Part], institution_id: str) -> None:
    """Whoever collects is the lender or bears a part."""
    if institution_id != case.lender_id and institution_id not in {
        part.institution_id for part in parts
    }:
        raise Denied(
            "NO_PART_IN_CASE",
            f"{institution_id} has no part in case {case.case_id}",
            message_zh="本机构非该案件当事方",
        )


def check_value_date(case: Case, value_date: date, today: date) -> None:
    """Between the day on which the case was paid and today."""
    if value_date > today:
        raise invalid_field(
            "VALUE_DATE_AHEAD", "value_date", value_date, f"at most the business date {today}"
        )
    if case.decided_on is not None and value_date < case.decided_on:
        raise invalid_field(
            "VALUE_DATE_BEFORE_CASE",
            "value_date",
            value_date,
            f"at least {case.decided_on}, when the case was paid",
        )


def check_collected(case: Case, collected: Collected, today: date) -> None:
    """Money that has come, with costs that are not above it."""
    check_value_date(case, collected.value_date, today)
    if collected.costs_fen > collected.recovered_fen:
        raise Refused(
            "COSTS_ABOVE_RECOVERED",
            f"costs of {collected.costs_fen} fen, {collected.recovered_fen} fen came",
            message_zh="费用超过追偿金额",
            facts={
                "costs_fen": str(collected.costs_fen),
                "recovered_fen": str(collected.recovered_fen),
            },
        )


def left_fen(parts: Sequence[Part]) -> Fen:
    """What may still come back to those who bore a loss."""
    return Fen(sum(part.amount_fen - part.recovered_fen for part in parts))


def check_left(case: Case, parts: Sequence[Part]) -> Fen:
    """Something must be left to come back, or to give up."""
    left = Fen(left_fen(parts) - case.written_off_fen)
    if left <= 0:
        raise Refused("NOTHING_LEFT", "all of the loss has come back", message_zh="已全部收回")
    return left


def share(parts: Sequence[Part], recovery: Recovery) -> tuple[Recovery, tuple[Part, ...]]:
    """
    Give a recovery to those who bore the loss, after its costs (S21): it, and the parts after it.

    What is too much of collected money is the household's. What came in by the loan's own book is
    there already, in suspense or owed by the lender: here it waits until something is left.
    """
    back = cases.share_back(
        parts, Fen(recovery.amount_fen - recovery.household_fen), costs_fen=recovery.costs_fen
    )
    rest = back.household_fen
    if recovery.source is Source.COLLECTED:
        household = Fen(recovery.household_fen + rest)
        return replace(recovery, shares=back.shares, household_fen=household), back.parts
    shared = Fen(recovery.amount_fen - rest)
    return (
        replace(recovery, amount_fen=shared, shares=back.shares, waiting_fen=rest),
        back.parts,
    )


def again(waiting: Recovery, recovery_id: UUID, on: date) -> Recovery:
    """What waited, to be shared now that something is left."""
    return replace(
        waiting,
        recovery_id=recovery_id,
        amount_fen=waiting.waiting_fen,
        shares=(),
        business_date=on,
        waiting_fen=Fen(0),
        turn=waiting.turn + 1,
    )


def taken_up(collected: Recovery, by: TakenUp, recovery_id: UUID, on: date) -> Recovery:
    """
    What was collected, as the loan's book has it: less had been left than was known here.

    It is that book's money from now on. Costs, and what is the household's here, stay what they
    were.
    """
    return replace(
        collected,
        recovery_id=recovery_id,
        source=Source.REPAYMENT,
        reference=str(by.number),
        amount_fen=Fen(collected.costs_fen + collected.household_fen + by.amount_fen),
        shares=(),
        business_date=on,
    )


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A share of which more was paid."""

    part: Part
    amount_fen: Fen


def confirm(parts: Sequence[Part], position: int, amount_fen: Fen) -> Confirmed:
    """The lender has got an institution's share, or a part of it; never more than is owed."""
    part = next((each for each in parts if each.position == position), None)
    if part is None or part.own_loss:
        raise NotFound(
            "SHARE_NOT_FOUND", f"nobody owes share {position}", message_zh="无此应付份额"
        )
    if part.fund_id is not None:
        raise Refused(
            "FUND_PAYS_ITSELF",
            "a fund pays what it owes as soon as it has money",
            message_zh="基金份额由平台自动支付",
        )
    if amount_fen > part.owed_fen:
        raise Refused(
            "ABOVE_INSTRUCTION",
            f"{amount_fen} fen confirmed, {part.owed_fen} fen are owed",
            message_zh="确认金额超过应付金额",
            facts={"amount_fen": str(amount_fen), "owed_fen": str(part.owed_fen)},
        )
    paid = replace(part, paid_fen=Fen(part.paid_fen + amount_fen), version=part.version + 1)
    return Confirmed(paid, amount_fen)


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What a recovery had brought a part goes back again."""

    part: Part
    fund: Fund | None
    amount_fen: Fen
    owed_again_fen: Fen
    """Of it, what the fund has not got any more: it owes its share again."""


def take_back(part: Part, fund: Fund | None, amount_fen: Fen, lender_id: str) -> TakenBack:
    """
    Undo a recovery's share: a fund gives the money back.

    What it has spent since it owes on the same share, dated as before (S20).
    """
    assert amount_fen <= part.recovered_fen
    part = replace(part, recovered_fen=Fen(part.recovered_fen - amount_fen))
    if fund is None:
        return TakenBack(part, None, amount_fen, Fen(0))
    gives = Fen(min(amount_fen, reach(fund, lender_id)))
    short = Fen(amount_fen - gives)
    after = replace(
        pay_out(fund, gives, lender_id),
        owed_fen=Fen(fund.owed_fen + short),
        state=FundState.SUSPENDED if short else fund.state,
        version=fund.version + (1 if short and fund.state is FundState.OPEN else 0),
    )
    return TakenBack(part, after, amount_fen, short)


def owe_again(parts: Sequence[Part], short_fen: Fen) -> list[Part]:
    """
    Parts that a fund had paid with money that went back: it owes them again, the latest first.

    The part itself comes first, then what the fund paid for other cases.
    """
    changed: list[Part] = []
    left = short_fen
    for part in parts:
        again = Fen(min(left, part.paid_fen))
        if again:
            paid = Fen(part.paid_fen - again)
            changed.append(replace(part, paid_fen=paid, version=part.version + 1))
            left = Fen(left - again)
    if left:
        raise Refused(
            "FUND_CANNOT_GIVE_BACK",
            f"{left} fen more went back than the fund holds or has paid for losses",
            message_zh="基金余额不足以退回",
            facts={"missing_fen": str(left)},
        )
    return changed


def check_undone(recovery: Recovery, parts: Sequence[Part]) -> None:
    """A recovery is undone whole."""
    by_position = {part.position: part for part in parts}
    assert all(by_position[place].recovered_fen >= fen for place, fen in recovery.shares)


def propose_write_off(case: Case, parts: Sequence[Part]) -> Fen:
    """What would be given up: all that has not come back; nobody may still owe a share."""
    if case.state is not CaseState.PAID:
        raise Refused(
            "CASE_NOT_PAID",
            f"case {case.case_id} is {case.state}",
            message_zh="案件尚未代偿",
            facts={"state": case.state.value},
        )
    owed = sum(part.owed_fen for part in parts)
    if owed:
        raise Refused(
            "SHARES_OWED",
            f"{owed} fen of shares are not paid yet",
            message_zh="尚有份额未支付",
            facts={"owed_fen": str(owed)},
        )
    return check_left(case, parts)


def write_off(case: Case, amount_fen: Fen) -> Case:
    """Close a case; what comes later is shared all the same."""
    return replace(
        case,
        state=CaseState.CLOSED,
        written_off_fen=amount_fen,
        version=case.version + 1,
    )


def check_second(proposed_by: str, person_id: str) -> None:
    """Two persons stand behind a write-off (S52)."""
    if proposed_by == person_id:
        raise Refused(
            "SAME_PERSON",
            "the person who proposed a write-off cannot decide it",
            message_zh="提议人与决定人须为不同人员",
        )
