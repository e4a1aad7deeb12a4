"""The saga of a payout without any server: whatever is said, the money is whole."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.claims.model import (
    Actor,
    Allocation,
    AssignedLoan,
    Debt,
    InstructionState,
    Part,
    Payee,
    PayeeKind,
    Payout,
    PayoutState,
    Receivable,
    Said,
    Word,
)
from services.claims.rules import notes, payments, payouts, reversals
from services.kernel.errors import LiandongError, Refused
from services.kernel.ids import new_id
from services.kernel.money import Fen, split
from services.programmes.schema.payouts import PayoutNotes
from tests.claims.county import BANK, COUNTY, INSURER, OPENED, OTHER_BANK, an_id
from tests.claims.test_rules import REGISTERED, TERMS, divide, instructed

NO_ACCOUNT = Payee("", payouts.NO_ACCOUNT)


def say(
    payout: Payout,
    said: Said,
    place: int,
    *,
    amount_fen: int = 0,
    reason: str = "",
    by: str = "",
    household: Payee = REGISTERED,
) -> Payout:
    """Somebody who may says something about an instruction."""
    instruction = payout.instructions[place]
    payer = said in (Said.ASK, Said.RESEND, Said.REJECTED, Said.SETTLED, Said.TAKEN_IN)
    lender = instruction.payee_kind is PayeeKind.LENDER
    return payments.hear(
        payout,
        Word(said, instruction.instruction_id, Fen(amount_fen), OPENED, reason),
        actor=Actor(by or (instruction.payee_id if lender and not payer else INSURER), "p1"),
        on=OPENED,
        new_id=new_id(),
        lender=REGISTERED,
        household=household,
    )


def silent(payout: Payout, place: int) -> Payout:
    instruction_id = payout.instructions[place].instruction_id
    return payments.fall_silent(payout, instruction_id, REGISTERED, new_id())


def reason_of(payout: Payout, said: Said, place: int) -> str:
    with pytest.raises(LiandongError) as refusal:
        say(payout, said, place)
    return refusal.value.reason


def test_silence_is_unknown_and_only_an_answer_ends_it() -> None:
    payout = silent(instructed([600], 400), 0)

    assert payout.state is PayoutState.UNKNOWN
    assert reason_of(payout, Said.RESEND, 0) == "PAYMENT_NOT_ANSWERED"
    asked = say(payout, Said.ASK, 0)
    assert asked.instructions[0].asked_on == OPENED
    missing = say(asked, Said.NOT_RECEIVED, 0)
    assert missing.state is PayoutState.INSTRUCTED
    again = say(missing, Said.RESEND, 0)
    assert again.instructions[0].instruction_id == payout.instructions[0].instruction_id
    assert (again.instructions[0].attempt, again.instructions[0].state) == (
        2,
        InstructionState.OPEN,
    )
    done = say(silent(again, 0), Said.DONE, 0, amount_fen=600)
    assert done.state is PayoutState.HOUSEHOLD_INSTRUCTED


def test_only_the_unknown_is_asked_about_and_only_what_did_not_arrive_is_sent_again() -> None:
    payout = instructed([600], 400)

    for said in (Said.ASK, Said.NOT_RECEIVED, Said.DONE):
        assert reason_of(payout, said, 0) == "INSTRUCTION_NOT_UNKNOWN"
    assert reason_of(payout, Said.RESEND, 0) == "PAYMENT_NOT_ANSWERED"


def test_a_household_without_an_account_is_held_until_it_has_one() -> None:
    payout = say(instructed([600], 400), Said.CONFIRM, 0, amount_fen=600, household=NO_ACCOUNT)

    assert payout.state is PayoutState.CONFIRMED
    assert payout.instructions[1].held_reason == payouts.NO_ACCOUNT
    sent = payments.released(
        payout, lenders={"bank-0": REGISTERED}, household=REGISTERED, on=OPENED, new_id=new_id()
    )
    assert sent.state is PayoutState.HOUSEHOLD_INSTRUCTED
    assert sent.instructions[1].sent_on == OPENED


def test_after_a_death_only_the_heirs_account_is_paid() -> None:
    account, heirs = an_id(70), an_id(71)

    assert payouts.household_payee("deceased", account, None).held_reason == "HEIR_NEEDED"
    assert payouts.household_payee("deceased", account, heirs).held_reason == "HEIR_NEEDED"
    assert payouts.household_payee("deceased", heirs, heirs).held_reason == ""
    assert payouts.household_payee("registered_poor", account, None).held_reason == ""


def test_nothing_is_silent_before_its_time() -> None:
    (instruction,) = instructed([600], 0).instructions
    sent = replace(instruction, sent_on=OPENED)

    assert not payments.is_silent(sent, OPENED + timedelta(days=3), 3)
    assert payments.is_silent(sent, OPENED + timedelta(days=4), 3)


def test_a_quote_names_a_debt_that_was_said_before_the_day() -> None:
    loans = {
        an_id(20): AssignedLoan(an_id(20), BANK),
        an_id(21): AssignedLoan(an_id(21), OTHER_BANK),
    }
    debts = {
        an_id(20): Debt(COUNTY, an_id(20), Fen(2_000), Fen(50), OPENED),
        an_id(21): Debt(COUNTY, an_id(21), Fen(1_000), Fen(0), OPENED - timedelta(days=1)),
    }

    quoted = payouts.quote(
        Fen(4_000), [[an_id(20), an_id(21)]], loans, debts, terms=TERMS, on=OPENED
    )

    assert [part.amount_fen for part in quoted.parts] == [2_050, 1_000]
    assert [part.stale for part in quoted.parts] == [False, True]
    assert (quoted.household_fen, quoted.stale) == (950, True)


def test_a_note_says_what_was_paid_to_whom_and_why_in_plain_chinese() -> None:
    payout = say(instructed([3_000_000], 1_500_000), Said.CONFIRM, 0, amount_fen=3_000_000)
    paid = say(payout, Said.CONFIRM, 1, amount_fen=1_500_000)

    divided, settled = notes.events_of(paid, None, [])

    assert (divided.name, settled.name) == ("divided", "paid")
    text = notes.text_of(settled, PayoutNotes(), {"bank-0": "信用社"})
    assert text.startswith("已赔付45,000元，其中偿还信用社30,000元，您得15,000元，因为")
    assert "书面授权" in text


# --- whatever is said -----------------------------------------------------------------------------


def divide_again(payout: Payout, debts: Sequence[int]) -> Payout:
    """What loans does with a correction: the rest goes pro rata to those after it."""
    number = payout.corrections_answered + 1
    freed = payments.freed(payout, number)
    rest = freed.amount_fen - freed.confirmed_fen
    short = {i.loan_id for i in payout.instructions if i.correction}
    amounts = {part.loan_id: part.amount_fen for part in payout.parts}
    assert freed.loan_id is not None
    amounts[freed.loan_id] = Fen(amounts[freed.loan_id] - rest)
    takers = [
        (part.loan_id, debt)
        for part, debt in zip(payout.parts, debts, strict=False)
        if part.loan_id not in short and debt
    ]
    shares = [Fen(0)] * len(takers)
    if takers:
        shares = list(split(Fen(min(rest, sum(d for _, d in takers))), [d for _, d in takers]))
    for (loan_id, _), share in zip(takers, shares, strict=True):
        amounts[loan_id] = Fen(amounts[loan_id] + share)
    parts = tuple(replace(part, amount_fen=amounts[part.loan_id]) for part in payout.parts)
    allocation = Allocation(
        county_code=COUNTY,
        payout_id=payout.payout_id,
        amount_fen=payout.amount_fen,
        household_fen=Fen(payout.amount_fen - sum(part.amount_fen for part in parts)),
        parts=parts,
        corrections=number,
    )
    return divide(payout, allocation, 1_000 + 100 * number)


def check(payout: Payout) -> None:
    assert payout.lenders_fen + payout.household_fen == payout.amount_fen
    assert sum(part.amount_fen for part in payout.parts) == payout.lenders_fen
    assert sum(i.paid_fen for i in payout.instructions) <= payout.amount_fen
    assert len({i.instruction_id for i in payout.instructions}) == len(payout.instructions)
    lenders = [i for i in payout.instructions if i.payee_kind is PayeeKind.LENDER]
    waiting = any(i.state in payouts.WAITING for i in lenders)
    of_household = [i for i in payout.instructions if i.payee_kind is PayeeKind.HOUSEHOLD]
    if payout.corrections == payout.corrections_answered and waiting and not of_household:
        assert payout.state in (PayoutState.INSTRUCTED, PayoutState.UNKNOWN, PayoutState.ALLOCATED)
    if payout.state is PayoutState.SETTLED:
        assert sum(i.confirmed_fen for i in payout.instructions) == payout.amount_fen


WORDS = st.sampled_from(
    [Said.CONFIRM, Said.ASK, Said.DONE, Said.NOT_RECEIVED, Said.REFUSED, Said.RESEND]
)


@given(
    parts=st.lists(st.integers(min_value=1, max_value=10**6), min_size=1, max_size=4),
    household_fen=st.integers(min_value=0, max_value=10**6),
    steps=st.lists(
        st.tuples(
            st.one_of(WORDS, st.just("silence"), st.just("loans")),
            st.integers(min_value=0, max_value=7),
            st.integers(min_value=0, max_value=10**6),
            st.lists(st.integers(min_value=0, max_value=10**6), max_size=4),
        ),
        max_size=40,
    ),
)
def test_whatever_is_said_the_money_is_whole_and_a_reversal_is_its_mirror(
    parts: list[int],
    household_fen: int,
    steps: list[tuple[Said | str, int, int, list[int]]],
) -> None:
    payout = instructed(parts, household_fen)
    for said, place, amount_fen, debts in steps:
        if said == "loans":
            if payout.corrections > payout.corrections_answered:
                payout = divide_again(payout, debts)
        elif place < len(payout.instructions):
            payout = step(payout, said, place, amount_fen)
        check(payout)

    payout = finish(payout)

    assert payout.state is PayoutState.SETTLED
    check(payout)
    taken, owed = reversals.take_back(payout, new_id)
    assert taken.state is PayoutState.REVERSED
    assert sum(each.amount_fen for each in owed) == payout.amount_fen
    assert of_lenders(owed) == {
        part.loan_id: part.amount_fen for part in payout.parts if part.amount_fen
    }
    with pytest.raises(Refused):
        reversals.require_settled(taken, INSURER)


def step(payout: Payout, said: Said | str, place: int, amount_fen: int) -> Payout:
    instruction = payout.instructions[place]
    if said == "silence":
        is_open = instruction.state is InstructionState.OPEN
        return silent(payout, place) if is_open else payout
    assert isinstance(said, Said)
    # Half of the time everything arrived.
    kept = instruction.amount_fen if amount_fen % 2 else amount_fen
    try:
        return say(payout, said, place, amount_fen=kept, reason="OVERPAID")
    except LiandongError:
        return payout


def finish(payout: Payout) -> Payout:
    """Everybody answers, loans too, until all is settled; a bound on it."""
    for _ in range(200):
        if payout.state is PayoutState.SETTLED:
            return payout
        if payout.corrections > payout.corrections_answered:
            payout = divide_again(payout, [])
            continue
        place, instruction = next(
            (place, i) for place, i in enumerate(payout.instructions) if i.state in payouts.WAITING
        )
        if instruction.state is InstructionState.HELD:
            payout = say(payout, Said.RESEND, place)
        else:
            payout = say(payout, Said.CONFIRM, place, amount_fen=instruction.amount_fen)
    return payout


def of_lenders(owed: Sequence[Receivable]) -> dict[object, int]:
    return {each.loan_id: each.amount_fen for each in owed if each.loan_id is not None}


def test_no_part_of_a_payout_is_of_a_loan_that_took_nothing() -> None:
    nothing = Part(an_id(30), BANK, Fen(0), Fen(0), Fen(0), Fen(0), Fen(0))
    allocation = Allocation(COUNTY, an_id(4), Fen(400), Fen(400), (nothing,))
    payout = replace(instructed([], 400), state=PayoutState.AUTHORISED, instructions=())

    divided = divide(payout, allocation)

    assert [i.payee_kind for i in divided.instructions] == [PayeeKind.HOUSEHOLD]
