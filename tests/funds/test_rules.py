"""Decisions of funds: what holds for any amounts, any order, any fund."""

from dataclasses import replace
from datetime import date, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.funds.model import (
    Amounts,
    Arrears,
    Case,
    CaseState,
    Cover,
    CoverState,
    Decision,
    Filing,
    Fund,
    FundState,
    Part,
    Recovery,
    Source,
)
from services.funds.rules import accounts, cases, cover, money, recoveries, what_if
from services.kernel.errors import Invalid, LiandongError, Refused
from services.kernel.ids import new_id
from services.kernel.money import Fen
from services.programmes.schema.fund import SharingModel
from tests.funds.county import (
    BANK,
    CAUSE,
    COUNTY,
    OPENED,
    PROGRAMME,
    REF,
    VILLAGE,
    a_catalogue,
    loan_id,
)

TERMS = a_catalogue().terms(COUNTY, REF)
PARTIES = a_catalogue().parties(COUNTY, REF)
NOTHING = Amounts(Fen(0), Fen(0))

fen = st.integers(0, 10**11).map(Fen)
fen_above_0 = st.integers(1, 10**11).map(Fen)


def a_fund(kind: str = "county_fund", *, balance_fen: int = 5_000_000, **more: object) -> Fund:
    fund = Fund(
        county_code=COUNTY,
        fund_id=new_id(),
        programme_id=PROGRAMME,
        kind=kind,
        institution_id="fin-1",
        state=FundState.OPEN,
        balance_fen=Fen(balance_fen),
        covered_fen=Fen(0),
        owed_fen=Fen(0),
        leverage_reached=False,
        version=0,
    )
    return replace(fund, **more)  # type: ignore[arg-type]


def a_cover(number: int = 1, *, principal_fen: int = 5_000_000, **more: object) -> Cover:
    made = Cover(
        county_code=COUNTY,
        loan_id=loan_id(number),
        lender_id=BANK,
        borrower_class="poor_household",
        area_code=VILLAGE,
        programme=REF,
        principal_fen=Fen(principal_fen),
        model_id="",
        fund_id=None,
        state=CoverState.ASKED,
        disbursed=False,
        version=0,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def a_case(*, loss_fen: int = 5_000_000, **more: object) -> Case:
    made = Case(
        county_code=COUNTY,
        case_id=new_id(),
        loan_id=loan_id(1),
        lender_id=BANK,
        state=CaseState.FILED,
        loss_fen=Fen(loss_fen),
        cause=CAUSE,
        evidence=("sha256:ab",),
        programme=REF,
        model_id="four_party",
        overdue_days=71,
        stated_on=OPENED,
        paid_counted_fen=Fen(0),
        filed_by="rcb-1-p1",
        filed_on=OPENED,
        decided_by="",
        decided_on=None,
        reason="",
        working="",
        version=0,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def some_arrears(*, days: int = 71, owed: Amounts, paid_since: Amounts = NOTHING) -> Arrears:
    return Arrears(OPENED, days, days > 70, owed, paid_since)


def the_model(borrower_class: str = "poor_household") -> SharingModel:
    model = cover.sharing_model(TERMS, borrower_class)
    assert model is not None
    return model


def share(
    case: Case, *funds: Fund, model: SharingModel | None = None, paid_since: Amounts = NOTHING
) -> cases.Compensation:
    return cases.compensate(
        case,
        model=model or the_model(),
        paid_since=paid_since,
        funds=funds,
        parties=PARTIES,
        reason="",
        person_id="cfc-1-p1",
        today=OPENED,
    )


@given(
    balance_fen=st.integers(0, 10**8),
    multiple=st.integers(1, 100),
    sizes=st.lists(st.integers(0, 10**9), max_size=30),
)
def test_cover_never_passes_balance_times_multiple(
    balance_fen: int, multiple: int, sizes: list[int]
) -> None:
    fund = a_fund(balance_fen=balance_fen)

    for number, size in enumerate(sizes):
        asked = a_cover(number, principal_fen=size)
        before = fund
        done = cover.reserve(asked, fund, model_id="four_party", multiple=multiple, on=OPENED)
        assert done.fund is not None
        fund = done.fund
        fits = before.covered_fen + size <= balance_fen * multiple
        assert (done.reason == "") == fits
        assert fund.covered_fen == before.covered_fen + (size if fits else 0)
        assert done.cover.version == asked.version + 1

    assert fund.covered_fen <= balance_fen * multiple


@given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=10), picked=st.randoms())
def test_whatever_is_reserved_can_be_given_back_in_any_order(
    sizes: list[int], picked: Random
) -> None:
    fund = a_fund(balance_fen=10**8)
    held = []
    for number, size in enumerate(sizes):
        asked = a_cover(number, principal_fen=size)
        done = cover.reserve(asked, fund, model_id="four_party", multiple=10, on=OPENED)
        assert done.fund is not None
        fund = done.fund
        held.append(done.cover)
    picked.shuffle(held)

    for each in held:
        _, fund = cover.release(each, fund, CoverState.RELEASED)

    assert fund.covered_fen == 0


