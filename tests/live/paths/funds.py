"""Funds: how much cover a fund gives, and who bears a loss that was compensated."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import grpc

from services.kernel.status import reason_of
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.upkeep import PaymentControl
from services.programmes.schema.values import Organ, known
from tests.live.county import FUND_FEN, SHORT_OF_ORGAN, County, Wish
from tests.live.folder import OPERATOR
from tests.live.paths import funds_entities as entities
from tests.live.paths.loans import (
    WANGCANG_COVERS,
    chosen_ratio,
    rate_and_days,
    without_assignment,
)
from tests.live.paths.path import Answer, Path
from tests.live.platform import must
from tests.live.setup import Case, Setup, benchmark, lay_over

STARTS_ON: Mapping[str, date] = {
    "hubei-yunyang-troika@2016": date(2016, 2, 1),
    "hubei-yunyang-troika@2017": date(2017, 2, 1),
    "hunan-poverty-office-137@1": date(2017, 7, 3),
}
USUAL_START = date(2018, 3, 5)
PRINCIPAL_FEN_MAX = 5_000_000
TRIGGER_DAYS = 70
UNCOVERED = "CAUSE_NOT_COVERED"
NO_COVER = "LOAN_NOT_COVERED"
PAYMENT = "compensation"
GRADED = ("village", "township", "county")
LENDER = "bank"


GUARANTEED = "hubei-yunyang-troika@2017"
INSURED_FEN = 2_000_000
GUARANTEE: Mapping[str, Any] = {
    "insurance": {
        "required_covers": [{"borrower_class": "poor_household", "covers": ["credit_guarantee"]}],
        "covers": [
            {
                "id": "credit_guarantee",
                "sum_insured": {"of": "fixed", "amount_fen": INSURED_FEN},
            }
        ],
    }
}
"""The insurer bears a share together with the fund, up to the sum insured (S25)."""


def starts_on(case: Case) -> date:
    """A day on which the case's programme is in force, and some months after it."""
    return STARTS_ON.get(case["programme"], USUAL_START)


# --- losses ---------------------------------------------------------------------------------------


def loss_setup(case: Case) -> Setup:
    """The treasury bears the interest: the loss is the principal, and what is above its cap."""
    given, programme = case["inputs"], case["programme"]
    if entities.of_entity(case):
        return Setup(starts_on(case), entities.values(case))
    interest = given["loss_fen"] - min(given["loss_fen"], PRINCIPAL_FEN_MAX)
    values: dict[str, Any] = {}
    if interest:
        rate, _ = rate_and_days(PRINCIPAL_FEN_MAX, interest, after=days_drawn(programme))
        values = {"loans": {"benchmark": benchmark(rate)}}
    elif programme.startswith(("ningxia", "hubei", "anhui", "sichuan-5221")):
        subsidy = {"mode": "full_at_benchmark"}
        values = {"loan_products": [{"id": "microcredit", "subsidy": subsidy}]}
    if programme == GUARANTEED:
        values = dict(lay_over(values, GUARANTEE))
    if "hunan-rcu" in programme:
        ratio = {each["party"]: each["share"] for each in given["shares"]}
        values = dict(lay_over(values, chosen_ratio(ratio)))
    if "wangcang" in programme:
        values = dict(lay_over(values, without_assignment(WANGCANG_COVERS)))
    return Setup(starts_on(case), values)


def days_drawn(programme: str) -> int:
    """A limit of three years is due when it ends: its loss comes that many days later."""
    return 3 * 366 + TRIGGER_DAYS if "yanchi" in programme else 0


async def lost(county: County, loss_fen: int) -> Any:
    """A loan that is overdue for longer than the trigger, with exactly this owed on it."""
    principal = min(loss_fen, PRINCIPAL_FEN_MAX)
    loan = await county.lend(Wish(await county.borrower(), principal, months=1))
    due = date(loan.matures_on.year, loan.matures_on.month, loan.matures_on.day)
    day = due + timedelta(days=TRIGGER_DAYS + 1)
    if loss_fen > principal:
        after = days_drawn(county.programme_id)
        _, days = rate_and_days(principal, loss_fen - principal, after=after)
        day = county.today + timedelta(days=days)
    # The close of that day states what is owed.
    await county.advance(day + timedelta(days=1))
    return loan


