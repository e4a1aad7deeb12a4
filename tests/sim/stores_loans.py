"""What the SQL of loans does, on the rows in memory: the same functions, with nothing decided."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.model import (
    AllocatedPart,
    Allocation,
    AreaBalance,
    Breaker,
    Loan,
    LoanState,
)
from services.loans.rules.keeping import Keeper
from tests.sim.memory import BrokenRule, Session

TABLES = ("loan", "posting", "allocation", "compensation", "breaker", "exposure")
Functions = Mapping[str, Callable[..., Any]]


async def lock_loans(session: Session, _: str, loan_ids: Iterable[UUID]) -> dict[UUID, Loan]:
    """Held in id order."""
    wanted = sorted(loan_ids)
    await session.lock("loan", wanted)
    found = ((each, session.get("loan", each)) for each in wanted)
    return {key: loan for key, loan in found if loan is not None}


async def save_loans(session: Session, loans: Sequence[Loan], _: object = None) -> None:
    """Write them; the row has a CHECK on each sum."""
    for loan in loans:
        owed = loan.interest.owed_fen if loan.interest else 0
        if min(loan.outstanding_fen, owed, loan.suspense_fen, loan.subrogated_fen) < 0:
            raise BrokenRule(f"loan {loan.loan_id} below zero")
        session.put("loan", loan.loan_id, loan)


async def postings_of(
    session: Session, _: str, loan_ids: Collection[UUID]
) -> dict[UUID, list[Any]]:
    """Books, in order of booking."""
    return {each: list(session.get("posting", each) or ()) for each in loan_ids}


async def add_postings(
    session: Session, _: str, rows: Sequence[tuple[UUID, Any, str]], on: date
) -> None:
    """Add rows; a posting is reversed once."""
    for loan_id, posting, _person in rows:
        held = session.get("posting", loan_id) or ()
        if any(each.number == posting.number for each in held):
            raise BrokenRule(f"posting {posting.number} is there")
        if posting.reverses and any(each.reverses == posting.reverses for each in held):
            raise BrokenRule(f"posting {posting.reverses} is reversed")
        session.put("posting", loan_id, (*held, posting))


async def add_exposure(session: Session, _: str, rows: Sequence[tuple[UUID, int]]) -> None:
    """Borrowers are held in id order and changed relative to what they have."""
    changed = sorted((household, fen) for household, fen in rows if fen)
    await session.lock("exposure", [household for household, _ in changed])
    for household, fen in changed:
        session.put("exposure", household, (session.get("exposure", household) or 0) + fen)


async def share_breakers(
    session: Session, _: str, scopes: Collection[tuple[str, str]], watched: Collection[str]
) -> dict[tuple[str, str], Breaker]:
    """None of them trips before this transaction ends."""
    keys = sorted(scope for scope in scopes if scope[0] in watched)
    await session.lock("breaker", keys, share=True)
    found = ((key, session.get("breaker", key)) for key in keys)
    return {key: breaker for key, breaker in found if breaker is not None}


async def tripped_breakers(session: Session, _: str) -> list[Breaker]:
    """Those that are tripped now."""
    return [each for each in session.rows("breaker") if each.tripped]


async def trip_breakers(session: Session, breakers: Sequence[Breaker]) -> list[Breaker]:
    """For update: whoever shares one has ended before."""
    made = []
    for each in sorted(breakers, key=lambda b: (b.scope, b.scope_id)):
        key = (str(each.scope), each.scope_id)
        await session.lock("breaker", [key])
        was = session.get("breaker", key)
        epoch, version = (was.epoch, was.version) if was else (0, 0)
        now = replace(each, tripped=True, epoch=epoch + 1, version=version + 1)
        session.put("breaker", key, now)
        made.append(now)
    return made


async def area_balances(session: Session, _: str, programme_id: str) -> list[AreaBalance]:
    """Principal owed by village, and the bad part of it."""
    owed: dict[str, int] = {}
    bad: dict[str, int] = {}
    for loan in session.rows("loan"):
        if loan.state is LoanState.ACTIVE:
            village = loan.area_code[:12]
            owed[village] = owed.get(village, 0) + loan.outstanding_fen
            if loan.non_performing_on is not None:
                bad[village] = bad.get(village, 0) + loan.outstanding_fen
    return [AreaBalance(each, Fen(owed[each]), Fen(bad.get(each, 0))) for each in sorted(owed)]


async def villages(session: Session, _: str) -> list[str]:
    """Every village of a household."""
    return sorted({loan.area_code[:12] for loan in session.rows("loan")})


async def any_non_performing(session: Session, _: str) -> bool:
    """Whether an active loan is bad."""
    return any(
        loan.state is LoanState.ACTIVE and loan.non_performing_on for loan in session.rows("loan")
    )


async def due_ids(
    session: Session, _: str, day: date, limit: int, after: UUID | None
) -> list[UUID]:
    """Active loans of which something was due before a day; not held."""
    await session.pause()
    return sorted(
        loan.loan_id
        for loan in session.rows("loan")
        if loan.state is LoanState.ACTIVE and loan.next_due_on and loan.next_due_on < day
    )


async def insert_allocations(session: Session, _: str, made: Sequence[Allocation]) -> None:
    """A payout is allocated once."""
    for each in made:
        session.add("allocation", each.payout.payout_id, each)


async def lock_allocations(
    session: Session, _: str, payout_ids: Collection[UUID]
) -> dict[UUID, Allocation]:
    """What of them is not nothing, in order of the loans."""
    wanted = sorted(payout_ids)
    await session.lock("allocation", wanted)
    found = {}
    for payout_id in wanted:
        held = session.get("allocation", payout_id)
        if held is not None:
            parts = [_now(session, part) for part in held.parts if part.amount_fen]
            parts.sort(key=lambda part: part.loan_id)
            payout = replace(held.payout, groups=())
            found[payout_id] = replace(held, parts=tuple(parts), payout=payout)
    return found


def _now(session: Session, part: AllocatedPart) -> AllocatedPart:
    return replace(part, outstanding_fen=session.get("loan", part.loan_id).outstanding_fen)


async def save_allocations(session: Session, _: str, changed: Sequence[Allocation]) -> None:
    """Write those that changed."""
    for each in changed:
        session.put("allocation", each.payout.payout_id, each)


async def subrogated_by(
    session: Session, _: str, loan_ids: Sequence[UUID]
) -> dict[tuple[UUID, int], Fen]:
    """By loan and posting: what of it went to those who compensated, by the journal."""
    names = {str(each): each for each in loan_ids}
    found: dict[tuple[UUID, int], int] = {}
    for entry, transfers in [*session.db.journal, *session.entries]:
        if entry.kind not in ("repayment", "recovery"):
            continue
        for each in transfers:
            if each.debit.name == "subrogated_debt" and each.credit.name == "recovery_payable":
                loan_id = names.get(each.debit.owner_id)
                if loan_id is not None:
                    key = (loan_id, int(entry.cause_id.split(":")[1]))
                    found[key] = found.get(key, 0) + each.amount_fen
    return {key: Fen(fen) for key, fen in found.items()}


async def save_compensations(session: Session, _: str, rows: Sequence[tuple[Any, int]]) -> None:
    """A case compensates once."""
    for compensation, others in rows:
        session.add("compensation", compensation.case_id, (compensation, others))


async def moment(session: Session) -> datetime:
    """The database's clock, which may jump: no decision about money looks at it."""
    return datetime(2021, 1, 4, tzinfo=UTC)


