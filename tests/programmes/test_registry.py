"""The registry's clauses: gates, signatures, papers, statuses, review, return, role split."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.errors import Refused
from services.programmes import registry, rerating, scoring
from services.programmes.loader import PackErrors, load, load_texts
from services.programmes.review import Notice, ReviewState, StepTaken, review
from services.programmes.schema.registry import MutualHelpGroup, Registry
from services.programmes.schema.scoring import Refresh, ScoringRules
from services.programmes.schema.values import Every, Open, Organ, known
from tests.programmes.county_texts import PACK, texts

PACKS = load().packs
ON = date(2018, 6, 1)


def of(ref: str) -> Registry:
    found = PACKS[ref].registry
    assert found is not None
    return found


def scheme(ref: str) -> ScoringRules:
    found = PACKS[ref].scoring
    assert found is not None
    return found


def gates(ref: str) -> list[str]:
    eligibility = PACKS[ref].eligibility
    assert eligibility is not None
    return [gate.code for gate in known(eligibility.gates)]


# NAT.reg.1, HN-KD.reg.1, LS17.reg.7, WC.reg.1
def test_whom_a_programme_is_for() -> None:
    def who(ref: str) -> list[str]:
        eligibility = PACKS[ref].eligibility
        assert eligibility is not None
        return [each.value for each in eligibility.borrower_classes]

    assert who("cn-national-2014@1") == ["poor_household"]
    assert who("hunan-poverty-office-137@2") == ["poor_household", "entity"]
    assert "non_poor_household" in who("hunan-online-kuaidai@zhuzhou")
    assert who("henan-lushi@2") == ["poor_household", "non_poor_household", "entity"]
    assert {"near_poor_household", "entity"} < set(who("sichuan-wangcang@1"))
    assert who("zhejiang-tongxiang-sanzhi@1")[-1] == "village_collective"


# HN-RCU.reg.2, HN-PO.reg.1, AH.reg.1, LS17.reg.3, TX.sco.1, TX.sco.2, MAS.loa.1, JX.loa.1
@pytest.mark.parametrize(
    ("ref", "count"),
    [
        ("hunan-rcu-poverty-microcredit@1", 7),
        ("hunan-poverty-office-137@2", 7),
        ("anhui-yizisanhe@1", 4),
        ("anhui-maanshan@1", 5),
        ("henan-lushi@2", 6),
        ("zhejiang-tongxiang-sanzhi@1", 6),
        ("jiangxi-chanye-xindaitong@1", 2),
    ],
)
def test_every_gate_must_hold_and_an_unknown_one_does_not(ref: str, count: int) -> None:
    eligibility = PACKS[ref].eligibility
    assert eligibility is not None
    rules = known(eligibility.gates)
    all_held = dict.fromkeys(gates(ref), 1)

    assert len(rules) == count
    assert scoring.gates_held(rules, all_held).eligible
    for code in all_held:
        unknown = {name: 1 for name in all_held if name != code}
        assert scoring.gates_held(rules, unknown).failed == (code,)


# LS17.reg.1, LS17.reg.2, LS17.reg.4, LS17.reg.5, LS17.reg.6
def test_what_is_collected_and_how_often() -> None:
    eligibility, rules = PACKS["henan-lushi@1"].eligibility, scheme("henan-lushi@1")
    assert eligibility is not None

    assert rules.item_count == 144
    assert len(eligibility.standards) == 6
    assert {each.id: each.every.value for each in rules.refresh} == {
        "major_property": "event",
        "departmental_data": "quarter",
        "grade": "quarter",
        "basic_data": "year",
    }


# LS17.reg.4, LS17.reg.5, LS17.reg.6, LS17.sco.7
@pytest.mark.parametrize(
    ("every", "due_on"),
    [
        (Every.DAY, date(2018, 2, 1)),
        (Every.WEEK, date(2018, 2, 7)),
        (Every.MONTH, date(2018, 2, 28)),
        (Every.QUARTER, date(2018, 4, 30)),
        (Every.YEAR, date(2019, 1, 31)),
    ],
)
def test_data_falls_due_again_on_the_day_and_not_before(every: Every, due_on: date) -> None:
    clause = Refresh(id="grade", every=every)
    last = date(2018, 1, 31)

    assert rerating.refresh_due(clause, last_on=last, on=due_on).due
    assert not rerating.refresh_due(clause, last_on=last, on=due_on - timedelta(days=1)).due


def test_what_is_renewed_by_events_waits_for_one() -> None:
    clause = Refresh(id="major_property", every=Every.EVENT)

    assert rerating.refresh_due(clause, last_on=ON, changed=True, on=ON).due
    assert not rerating.refresh_due(clause, last_on=ON, on=date(2030, 1, 1)).due


# LS17.sco.6, LS18.sco.3
def test_a_barred_household_returns_after_watching_or_after_repaying() -> None:
    rules = scheme("henan-lushi@2")
    with pytest.raises(Refused) as refused:
        rerating.after_veto(rules, cause_ended_on=ON, on=ON)
    assert refused.value.facts["key"] == "scoring.observation_months"

    decided = rules.model_copy(update={"observation_months": 12})
    assert not rerating.after_veto(decided, cause_ended_on=ON, on=date(2019, 5, 31)).allowed
    assert rerating.after_veto(decided, cause_ended_on=ON, on=date(2019, 6, 1)).allowed
    free = rules.model_copy(update={"observation_months": None})
    assert rerating.after_veto(free, cause_ended_on=ON, on=ON).allowed

    assert not rerating.after_default(rules, bad_loans_repaid_on=None).allowed
    assert rerating.after_default(rules, bad_loans_repaid_on=ON).first_on == ON
    assert not rerating.after_default(scheme("henan-lushi@1"), bad_loans_repaid_on=ON).allowed


OWN_SCHEME = """
overlay: {name: own, county: "%s", programme: %s, status: example}
values:
  scoring:
    type: weighted
    scheme: own
    factors: [{id: integrity, weight_pct: 60}, {id: labour, weight_pct: 40}]
    grades: [{id: A, min_score_centi: 6000, limit_fen: 1000000}]