async def compensated(
    county: County, loan: Any, cause: str, *, model: SharingModel | None = None, by: str = LENDER
) -> Any:
    """The lender files the case, the county decides it, step by step where the programme asks."""
    visited = {"kind": "visited", "on": county.today, "evidence": uuid4().hex}
    filed = await county.ask(
        "funds.FileCompensationCase",
        by,
        loan_id=loan.loan_id,
        cause=cause,
        evidence=[uuid4().hex],
        collection_steps=[visited],
        shows=list((model or model_of(county)).requires),
    )
    case_id = filed.compensation_case.case_id
    control = county.terms.fund.payment_control
    if control is not None and PAYMENT in control.payments:
        done = await step_by_step(county, case_id, control)
    else:
        done = await county.ask(
            "funds.DecideCompensationCase", "centre", post=2, case_id=case_id, approve=True
        )
    await county.settle()
    return done.compensation_case


async def step_by_step(county: County, case_id: str, control: PaymentControl) -> Any:
    """Verified, published where the programme wants it, approved, paid: by other persons each."""
    await county.ask("funds.VerifyCase", "centre", case_id=case_id, findings="in order")
    notice = control.public_notice
    if notice is not None:
        for level in GRADED if notice.graded else ("",):
            await county.ask(
                "funds.PublishCase", "centre", case_id=case_id, level=level, place="board"
            )
        await county.advance(county.today + timedelta(days=known(notice.days) + 1))
    gateway = county.terms.pack.gateway
    named = [*(gateway.compensation_approved_by if gateway else ()), *control.approved_by]
    for organ in dict.fromkeys(named or [Organ.COUNTY_CENTRE]):
        short = SHORT_OF_ORGAN[organ.value]
        await county.ask("funds.ApproveCase", short, post=2, case_id=case_id)
    return await county.ask("funds.PayCase", "finance", case_id=case_id)


def model_of(county: County) -> SharingModel:
    """The way in which a household's loss is shared."""
    found = county.terms.default_sharing_model(county.product("microcredit"))
    assert found is not None
    return found


def cause_of(case: Case, model: SharingModel) -> str:
    """The case's cause, or one that the programme covers."""
    said = case["inputs"].get("condition", {}).get("cause")
    return said or (model.covered_causes or ("cannot_repay",))[0]


async def risk_share(county: County, case: Case) -> Answer:
    """The parts of a compensated loss by the names of the programme's shares."""
    given = case["inputs"]
    balances: Mapping[str, int] = given.get("balances_fen", {})
    by = LENDER
    if entities.of_entity(case):
        model = entities.model_of(county, case)
        by = entities.lender_of(county, model)
        loan, _ = await entities.lost(county, case, model)
    else:
        await county.open(funds=balances or None)
        model = model_of(county)
        loan = await lost(county, given["loss_fen"])
    parties = [each["party"] for each in given["shares"]]
    try:
        done = await compensated(county, loan, cause_of(case, model), model=model, by=by)
    except grpc.aio.AioRpcError as error:
        if reason_of(error) != (UNCOVERED if model.is_shared else NO_COVER):
            raise
        # No case, no compensation: what is owed stays with the lender.
        owed = await county.loan(loan.loan_id)
        stays = owed.outstanding_fen + owed.interest_fen
        return {"amounts_fen": {party: stays * (party == by) for party in parties}}
    must(done.loss_fen == given["loss_fen"], f"a loss of {done.loss_fen} fen")
    if case["programme"] == GUARANTEED:
        [borne] = [part.amount_fen for part in done.parts if part.party == "insurer"]
        must(borne == INSURED_FEN, f"the insurer bears {borne} fen")
    share_of = {m.party: each.share for each in model.together for m in each.members}
    amounts, paid = dict.fromkeys(parties, 0), dict.fromkeys(parties, 0)
    for part in done.parts:
        party = share_of.get(part.party, part.party)
        amounts[party] = amounts.get(party, 0) + part.amount_fen
        paid[party] = paid.get(party, 0) + part.paid_fen
    answer: dict[str, Any] = {"amounts_fen": amounts}
    if balances:
        short = {party: amounts[party] - paid[party] for party in parties}
        answer["paid_fen"] = paid
        answer["unfunded_fen"] = {party: fen for party, fen in short.items() if fen}
    return answer