def test_the_exact_rest_is_within_and_one_fen_more_is_not() -> None:
    fund = a_fund(balance_fen=100, covered_fen=Fen(990))

    within = cover.reserve(a_cover(principal_fen=10), fund, model_id="m", multiple=10, on=OPENED)
    above = cover.reserve(a_cover(principal_fen=11), fund, model_id="m", multiple=10, on=OPENED)

    assert (within.reason, within.headroom_fen) == ("", 0)
    assert (above.reason, above.headroom_fen) == ("LEVERAGE_REACHED", 10)


def test_leverage_is_said_to_be_reached_once_until_there_is_room_again() -> None:
    fund = a_fund(balance_fen=1)
    refused = cover.reserve(a_cover(1), fund, model_id="m", multiple=10, on=OPENED)
    assert refused.fund is not None
    again = cover.reserve(a_cover(2), refused.fund, model_id="m", multiple=10, on=OPENED)

    assert (refused.reached_now, again.reached_now) == (True, False)
    assert again.fund == refused.fund
    assert refused.fund.version == fund.version + 1


def test_a_share_is_asked_before_a_pot_and_never_a_closed_fund() -> None:
    model = the_model("entity")
    pot, county = a_fund("mutual_fund"), a_fund("county_fund")

    assert cover.backing_fund(model, [pot, county]) == county
    assert cover.backing_fund(model, [pot, replace(county, state=FundState.CLOSED)]) == pot
    assert cover.backing_fund(model, [a_fund("unheard_of")]) is None
    assert cover.sharing_model(TERMS, "village_collective") is None


@given(loss_fen=fen_above_0, county_fen=fen, mutual_fen=fen, entity=st.booleans())
def test_the_parts_of_a_loss_sum_to_it_and_funds_pay_what_they_hold(
    loss_fen: Fen, county_fen: Fen, mutual_fen: Fen, entity: bool
) -> None:
    model = the_model("entity" if entity else "poor_household")
    before = (a_fund(balance_fen=county_fen), a_fund("mutual_fund", balance_fen=mutual_fen))

    done = share(a_case(loss_fen=loss_fen), *before, model=model)

    parts = done.case_file.parts
    assert sum(part.amount_fen for part in parts) == done.case_file.case.loss_fen == loss_fen
    for fund, was in zip(done.funds, before, strict=True):
        mine = [part for part in parts if part.fund_id == fund.fund_id]
        assert was.balance_fen - fund.balance_fen == sum(part.paid_fen for part in mine)
        assert fund.owed_fen == sum(part.owed_fen for part in mine)
        assert fund.balance_fen >= 0
        assert not (fund.balance_fen and fund.owed_fen)
        assert (
            (fund.state is FundState.SUSPENDED) == (fund.owed_fen > 0) == (fund in done.suspended)
        )
    assert [part.institution_id for part in parts if part.own_loss] in ([BANK], [])
    assert all(part.institution_id for part in parts)


