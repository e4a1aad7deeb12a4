"""Runs what a pack says of loans, and of every product that it offers."""

from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from services.kernel.money import Fen
from services.programmes import (
    collection,
    delinquency,
    drawdown,
    facilities,
    interest,
    limits,
    pledges,
    post_loan,
    pricing,
    products,
    rewards,
    sanctions,
    settlement,
)
from services.programmes.schema.collection import DueClass
from services.programmes.schema.loans import (
    BenchmarkRate,
    ControlledDrawdown,
    LoanProduct,
    LoanRules,
    Npl,
    Pricing,
    SubsidyMode,
)
from services.programmes.schema.monitoring import FiveTier
from services.programmes.schema.pack import Pack
from services.programmes.schema.pledges import AdvancePledge, Security
from services.programmes.schema.sanctions import Relation, SanctionEffect
from services.programmes.schema.values import BorrowerClass, Open, known
from services.programmes.sla import sla_deadline
from tests.programmes.evaluators.given import AMOUNT, CALENDAR, LATER, ON, or_open

CHINA = ZoneInfo("Asia/Shanghai")
# What a pack cannot know: the day and tenor of a loan, the rate that its lender proposes.
OF_THE_LOAN = ("BENCHMARK_RATE_UNKNOWN", "LOAN_RATE_MISSING", "LOAN_RATE_NOT_ALLOWED")


def lent(pack: Pack) -> None:
    loans = pack.loans
    assert loans is not None
    for table in (loans.benchmark, loans.lpr):
        if table is not None and not isinstance(table, Open):
            published(table)
    with or_open():
        npl = cast("Npl", known(loans.npl))
        assert delinquency.is_non_performing(npl, days=36_501, tier=FiveTier.LOSS)
        assert not delinquency.is_non_performing(npl, days=0, tier=FiveTier.NORMAL)
        bad = collection.follow(loans, days=36_501, tier=FiveTier.LOSS)
        assert bad.standing is collection.Standing.NON_PERFORMING
        if loans.keep_overdue_apart:
            overdue = collection.follow(loans, days=1, tier=FiveTier.NORMAL)
            assert overdue.standing is collection.Standing.OVERDUE
    assert settlement.appropriation(loans.appropriation_order)
    assert limits.required_area(loans.area_of_use, "99010110020003") != ""
    interest.days_interest_fen(AMOUNT, 43_500, 30, loans.day_basis)
    if loans.controlled_drawdown:
        drawn(loans.controlled_drawdown)
    collected(loans)
    sanctioned(loans)
    rewarded(loans)
    looked_after(loans)


def published(table: tuple[BenchmarkRate, ...]) -> None:
    for rate in table:
        with or_open("BENCHMARK_RATE_UNKNOWN"):
            found = pricing.benchmark_rate_ppm(
                table, term_months=rate.max_tenor_months, on=rate.valid_from
            )
            assert found == rate.rate_ppm


def drawn(clause: ControlledDrawdown) -> None:
    """A batch with everything is released and one with nothing is not."""
    product = clause.products[0] if clause.products else None
    approved = Fen(max(1, clause.threshold_fen))
    assert drawdown.is_controlled(clause, approved, product)
    assert clause.threshold_fen == 0 or not drawdown.is_controlled(clause, Fen(0), product)
    signatories = clause.account.signatories if clause.account else ()
    request = drawdown.DrawRequest(
        amount_fen=Fen(1),
        evidence_ok=True,
        county_approved=True,
        entrusted_payment=True,
        progress_signed=True,
        signed_by=frozenset(signatories),
    )
    bare = drawdown.DrawRequest(amount_fen=Fen(1))
    assert drawdown.drawdown_of(clause, approved, [bare, request]).released == (False, True)


def collected(loans: LoanRules) -> None:
    if loans.maturity_notice:
        with or_open():
            plan = collection.notice_plan(loans.maturity_notice, ON)
            assert plan.days[0] < ON
    campaign = loans.collection_discount
    for stage in campaign.stages if campaign else ():
        assert campaign is not None
        with or_open():
            found = collection.discount_stage(campaign, known(stage.valid_from))
            assert found.stage == stage.id
        discount = interest.collection_discount(
            AMOUNT, interest_due_fen=AMOUNT, discount_pct=stage.discount_pct
        )
        assert 0 <= discount.discount_fen <= AMOUNT
    for due_class in DueClass if loans.dispositions else ():
        assert collection.disposition(loans.dispositions, due_class).actions
    at = None
    for organ in loans.escalation:
        at = collection.escalate(loans.escalation, at)
        assert at is organ
    assert collection.escalate(loans.escalation, at) is None