async def keeper(*_: object) -> Keeper:
    """Liandong keeps every book here."""
    return Keeper.LIANDONG


async def nothing(*_: object, **__: object) -> None:
    """Kept by others, or never read by a saga."""


async def no_rows(*_: object, **__: object) -> dict[Any, Any]:
    """None there."""
    return {}


async def none_listed(*_: object, **__: object) -> list[Any]:
    """None there."""
    return []


async def none_new(*_: object, **__: object) -> set[Any]:
    """None there."""
    return set()


FUNCTIONS: Mapping[str, Functions] = {
    "services.loans.store": {
        "lock_loans": lock_loans,
        "save_loans": save_loans,
        "closed_through": nothing,
        "postings_of": postings_of,
        "add_postings": add_postings,
        "add_exposure": add_exposure,
        "share_breakers": share_breakers,
        "tripped_breakers": tripped_breakers,
        "trip_breakers": trip_breakers,
        "area_balances": area_balances,
        "villages": villages,
        "any_non_performing": any_non_performing,
        "due_ids": due_ids,
        "save_allocations": insert_allocations,
        "subrogated_by": subrogated_by,
        "save_compensations": save_compensations,
        "limits_held": no_rows,
    },
    "services.loans.store.payouts": {
        "lock_allocations": lock_allocations,
        "save_allocations": save_allocations,
    },
    "services.loans.store.agreements": {"plans_of": no_rows},
    "services.loans.store.keeping": {"keeper": keeper},
    "services.loans.store.applications": {
        "moment": moment,
        "files_of": no_rows,
        "save_files": nothing,
        "add_steps": nothing,
    },
    "services.loans.store.standing": {
        "frozen": no_rows,
        "judgements_of": no_rows,
        "cured_ids": none_listed,
        "add_actions": none_new,
        "add_class_changes": nothing,
        "confirm_payouts": nothing,
        "add_warnings": none_listed,
    },
    "services.loans.store.reports": {"add_performing_changes": nothing},
    "services.loans.store.notices": {"queue": none_new},
    "services.loans.store.breakers": {"add": nothing},
    "services.loans.store.suspending": {
        "balances": none_listed,
        "months": no_rows,
        "without_case": none_listed,
    },
    "services.loans.operations.standing": {"warn_uncovered": nothing},
}
"""By module, what stands in for its functions."""