def test_the_lenders_part_is_its_own_loss_whoever_the_county_names_first() -> None:
    done = share(a_case(lender_id="psb-1"), a_fund())

    (own,) = [part for part in done.case_file.parts if part.own_loss]
    assert (own.party, own.institution_id, own.owed_fen) == ("bank", "psb-1", 0)


def test_a_party_whom_nobody_named_stops_the_payment() -> None:
    with pytest.raises(Refused, match="PARTY_NOT_NAMED"):
        cases.compensate(
            a_case(),
            model=the_model(),
            paid_since=NOTHING,
            funds=[a_fund()],
            parties={"bank": (BANK,)},
            reason="",
            person_id="cfc-1-p1",
            today=OPENED,
        )


@given(
    loss_fen=st.integers(1, 10**9),
    balance_fen=st.integers(0, 10**8),
    back=st.lists(st.integers(1, 10**9), min_size=1, max_size=6),
)
def test_recoveries_give_each_its_own_back_and_no_more(
    loss_fen: int, balance_fen: int, back: list[int]
) -> None:
    shared = share(a_case(loss_fen=loss_fen), a_fund(balance_fen=balance_fen))
    parts: tuple[Part, ...] = shared.case_file.parts
    household = 0

    for amount in back:
        before = sum(part.recovered_fen for part in parts)
        done = cases.share_back(parts, Fen(amount))
        parts, household = done.parts, household + done.household_fen
        given_fen = sum(share_fen for _, share_fen in done.shares)
        assert given_fen + done.household_fen == amount
        assert sum(part.recovered_fen for part in parts) - before == given_fen

    assert all(0 <= part.recovered_fen <= part.amount_fen for part in parts)
    assert household == max(0, sum(back) - loss_fen)


# S21, decision 0028
@given(
    loss_fen=st.integers(1, 10**7).map(Fen),
    back=st.lists(
        st.tuples(st.sampled_from(Source), st.integers(1, 10**7), st.integers(0, 10**7)),
        max_size=10,
    ),
)
def test_money_of_the_loan_s_own_book_waits_and_only_collected_money_is_the_household_s(
    loss_fen: Fen, back: list[tuple[Source, int, int]]
) -> None:
    parts: tuple[Part, ...] = share(a_case(loss_fen=loss_fen), a_fund()).case_file.parts
    shared = []
    for source, amount, costs in back:
        came = a_recovery(source, amount, costs if source is Source.COLLECTED else 0)
        left = recoveries.left_fen(parts)
        done, parts = recoveries.share(parts, came)
        given_fen = sum(fen for _, fen in done.shares)
        assert given_fen == min(left, came.amount_fen - came.costs_fen)
        assert given_fen + done.costs_fen + done.household_fen == done.amount_fen
        assert done.amount_fen + done.waiting_fen == came.amount_fen
        assert not (done.household_fen if source is not Source.COLLECTED else done.waiting_fen)
        shared.append((done, given_fen))

    assert sum(part.recovered_fen for part in parts) == sum(fen for _, fen in shared) <= loss_fen
    waiting = next((done for done, _ in shared if done.waiting_fen), None)
    if waiting is not None:
        # Nobody got anything back: what waited is shared, once more as far as it goes.
        fresh = tuple(replace(part, recovered_fen=Fen(0)) for part in parts)
        again, _ = recoveries.share(fresh, recoveries.again(waiting, new_id(), OPENED))
        assert (again.turn, again.reference) == (waiting.turn + 1, waiting.reference)
        assert again.amount_fen == min(waiting.waiting_fen, loss_fen)
        assert again.amount_fen + again.waiting_fen == waiting.waiting_fen


def a_recovery(source: Source, amount_fen: int, costs_fen: int) -> Recovery:
    return Recovery(
        county_code=COUNTY,
        recovery_id=new_id(),
        case_id=new_id(),
        reference="7",
        amount_fen=Fen(amount_fen),
        shares=(),
        household_fen=Fen(0),
        business_date=OPENED,
        source=source,
        value_date=OPENED,
        costs_fen=Fen(min(costs_fen, amount_fen)),
    )


