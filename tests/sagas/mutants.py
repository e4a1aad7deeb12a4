"""
Faults that are planted to see that the histories find them: each a countermeasure switched off.

A mutant exchanges functions of the running code for the time of one test, by their names; the name
that is gone is an error, so no mutant can rot unseen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.claims.model import InstructionState
from services.claims.operations import payouts as claims_payouts
from services.claims.rules import claims as claims_rules
from services.claims.rules import payments
from services.claims.rules import payouts as payout_rules
from services.funds.operations import cases as case_operations
from services.funds.operations import cover as cover_operations
from services.funds.rules import cases as case_rules
from services.funds.rules import cover as cover_rules
from services.funds.rules import money as fund_money
from services.funds.store import cases as case_store
from services.kernel import bus, database, idempotency, inbox, outbox
from services.kernel.inbox import Delivery, Sorted
from services.kernel.money import Fen
from services.loans.operations import money as loan_money
from services.loans.operations import payouts as loan_payouts
from services.loans.rules import balance, book, position
from services.loans.rules import payouts as undoing
from services.programmes import settlement

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]


def _wrap(patch: Patch, module: Any, name: str, around: Callable[..., Any]) -> None:
    """Exchange a function for one that gets it first."""
    original = getattr(module, name)

    def changed(*args: Any, **options: Any) -> Any:
        return around(original, *args, **options)

    patch.setattr(module, name, changed)


# --- the kernel -----------------------------------------------------------------------------------


def no_inbox(patch: Patch) -> None:
    """Whatever is delivered takes effect, however often."""

    async def sort(_: Any, deliveries: Sequence[Delivery]) -> Sorted:
        return Sorted(sorted(deliveries, key=lambda d: d.envelope.sequence), [], [], [])

    async def keep(*_: Any) -> None:
        return None

    patch.setattr(inbox, "sort", sort)
    patch.setattr(inbox, "keep", keep)


def sequence_ignored(patch: Patch) -> None:
    """An event is known by its id alone, and taken as it comes."""

    async def sort(session: Any, deliveries: Sequence[Delivery]) -> Sorted:
        rows = await database.fetch(
            session,
            "SELECT event_id FROM inbox_event WHERE event_id = ANY($1::uuid[])",
            [delivery.envelope.event_id for delivery in deliveries],
        )
        seen = {row["event_id"] for row in rows}
        found = Sorted([], [], [], [])
        for delivery in deliveries:
            known = delivery.envelope.event_id in seen
            (found.known if known else found.take).append(delivery)
            seen.add(delivery.envelope.event_id)
        return found

    patch.setattr(inbox, "sort", sort)


def acknowledged_before_commit(patch: Patch) -> None:
    """A process that dies over a batch has said already that it took it."""

    async def around(original: Any, self: Any, client: Any, messages: Sequence[Any]) -> None:
        for message in messages:
            await message.ack()
        await original(self, client, messages)

    _wrap(patch, bus.Consumer, "_take", around)


def no_idempotency(patch: Patch) -> None:
    """A request that is sent again is done again."""

    async def recall(*_: Any) -> dict[Any, bytes]:
        return {}

    async def keep(*_: Any, **__: Any) -> None:
        return None

    patch.setattr(idempotency, "recall", recall)
    patch.setattr(idempotency, "keep", keep)


def published_after_commit(patch: Patch) -> None:
    """Events that are not written with their change: some are lost."""
    count = iter(range(10**9))

    async def around(original: Any, session: Any, events: Sequence[Any]) -> None:
        kept = [each for each in events if next(count) % 9]
        await original(session, kept)

    _wrap(patch, outbox, "record", around)


# --- claims ---------------------------------------------------------------------------------------


def household_before_lenders(patch: Patch) -> None:
    """The household's instruction opens with the lenders'."""

    def around(original: Any, payout: Any, *args: Any, **options: Any) -> Any:
        done = original(replace(payout, household_at_once=True), *args, **options)
        return replace(done, household_at_once=payout.household_at_once)

    _wrap(patch, payout_rules, "instruct", around)


def confirmed_whatever_was_paid(patch: Patch) -> None:
    """Nobody compares a confirmation with its instruction."""
    patch.setattr(payments, "_check_confirmation", lambda *_: None)


def decided_twice(patch: Patch) -> None:
    """A claim that was decided can be decided again, and pays again."""
    patch.setattr(claims_rules, "check_adjudicator", lambda *_: None)


def rounded_by_claims(patch: Patch) -> None:
    """Claims cuts the lenders' parts to ten fen, and gives the household what is lost."""

    def around(original: Any, payout: Any, allocation: Any, *args: Any, **options: Any) -> Any:
        parts = tuple(
            replace(part, amount_fen=Fen(part.amount_fen - part.amount_fen % 10))
            for part in allocation.parts
        )
        lost = sum(part.amount_fen for part in allocation.parts) - sum(p.amount_fen for p in parts)
        given = replace(allocation, parts=parts, household_fen=Fen(allocation.household_fen + lost))
        return original(payout, given, *args, **options)

    _wrap(patch, payout_rules, "instruct", around)


def journal_left_out(patch: Patch) -> None:
    """What is confirmed is not booked."""

    def around(original: Any, payout: Any, was: Any, now: Any, on: Any) -> Any:
        paid = was is not None and now.state is InstructionState.CONFIRMED
        return [] if paid else original(payout, was, now, on)

    _wrap(patch, claims_payouts, "_moved", around)


# --- loans ----------------------------------------------------------------------------------------


