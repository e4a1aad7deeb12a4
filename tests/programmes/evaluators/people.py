"""Runs what a pack says of people: the registry, who may take part, scoring, access."""

from gateway import access
from gateway.policy import policies
from services.programmes import limits, registry, rerating, scoring, scoring_columns
from services.programmes.review import Notice, ReviewState, StepTaken, review
from services.programmes.schema.pack import Pack
from services.programmes.schema.registry import Registry
from services.programmes.schema.scoring import (
    BasePointsScoring,
    ExternalScoring,
    ScoringRules,
    WeightedScoring,
)
from services.programmes.schema.values import known
from tests.programmes.evaluators.given import LATER, ON, or_open


def eligible(pack: Pack) -> None:
    rules = pack.eligibility
    assert rules is not None
    with or_open():
        gates = known(rules.gates)
        assert scoring.gates_held(gates, {gate.code: 1 for gate in gates}).eligible
        assert scoring.gates_held(gates, {}).failed == tuple(gate.code for gate in gates)
    if rules.max_age is not None:
        with or_open():
            assert limits.age_check(ON, ON, known(rules.max_age)).allowed
    assert registry.same_person(rules, borrower="h", user="h", repayer="h").allowed
    other = registry.same_person(rules, borrower="h", user="x", repayer="h")
    assert other.allowed != rules.borrower_uses_and_repays


def registered(pack: Pack) -> None:
    rules = pack.registry
    assert rules is not None
    signed(rules)
    for event in rules.status_events:
        assert registry.status_effects(rules.status_events, event.id) == event.effects
        assert registry.reconciled(event, [organ.value for organ in event.signed_by]).complete
        assert registry.reconciled(event, []).complete == (not event.signed_by)
    linked(rules)
    for reason in rules.blacklist:
        whole = frozenset(organ.value for organ in reason.evidence_by)
        way_back = reason.second_grant or reason.released_after_full_repayment
        found = rerating.off_the_blacklist(reason, repaid_on=ON, evidence_by=whole)
        assert found.allowed == way_back
    covered = registry.covered(rules.coverage, {"poor": 3, "deceased": 1}, {"poor": 2})
    assert covered.numerator <= covered.denominator


def signed(rules: Registry) -> None:
    if rules.signatories:
        assert registry.signed(rules.signatories, rules.signatories.among).complete
        assert not registry.signed(rules.signatories, []).complete
    if rules.remote_authority:
        rule = rules.remote_authority
        assert registry.authorised(rule, rule.by[0], rule.evidence).complete
        assert not registry.authorised(rule, rule.by[0], []).complete
    if rules.documents:
        with or_open():
            assert registry.papers(rules.documents, known(rules.documents.required)).complete


def linked(rules: Registry) -> None:
    if rules.linkage:
        with or_open():
            for each in known(rules.linkage.modes):
                assert registry.mode_allowed(rules.linkage, each.mode).allowed
            assert not registry.mode_allowed(rules.linkage, "no_such_mode").allowed
    if rules.mutual_help:
        lead = dict.fromkeys(rules.mutual_help.lead, 1)
        with or_open():
            assert registry.mutual_help(rules.mutual_help, lead, [120]).allowed
        with or_open():
            assert not registry.mutual_help(rules.mutual_help, lead, []).allowed


def scored(pack: Pack) -> None:
    scheme = pack.scoring
    assert scheme is not None
    for area in scheme.credit_areas:
        with or_open():
            found = scoring.credit_area_of(scheme.credit_areas, area.scope, 10, 10)
            # A household is recognised by its grade.
            assert (found is None) == (area.scope == "household")
            assert found is None or found.awarded
    for target in scheme.targets:
        assert scoring.target_met(target, 10, 10).met
    for waiver in scheme.waivers:
        said = scoring.deduction_waiver_of(
            scheme.waivers, -100, cause=waiver.cause, subjective=False, repaid_on_time_before=True
        )
        assert said.waived
    with or_open():
        for grade in known(scheme.grades):
            with or_open():
                assert 0 <= scoring.graded_rate_ppm(scheme, grade.id, 43_500) <= 43_500
    reviewed(scheme)
    rated_again(scheme)
    with or_open():
        if isinstance(scheme, BasePointsScoring):
            by_points(scheme)
        elif isinstance(scheme, WeightedScoring):
            by_weights(scheme)
        elif isinstance(scheme, ExternalScoring):
            assert scoring.score_by_model(scheme, 10**9, "model", {}).grade is not None


def reviewed(scheme: ScoringRules) -> None:
    """The whole chain, each step by its organ and the notice without objections."""
    assert review(scheme, [], on=ON).next_step == (
        scheme.review_chain[0].step if scheme.review_chain else None
    )
    with or_open():
        taken = [
            StepTaken(step.step, known(step.organ).value, passed=True)
            for step in scheme.review_chain
        ]
        long_ago = Notice(ON.replace(year=1900))
        assert review(scheme, taken, notice=long_ago, on=ON).state is ReviewState.DONE


def rated_again(scheme: ScoringRules) -> None:
    for each in scheme.refresh:
        due = rerating.refresh_due(each, last_on=ON, changed=True, on=LATER)
        assert due.due
    with or_open():
        assert rerating.after_veto(scheme, cause_ended_on=ON.replace(year=1900), on=ON).allowed
    rerating.after_default(scheme, bad_loans_repaid_on=ON)


def by_points(scheme: BasePointsScoring) -> None:
    reads = [each.reads for each in known(scheme.adjustments)]
    reads += [veto.reads for veto in scheme.vetoes]
    for value in (0, 1):
        given = dict.fromkeys(reads, value)
        honour = scheme.honours.levels[0].id if scheme.honours and scheme.honours.levels else None
        single = scoring.score_by_points(scheme, given, honour)
        columns = scoring_columns.score_by_points(
            scheme, {name: [value] for name in reads}, [honour]
        )
        assert list(columns.limit_fen) == [single.limit_fen]


def by_weights(scheme: WeightedScoring) -> None:
    names = [each.id for each in known(scheme.factors)]
    best = scoring.score_by_weights(scheme, dict.fromkeys(names, 100))
    assert (best.score_centi, best.vetoes) == (10_000, ())
    columns = scoring_columns.score_by_weights(scheme, {name: [100] for name in names}, [None])
    assert list(columns.limit_fen) == [best.limit_fen]


def shared_data(pack: Pack) -> None:
    assert pack.gateway is not None
    conditions = access.conditions_of(pack.gateway)
    for first, second in conditions.segregation:
        assert first != second
    nobody = access.Subject("nobody")
    for action in policies().actions:
        assert not access.decide(nobody, action, access.Resource(), conditions).allow
    for role in pack.gateway.roles:
        assert role.name