def sanctioned(loans: LoanRules) -> None:
    for each in loans.sanctions:
        cause = each.cause or each.id
        with or_open():
            lost = sanctions.lost(
                loans.sanctions, cause=cause, relation=Relation.SELF, sanctioned_on=ON, on=ON
            )
            assert set(each.effects) <= set(lost.effects)
        if each.lifted_by:
            lifted = sanctions.check_of(
                each, relation=Relation.SELF, sanctioned_on=ON, on=ON, ended_by=each.lifted_by
            )
            assert not lifted.blocked
        if SanctionEffect.SUBSIDY_SET_OFF in each.effects:
            taken = sanctions.set_off(
                each,
                subsidy=each.set_off_from[0],
                subsidy_fen=AMOUNT,
                debt_fen=Fen(100),
                lawful=True,
            )
            assert (taken.to_debt_fen, taken.to_household_fen) == (100, AMOUNT - 100)
    if loans.rehabilitation:
        ended = [loans.rehabilitation.after]
        won = sanctions.steps_won_back(loans.rehabilitation, ended_by=ended, in_campaign=True)
        assert won == loans.rehabilitation.steps


def rewarded(loans: LoanRules) -> None:
    met = {code for grant in loans.grants for code in grant.requires}
    met |= {code for reward in loans.rewards for code in reward.requires}
    for borrower_class in BorrowerClass:
        with or_open():
            due = rewards.grants_due(
                loans.grants,
                borrower_class=borrower_class,
                met=met,
                costs_fen={grant.kind: AMOUNT for grant in loans.grants},
            )
            assert all(each.amount_fen is None or each.amount_fen >= 0 for each in due)
    assert rewards.rewards_earned(loans.rewards, met=met) == loans.rewards
    for reward in loans.rewards:
        if reward.card:
            assert 0 <= rewards.card_price(reward.card, AMOUNT) <= AMOUNT
    if loans.hardship_relief:
        with or_open():
            found = rewards.relief(
                loans.hardship_relief, met=loans.hardship_relief.requires, interest_due_fen=AMOUNT
            )
            assert found is not None
            assert found.reduction_fen + found.interest_fen == AMOUNT
    if loans.subsidy_budget:
        floor = loans.subsidy_budget.min_yearly_fen
        assert rewards.budget_check(loans.subsidy_budget, budgeted_fen=floor).enough


def looked_after(loans: LoanRules) -> None:
    if loans.segregation:
        apart = loans.segregation.apart
        assert post_loan.held_apart(loans.segregation, {duty: [duty] for duty in apart}).apart
        held = post_loan.held_apart(loans.segregation, {duty: ["p"] for duty in apart})
        assert held.persons == ("p",)
    if loans.relending:
        with or_open():
            check = post_loan.line_check(loans.relending, drawn_fen=Fen(0), requested_fen=AMOUNT)
            assert check.headroom_fen >= 0
        for poor_county in (True, False):
            found = post_loan.source_of(loans.relending, poor_county=poor_county)
            assert found is None or found in {each.id for each in loans.relending.sources}


def offered(pack: Pack) -> None:
    assert pack.loans is not None
    for product in pack.loan_products:
        amounts(product)
        priced(product, pack.loans)
        secured(product.security)
        used(product)
        with or_open():
            if product.sla is not None:
                at = datetime(2020, 6, 1, 9, tzinfo=CHINA)
                assert sla_deadline(known(product.sla), CALENDAR, at).due_on >= ON
        moved(product)


def amounts(product: LoanProduct) -> None:
    """Some amount fits each standing, whatever the limit of the household."""
    for standing in (None, *(tier.id for tier in product.amount_tiers)):
        with or_open():
            least, most = products.amount_bounds(product, standing=standing)
            assert most is None or least <= most
            ask = Fen(max(1, least))
            check = products.amount_check_of(
                product, ask, credit_limit_fen=ask, outstanding_fen=Fen(0), standing=standing
            )
            assert check.allowed == (most is None or most > 0)
    if product.per_capita_fen is not None:
        with or_open():
            _, most = products.amount_bounds(product, persons=3)
            assert most is not None
            assert most <= 3 * product.per_capita_fen
    assert products.line_check(product, Fen(0), lent_fen=Fen(0)).allowed
    with or_open():
        longest = 12 if product.max_term_months is None else known(product.max_term_months)
        assert products.term_check(product, longest, production_cycle_months=1).allowed
        assert not products.term_check(product, 0, production_cycle_months=1).allowed


def priced(product: LoanProduct, rules: LoanRules) -> None:
    """Every price admits a rate, of its own money too, and the treasury never pays more than it."""
    tiers = [tier.min_principal_fen for tier in product.pricing_tiers]
    for principal in (0, *tiers):
        with or_open(*OF_THE_LOAN):
            price = pricing.pricing_of(product, principal)
            for funding in (None, *(source.id for source in product.funding_sources)):
                quoted(product, rules, price, principal, funding)
    with or_open():
        subsidy = known(product.subsidy)
        months = None if subsidy.max_months is None else known(subsidy.max_months)
        rate = pricing.subsidised_rate_ppm(subsidy, loan_rate_ppm=50_000, benchmark_ppm=43_500)
        paid = interest.interest_subsidy(
            AMOUNT, loan_rate_ppm=50_000, subsidised_rate_ppm=rate, months=12, max_months=months
        )
        assert paid.subsidy_fen + paid.borrower_interest_fen == paid.interest_fen
        assert subsidy.mode is not SubsidyMode.NONE or paid.subsidy_fen == 0