"""


# JX.reg.2: a provincial frame without a scheme, which its county adds.
@pytest.mark.parametrize(
    ("ref", "county"), [("anhui-yizisanhe@1", "349901"), ("jiangxi-chanye-xindaitong@1", "369901")]
)
def test_a_county_adds_its_own_scheme_to_a_frame_without_one(
    ref: str, county: str, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(OWN_SCHEME % (county, ref), encoding="utf-8")

    terms = load([tmp_path]).terms(county, f"{ref}:own")

    assert PACKS[ref].scoring is None
    assert terms.scoring.scheme == "own"


# YC.reg.2
def test_the_blacklist_has_a_way_out_for_debt_and_for_bad_luck_only() -> None:
    reasons = {reason.id: reason for reason in of("ningxia-yanchi@2018").blacklist}
    witnesses = frozenset({"assigned_helper", "lender"})

    lucky = reasons["non_malicious"]
    assert rerating.off_the_blacklist(lucky, repaid_on=None, evidence_by=witnesses).allowed
    assert not rerating.off_the_blacklist(lucky, repaid_on=None).allowed
    owing = reasons["indebted"]
    assert not rerating.off_the_blacklist(owing, repaid_on=None, evidence_by=witnesses).allowed
    assert rerating.off_the_blacklist(owing, repaid_on=ON).first_on == ON
    assert not rerating.off_the_blacklist(
        reasons["malicious"], repaid_on=ON, evidence_by=witnesses
    ).allowed


# AH-RCU.reg.2, AH-RCU.reg.3, YC.reg.1
def test_signatures_and_ages_of_each_version() -> None:
    both, one = (of(f"anhui-rcu-poverty-microcredit@{version}").signatories for version in "12")
    assert both is not None
    assert one is not None

    assert registry.signed(both, ["spouse"]).missing == ("borrower",)
    assert registry.signed(both, ["borrower", "spouse"]).complete
    assert registry.signed(one, ["spouse"]).complete
    assert not registry.signed(one, ["adult_child"]).complete
    ages = [
        PACKS[ref].eligibility
        for ref in (
            "anhui-rcu-poverty-microcredit@1",
            "anhui-rcu-poverty-microcredit@2",
            "ningxia-yanchi@2018",
        )
    ]
    assert [each.max_age for each in ages if each] == [60, 65, 70]


# YY.reg.4
def test_authority_from_afar_takes_the_letter_and_the_call() -> None:
    rule = of("hubei-yunyang-troika@2018").remote_authority
    assert rule is not None
    letter, call = rule.evidence

    assert registry.authorised(rule, "adult_child", [letter, call]).complete
    assert registry.authorised(rule, "adult_child", [letter]).missing == (call,)
    assert not registry.authorised(rule, "spouse", [letter, call]).complete


# HN-RCU.reg.3, TX.reg.3, YY.reg.2
def test_no_paper_is_asked_for_that_the_list_does_not_name() -> None:
    two = of("hunan-rcu-poverty-microcredit@2").documents
    card = of("zhejiang-tongxiang-sanzhi@1").documents
    thirteen = of("hubei-yunyang-troika@2016").documents
    assert two is not None
    assert card is not None
    assert thirteen is not None

    assert registry.papers(two, ["id_card"]).missing == ("loan_certificate",)
    assert registry.papers(card, ["id_card"]).complete
    assert (thirteen.count, thirteen.count_before) == (13, 24)
    with pytest.raises(Refused):
        registry.papers(thirteen, [])


# MAS.reg.1, HN-PO.reg.3, JX.reg.1
def test_a_status_reaches_the_loans() -> None:
    events = of("anhui-maanshan@1").status_events
    assert [event.id for event in events] == ["delisted", "flagged", "deceased"]
    assert all("loan_recovery" in registry.status_effects(events, each.id) for each in events)
    assert registry.status_effects(events, "exited_poverty") == ()

    (delisted,) = of("hunan-poverty-office-137@2").status_events
    assert delisted.archive_copies == 4
    assert registry.reconciled(delisted, ["lender"]).missing == ("poverty_office",)
    assert registry.reconciled(delisted, ["poverty_office", "lender"]).complete
    assert of("jiangxi-chanye-xindaitong@1").status_owner is Organ.POVERTY_OFFICE


# AH.reg.2, LS17.reg.7, HN-RCU.reg.4
def test_only_the_named_ways_of_using_a_loan_are_allowed() -> None:
    linkage = of("anhui-yizisanhe@1").linkage
    assert linkage is not None
    joint = known(linkage.modes)[-1]

    assert [each.mode for each in known(linkage.modes)] == [
        "self_development",
        "partnership",
        "coop_cooperation",
        "coop_joint_venture",
    ]
    assert joint.terms is not None
    assert joint.terms.household_majority
    assert joint.terms.entity_control
    assert registry.mode_allowed(linkage, "partnership").allowed
    assert registry.mode_allowed(linkage, "enterprise_use").reason == "mode_not_listed"
    forms = of("henan-lushi@2").linkage
    assert forms is not None
    assert (forms.count, forms.operating_form_count) == (6, 8)
    assert isinstance(forms.operating_forms, Open)
    with pytest.raises(Refused) as refused:
        registry.mode_allowed(forms, "partnership")
    assert refused.value.facts["key"] == "registry.linkage.modes"
    assert registry.mode_allowed(forms, "job").allowed


# HN-PO.reg.2, AH.loa.1
def test_who_borrows_uses_and_repays() -> None:
    rule = PACKS["hunan-poverty-office-137@1"].eligibility
    free = PACKS["cn-national-2014@1"].eligibility
    assert rule is not None
    assert free is not None

    assert registry.same_person(rule, borrower="h1", user="h1", repayer="h1").allowed
    used = registry.same_person(rule, borrower="h1", user="firm", repayer="h1")
    repaid = registry.same_person(rule, borrower="h1", user="h1", repayer="firm")
    assert (used.reason, repaid.reason) == ("used_by_another", "repaid_by_another")
    assert registry.same_person(free, borrower="h1", user="firm", repayer="firm").allowed


# YY.reg.3
def test_older_households_borrow_with_an_honest_lead() -> None:
    rule = of("hubei-yunyang-troika@2017").mutual_help
    assert rule is not None
    with pytest.raises(Refused):
        registry.mutual_help(rule, {"honest": 1}, [70])

    decided = MutualHelpGroup(lead=rule.lead, member_min_age=60, max_members=3)
    assert registry.mutual_help(decided, {"honest": 1}, [60, 82]).allowed
    assert registry.mutual_help(decided, {}, [60]).reason == "lead_lacks"
    assert registry.mutual_help(decided, {"honest": 1}, [59]).reason == "member_too_young"
    assert registry.mutual_help(decided, {"honest": 1}, []).reason == "member_count"
    assert registry.mutual_help(decided, {"honest": 1}, [70] * 4).reason == "member_count"


# YY.reg.1
def test_coverage_leaves_out_whom_the_state_keeps() -> None:
    households = {"poor": 90, "five_guarantee_household": 10}
    served = {"poor": 45, "five_guarantee_household": 1}

    without = registry.covered(of("hubei-yunyang-troika@2018").coverage, households, served)
    everybody = registry.covered(None, households, served)

    assert (without.numerator, without.denominator) == (45, 90)
    assert (everybody.numerator, everybody.denominator) == (46, 100)


# SC.reg.1, SC.reg.3, TX.reg.2, WC.reg.2, LS18.reg.1
def test_what_else_the_registry_keeps() -> None:
    province, county = of("sichuan-5221@1"), of("sichuan-wangcang@1")
    (body,) = province.bodies

    assert body.organ is Organ.VILLAGE_RISK_GROUP
    assert body.takes_part_in == ("rating", "approval", "post_loan")
    assert [(flag.id, flag.scope) for flag in county.area_flags] == [("deep_poverty", "county")]
    assert county.societies is not None
    assert county.societies.repayment_record == "society_repayment"
    assert len(of("zhejiang-tongxiang-sanzhi@1").sources) == 6
    assert of("henan-lushi@2").honours == ("law_abiding", "honest", "civilised", "model")
    assert of("henan-lushi@1").honours == ()


# HN-PO.sco.1
def test_a_rating_comes_before_the_loan() -> None:
    assert scheme("hunan-poverty-office-137@1").required_before_loan
    assert not scheme("hunan-rcu-poverty-microcredit@2").required_before_loan


def step(name: str, organ: str, *, passed: bool = True) -> StepTaken:
    return StepTaken(name, organ, passed)


VILLAGE = step("village_assesses", "village_department")
TOWNSHIP = step("township_reviews", "township_station")
COUNTY = step("county_audits", "county_centre")


# MAS.sco.2
def test_a_review_goes_level_by_level_and_then_hangs_out() -> None:
    rules = scheme("anhui-maanshan@1")
    first = review(rules, [], on=ON)
    assert (first.state, first.next_step) == (ReviewState.AT_STEP, "village_assesses")
    assert review(rules, [VILLAGE, TOWNSHIP], on=ON).next_step == "county_audits"
    whole = [VILLAGE, TOWNSHIP, COUNTY]
    assert review(rules, whole, on=ON).state is ReviewState.NOTICE_DUE
    with pytest.raises(Refused):
        review(rules, whole, notice=Notice(ON), on=ON)

    assert rules.public_notice is not None
    decided = rules.model_copy(
        update={"public_notice": rules.public_notice.model_copy(update={"days": 7})}
    )
    last = ON + timedelta(days=7)
    hung = review(decided, whole, notice=Notice(ON), on=last)
    assert (hung.state, hung.notice_until) == (ReviewState.ON_NOTICE, last)
    after = last + timedelta(days=1)
    assert review(decided, whole, notice=Notice(ON), on=after).state is ReviewState.DONE
    assert review(decided, whole, notice=Notice(ON, 1), on=after).state is ReviewState.OBJECTED


def test_a_step_out_of_order_by_another_organ_or_refused_ends_there() -> None:
    rules = scheme("anhui-maanshan@1")

    for taken, reason in (
        ([TOWNSHIP], "REVIEW_OUT_OF_ORDER"),
        ([VILLAGE, TOWNSHIP, COUNTY, COUNTY], "REVIEW_NOTICE_OPEN"),
        ([step("village_assesses", "lender")], "REVIEW_WRONG_ORGAN"),
    ):
        with pytest.raises(Refused) as refused:
            review(rules, taken, on=ON)
        assert refused.value.reason == reason
    no = step("village_assesses", "village_department", passed=False)
    assert review(rules, [no], on=ON).state is ReviewState.REFUSED


# HN-RCU.sco.4, SC.sco.3, TX.sco.4
def test_the_chains_of_the_other_programmes() -> None:
    def chain(ref: str) -> list[str]:
        return [each.step for each in scheme(ref).review_chain]

    three = scheme("hunan-rcu-poverty-microcredit@2").review_chain
    assert len(three) == 3
    assert [organ.value for organ in three[0].panel] == [
        "five_elders",
        "poverty_cadre",
        "account_manager",
    ]
    notice = scheme("sichuan-wangcang@1").public_notice
    assert notice is not None
    assert notice.scope == "village_group"
    assert chain("zhejiang-tongxiang-sanzhi@1") == [
        "panel_proposes_names",
        "council_proposes_amounts",
        "others_check",
        "bank_grants",
    ]


@settings(max_examples=60)
@given(st.integers(0, 6), st.integers(0, 60), st.integers(0, 30))
def test_a_longer_wait_never_takes_a_review_back(passed: int, day: int, days: int) -> None:
    rules = scheme("anhui-maanshan@1")
    assert rules.public_notice is not None
    decided = rules.model_copy(
        update={"public_notice": rules.public_notice.model_copy(update={"days": days})}
    )
    taken = [VILLAGE, TOWNSHIP, COUNTY][:passed]
    order = [ReviewState.AT_STEP, ReviewState.ON_NOTICE, ReviewState.DONE]

    now, later = (
        review(decided, taken, notice=Notice(ON), on=ON + timedelta(days=on)).state
        for on in (day, day + 1)
    )

    assert order.index(now) <= order.index(later)


# HN-RCU.gat.1, SC.gat.1, HN-PO.gat.1, LS17.gat.1, YY.gat.1, YC.gat.1, YC.gat.2, TX.gat.1
def test_what_the_gateway_shares_publishes_and_keeps_apart() -> None:
    gateways = {ref: pack.gateway for ref, pack in PACKS.items() if pack.gateway}

    assert [each.id for each in gateways["hunan-poverty-office-137@2"].disclosures] == [
        "conditions",
        "rating_principles",
        "process_and_deadlines",
        "amount_use_and_rate",
        "breach_liability",
    ]
    (warning,) = gateways["sichuan-wangcang@1"].events
    assert known(warning.to) == (Organ.POVERTY_OFFICE, Organ.BANK_REGULATOR)
    assert len(gateways["hunan-poverty-office-137@1"].roles) == 5
    assert gateways["henan-lushi@2"].shared_grade == "government_and_banks"
    assert len({role.zone for role in gateways["hubei-yunyang-troika@2018"].roles}) == 6
    assert gateways["ningxia-yanchi@2018"].reconciliation
    scopes = {
        ref: [scope.id for scope in gateways[ref].self_service_scopes]
        for ref in ("ningxia-yanchi@2018", "zhejiang-tongxiang-sanzhi@1")
    }
    assert list(scopes.values()) == [
        ["own_loans", "policy", "project_payments"],
        ["credit_index", "available_amount"],
    ]


REGISTRY = """
registry:
  status_events:
    - id: delisted
      effects: [reconcile_loans]
      signed_by: [lender]
      archive_copies: 1
      archive_holders: [lender]
  signatories: {among: [borrower, spouse], required: 1}
  remote_authority: {by: [adult_child], evidence: [letter]}
  documents: {required: [id_card], count: 1}
  sources: [{id: court, every: month}]
  honours: [honest]
  linkage: {modes: [{mode: direct}], count: 1}
  blacklist: [{id: unlucky, second_grant: true, evidence_by: [lender]}]
