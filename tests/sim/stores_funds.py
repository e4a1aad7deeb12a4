"""What the SQL of funds does, on the rows in memory: the same functions, with nothing decided."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from services.funds.model import (
    Amounts,
    Arrears,
    Case,
    CaseState,
    Contribution,
    Cover,
    CoverState,
    Fund,
    LoanPayment,
    Part,
    Recovery,
    Source,
    Statement,
)
from services.kernel.money import Fen
from services.kernel.values import replace
from tests.sim.memory import BrokenRule, Session

TABLES = (
    *("fund", "contribution", "cover", "statement", "payment", "standing"),
    *("case", "part", "recovery"),
)
Key = tuple[str, UUID]


async def lock_funds(session: Session, counties: Iterable[str]) -> dict[UUID, Fund]:
    """All of them, held until the end; last of all locks taken."""
    wanted = sorted(each.fund_id for each in session.rows("fund"))
    await session.lock("fund", wanted)
    return {each: session.get("fund", each) for each in wanted}


async def save_funds(session: Session, funds: Sequence[Fund]) -> None:
    """Write them; the row has a CHECK on each sum."""
    for each in funds:
        if min(each.balance_fen, each.covered_fen, each.owed_fen) < 0:
            raise BrokenRule(f"fund {each.fund_id} below zero")
        session.put("fund", each.fund_id, each)


async def add_contributions(session: Session, made: Sequence[Contribution]) -> None:
    """Write money that came."""
    for each in made:
        session.add("contribution", each.contribution_id, each)


async def business_days(session: Session, counties: Iterable[str]) -> dict[str, date]:
    """The business date of each county."""
    return dict.fromkeys(counties, session.db.day)


# --- cover ----------------------------------------------------------------------------------------


async def lock_covers(session: Session, keys: Iterable[Key]) -> dict[Key, Cover]:
    """Held in id order; a loan without one is left out."""
    wanted = sorted(set(keys))
    await session.lock("cover", [loan_id for _, loan_id in wanted])
    found = ((key, session.get("cover", key[1])) for key in wanted)
    return {key: cover for key, cover in found if cover is not None}


async def lock_unused_covers(
    session: Session,
    county_code: str,
    *,
    area_prefix: str = "",
    lender_id: str = "",
    programme_id: str = "",
    product_id: str = "",
    outlet_code: str | None = None,
) -> dict[Key, Cover]:
    """Reserved cover of loans that were not paid out, in a scope; looked at again once held."""

    def unused(each: Cover) -> bool:
        return (
            each.state is CoverState.RESERVED
            and not each.disbursed
            and each.area_code.startswith(area_prefix)
            and lender_id in ("", each.lender_id)
        )

    wanted = sorted(each.loan_id for each in session.rows("cover") if unused(each))
    await session.lock("cover", wanted)
    held = ((county_code, each) for each in wanted)
    return {key: cover for key in held if unused(cover := session.get("cover", key[1]))}


async def save_covers(session: Session, covers: Sequence[Cover]) -> None:
    """Write them, new ones and those that were locked."""
    for each in covers:
        session.put("cover", each.loan_id, each)


async def save_statements(session: Session, statements: Sequence[Statement]) -> None:
    """The latest word on each covered loan."""
    for each in statements:
        held = session.get("statement", each.loan_id)
        if session.get("cover", each.loan_id) is not None and (
            held is None or held.loan_sequence < each.loan_sequence
        ):
            session.put("statement", each.loan_id, each)


async def add_payments(session: Session, payments: Sequence[LoanPayment]) -> None:
    """What was paid on covered loans, once an event."""
    for each in payments:
        if session.get("cover", each.loan_id) is not None:
            session.add("payment", (each.loan_id, each.event_id), each)


async def undo_payout(
    session: Session, county_code: str, payout_id: str, *, event_id: UUID, on: date
) -> None:
    """Mirror what a payout had paid."""
    paid: dict[UUID, tuple[int, int]] = {}
    for each in session.rows("payment"):
        if each.payout_id == payout_id:
            principal, interest = paid.get(each.loan_id, (0, 0))
            paid[each.loan_id] = (
                principal + each.paid.principal_fen,
                interest + each.paid.interest_fen,
            )
    for loan_id, (principal, interest) in paid.items():
        back = Amounts(Fen(-principal), Fen(-interest))
        made = LoanPayment(county_code, loan_id, event_id, payout_id, on, back)
        session.add("payment", (loan_id, event_id), made)


def _paid_after(session: Session, loan_id: UUID, day: date) -> Amounts:
    paid = [
        each.paid
        for each in session.rows("payment")
        if each.loan_id == loan_id and each.business_date > day
    ]
    return Amounts(
        Fen(sum(each.principal_fen for each in paid)), Fen(sum(each.interest_fen for each in paid))
    )


async def arrears_of(session: Session, keys: Iterable[Key]) -> dict[Key, Arrears]:
    """The last statement on each loan and what was paid after its day."""
    await session.pause()
    found = {}
    for key in sorted(set(keys)):
        said = session.get("statement", key[1])
        if said is not None:
            bad, tier = session.get("standing", key[1]) or (False, "")
            found[key] = Arrears(
                stated_on=said.stated_on,
                overdue_days=said.overdue_days,
                non_performing=said.non_performing or bad,
                stated=said.owed,
                paid_since=_paid_after(session, key[1], said.stated_on),
                five_tier_class=tier,
            )
    return found


async def save_standing(
    session: Session, rows: Sequence[tuple[str, UUID, bool | None, str | None, date | None]]
) -> None:
    """How covered loans stand; None leaves what is known."""
    for _, loan_id, bad, tier, _off in rows:
        was = session.get("standing", loan_id) or (False, "")
        now = (was[0] if bad is None else bad, was[1] if tier is None else tier)
        session.put("standing", loan_id, now)


# --- cases ----------------------------------------------------------------------------------------


async def lock_cases(session: Session, keys: Iterable[Key]) -> dict[UUID, Case]:
    """Held in id order; first of all locks taken."""
    wanted = sorted({case_id for _, case_id in keys})
    await session.lock("case", wanted)
    found = ((each, session.get("case", each)) for each in wanted)
    return {key: case for key, case in found if case is not None}


async def lock_paid_cases(session: Session, loans: Iterable[Key]) -> dict[Key, Case]:
    """The compensated case of each loan that has one, held."""
    wanted = set(loans)
    paid = (CaseState.PAID, CaseState.CLOSED)

    def looked_for(each: Case) -> bool:
        return each.state in paid and (each.county_code, each.loan_id) in wanted

    keys = sorted(each.case_id for each in session.rows("case") if looked_for(each))
    await session.lock("case", keys)
    held = (session.get("case", each) for each in keys)
    return {(each.county_code, each.loan_id): each for each in held if looked_for(each)}


async def loans_with_case(session: Session, loans: Iterable[Key]) -> set[Key]:
    """A denied case leaves the way open."""
    await session.pause()
    wanted = set(loans)
    return {
        (each.county_code, each.loan_id)
        for each in session.rows("case")
        if each.state is not CaseState.DENIED
    } & wanted


async def add_cases(session: Session, cases: Sequence[Case]) -> None:
    """One that is not denied a loan."""
    for each in cases:
        for held in session.rows("case"):
            if held.loan_id == each.loan_id and held.state is not CaseState.DENIED:
                raise BrokenRule(f"loan {each.loan_id} has a case")
        session.add("case", each.case_id, each)


async def save_cases(session: Session, cases: Sequence[Case]) -> None:
    """Write back cases that were locked."""
    for each in cases:
        session.put("case", each.case_id, each)


async def parts_of(session: Session, cases: Iterable[Key]) -> dict[UUID, list[Part]]:
    """The parts of cases, in order."""
    wanted = {case_id for _, case_id in cases}
    found: dict[UUID, list[Part]] = {}
    for (case_id, _), part in sorted(session.items("part"), key=lambda item: item[0]):
        if case_id in wanted:
            found.setdefault(case_id, []).append(part)
    return found


async def add_parts(session: Session, parts: Sequence[Part]) -> None:
    """A case is shared once."""
    for each in parts:
        if each.amount_fen <= 0:
            raise BrokenRule("a part of nothing")
        session.add("part", (each.case_id, each.position), each)


async def save_parts(session: Session, parts: Sequence[Part]) -> None:
    """Under the lock of their case or of their fund; the row has a CHECK on both sums."""
    for each in parts:
        if not (0 <= each.paid_fen <= each.amount_fen):
            raise BrokenRule(f"part {each.position} paid {each.paid_fen} of {each.amount_fen}")
        if not (0 <= each.recovered_fen <= each.amount_fen):
            raise BrokenRule(f"part {each.position} got {each.recovered_fen} back")
        session.put("part", (each.case_id, each.position), each)


def _of_fund(session: Session, fund_id: UUID) -> list[tuple[Any, Part]]:
    found = []
    for part in session.rows("part"):
        if part.fund_id == fund_id:
            decided = session.get("case", part.case_id).decided_on
            found.append(((decided, part.case_id, part.position), part))
    return sorted(found, key=lambda each: each[0])


async def debts_of(session: Session, fund_ids: Iterable[UUID]) -> dict[UUID, list[Part]]:
    """What locked funds owe, oldest first."""
    found = {}
    for fund_id in fund_ids:
        owed = [part for _, part in _of_fund(session, fund_id) if part.paid_fen < part.amount_fen]
        if owed:
            found[fund_id] = owed
    return found


async def paid_parts_of(session: Session, fund_id: UUID) -> list[Part]:
    """What a locked fund has paid, the latest case first."""
    return [part for _, part in reversed(_of_fund(session, fund_id)) if part.paid_fen]


async def loans_of(session: Session, parts: Iterable[Part]) -> dict[UUID, UUID]:
    """By case: the loan that its parts are about."""
    return {part.case_id: session.get("case", part.case_id).loan_id for part in parts}


async def lenders_of(session: Session, case_ids: Iterable[UUID]) -> dict[UUID, str]:
    """By case, its lender."""
    return {each: session.get("case", each).lender_id for each in case_ids}


async def paid_since_filing(session: Session, keys: Iterable[Key]) -> dict[UUID, Amounts]:
    """By case: what was paid after the statement that its loss was taken from."""
    found = {}
    for _, case_id in keys:
        case = session.get("case", case_id)
        if case is not None:
            found[case_id] = _paid_after(session, case.loan_id, case.stated_on)
    return found


# --- recoveries -----------------------------------------------------------------------------------


async def add_recoveries(session: Session, made: Sequence[Recovery]) -> None:
    """The same money is shared once a case."""
    for each in made:
        own = (each.case_id, each.source, each.reference, each.turn)
        for held in session.rows("recovery"):
            if (held.case_id, held.source, held.reference, held.turn) == own:
                raise BrokenRule(f"{each.source} {each.reference} is shared")
        session.add("recovery", each.recovery_id, each)


async def standing_recoveries(
    session: Session, source: Source, references: Iterable[tuple[str, UUID | None, str]]
) -> list[Recovery]:
    """What was shared of these payouts or postings and not undone yet."""
    wanted = {(loan, reference) for _, loan, reference in references}
    found = []
    for each in session.rows("recovery"):
        loan_id = session.get("case", each.case_id).loan_id
        named = (None, each.reference) in wanted or (loan_id, each.reference) in wanted
        if each.source is source and not each.reversed and named:
            found.append(each)
    return sorted(found, key=lambda each: each.recovery_id)


async def collected_recoveries(
    session: Session, county_code: str, recovery_ids: Sequence[UUID]
) -> dict[UUID, Recovery]:
    """Of these the ones that stand."""
    found = (session.get("recovery", each) for each in recovery_ids)
    return {
        each.recovery_id: each
        for each in found
        if each is not None and each.source is Source.COLLECTED and not each.reversed
    }


async def waiting_recoveries(session: Session, cases: Iterable[Key]) -> list[Recovery]:
    """What waits of these cases, each at its last turn."""
    wanted = {case_id for _, case_id in cases}
    own = [each for each in session.rows("recovery") if each.case_id in wanted]
    last: dict[Any, int] = {}
    for each in own:
        key = (each.case_id, each.source, each.reference)
        last[key] = max(each.turn, last.get(key, 0))
    return sorted(
        (
            each
            for each in own
            if each.waiting_fen
            and not each.reversed
            and each.turn == last[each.case_id, each.source, each.reference]
        ),
        key=lambda each: each.recovery_id,
    )


async def cases_of_payouts(session: Session, payouts: Iterable[tuple[str, str]]) -> list[Key]:
    """The loans of cases that shared these payouts."""
    wanted = {payout for _, payout in payouts}
    return [
        (each.county_code, session.get("case", each.case_id).loan_id)
        for each in session.rows("recovery")
        if each.source is Source.PAYOUT and each.reference in wanted
    ]


async def add_reversals(session: Session, undone: Sequence[tuple[Recovery, str, date]]) -> None:
    """A recovery is undone once."""
    for each, _, _ in undone:
        if session.get("recovery", each.recovery_id).reversed:
            raise BrokenRule(f"recovery {each.recovery_id} is undone")
        session.put("recovery", each.recovery_id, replace(each, reversed=True))


async def nothing(*_: object, **__: object) -> None:
    """Kept by others, or never read by a saga."""


async def no_rows(*_: object, **__: object) -> dict[Any, Any]:
    """None there."""
    return {}


async def none_listed(*_: object, **__: object) -> list[Any]:
    """None there."""
    return []


FUNCTIONS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "services.funds.store.funds": {
        "lock_funds": lock_funds,
        "save_funds": save_funds,
        "add_contributions": add_contributions,
    },
    "services.funds.store.shared": {"business_days": business_days},
    "services.funds.store.cover": {
        "lock_covers": lock_covers,
        "lock_unused_covers": lock_unused_covers,
        "save_covers": save_covers,
        "save_statements": save_statements,
        "add_payments": add_payments,
        "undo_payout": undo_payout,
        "arrears_of": arrears_of,
        "save_standing": save_standing,
        "choices_of": no_rows,
        "insured_of": no_rows,
    },
    "services.funds.store.cases": {
        "lock_cases": lock_cases,
        "lock_paid_cases": lock_paid_cases,
        "loans_with_case": loans_with_case,
        "add_cases": add_cases,
        "save_cases": save_cases,
        "parts_of": parts_of,
        "add_parts": add_parts,
        "save_parts": save_parts,
        "debts_of": debts_of,
        "paid_parts_of": paid_parts_of,
        "loans_of": loans_of,
        "paid_since_filing": paid_since_filing,
    },
    "services.funds.store.recoveries": {
        "add_recoveries": add_recoveries,
        "standing_recoveries": standing_recoveries,
        "collected_recoveries": collected_recoveries,
        "waiting_recoveries": waiting_recoveries,
        "cases_of_payouts": cases_of_payouts,
        "add_reversals": add_reversals,
    },
    "services.funds.store.steps": {"add_steps": nothing, "add_movements": nothing},
    "services.funds.store.accounts": {"lenders_of": lenders_of, "closed_through": nothing},
    "services.funds.store.accounts_lending": {
        "note_loans": nothing,
        "add_lent": nothing,
        "change_outstanding": nothing,
        "set_outstanding": nothing,
        "paid_by_payout": none_listed,
        "borrowers_of": no_rows,
    },
}
"""By module, what stands in for its functions."""
