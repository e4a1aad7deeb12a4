"""Loans: an allocation that is divided anew, and one that is undone. Pure decisions."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.kernel.errors import Refused
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import AllocatedPart, Allocation, Correction, Loan
from services.loans.rules.book import Line, Posting, PostingKind
from services.programmes.settlement import Amounts


def part_of(allocation: Allocation, loan_id: UUID) -> AllocatedPart:
    """What a loan took of a payout, or a refusal."""
    for part in allocation.parts:
        if part.loan_id == loan_id:
            return part
    raise Refused("NO_SUCH_PART", f"{loan_id} has no part of {allocation.payout.payout_id}")


def require_next(allocation: Allocation, correction: Correction) -> AllocatedPart:
    """The part that a correction lowers; corrections come one after the other and add up."""
    part = part_of(allocation, correction.loan_id)
    if allocation.reversed_on is not None or correction.number != allocation.corrections + 1:
        raise Refused(
            "CORRECTION_OUT_OF_ORDER",
            f"correction {correction.number} after {allocation.corrections}",
        )
    if not 0 < correction.freed_fen <= part.amount_fen:
        raise Refused(
            "CORRECTION_UNBALANCED",
            f"{correction.freed_fen} fen cannot come out of {part.amount_fen}",
        )
    return part


def payout_postings(postings: Sequence[Posting], payout_id: UUID) -> list[Posting]:
    """What of a loan's book came from a payout and counts."""
    undone = {each.reverses for each in postings if each.reverses is not None}
    return [
        each
        for each in postings
        if each.kind is PostingKind.PAYOUT
        and each.reference == str(payout_id)
        and each.reverses is None
        and each.number not in undone
    ]


def kept_part(part: AllocatedPart, kept_fen: Fen, line: Line | None, loan: Loan) -> AllocatedPart:
    """The part of a lender that keeps less, as its book has it now."""
    interest = min(kept_fen, line.taken.interest_fen) if line else 0
    return replace(
        part,
        interest_fen=Fen(interest),
        principal_fen=Fen(kept_fen - interest),
        subrogated_fen=Fen(min(kept_fen, part.subrogated_fen)),
        outstanding_fen=loan.outstanding_fen,
    )


def with_more(
    allocation: Allocation, kept: AllocatedPart, more: Sequence[AllocatedPart], household_fen: Fen
) -> Allocation:
    """
    The allocation after a correction.

    `kept` replaces its loan's part, `more` is added to what the others have, the rest is the
    household's. A loan that has nothing any more has no part.
    """
    found = {part.loan_id: part for part in allocation.parts}
    found[kept.loan_id] = kept
    for part in more:
        had = found.get(part.loan_id)
        found[part.loan_id] = (
            part
            if had is None
            else replace(
                part,
                interest_fen=Fen(had.interest_fen + part.interest_fen),
                principal_fen=Fen(had.principal_fen + part.principal_fen),
                subrogated_fen=Fen(had.subrogated_fen + part.subrogated_fen),
            )
        )
    now = replace(
        allocation,
        parts=tuple(part for part in found.values() if part.amount_fen),
        household_fen=Fen(allocation.household_fen + household_fen),
        corrections=allocation.corrections + 1,
    )
    whole = sum(part.amount_fen for part in now.parts) + now.household_fen
    assert whole == now.payout.amount_fen, "parts and household are the payout"
    return now


def mirror(part: AllocatedPart, payout_id: UUID, on: date) -> Posting:
    """The counter-posting of a part as it was stored, whatever came later (S41)."""
    return Posting(
        0,
        PostingKind.PAYOUT_UNDONE,
        on,
        part.amount_fen,
        fixed=Amounts(interest_fen=part.interest_fen, principal_fen=part.principal_fen),
        reference=str(payout_id),
    )