async def waterfall(county: County, case: Case) -> Answer:
    """Pots with the case's balances, and whoever shares after them."""
    given = case["inputs"]
    pots = {each["party"]: each["balance_fen"] for each in given["layers"] if each["type"] == "pot"}
    if entities.of_entity(case):
        model = entities.model_of(county, case)
        loan, fund_ids = await entities.lost(county, case, model)
    else:
        model = model_of(county)
        await county.open()
        fund_ids = {party: await county.fund(party, fen) for party, fen in pots.items()}
        loan = await lost(county, given["loss_fen"])
    done = await compensated(county, loan, cause_of(case, model), model=model)
    after = {
        party: (await county.ask("funds.GetFund", "finance", fund_id=fund_id)).fund.balance_fen
        for party, fund_id in fund_ids.items()
    }
    return {
        "allocations": [
            {"layer": part.layer, "party": part.party, "amount_fen": part.amount_fen}
            for part in done.parts
        ],
        "pots_after_fen": after,
        "uncovered_fen": given["loss_fen"] - sum(part.amount_fen for part in done.parts),
    }


def recovery_setup(case: Case) -> Setup:
    """The programme's own shares."""
    return Setup(starts_on(case))


async def recovery(county: County, case: Case) -> Answer:
    """A loss that comes to the case's shares, all of them paid; then what is recovered of it."""
    given = case["inputs"]
    paid = {each["party"]: each["amount_fen"] for each in given["paid"]}
    await county.open()
    loan = await lost(county, sum(paid.values()))
    done = await compensated(county, loan, cause_of(case, model_of(county)))
    for part in done.parts:
        must(part.amount_fen == paid[part.party], f"{part.party} bears {part.amount_fen} fen")
        if part.paid_fen < part.amount_fen:
            await county.ask(
                "funds.ConfirmShare",
                "bank",
                case_id=done.case_id,
                position=part.position,
                amount_fen=part.amount_fen - part.paid_fen,
                value_date=county.today,
                reference=uuid4().hex,
            )
    before = (await county.loan(loan.loan_id)).subrogated_fen
    made = await county.ask(
        "funds.RecordRecovery",
        "bank",
        case_id=done.case_id,
        recovered_fen=given["recovered_fen"],
        costs_fen=given["costs_fen"],
        value_date=county.today,
        evidence=[uuid4().hex],
        reference=uuid4().hex,
    )
    await county.settle()
    shared = {part.party: part.paid_fen for part in made.recovery.shares}
    after = (await county.loan(loan.loan_id)).subrogated_fen
    must(before - after == sum(shared.values()), f"the debt fell by {before - after} fen")
    return {
        "costs_fen": made.recovery.costs_fen,
        "amounts_fen": {party: shared.get(party, 0) for party in paid},
        "to_household_fen": made.recovery.household_fen,
    }


# --- leverage -------------------------------------------------------------------------------------


def leverage_setup(case: Case) -> Setup:
    """The multiple is the programme's."""
    values: dict[str, Any] = {}
    if "hunan" in case["programme"]:
        values = chosen_ratio({"bank": 2, "fund": 8})
    return Setup(starts_on(case), values, limit_fen=FUND_FEN)