def quoted(
    product: LoanProduct, rules: LoanRules, price: Pricing, principal: int, funding: str | None
) -> None:
    term = 12
    reference = pricing.reference_rate_ppm(rules, price, term_months=term, on=ON)
    low, high = pricing.rate_bounds_ppm(price, reference_ppm=reference or 0)
    assert high is None or low <= high
    # A lender may always propose the lowest rate, unless the programme fixes it.
    proposed = None if low == high and reference is not None else low
    found = pricing.quote(
        product,
        rules,
        principal_fen=principal,
        term_months=term,
        on=ON,
        proposed_ppm=proposed,
        funding=funding,
    )
    assert 0 <= found.subsidised_rate_ppm <= found.rate_ppm


def secured(security: Security) -> None:
    for pledge in security.pledges:
        with or_open():
            if isinstance(pledge, AdvancePledge):
                limit = pledges.collateral_limit_of(pledge, 3, unit_value_fen=AMOUNT)
                assert 0 <= limit.limit_fen <= limit.collateral_value_fen
                continue
            deposit = pledges.asset_deposit_of(pledge, 3, unit_price_fen=AMOUNT)
            assert deposit.pledge_loan_fen <= 3 * AMOUNT
            refund = pledges.interest_refund(
                pledge.refund,
                AMOUNT,
                loan_rate_ppm=43_500,
                months=12,
                sold_to_keeper=True,
                held=frozenset(pledge.refund.requires if pledge.refund else ()),
            )
            assert (refund.refund_fen == refund.loan_interest_fen) == (pledge.refund is not None)
    if security.cover is not None:
        more = security.cover.more_than_pct
        worth = Fen(AMOUNT * more // 100 + 1)
        check = pledges.collateral_cover(AMOUNT, collateral_value_fen=worth, more_than_pct=more)
        assert check.accepted


def used(product: LoanProduct) -> None:
    """Somebody may use the product, for something, and nobody against its clauses."""
    for purpose in product.purpose.prohibited:
        assert not purpose_allowed(product, purpose)
    if product.purpose.allowed is not None and not isinstance(product.purpose.allowed, Open):
        assert all(purpose_allowed(product, purpose) for purpose in product.purpose.allowed)
        assert product.purpose.allowed
    modes = (product.use.modes if product.use else None) or (None,)
    assert any(
        products.use_check(product.use, borrower="h", user="h", repayer="h", mode=mode).allowed
        for mode in modes
    )
    held = {gate.code: True for gate in product.gates}
    assert products.gates_of(product, held).allowed
    assert products.gates_of(product, {}).allowed == (not product.gates)
    if product.fees is not None:
        with or_open():
            fees = known(product.fees)
            assert products.fee_check(fees, {}, principal_fen=AMOUNT).allowed
            other = products.fee_check(fees, {"no_such_fee": Fen(1)}, principal_fen=AMOUNT)
            assert not other.allowed
    for phase in product.availability:
        if not isinstance(phase.valid_from, Open):
            assert products.state_on(product.availability, phase.valid_from) == phase.state
    products.availability_check(product, ON, whitelisted=True)
    if product.group is not None:
        sizes = (product.group.min_households, product.group.max_households)
        for size in sizes:
            assert size is None or products.group_check(product.group, size).allowed
    if product.pooled is not None:
        best = product.pooled.project_grades[0]
        levels = product.pooled.library_levels
        assert products.project_check(
            product.pooled, levels=levels, grade=best, whitelisted=True
        ).allowed


def purpose_allowed(product: LoanProduct, purpose: str) -> bool:
    # Prohibited comes before a list that may be open.
    if purpose in product.purpose.prohibited:
        return limits.purpose_check(purpose, prohibited=product.purpose.prohibited).allowed
    return limits.purpose_check_of(product.purpose, purpose).allowed


def moved(product: LoanProduct) -> None:
    """Limits that revolve, loans renewed and maturities put off."""
    if product.revolving is not None:
        draw = facilities.Movement("draw", ON, AMOUNT)
        with or_open():
            used_up = facilities.revolving_of(
                product.revolving, AMOUNT, granted_on=ON, movements=[draw]
            )
            assert used_up.results[0].accepted
    if product.renewal is not None:
        with or_open():
            renewal = known(product.renewal)
            needed = (*known(renewal.conditions), *(f"{each}_ok" for each in renewal.rechecks))
            facts = dict.fromkeys(needed, True)
            assert facilities.renewal_of(
                renewal, AMOUNT, interest_unpaid_fen=Fen(0), facts=facts
            ).allowed
    if product.extension is not None:
        with or_open():
            extension = known(product.extension)
            facts = dict.fromkeys(known(extension.conditions), True)
            later = facilities.extension_of(
                extension, LATER, months=known(extension.max_months), facts=facts
            )
            assert later.matures_on > LATER