@given(
    balance_fen=st.integers(0, 10**6),
    losses=st.lists(st.integers(5, 10**7), min_size=1, max_size=5),
    money_in=st.lists(st.integers(1, 10**7), max_size=5),
)
def test_all_that_came_in_is_in_the_fund_or_was_paid(
    balance_fen: int, losses: list[int], money_in: list[int]
) -> None:
    fund, parts = a_fund(balance_fen=balance_fen), []
    for loss_fen in losses:
        done = share(a_case(loss_fen=loss_fen), fund)
        (fund,) = done.funds
        parts += [part for part in done.case_file.parts if part.fund_id]

    for amount in money_in:
        debts = [part for part in parts if part.owed_fen]
        fund, payments = money.pay_debts(money.receive(fund, Fen(amount)), debts)
        by_case = {payment.part.case_id: payment.part for payment in payments}
        parts = [by_case.get(part.case_id, part) for part in parts]
        assert fund.owed_fen == sum(part.owed_fen for part in parts)
        assert (fund.state is FundState.OPEN) == (fund.owed_fen == 0)

    paid = sum(part.paid_fen for part in parts)
    assert fund.balance_fen + paid == balance_fen + sum(money_in)


@given(principal=fen, interest=fen, paid_principal=fen, paid_interest=fen)
def test_what_is_owed_never_goes_below_zero(
    principal: Fen, interest: Fen, paid_principal: Fen, paid_interest: Fen
) -> None:
    arrears = some_arrears(
        owed=Amounts(principal, interest), paid_since=Amounts(paid_principal, paid_interest)
    )

    owed = cases.owed_now(arrears)

    assert owed.principal_fen == max(0, principal - paid_principal)
    assert owed.interest_fen == max(0, interest - paid_interest)


@given(loss_fen=fen_above_0, counted=fen, later=fen, undone=fen)
def test_only_payments_after_the_filing_lower_a_loss(
    loss_fen: Fen, counted: Fen, later: Fen, undone: Fen
) -> None:
    case = a_case(loss_fen=loss_fen, paid_counted_fen=counted)
    paid_since = Amounts(Fen(counted + later - undone), Fen(0))

    if later - undone >= loss_fen:
        with pytest.raises(Refused, match="NOTHING_OWED"):
            cases.loss_now(case, the_model(), paid_since)
    else:
        now = cases.loss_now(case, the_model(), paid_since)
        assert now == min(loss_fen, loss_fen - (later - undone))


@pytest.mark.parametrize(("days", "passes"), [(0, False), (70, False), (71, True)])
def test_the_trigger_is_passed_only_after_the_last_day(days: int, passes: bool) -> None:
    arrears = some_arrears(days=days, owed=Amounts(Fen(5), Fen(0)))

    if passes:
        cases.check_trigger(the_model(), arrears)
    else:
        with pytest.raises(Refused, match="TRIGGER_NOT_PASSED"):
            cases.check_trigger(the_model(), arrears)


def test_interest_counts_only_where_the_programme_says_so() -> None:
    filing = Filing(loan_id(1), CAUSE, ("sha256:ab",))
    arrears = some_arrears(owed=Amounts(Fen(100), Fen(7)))

    def loss(borrower_class: str) -> int:
        case = cases.file_case(
            filing,
            a_cover(state=CoverState.RESERVED, fund_id=new_id()),
            arrears,
            model=the_model(borrower_class),
            has_case=False,
            lender_id=BANK,
            case_id=new_id(),
            person_id="rcb-1-p1",
            today=OPENED,
        )
        return case.loss_fen

    assert (loss("poor_household"), loss("entity")) == (107, 100)


def test_a_no_needs_a_reason() -> None:
    with pytest.raises(Invalid, match="REASON_NEEDED"):
        cases.check_reason(Decision(new_id(), approve=False, reason=" "))