def more_than_owed(patch: Patch) -> None:
    """A lender takes a hundredth more than it is owed."""

    def around(original: Any, loan: Any) -> Any:
        owed = original(loan)
        more = owed.principal_fen // 100
        return replace(owed, principal_fen=Fen(owed.principal_fen + more))

    _wrap(patch, balance, "debt", around)


def stale_snapshot(patch: Patch) -> None:
    """The split is decided on the debt as it was seen first, outside the lock."""
    seen: dict[Any, Any] = {}

    def around(original: Any, loan: Any) -> Any:
        return seen.setdefault(loan.loan_id, original(loan))

    _wrap(patch, balance, "debt", around)


def first_rank_only(patch: Patch) -> None:
    """The household gets what the lenders of later ranks are owed."""

    def around(original: Any, amount: Any, groups: Any, *args: Any) -> Any:
        return original(amount, [group for group in groups if group][:1], *args)

    _wrap(patch, settlement, "settle", around)


def undone_repayment_counts(patch: Patch) -> None:
    """A repayment that was taken back goes on lowering the debt."""

    def counting(postings: Any) -> list[Any]:
        held = [each for each in postings if each.reverses is None]
        return sorted(held, key=lambda each: (each.value_date, each.number))

    patch.setattr(book, "counting", counting)


def rounding_lost(patch: Patch) -> None:
    """Interest is cut off below the fen instead of rounded, in the loan and not in its journal."""

    def around(original: Any, before: Any, after: Any) -> Any:
        moved = original(before, after)
        return {kind: (i - i % 2, p, s) for kind, (i, p, s) in moved.items()}

    _wrap(patch, position, "cash_moved", around)


def bank_keeps_what_is_others(patch: Patch) -> None:
    """A payout for a compensated loan stays with the lender."""
    patch.setattr(balance, "subrogated_part", lambda *_: Fen(0))


def reversal_without_interest(patch: Patch) -> None:
    """A payout that is taken back gives the loan its principal only."""

    def around(original: Any, part: Any, *args: Any) -> Any:
        posting = original(part, *args)
        fixed = replace(posting.fixed, interest_fen=Fen(0))
        return replace(posting, fixed=fixed, amount_fen=fixed.principal_fen)

    _wrap(patch, undoing, "mirror", around)


def reversal_dropped(patch: Patch) -> None:
    """Loans does not hear that a payout was taken back."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(loan_payouts, "reverse_payouts", nothing)


def correction_dropped(patch: Patch) -> None:
    """Loans does not divide anew what a lender did not keep."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(loan_payouts, "correct_payouts", nothing)


def compensation_unheard(patch: Patch) -> None:
    """Loans does not note that a loan was compensated."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(loan_money, "post_compensations", nothing)


# --- funds ----------------------------------------------------------------------------------------


def cover_not_released(patch: Patch) -> None:
    """A settled loan keeps its cover."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(cover_operations, "release_covers", nothing)


def cover_beyond_leverage(patch: Patch) -> None:
    """What stands already is not counted when more is reserved."""

    def around(original: Any, cover: Any, fund: Any, **options: Any) -> Any:
        done = original(cover, replace(fund, covered_fen=Fen(0)), **options)
        if done.fund is None:
            return done
        covered = Fen(done.fund.covered_fen + fund.covered_fen)
        return replace(done, fund=replace(done.fund, covered_fen=covered))

    _wrap(patch, cover_rules, "reserve", around)


def loss_grows(patch: Patch) -> None:
    """A hundredth is added to the loss while the case waits."""

    def around(original: Any, *args: Any) -> Any:
        loss = original(*args)
        return Fen(loss + loss // 100)

    _wrap(patch, case_rules, "loss_now", around)


def filed_twice(patch: Patch) -> None:
    """A loan's second case is not noticed."""

    async def nobody(*_: Any) -> set[Any]:
        return set()

    patch.setattr(case_store, "loans_with_case", nobody)


def recovery_kept(patch: Patch) -> None:
    """What comes back goes to the first who bore the loss."""

    def around(original: Any, parts: Any, recovered: Any, **options: Any) -> Any:
        rest = [replace(part, amount_fen=part.recovered_fen) for part in parts[1:]]
        done = original([parts[0], *rest], recovered, **options)
        kept = tuple(
            replace(after, amount_fen=before.amount_fen)
            for after, before in zip(done.parts, parts, strict=True)
        )
        return replace(done, parts=kept)

    _wrap(patch, case_rules, "share_back", around)


def debts_paid_twice(patch: Patch) -> None:
    """A fund that received money pays its debts and keeps owing them."""

    def around(original: Any, fund: Any, *args: Any) -> Any:
        after, paid = original(fund, *args)
        return replace(after, owed_fen=fund.owed_fen), paid

    _wrap(patch, fund_money, "pay_debts", around)


def cover_kept_by_paid_case(patch: Patch) -> None:
    """A paid case does not use up its cover."""
    patch.setattr(case_operations, "release_one", lambda work, cover, *_, **__: cover)


MUTANTS: Mapping[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        *(no_inbox, sequence_ignored, acknowledged_before_commit, no_idempotency),
        *(published_after_commit, household_before_lenders, confirmed_whatever_was_paid),
        *(decided_twice, rounded_by_claims, journal_left_out, more_than_owed),
        *(stale_snapshot, first_rank_only, undone_repayment_counts, rounding_lost),
        *(reversal_without_interest, reversal_dropped, correction_dropped),
        *(bank_keeps_what_is_others, compensation_unheard, cover_not_released),
        *(cover_beyond_leverage, loss_grows, filed_twice, recovery_kept, debts_paid_twice),
        cover_kept_by_paid_case,
    )
}