async def leverage(county: County, case: Case) -> Answer:
    """The case's balance paid in and its loans lent; the fund says how far it goes."""
    given = case["inputs"]
    must(known(county.terms.fund.multiple) == given["multiple"], "another multiple")
    await county.open(funds={})
    [kind] = county.fund_kinds()
    fund_id = await county.fund(kind, given["fund_fen"])
    # What was lent before our books began is covered too, whatever room there is (S26).
    await county.take_over({"bank": given["outstanding_fen"]}, "microcredit")
    fund = (await county.ask("funds.GetFund", "finance", fund_id=fund_id)).fund
    must(fund.covered_fen == given["outstanding_fen"], f"{fund.covered_fen} fen covered")
    watch = await county.ask("funds.GetFundWatch", "finance", fund_id=fund_id)
    return {
        "capacity_fen": fund.capacity_fen,
        "headroom_fen": fund.capacity_fen - fund.covered_fen,
        "within_cap": fund.covered_fen <= fund.capacity_fen,
        "required_fund_fen": watch.required_fen,
        "top_up_fen": watch.top_up_fen,
    }


# --- funds of every kind --------------------------------------------------------------------------


def bare_setup(case: Case) -> Setup:
    """The programme as it is."""
    return Setup(starts_on(case))


BANKS = ("bank", "bank2", "bank3")


def allocate_setup(case: Case) -> Setup:
    """Three lead banks."""
    return Setup(starts_on(case), lenders=BANKS)


LENT_A_WEIGHT_FEN = 1_000_000


async def allocate(county: County, case: Case) -> Answer:
    """The pool is divided by what the banks have lent; the register says what each keeps."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    fund_id = await county.fund("government", given["total_fen"])
    names = dict(zip((each["party"] for each in given["weights"]), BANKS, strict=True))
    lent = {names[e["party"]]: e["weight"] * LENT_A_WEIGHT_FEN for e in given["weights"]}
    await county.take_over(lent, "entity_credit")
    asked = await county.ask(
        "funds.ProposeDivision", "finance", fund_id=fund_id, value_date=county.today
    )
    await county.ask(
        "funds.DecideFundOrder", "finance", post=2, order_id=asked.order.order_id, approve=True
    )
    register = await county.ask("funds.ListFundRegister", "finance")
    province = await county.platform.call(
        "funds.ListFundRegister", OPERATOR, {"county_code": "000000", "page_size": 500}
    )
    must(any(each.fund_id == fund_id for each in province.funds), "the province knows no such fund")
    held = {each.custodian_id: each.balance_fen for each in register.funds[0].accounts}
    return {
        "amounts_fen": {party: held[county.institution(short)] for party, short in names.items()}
    }


def insurer_pool_setup(case: Case) -> Setup:
    """The region's default rate, which the pack leaves open."""
    given = case["inputs"]
    pool = {
        "default_rate_ppm": given["default_rate_ppm"],
        "insurer_share_pct": given["insurer_share_pct"],
    }
    return Setup(starts_on(case), {"fund": {"insurer_pool": pool}})


async def insurer_pool(county: County, case: Case) -> Answer:
    """The size of an empty pool for the lending that is expected."""
    await county.open(funds={}, covers=())
    fund_id = await county.fund("insurer_pool", 0)
    size = await county.ask(
        "funds.SizeInsurerPool",
        "finance",
        fund_id=fund_id,
        expected_lending_fen=case["inputs"]["expected_lending_fen"],
        due_on=county.today,
    )
    must(size.missing_fen == size.pool_fen, "an empty pool lacks all of it")
    return {"pool_fen": size.pool_fen}