@pytest.mark.parametrize(
    ("value_date", "state", "error"),
    [
        (OPENED, FundState.OPEN, ""),
        (OPENED, FundState.SUSPENDED, ""),
        (OPENED, FundState.CLOSED, "FUND_CLOSED"),
        (OPENED + timedelta(days=1), FundState.OPEN, "VALUE_DATE_AHEAD"),
    ],
)
def test_a_contribution_needs_a_fund_that_takes_it_and_a_day_that_has_come(
    value_date: date, state: FundState, error: str
) -> None:
    fund = a_fund(state=state)

    def check() -> None:
        accounts.check_open(fund)
        accounts.check_dates(value_date, today=OPENED, closed_through=None)

    if not error:
        check()
        return
    with pytest.raises(LiandongError, match=error):
        check()


@pytest.mark.parametrize(
    ("balance_fen", "covered_fen", "owed_fen", "minimum_fen", "needs_fen"),
    [(100, 1000, 0, 0, 0), (100, 1001, 0, 0, 1), (0, 1000, 7, 0, 107), (100, 0, 0, 130, 30)],
)
def test_a_fund_needs_what_cover_minimum_and_debts_ask(
    balance_fen: int, covered_fen: int, owed_fen: int, minimum_fen: int, needs_fen: int
) -> None:
    fund = a_fund(balance_fen=balance_fen, covered_fen=Fen(covered_fen), owed_fen=Fen(owed_fen))

    assert money.top_up_fen(fund, multiple=10, min_balance_fen=minimum_fen) == needs_fen


# --- another pack ---------------------------------------------------------------------------------


def test_what_a_fund_would_never_have_had_is_not_asked_back_of_it() -> None:
    """
    Two losses of 1,000,000 that the fund owes 200,000 of; what comes back settles the older debt.

    The second recovery lies in a lender's sub-account, out of the other's reach, and leaves it.
    When both recoveries are undone the fund has paid for one loss only: 200,000 are withheld.
    """
    fund, other = replace(a_fund(), fund_id=UUID(int=1)), "psb-1"
    first, second = a_case(loss_fen=1_000_000), a_case(loss_fen=1_000_000, loan_id=loan_id(2))
    first = replace(first, state=CaseState.PAID, decided_on=OPENED)
    second = replace(
        second, state=CaseState.PAID, decided_on=OPENED + timedelta(days=1), lender_id=other
    )
    back_first, back_second = new_id(), new_id()

    def money(kind: str, *changes: tuple[str, int]) -> what_if.Money:
        return what_if.Money(OPENED, kind, fund.fund_id, changes)

    def back(case: Case, recovery_id: UUID) -> what_if.Back:
        return what_if.Back(
            OPENED, case.case_id, recovery_id, Fen(1_000_000), Fen(0), ((0, Fen(200_000)),)
        )

    log: list[what_if.Item] = [
        money("contribution", ("", 300_000), (BANK, 1)),
        what_if.Asked(OPENED, loan_id(1), Fen(1_000_000), fund.fund_id, 1),
        what_if.Asked(OPENED, loan_id(2), Fen(1_000_000), fund.fund_id, 1),
        money("withdrawal", ("", -300_000), (BANK, -1)),
        what_if.Paid(OPENED, first.case_id),
        what_if.Paid(OPENED, second.case_id),
        back(second, back_second),
        back(first, back_first),
        money("withdrawal", (BANK, -200_000)),
        what_if.Gone(OPENED, first.case_id, back_first),
        what_if.Gone(OPENED, second.case_id, back_second),
    ]
    history = what_if.History(
        funds=(fund,),
        covers={
            loan_id(1): a_cover(1, principal_fen=1_000_000),
            loan_id(2): a_cover(2, principal_fen=1_000_000, lender_id=other),
        },
        cases={each.case_id: each for each in (first, second)},
        parts={},
        earlier={},
        loans={},
        insured={},
        owners={},
        triggers={},
        log=tuple(log),
    )

    outcome = what_if.replay(history, what_if.Rules(TERMS, PARTIES, {}), since=date.min)

    assert outcome.withheld_fen == 200_000
    mine = [part for case in outcome.cases for part in case.parts if part.fund_id]
    assert [(part.amount_fen, part.paid_fen, part.recovered_fen) for part in mine] == [
        (200_000, 0, 0),
        (200_000, 0, 0),
    ]
