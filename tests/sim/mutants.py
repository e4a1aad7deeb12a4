"""
Faults that are planted to see that the simulation finds them: each a countermeasure switched off.

Those of the services' decisions are the ones that the histories on PostgreSQL must find too
(`tests/sagas/mutants.py`); here are those of the kernel's contract, of locks and of breakers.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from services.funds.operations import recoveries
from services.funds.rules import recoveries as recovery_rules
from services.funds.store import funds as fund_store
from services.kernel import inbox, outbox
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans import store as loan_store
from services.loans.operations.desk import Desk
from services.loans.rules import balance
from services.loans.rules import payouts as undoing
from tests.sagas import mutants as planted
from tests.sim import world
from tests.sim.memory import Database, Row, Session
from tests.sim.world import Command, World

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]


# --- the inbox, the outbox, the stream ------------------------------------------------------------


def no_inbox(patch: Patch) -> None:
    """Whatever is delivered takes effect, however often."""

    def sort(_: Database, deliveries: Sequence[Any]) -> inbox.Sorted:
        return inbox.Sorted(sorted(deliveries, key=lambda d: d.envelope.sequence), [], [], [])

    def keep(session: Session, deliveries: Sequence[Any]) -> None:
        for each in deliveries:
            name = each.envelope.aggregate
            last = max(session.heard.get(name, 0), session.db.heard.get(name, 0))
            session.heard[name] = max(last, each.envelope.sequence)

    patch.setattr(world, "sort", sort)
    patch.setattr(world, "keep", keep)


def sequence_ignored(patch: Patch) -> None:
    """An event is known by its id alone, and taken as it comes."""

    def sort(db: Database, deliveries: Sequence[Any]) -> inbox.Sorted:
        found = inbox.Sorted([], [], [], [])
        seen = set(db.took)
        for each in deliveries:
            known = each.envelope.event_id in seen
            (found.known if known else found.take).append(each)
            seen.add(each.envelope.event_id)
        return found

    patch.setattr(world, "sort", sort)


def acknowledged_before_commit(patch: Patch) -> None:
    """A process that dies over a batch has said already that it took it."""
    original = World.deliver

    def deliver(self: World, noun: str, rows: Sequence[Row], fate: str = "") -> None:
        found = world.sort(self.dbs[noun], rows)  # type: ignore[arg-type]
        self.acknowledge(noun, found)
        original(self, noun, rows, fate)

    patch.setattr(World, "deliver", deliver)


def published_after_commit(patch: Patch) -> None:
    """Events that are not written with their change: some are lost."""
    count = iter(range(10**9))
    original = outbox.record

    async def record(session: Any, events: Sequence[Any]) -> None:
        await original(session, [each for each in events if next(count) % 9])

    patch.setattr(outbox, "record", record)


def stream_not_filled_again(patch: Patch) -> None:
    """What a stream lost is gone: nobody publishes it again."""

    def lose(self: World, noun: str) -> None:
        said = set(map(id, self.dbs[noun].outbox))
        for listener, rows in self.under_way.items():
            self.under_way[listener] = [row for row in rows if id(row) not in said]

    patch.setattr(World, "lose_stream", lose)


# --- requests -------------------------------------------------------------------------------------


def request_id_ignored(patch: Patch) -> None:
    """A request that is sent again is done again."""
    patch.setattr(world, "recall", lambda *_: None)


def body_not_compared(patch: Patch) -> None:
    """A request id with another body is given the first one's answer."""

    def recall(session: Session, command: Command) -> Any:
        kept = session.db.answers.get(command.request_id)
        return None if kept is None else kept[1]

    patch.setattr(world, "recall", recall)


def answer_not_kept(patch: Patch) -> None:
    """The answer is kept after the commit, by a process that may be dead by then."""
    count = iter(range(10**9))
    original = world.keep_answer

    def keep(session: Session, command: Command, answer: Any) -> None:
        if next(count) % 5:
            original(session, command, answer)

    patch.setattr(world, "keep_answer", keep)


# --- locks ----------------------------------------------------------------------------------------