async def pool_mix(county: County, case: Case) -> Answer:
    """What government and enterprises paid in, and what was lent on it."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    fund_id = await county.fund("enterprise_mutual_fund", given["gov_fen"])
    await county.pay_in(fund_id, given["enterprise_fen"], "enterprise")
    await county.take_over({"bank": given["loans_fen"]}, "entity_credit")
    pool = await county.ask("funds.GetMutualPool", "finance", fund_id=fund_id)
    must(pool.loans_fen == given["loans_fen"], f"{pool.loans_fen} fen lent")
    return {key: getattr(pool, key) for key in case["expected"]}


async def top_up_rule(county: County, case: Case) -> Answer:
    """The first contributions, a year's loans, and what its last day makes due."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    sources = [each.id for each in county.terms.fund.contributions]
    fund_id = await county.fund("fund", 0)
    for source, fen in zip(sources, given["contributions_fen"], strict=True):
        await county.pay_in(fund_id, fen, source)
    await county.take_over({"bank": given["total_loans_fen"]}, "microcredit")
    needs = await county.ask("funds.GetTopUp", "finance", fund_id=fund_id)
    must(needs.minimum_fen == given["min_balance_fen"], "another minimum")
    await county.advance(date(county.today.year + 1, 1, 1))
    arrival = await county.ask("funds.GetArrival", "finance", fund_id=fund_id)
    [due] = arrival.dues
    await county.pay_in(fund_id, due.amount_fen, "yearly_top_up")
    fund = (await county.ask("funds.GetFund", "finance", fund_id=fund_id)).fund
    return {
        "meets_minimum": needs.meets_minimum,
        "added_fen": due.amount_fen,
        "balance_after_fen": fund.balance_fen,
    }


def top_up_setup(case: Case) -> Setup:
    """Near the year's end, so that few days have to pass; the county has chosen its ratio."""
    return Setup(date(2018, 12, 28), chosen_ratio({"bank": 2, "fund": 8}))


async def village_fund(county: County, case: Case) -> Answer:
    """A village's fund, and the village's loans."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    fund_id = await county.fund("village_mutual_fund", given["fund_fen"])
    await county.take_over({"bank": given["village_loans_fen"]}, "microcredit")
    found = await county.ask("funds.GetVillageFund", "finance", fund_id=fund_id)
    must(found.village_loans_fen == given["village_loans_fen"], "other loans")
    return {"min_fen": found.min_fen, "max_fen": found.max_fen, "within": found.within}


async def fee_subsidy(county: County, case: Case) -> Answer:
    """A lender's fee for what it lent, a collector's for the files; both are paid."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    await county.take_over({"bank": given["disbursed_fen"]}, "microcredit")
    ask: dict[str, Any] = {"programme_id": county.programme_id, "from_date": county.today}
    ask["until_date"] = county.today
    lending = await county.ask("funds.FileFeeClaim", "bank", kind=1, **ask)
    files = await county.ask(
        "funds.FileFeeClaim",
        "centre",
        kind=2,
        households=given["households"],
        evidence=[uuid4().hex],
        **ask,
    )
    paid = []
    for claim_id in (lending.claim.claim_id, files.claim.claim_id):
        await county.ask("funds.DecideFeeClaim", "finance", claim_id=claim_id, approve=True)
        answer = await county.ask(
            "funds.PayFeeClaim", "finance", post=2, claim_id=claim_id, value_date=county.today
        )
        paid.append(answer.claim.amount_fen)
    return {"lending_subsidy_fen": paid[0], "data_fee_fen": paid[1]}


PATHS: Mapping[str, Path] = {
    "funds.allocate": Path(allocate_setup, allocate),
    "funds.fee_subsidy": Path(bare_setup, fee_subsidy),
    "funds.insurer_pool": Path(insurer_pool_setup, insurer_pool),
    "funds.pool_mix": Path(bare_setup, pool_mix),
    "funds.top_up_rule": Path(top_up_setup, top_up_rule),
    "funds.village_fund": Path(bare_setup, village_fund),
    "funds.risk_share": Path(
        loss_setup,
        risk_share,
        heavy=lambda case: days_drawn(case["programme"]) > 0,
    ),
    "funds.waterfall": Path(loss_setup, waterfall),
    "funds.recovery": Path(recovery_setup, recovery),
    "funds.leverage": Path(leverage_setup, leverage),
}
