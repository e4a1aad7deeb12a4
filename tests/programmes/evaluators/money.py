"""Runs what a pack says of insurance and of its fund."""

from typing import cast

from services.kernel.money import Fen
from services.programmes import covers, indices, leverage, policies, settlement, upkeep, waterfall
from services.programmes.schema.fund import Fund, SharingModel
from services.programmes.schema.insurance import Cover, Insurance, SumInsured
from services.programmes.schema.pack import Pack
from services.programmes.schema.values import known
from tests.programmes.evaluators.given import AMOUNT, CALENDAR, ON, or_open


def insured(pack: Pack) -> None:
    insurance = pack.insurance
    assert insurance is not None
    names = {cover.id for cover in insurance.covers}
    for cover in insurance.covers:
        cover_of(cover)
    with or_open():
        for required in known(insurance.required_covers):
            assert set(required.covers) <= names
    with or_open():
        tiers = known(insurance.claim_tiers)
        for amount in (0, 200_000, 10**15):
            found = covers.claim_deadline(Fen(amount), tiers, accepted_on=ON, calendar=CALENDAR)
            assert found.due_on >= ON
    assert set(policies.master_covers(insurance)) <= names
    sold_together(insurance)


def cover_of(cover: Cover) -> None:
    for trigger, difficulty in (("always", False), ("repayment_difficulty", True)):
        with or_open():
            groups = covers.payees_of(
                cover, consented=True, sweep_trigger=trigger, difficulty=difficulty
            )
            assert groups[-1] == ("household",)
            debts = {
                name: settlement.Amounts(principal_fen=AMOUNT)
                for group in groups[:-1]
                for name in group
            }
            paid = settlement.settle(AMOUNT, groups[:-1], debts)
            assert sum(part.taken.total_fen for part in paid.parts) + paid.household_fen == AMOUNT
    covers.in_catalogue(cover, ON)
    with or_open():
        insured_fen = covers.sum_insured_fen(
            cast("SumInsured", known(cover.sum_insured)),
            loan_principal_fen=AMOUNT,
            stated_fen=AMOUNT,
        )
        cap = known(cover.cap_fen) if cover.cap_fen is not None else None
        payable = covers.payable(AMOUNT, sum_insured_fen=insured_fen, cap_fen=cap)
        assert 0 <= payable.payable_fen <= AMOUNT
    with or_open():
        clause = known(cover.premium)
        parts = policies.premium_parts(clause, AMOUNT)
        assert sum(parts.values()) == AMOUNT
        made = covers.premium(AMOUNT, known(clause.rate_ppm), max_rate_ppm=clause.max_rate_ppm)
        assert made.allowed
    if cover.price_index is not None:
        with or_open():
            index = known(cover.price_index)
            payout = indices.index_payout_by(
                index, prices_fen_per_jin=[Fen(7)], quantity_centi_jin=9
            )
            assert payout.payout_fen >= 0


def sold_together(insurance: Insurance) -> None:
    policy = insurance.master_policy
    if policy and policy.premium:
        assert policies.policy_premium(policy.premium, lending_fen=AMOUNT).allowed
    financing = insurance.direct_financing
    for cap in financing.caps if financing else ():
        assert financing is not None
        with or_open():
            check = policies.financing_check(
                financing, cap.entity_type, requested_fen=Fen(0), lent_fen=Fen(0)
            )
            assert check.allowed


def funded(pack: Pack) -> None:
    fund = pack.fund
    assert fund is not None
    with or_open():
        found = leverage.leverage(AMOUNT, multiple=known(fund.multiple), outstanding_fen=AMOUNT)
        assert found.within_cap
    for model in fund.models:
        shared_by(model)
    kept_full(fund)
    pooled(fund)


def shared_by(model: SharingModel) -> None:
    insured_fen = {
        member.up_to_cover: Fen(77)
        for each in model.together
        for member in each.members
        if member.up_to_cover
    }
    named = {*model.parties, *model.pots, model.otherwise_borne_by}
    for cause in (None, *(model.covered_causes or ())):
        with or_open():
            shared = waterfall.share_loss_by(
                model,
                AMOUNT,
                balances_fen=dict.fromkeys(model.pots, Fen(99)),
                cause=cause,
                insured_fen=insured_fen,
            )
            paid = [(line.party, line.amount_fen) for line in shared.allocations]
            assert sum(amount for _, amount in paid) + shared.uncovered_fen == AMOUNT
            assert {party for party, _ in paid} <= named
            recovered = Fen(AMOUNT // 2)
            back = waterfall.share_recovery(recovered, costs_fen=Fen(1), paid=paid)
            assert (
                back.costs_fen + sum(back.amounts_fen.values()) + back.to_household_fen == recovered
            )
    with or_open():
        assert len(waterfall.early_pots(model, overdue_days=36_501)) <= len(model.pots)
    assert waterfall.unproven(model, model.requires) == ()
    assert waterfall.unproven(model, ()) == model.requires


def kept_full(fund: Fund) -> None:
    with or_open():
        needed = upkeep.needed_by(fund, Fen(1), loans_fen=Fen(10**9))
        assert needed.required_fen >= (fund.min_balance_fen or 0)
    if fund.top_up and fund.top_up.yearly_ppm is not None:
        yearly = upkeep.yearly_top_up(
            AMOUNT,
            loans_fen=AMOUNT,
            yearly_ppm=fund.top_up.yearly_ppm,
            min_balance_fen=fund.min_balance_fen or Fen(0),
        )
        assert yearly.balance_after_fen >= AMOUNT
    control = fund.payment_control
    for payment in control.payments if control else ():
        assert control is not None
        organs = [organ.value for organ in control.approved_by]
        left = upkeep.undone(control, payment, audited=True, published=True, approved_by=organs)
        assert left == ()
        assert upkeep.undone(control, payment, audited=False, published=False, approved_by=())
    if fund.fee_subsidy:
        fees = upkeep.fee_subsidy_by(fund.fee_subsidy, disbursed_fen=AMOUNT, households=3)
        assert 0 <= fees.lending_subsidy_fen <= AMOUNT
    if fund.insurer_stabilisation:
        clause = fund.insurer_stabilisation
        made = upkeep.stabilise(
            Fen(0), AMOUNT, fund_fen=clause.initial_fen, compensates_pct=clause.compensates_pct
        )
        assert made.compensated_fen + made.fund_after_fen == clause.initial_fen


def pooled(fund: Fund) -> None:
    if fund.divided_by == "lending_share":
        parts = leverage.allocate(AMOUNT, [("a", 1), ("b", 2)])
        assert sum(parts.values()) == AMOUNT
    if fund.mutual_pool:
        mix = leverage.pool_mix(
            Fen(fund.mutual_pool.government_pct),
            Fen(100 - fund.mutual_pool.government_pct),
            government_pct=fund.mutual_pool.government_pct,
            max_multiple=fund.mutual_pool.max_multiple,
            loans_fen=Fen(100),
        )
        assert mix.mix_ok
        assert mix.within_cap
    if fund.insurer_pool:
        with or_open():
            leverage.insurer_pool_fen(
                AMOUNT,
                default_rate_ppm=known(fund.insurer_pool.default_rate_ppm),
                insurer_share_pct=fund.insurer_pool.insurer_share_pct,
            )
    if fund.village_fund:
        village = fund.village_fund
        bounds = leverage.village_fund(
            Fen(10_000), min_pct=village.min_pct, max_pct=village.max_pct, fund_fen=Fen(0)
        )
        assert bounds.min_fen <= bounds.max_fen