gateway:
  reconciliation: true
  reconciliations: [{between: [lender, poverty_office], signed_by: [lender]}]
  self_service: true
  self_service_scopes: [{id: own_loans, proof: app}]
  disclosures: [{id: conditions}]
  roles: [{organ: lender, duties: [lending]}]
  segregation: [{first: review, second: disbursement}]
  events: [{id: early_warning, to: [poverty_office]}]
"""

WRONG = {
    "more signatures than people": ("required: 1", "required: 3", "only 2 may sign"),
    "a signer twice": ("[borrower, spouse]", "[spouse, spouse]", "spouse is named twice"),
    "authority without evidence": ("[letter]", "[]", "the evidence it takes"),
    "papers miscounted": ("count: 1}\n  sources", "count: 2}\n  sources", "1 are named"),
    "a paper twice": ("[id_card], count: 1", "[id_card, id_card]", "id_card is required twice"),
    "a status without effect": ("[reconcile_loans]", "[]", "no effect on loans"),
    "nobody signs": ("      signed_by: [lender]\n", "", "who signs"),
    "copies nobody holds": ("archive_copies: 1", "archive_copies: 4", "archive_holders for 4"),
    "modes miscounted": (
        "modes: [{mode: direct}]",
        "modes: [{mode: direct}, {mode: other}]",
        "2 modes are named",
    ),
    "a second grant on no evidence": (", evidence_by: [lender]}]", "}]", "whose evidence"),
    "an honour that is scored and not kept": ("[honest]", "[polite]", "registry.honours lacks"),
    "a source twice": (
        "[{id: court, every: month}]",
        "[{id: court, every: month}, {id: court, every: day}]",
        "the id is given twice",
    ),
    "a stranger who signs": (
        "signed_by: [lender]}]\n  self",
        "signed_by: [court]}]\n  self",
        "court",
    ),
    "books compared and not": ("  reconciliation: true\n", "", "need reconciliation: true"),
    "self-service switched off": (
        "self_service: true",
        "self_service: false",
        "self_service: true",
    ),
    "a duty apart from itself": ("second: disbursement", "second: review", "apart from itself"),
    "a role without duties": ("duties: [lending]", "duties: []", "at least one duty"),
    "a role of nobody": ("{organ: lender, d", "{organ: {open: not yet}, d", "organ or its zone"),
    "an event for nobody": ("to: [poverty_office]", "to: []", "shared with nobody"),
    "a key nobody knows": ("  honours:", "  honors:", "unknown key"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_registry_or_gateway_is_refused_with_its_rule(what: str) -> None:
    old, new, rule = WRONG[what]
    assert REGISTRY.count(old) == 1
    files = texts(overlay="", adoption="", institutions="")
    load_texts({**files, "plain@1.yaml": PACK + REGISTRY})

    with pytest.raises(PackErrors) as refused:
        load_texts({**files, "plain@1.yaml": PACK + REGISTRY.replace(old, new)})

    assert any(rule in problem.rule for problem in refused.value.problems), refused.value
