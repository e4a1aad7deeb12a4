"""Properties of insurance and funds: splits conserve, no pot overpays, no payout exceeds a debt."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import Fen
from services.programmes import covers, indices, leverage, policies, settlement, upkeep, waterfall
from services.programmes.schema.fund import (
    CompensationTrigger,
    Member,
    PotLayer,
    RatioLayer,
    SharingModel,
    Together,
)
from services.programmes.schema.insurance import Premium
from services.programmes.schema.policies import PremiumSubsidy
from services.programmes.schema.values import Title

AMOUNTS = st.integers(0, 10**13).map(Fen)
SMALL = st.integers(0, 5_000).map(Fen)
PPM = st.integers(0, 1_000_000)
POTS = ("own_margin", "mutual_fund", "village_fund")


@st.composite
def models(draw: st.DrawFn) -> SharingModel:
    """Some pots, perhaps a ratio of two, one of whose shares two bear together."""
    pots = draw(st.lists(st.sampled_from(POTS), unique=True))
    layers: list[PotLayer | RatioLayer] = [PotLayer(layer=pot, pot=pot) for pot in pots]
    bank = draw(st.integers(0, 9))
    if bank:
        layers.append(RatioLayer(layer="ratio", ratio={"bank": bank, "others": 10 - bank}))
    elif not layers:
        layers.append(RatioLayer(layer="ratio", ratio={"bank": 10}))
    inside = Together(
        share="others",
        members=(Member(party="insurer", up_to_cover="guarantee"), Member(party="county_fund")),
    )
    return SharingModel(
        id="any",
        title=Title(zh="任意", en="Any"),
        borrower_classes=(),
        layers=tuple(layers),
        trigger=CompensationTrigger(overdue_more_than_days=0),
        base="principal",
        together=(inside,) if bank and draw(st.booleans()) else (),
    )


@given(models(), AMOUNTS, st.dictionaries(st.sampled_from(POTS), AMOUNTS), AMOUNTS)
def test_a_waterfall_pays_the_loss_once_and_no_pot_or_insurer_more_than_it_has(
    model: SharingModel, loss: Fen, balances: dict[str, Fen], insured: Fen
) -> None:
    shared = waterfall.share_loss_by(
        model, loss, balances_fen=balances, insured_fen={"guarantee": insured}
    )

    borne = [line.amount_fen for line in shared.allocations]
    by_party = {line.party: line.amount_fen for line in shared.allocations}
    assert sum(borne) + shared.uncovered_fen == loss
    assert all(amount > 0 for amount in borne)
    assert len(by_party) == len(borne)
    assert set(by_party) <= {*model.parties, *model.pots}
    assert all(by_party.get(pot, 0) <= balances.get(pot, 0) for pot in model.pots)
    assert by_party.get("insurer", 0) <= insured
    # Only when the insurer has given all it insures does the fund pay in its place.
    if "county_fund" in by_party:
        assert by_party.get("insurer", 0) == insured


@given(AMOUNTS, st.integers(1, 100), st.sampled_from(["borrower", "enterprise"]))
def test_the_parts_of_a_premium_make_the_premium(amount: Fen, pct: int, payer: str) -> None:
    clause = Premium.model_validate(
        {"rate_ppm": 1, "payer": payer, "subsidy": PremiumSubsidy(pct=pct, payer="county")}
    )

    parts = policies.premium_parts(clause, amount)

    assert sum(parts.values()) == amount
    assert abs(parts["county"] * 100 - amount * pct) < 100


@given(st.integers(1, 10_000), st.lists(st.integers(0, 10_000), min_size=1, max_size=12), SMALL)
def test_an_index_pays_nothing_at_its_trigger_and_never_more_than_trigger_times_quantity(
    trigger: int, prices: list[int], quantity: int
) -> None:
    def paid(market: list[int]) -> int:
        return indices.index_payout(
            Fen(trigger),
            prices_fen_per_jin=[Fen(price) for price in market],
            quantity_centi_jin=quantity,
        ).payout_fen

    assert paid([trigger] * len(prices)) == 0
    assert paid(prices) >= 0
    assert paid(prices) * 100 <= trigger * quantity + 50
    assert paid([price + 1 for price in prices]) <= paid(prices)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.integers(1, 100))
def test_a_stabilisation_pool_never_pays_more_than_the_deficit_or_than_it_holds(
    premium: Fen, claims: Fen, held: Fen, pct: int
) -> None:
    result = upkeep.stabilise(premium, claims, fund_fen=held, compensates_pct=pct)

    assert 0 <= result.compensated_fen <= min(held, result.deficit_fen)
    assert result.fund_after_fen + result.compensated_fen == held
    assert (result.deficit_fen == 0) == (claims <= premium)


@given(AMOUNTS, AMOUNTS, st.integers(1, 100) | st.none(), AMOUNTS)
def test_a_top_up_is_just_enough(
    balance: Fen, minimum: Fen, multiple: int | None, loans: Fen
) -> None:
    def needed(held: Fen) -> Fen:
        return upkeep.needed(
            held, minimum_fen=minimum, multiple=multiple, loans_fen=loans
        ).top_up_fen

    top_up = needed(balance)

    assert needed(Fen(balance + top_up)) == 0
    assert top_up == 0 or needed(Fen(balance + top_up - 1)) == 1
    if multiple is not None:
        assert leverage.leverage(
            Fen(balance + top_up), multiple=multiple, outstanding_fen=loans
        ).within_cap


@given(AMOUNTS, AMOUNTS, PPM)
def test_a_yearly_addition_only_adds(balance: Fen, loans: Fen, ppm: int) -> None:
    result = upkeep.yearly_top_up(balance, loans_fen=loans, yearly_ppm=ppm, min_balance_fen=Fen(0))

    assert result.balance_after_fen == balance + result.added_fen
    assert abs(result.added_fen * 1_000_000 - loans * ppm) <= 500_000


@given(AMOUNTS, st.lists(st.tuples(st.sampled_from("abcdef"), AMOUNTS), min_size=1), AMOUNTS)
def test_a_recovery_returns_no_party_more_than_it_paid(
    recovered: Fen, paid: list[tuple[str, Fen]], costs: Fen
) -> None:
    by_party = dict(paid)

    result = waterfall.share_recovery(recovered, costs_fen=costs, paid=list(by_party.items()))

    back = sum(result.amounts_fen.values())
    assert result.costs_fen + back + result.to_household_fen == recovered
    assert all(result.amounts_fen[party] <= amount for party, amount in by_party.items())
    assert result.to_household_fen == 0 or back == sum(by_party.values())


@given(AMOUNTS, AMOUNTS | st.none(), AMOUNTS | st.none(), AMOUNTS, AMOUNTS)
def test_a_capped_payout_never_exceeds_amount_cap_or_debt(
    assessed: Fen, insured: Fen | None, cap: Fen | None, principal: Fen, interest: Fen
) -> None:
    paid = covers.payable(assessed, sum_insured_fen=insured, cap_fen=cap).payable_fen
    debt = settlement.Amounts(principal_fen=principal, interest_fen=interest)

    settled = settlement.settle(paid, [["bank"]], {"bank": debt})

    taken = sum(part.taken.total_fen for part in settled.parts)
    assert paid <= min(bound for bound in (assessed, insured, cap) if bound is not None)
    assert taken <= debt.total_fen
    assert taken + settled.household_fen == paid
    assert settled.household_fen == 0 or settled.debts_after["bank"].total_fen == 0


@given(st.integers(0, 10**6), st.integers(0, 50), st.integers(0, 100))
def test_merging_certificates_never_makes_more_of_them(
    households: int, covers_each: int, areas: int
) -> None:
    merged = policies.merged(households, covers_each, areas=areas)

    assert 0 <= merged.policies_after <= merged.certificates_before


@given(AMOUNTS, st.integers(1, 3_660), st.data())
def test_the_unearned_premium_is_whole_at_the_start_nothing_at_the_end_and_falls_by_the_day(
    premium_fen: Fen, days: int, data: st.DataObject
) -> None:
    left = data.draw(st.integers(0, days))
    part = policies.unearned_fen(premium_fen, days_left=left, days=days, refund="by_days")

    assert policies.unearned_fen(premium_fen, days_left=days, days=days, refund="by_days") == (
        premium_fen
    )
    assert policies.unearned_fen(premium_fen, days_left=0, days=days, refund="by_days") == 0
    assert 0 <= part <= premium_fen
    assert policies.unearned_fen(premium_fen, days_left=left, days=days, refund="none") == 0


@given(AMOUNTS, st.dictionaries(st.sampled_from(POTS), st.integers(1, 10**9).map(Fen), min_size=1))
def test_shares_of_a_line_sum_to_it_and_follow_the_volume(
    total_fen: Fen, volumes_fen: dict[str, Fen]
) -> None:
    shares = policies.line_shares(total_fen, volumes_fen)

    assert sum(shares.values()) == total_fen
    ranked = sorted(volumes_fen, key=lambda name: volumes_fen[name])
    for less, more in itertools.pairwise(ranked):
        assert shares[less] <= shares[more] + 1


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_what_is_left_of_a_cap_bounds_what_is_paid(assessed: Fen, cap_fen: Fen, paid: Fen) -> None:
    left = covers.cap_left_fen(cap_fen, paid)
    now = covers.payable(assessed, person_left_fen=left, period_left_fen=None)

    assert now.payable_fen <= max(0, cap_fen - paid)
    assert covers.cap_left_fen(None, paid) is None