def split_outside_the_lock(patch: Patch) -> None:
    """Loans are read, and not held: the split is decided on what was owed a moment ago."""

    async def lock_loans(session: Session, _: str, loan_ids: Iterable[UUID]) -> dict[UUID, Any]:
        found = {each: session.get("loan", each) for each in sorted(loan_ids)}
        await session.pause()
        return {key: loan for key, loan in found.items() if loan is not None}

    patch.setattr(loan_store, "lock_loans", lock_loans)


def read_then_write_reservation(patch: Patch) -> None:
    """A fund is read, and written later with what was worked out meanwhile."""

    async def lock_funds(session: Session, _: Iterable[str]) -> dict[UUID, Any]:
        found = {each.fund_id: each for each in session.rows("fund")}
        await session.pause()
        return found

    patch.setattr(fund_store, "lock_funds", lock_funds)


def cached_breaker(patch: Patch) -> None:
    """Whoever approves and pays out looks at breakers as they once were."""
    seen: dict[Any, Any] = {}

    async def share(session: Session, _: str, scopes: Collection[Any], __: Any) -> Any:
        found = {}
        for key in scopes:
            breaker = seen.setdefault(key, session.get("breaker", key))
            if breaker is not None and not breaker.tripped:
                found[key] = breaker
        return found

    patch.setattr(loan_store, "share_breakers", share)


# --- decisions ------------------------------------------------------------------------------------


def reversal_of_more(patch: Patch) -> None:
    """A loan is owed a fen more than it had when a payout is taken back."""
    mirror = undoing.mirror

    def doubled(part: Any, *args: Any) -> Any:
        posting = mirror(part, *args)
        fixed = replace(posting.fixed, principal_fen=Fen(posting.fixed.principal_fen + 1))
        return replace(posting, fixed=fixed, amount_fen=Fen(posting.amount_fen + 1))

    patch.setattr(undoing, "mirror", doubled)


def excess_kept(patch: Patch) -> None:
    """What was compensated and is not owed stays with the lender."""
    patch.setattr(Desk, "give_back", lambda *_: None)


def surplus_given_away(patch: Patch) -> None:
    """What nobody is left to get is the household's, though the loan's own book has it."""
    original = recovery_rules.share

    def share(parts: Any, recovery: Any) -> Any:
        shared, after = original(parts, recovery)
        given = Fen(shared.household_fen + shared.waiting_fen)
        amount = Fen(shared.amount_fen + shared.waiting_fen)
        return replace(shared, household_fen=given, amount_fen=amount, waiting_fen=Fen(0)), after

    patch.setattr(recovery_rules, "share", share)


def not_taken_up(patch: Patch) -> None:
    """What was collected stays as it was shared, whatever had come to the loan before."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(recoveries, "take_up", nothing)


def waits_for_ever(patch: Patch) -> None:
    """What nobody was left to get is not shared when something is left again."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(recoveries, "_share_waiting", nothing)


def collected_money_undone(patch: Patch) -> None:
    """A lender undoes what somebody collected: the loan is owed it, and the funds keep it."""
    patch.setattr(balance, "_is_collected", lambda _: False)


_OWN = (
    *(no_inbox, sequence_ignored, acknowledged_before_commit, published_after_commit),
    *(stream_not_filled_again, request_id_ignored, body_not_compared, answer_not_kept),
    *(split_outside_the_lock, read_then_write_reservation, cached_breaker),
    *(reversal_of_more, excess_kept),
    *(surplus_given_away, not_taken_up, waits_for_ever, collected_money_undone),
)
_KERNELS = ("acknowledged_before_commit", "no_inbox", "no_idempotency", "sequence_ignored")
"""Of the others' mutants those that switch off the kernel on PostgreSQL: ours do it here."""

MUTANTS: Mapping[str, Mutant] = {
    **{
        name: mutant
        for name, mutant in planted.MUTANTS.items()
        if name not in (*_KERNELS, "published_after_commit")
    },
    **{mutant.__name__: mutant for mutant in _OWN},
}
