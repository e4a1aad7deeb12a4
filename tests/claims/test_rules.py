"""The decisions of claims: lists, claims, payees, and the way of a payout, without any server."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.claims.model import (
    Actor,
    Allocation,
    ApprovedLoan,
    AssignedLoan,
    Claim,
    ClaimState,
    Decision,
    EntryState,
    Instruction,
    InstructionState,
    InsuredEntry,
    MasterPolicy,
    Part,
    Payee,
    PayeeKind,
    Payout,
    PayoutState,
    Report,
    Said,
    Standing,
    Word,
)
from services.claims.rules import claims as claim_rules
from services.claims.rules import insured as insured_rules
from services.claims.rules import payments as payment_rules
from services.claims.rules import payouts as payout_rules
from services.claims.rules import policies as policy_rules
from services.kernel.errors import Invalid, LiandongError, NotFound, Refused
from services.kernel.money import Fen
from services.programmes.terms import Terms
from tests.claims.county import (
    BANK,
    COUNTY,
    INSURER,
    OPENED,
    OTHER_BANK,
    PACK,
    REF,
    SOCIETY,
    VILLAGE,
    a_catalogue,
    an_id,
)

CATALOGUE = a_catalogue()
TERMS = CATALOGUE.terms(COUNTY, REF)
PARTIES = CATALOGUE.parties(COUNTY, REF)
REGISTERED = Payee("account:1")
YEAR_END = date(2021, 12, 31)
REPORTER = Actor("vil-1", "vil-1-p1")
ADJUSTER = Actor(INSURER, "ins-1-p2")
APPROVE = Decision(an_id(3), approve=True, reason="")


def a_policy(cover_id: str = "accident", from_date: date = OPENED) -> MasterPolicy:
    return MasterPolicy(
        county_code=COUNTY,
        policy_id=an_id(1),
        insurer_id=INSURER,
        programme_id="plain",
        programme=REF,
        area_code=COUNTY,
        covers=(cover_id,),
        from_date=from_date,
        until_date=YEAR_END,
    )


def a_joined(loan: ApprovedLoan, policy: MasterPolicy, cover_id: str, on: date) -> InsuredEntry:
    cover = TERMS.cover(cover_id)
    made, _ = insured_rules.join(loan, policy, cover, TERMS, on=on, insured_id=an_id(5))
    return replace(made, state=EntryState.IN_FORCE)


def a_loan(number: int = 2, *, principal_fen: int = 5_000_000) -> ApprovedLoan:
    return ApprovedLoan(
        county_code=COUNTY,
        loan_id=an_id(number),
        household_id=an_id(9),
        area_code=VILLAGE,
        lender_id=BANK,
        principal_fen=Fen(principal_fen),
        programme=REF,
        assignment_evidence="sha256:ab",
        required_covers=("accident",),
        approved_on=OPENED,
    )


def a_standing(
    number: int = 2,
    *,
    approved_on: date = OPENED,
    loan_open: bool = True,
    from_date: date = OPENED,
    cover_id: str = "accident",
) -> Standing:
    policy = a_policy(cover_id, from_date)
    entry = a_joined(a_loan(number), policy, cover_id, OPENED)
    return Standing(entry, INSURER, REF, BANK, VILLAGE, loan_open, approved_on)


def a_report(
    *, loss_date: date = OPENED, assessed_fen: int = 4_500_000, cover_id: str = "accident"
) -> Report:
    documents = ("sha256:cd",)
    return Report(an_id(9), cover_id, loss_date, "storm", Fen(assessed_fen), documents)


def a_claim(*, assessed_fen: int = 4_500_000, cover_id: str = "accident") -> Claim:
    return claim_rules.report(
        a_report(assessed_fen=assessed_fen, cover_id=cover_id),
        a_standing(cover_id=cover_id),
        TERMS.cover(cover_id),
        reporter=REPORTER,
        on=OPENED,
        claim_id=an_id(3),
    )


def approve(claim: Claim, *, sum_insured_fen: int = 5_000_000, terms: Terms = TERMS) -> Claim:
    return claim_rules.approve(
        claim,
        APPROVE,
        terms,
        sum_insured_fen=Fen(sum_insured_fen),
        adjudicator=ADJUSTER,
        on=OPENED,
        payout_id=an_id(4),
    )


def reason_of(error: pytest.ExceptionInfo[LiandongError]) -> str:
    return error.value.reason


# --- policies and lists ---------------------------------------------------------------------------


def test_a_loan_joins_with_its_principal_as_the_sum_insured_and_a_years_premium() -> None:
    entry = a_standing().entry

    assert entry.sum_insured_fen == 5_000_000
    assert (entry.premium_fen, entry.premium_payer_id) == (10_000, COUNTY)
    assert (entry.from_date, entry.until_date) == (OPENED, YEAR_END)


def test_cover_begins_when_the_loan_is_approved_or_the_term_does_whichever_is_later() -> None:
    joined = a_joined(a_loan(), a_policy(), "accident", date(2021, 3, 1))
    ahead = a_standing(from_date=date(2021, 6, 1)).entry

    assert joined.from_date == date(2021, 3, 1)
    assert ahead.from_date == date(2021, 6, 1)


@pytest.mark.parametrize(
    ("cover_id", "reason"),
    [
        ("nothing", "COVER_UNKNOWN"),
        ("undecided", "PROGRAMME_VALUE_OPEN"),
        ("later", "COVER_NOT_OFFERED"),
    ],
)
def test_a_policy_whose_claims_could_not_be_decided_is_refused(cover_id: str, reason: str) -> None:
    with pytest.raises(LiandongError) as refusal:
        policy_rules.check_policy(a_policy(cover_id), TERMS)

    assert reason_of(refusal) == reason


def test_a_term_that_ends_before_it_starts_is_refused_by_field() -> None:
    with pytest.raises(Invalid) as refusal:
        policy_rules.check_policy(replace(a_policy(), until_date=date(2020, 1, 1)), TERMS)

    assert refusal.value.violations[0].field == "until_date"


def test_a_sweep_in_difficulty_only_goes_to_the_loans_whose_lender_confirmed_it() -> None:
    pack = PACK.replace("sweep_trigger: always", "sweep_trigger: repayment_difficulty")
    terms = a_catalogue(pack).terms(COUNTY, REF)
    hard, easy = AssignedLoan(an_id(1), BANK, in_difficulty=True), AssignedLoan(an_id(2), BANK)

    policy_rules.check_policy(a_policy(), terms)

    assert payout_rules.payee_groups(terms, "accident", [easy], PARTIES) == ()
    assert payout_rules.payee_groups(terms, "accident", [easy, hard], PARTIES) == ((an_id(1),),)


# --- claims ---------------------------------------------------------------------------------------


def test_the_claim_is_made_under_the_oldest_open_loan() -> None:
    closed = a_standing(2, approved_on=date(2020, 1, 1), loan_open=False)
    older = a_standing(3, approved_on=date(2020, 6, 1))
    newer = a_standing(4, approved_on=date(2020, 9, 1))

    assert claim_rules.choose_entry([newer, closed, older], OPENED) is older
    assert claim_rules.choose_entry([closed], OPENED) is closed


def test_who_is_on_no_list_is_not_insured() -> None:
    with pytest.raises(Refused) as refusal:
        claim_rules.choose_entry([], OPENED)

    assert reason_of(refusal) == "NOT_INSURED"


@pytest.mark.parametrize("loss_date", [date(2021, 1, 3), date(2022, 1, 1)])
def test_a_loss_before_or_after_the_term_is_refused(loss_date: date) -> None:
    with pytest.raises(Refused) as refusal:
        claim_rules.choose_entry([a_standing()], loss_date)

    assert reason_of(refusal) == "LOSS_OUTSIDE_TERM"


def test_a_loss_in_the_future_is_refused() -> None:
    with pytest.raises(Invalid) as refusal:
        claim_rules.report(
            a_report(loss_date=date(2021, 1, 5)),
            a_standing(),
            TERMS.cover("accident"),
            reporter=REPORTER,
            on=OPENED,
            claim_id=an_id(3),
        )

    assert reason_of(refusal) == "LOSS_DATE_AHEAD"


def test_a_cover_of_the_loan_itself_is_not_claimed_here() -> None:
    with pytest.raises(Refused) as refusal:
        a_claim(cover_id="guarantee")

    assert reason_of(refusal) == "COVER_NOT_CLAIMED_HERE"


@pytest.mark.parametrize(
    ("assessed_fen", "sum_insured_fen", "cover_id", "payable_fen"),
    [
        (4_000_000, 5_000_000, "accident", 4_000_000),
        (6_000_000, 5_000_000, "accident", 5_000_000),
        (5_900_000, 6_000_000, "disaster", 4_500_000),
    ],
)
def test_payable_is_the_least_of_assessed_sum_insured_and_cap(
    assessed_fen: int, sum_insured_fen: int, cover_id: str, payable_fen: int
) -> None:
    claim = a_claim(assessed_fen=assessed_fen, cover_id=cover_id)

    assert approve(claim, sum_insured_fen=sum_insured_fen).payable_fen == payable_fen


@pytest.mark.parametrize(
    ("assessed_fen", "due_on"),
    [(200_000, OPENED), (200_001, date(2021, 1, 7)), (4_500_000, date(2021, 1, 11))],
)
def test_the_tier_says_by_when_it_is_paid_and_a_weekend_does_not_count(
    assessed_fen: int, due_on: date
) -> None:
    assert approve(a_claim(assessed_fen=assessed_fen)).due_on == due_on


def test_without_tiers_there_is_no_due_date() -> None:
    cut = PACK.index("  claim_tiers:")
    pack = PACK[:cut] + "  claim_tiers: {open: not stated}\n"

    claim = approve(a_claim(), terms=a_catalogue(pack).terms(COUNTY, REF))

    assert claim.due_on is None


def test_before_the_next_years_calendar_is_known_no_due_date_is_expected() -> None:
    small, large = a_claim(assessed_fen=200_000), a_claim()
    late = [replace(each, accepted_on=YEAR_END) for each in (small, large)]

    # What is due on the same day needs no calendar; five working days lie in a year without one.
    assert [claim_rules.expected_due_on(each, TERMS) for each in late] == [YEAR_END, None]
    assert claim_rules.expected_due_on(large, TERMS) == date(2021, 1, 11)
    with pytest.raises(Refused, match="CALENDAR_YEAR_UNKNOWN"):
        claim_rules.due_on(late[1], late[1].assessed_fen, TERMS)


def test_nothing_payable_is_no_payout() -> None:
    with pytest.raises(Refused) as refusal:
        approve(a_claim(), sum_insured_fen=0)

    assert reason_of(refusal) == "NOTHING_PAYABLE"


@pytest.mark.parametrize(
    ("claim", "decision", "adjudicator", "reason"),
    [
        (a_claim(), APPROVE, Actor("ins-2", "ins-2-p1"), "CLAIM_NOT_FOUND"),
        (replace(a_claim(), state=ClaimState.REFUSED), APPROVE, ADJUSTER, "CLAIM_NOT_OPEN"),
        (replace(a_claim(), reported_by=ADJUSTER), APPROVE, ADJUSTER, "SAME_PERSON"),
        (a_claim(), replace(APPROVE, approve=False), ADJUSTER, "REASON_NEEDED"),
    ],
)
def test_who_may_not_decide_and_how_not(
    claim: Claim, decision: Decision, adjudicator: Actor, reason: str
) -> None:
    with pytest.raises(LiandongError) as refusal:
        claim_rules.check_adjudicator(claim, decision, adjudicator)

    assert reason_of(refusal) == reason


# --- payees ---------------------------------------------------------------------------------------

ASSIGNED = (
    AssignedLoan(an_id(20), SOCIETY),
    AssignedLoan(an_id(21), BANK),
    AssignedLoan(an_id(22), OTHER_BANK),
    AssignedLoan(an_id(23), "rcb-9"),
)


def test_payees_follow_the_order_of_the_cover_and_who_is_not_named_comes_last() -> None:
    groups = payout_rules.payee_groups(TERMS, "accident", ASSIGNED, PARTIES)

    assert groups == ((an_id(21), an_id(22)), (an_id(20),), (an_id(23),))


def test_lenders_of_equal_rank_are_one_group() -> None:
    groups = payout_rules.payee_groups(TERMS, "disaster", ASSIGNED[:3], PARTIES)

    assert groups == ((an_id(20), an_id(21), an_id(22)),)


def test_without_assignment_or_an_assigned_cover_the_household_is_paid() -> None:
    assert payout_rules.payee_groups(TERMS, "accident", (), PARTIES) == ()
    assert payout_rules.payee_groups(TERMS, "medical", ASSIGNED, PARTIES) == ()


# --- payouts --------------------------------------------------------------------------------------


def a_payout(amount_fen: int, *, at_once: bool = False) -> Payout:
    claim = replace(approve(a_claim()), payable_fen=Fen(amount_fen))
    payout = payout_rules.authorise(claim, TERMS, (), PARTIES).payout
    return replace(payout, household_at_once=at_once)


def an_allocation(parts: Sequence[int], household_fen: int) -> Allocation:
    return Allocation(
        county_code=COUNTY,
        payout_id=an_id(4),
        amount_fen=Fen(sum(parts) + household_fen),
        household_fen=Fen(household_fen),
        parts=tuple(
            Part(an_id(30 + i), f"bank-{i % 2}", Fen(part), Fen(0), Fen(part), Fen(0), Fen(0))
            for i, part in enumerate(parts)
        ),
    )


def divide(payout: Payout, allocation: Allocation, first_id: int = 50) -> Payout:
    return payout_rules.instruct(
        payout,
        allocation,
        [an_id(first_id + i) for i in range(len(allocation.parts) + 1)],
        lenders={part.lender_id: REGISTERED for part in allocation.parts},
        household=REGISTERED,
    )


def instructed(parts: Sequence[int], household_fen: int, *, at_once: bool = False) -> Payout:
    payout = a_payout(sum(parts) + household_fen, at_once=at_once)
    return divide(payout, an_allocation(parts, household_fen))


def household_instruction(payout: Payout) -> Instruction | None:
    own = [i for i in payout.instructions if i.payee_kind is PayeeKind.HOUSEHOLD]
    return own[0] if own else None


def confirm(
    payout: Payout,
    instruction_id: UUID,
    amount_fen: int,
    institution_id: str,
    *,
    on: date = OPENED,
    reason: str = "",
) -> Payout:
    return payment_rules.hear(
        payout,
        Word(Said.CONFIRM, instruction_id, Fen(amount_fen), on, reason),
        actor=Actor(institution_id, "p1"),
        on=OPENED,
        new_id=an_id(99),
        lender=REGISTERED,
        household=REGISTERED,
    )


def test_lenders_are_instructed_at_once_and_the_household_waits() -> None:
    payout = instructed([3_000_000, 1_000_000], 500_000)

    assert payout.state is PayoutState.INSTRUCTED
    assert [i.amount_fen for i in payout.instructions] == [3_000_000, 1_000_000]
    assert household_instruction(payout) is None


def test_without_a_lender_the_household_is_instructed_at_once() -> None:
    payout = instructed([], 500_000)

    assert payout.state is PayoutState.HOUSEHOLD_INSTRUCTED
    assert household_instruction(payout) is not None


def test_a_programme_may_pay_the_household_at_once_beside_the_lenders() -> None:
    payout = instructed([3_000_000], 500_000, at_once=True)

    assert payout.state is PayoutState.INSTRUCTED
    assert len(payout.instructions) == 2


def test_an_allocation_that_does_not_sum_to_the_payout_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        divide(a_payout(1_000), an_allocation([600], 399))

    assert reason_of(refusal) == "ALLOCATION_UNBALANCED"


def test_a_payout_is_allocated_once() -> None:
    payout = instructed([600], 400)

    assert payout_rules.is_same_allocation(payout, an_allocation([600], 400))
    assert not payout_rules.is_same_allocation(payout, an_allocation([601], 399))
    with pytest.raises(Refused) as refusal:
        divide(payout, an_allocation([601], 399), 52)
    assert reason_of(refusal) == "PAYOUT_ALREADY_ALLOCATED"


@pytest.mark.parametrize(
    ("amount_fen", "institution_id", "reason"),
    [
        (601, "bank-0", "CONFIRMATION_ABOVE_INSTRUCTION"),
        (599, "bank-0", "CONFIRMATION_BELOW_INSTRUCTION"),
        (600, "bank-1", "INSTRUCTION_NOT_FOUND"),
        (600, INSURER, "INSTRUCTION_NOT_FOUND"),
    ],
)
def test_only_the_lender_confirms_and_only_what_was_instructed(
    amount_fen: int, institution_id: str, reason: str
) -> None:
    with pytest.raises(LiandongError) as refusal:
        confirm(instructed([600], 400), an_id(50), amount_fen, institution_id)

    assert reason_of(refusal) == reason


def test_money_neither_arrives_before_its_payout_nor_in_the_future() -> None:
    for day in (date(2021, 1, 3), date(2021, 1, 5)):
        with pytest.raises(Invalid) as refusal:
            confirm(instructed([600], 400), an_id(50), 600, "bank-0", on=day)
        assert reason_of(refusal) == "VALUE_DATE_OUT_OF_RANGE"


def test_an_unknown_instruction_is_not_found() -> None:
    with pytest.raises(NotFound):
        confirm(instructed([600], 400), an_id(77), 600, "bank-0")


@given(
    parts=st.lists(st.integers(min_value=0, max_value=10**12), max_size=6),
    household_fen=st.integers(min_value=0, max_value=10**12),
    at_once=st.booleans(),
    tries=st.lists(
        st.tuples(
            st.integers(min_value=0, max_value=7),
            st.sampled_from([-1, 0, 0, 0, 1]),
            st.sampled_from(["bank-0", "bank-1", INSURER]),
        ),
        max_size=40,
    ),
)
def test_whatever_is_tried_money_is_whole_and_the_household_comes_after_the_lenders(
    parts: list[int],
    household_fen: int,
    at_once: bool,
    tries: list[tuple[int, int, str]],
) -> None:
    whole = sum(parts) + household_fen
    if whole == 0:
        return
    payout = instructed(parts, household_fen, at_once=at_once)
    check(payout, whole, at_once=at_once)

    for place, off_fen, institution_id in tries:
        if place >= len(payout.instructions):
            continue
        instruction = payout.instructions[place]
        try:
            payout = confirm(
                payout,
                instruction.instruction_id,
                instruction.amount_fen + off_fen,
                institution_id,
            )
        except (Refused, NotFound, Invalid):
            continue
        assert off_fen == 0
        assert instruction.state is InstructionState.OPEN
        check(payout, whole, at_once=at_once)

    finished = finish(payout)
    assert finished.state is PayoutState.SETTLED
    assert finished.version == 2
    assert sum(i.amount_fen for i in finished.instructions) == whole


def finish(payout: Payout) -> Payout:
    """Let everybody confirm what is still open."""
    while payout.state is not PayoutState.SETTLED:
        instruction = next(i for i in payout.instructions if i.state is InstructionState.OPEN)
        lender = instruction.payee_kind is PayeeKind.LENDER
        confirmer = instruction.payee_id if lender else INSURER
        payout = confirm(payout, instruction.instruction_id, instruction.amount_fen, confirmer)
    return payout


def check(payout: Payout, whole: int, *, at_once: bool) -> None:
    lenders = [i for i in payout.instructions if i.payee_kind is PayeeKind.LENDER]
    of_household = [i for i in payout.instructions if i.payee_kind is PayeeKind.HOUSEHOLD]
    waiting = [i for i in lenders if i.state is InstructionState.OPEN]
    payees = [(i.payee_kind, i.loan_id) for i in payout.instructions]

    assert payout.lenders_fen + payout.household_fen == payout.amount_fen == whole
    assert sum(i.amount_fen for i in lenders) == payout.lenders_fen
    assert sum(part.amount_fen for part in payout.parts) == payout.lenders_fen
    assert len(payees) == len(set(payees))
    assert len({i.instruction_id for i in payout.instructions}) == len(payees)
    assert [i.amount_fen for i in of_household] in ([], [payout.household_fen])
    if of_household and waiting:
        assert at_once
    if waiting:
        assert payout.state is PayoutState.INSTRUCTED
    elif any(i.state is InstructionState.OPEN for i in of_household):
        assert payout.state is PayoutState.HOUSEHOLD_INSTRUCTED
    else:
        assert payout.state is PayoutState.SETTLED
