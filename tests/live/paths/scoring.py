"""Ratings: indicators recorded, households rated, their credit files read."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import uuid4

from services.programmes.schema.scoring import WeightedScoring
from services.programmes.schema.values import known
from tests.live.county import County
from tests.live.paths.path import Answer, Path
from tests.live.platform import must
from tests.live.setup import Case, Setup

STARTS_ON = date(2018, 3, 5)
FIRST_DAYS: Mapping[str, date] = {
    "ningxia-yanchi@2014": date(2014, 3, 3),
    "ningxia-yanchi@2016": date(2016, 3, 7),
    "ningxia-yanchi@2017": date(2017, 3, 6),
}
"""For programmes that were over by the usual first day."""
OPEN_GRADES = [{"id": "A", "min_score_centi": 0, "limit_fen": 1_000_000}]


def starts_on(case: Case) -> date:
    """A day on which the case's programme is in force."""
    return FIRST_DAYS.get(case["programme"], STARTS_ON)


def base_points_setup(case: Case) -> Setup:
    """The case's points and thresholds, where the programme prints none."""
    given = case["inputs"]
    return Setup(
        starts_on(case),
        {
            "scoring": {
                "adjustments": [
                    {"id": each["code"], "points_centi": each["points"] * 100}
                    for each in given["adjustments"]
                ],
                "grades": [
                    {
                        "id": band["grade"],
                        "min_score_centi": band["min_score"] * 100,
                        "limit_fen": band["limit_fen"],
                    }
                    for band in given["bands"]
                ],
                "observation_months": 12,
                "limit_validity_months": 12,
            }
        },
        own_credit=True,
    )


async def base_points(county: County, case: Case) -> Answer:
    """A household, and one like it without an honour: what the honour adds is the difference."""
    given = case["inputs"]
    await county.open(funds={}, covers=())
    household = await county.household(honour=given.get("honour", ""))
    plain = await county.household()
    await county.settle()
    codes = [each["code"] for each in given["adjustments"]] + given["veto_hits"]
    for household_id in (household, plain):
        await county.record(household_id, [*codes, *county.gates])
    await county.rate()
    file, without = await county.credit_file(household), await county.credit_file(plain)
    return {
        "score": file.score_centi // 100,
        "vetoed": bool(file.vetoes),
        "grade": file.grade or None,
        "base_limit_fen": without.limit_fen,
        "uplift_fen": file.limit_fen - without.limit_fen,
        "limit_fen": file.limit_fen,
    }


def weighted_setup(case: Case) -> Setup:
    """The case's thresholds; a programme that prints no grade gets one for everybody."""
    bands: Sequence[Mapping[str, Any]] = case["inputs"].get("bands", ())
    grades = [
        {
            "id": band["grade"],
            "min_score_centi": band["min_score_centi"],
            "limit_fen": band["limit_fen"],
        }
        for band in sorted(bands, key=lambda band: int(band["min_score_centi"]))
    ]
    scoring: dict[str, Any] = {"grades": grades or OPEN_GRADES}
    if "yanchi" in case["programme"]:
        scoring["grades"] = [{**grade, "rate_reduction_ppm": 0} for grade in yanchi_grades(grades)]
    return Setup(starts_on(case), {"scoring": scoring}, own_credit=True)


def yanchi_grades(said: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The county's four grades; those of the case, or any where it is silent."""
    limits = (2_000_000, 5_000_000, 8_000_000, 10_000_000)
    return said or [
        {"id": name, "min_score_centi": 6_000 + 1_000 * place, "limit_fen": limits[place]}
        for place, name in enumerate(("A", "A+", "AA", "AAA"))
    ]


async def weighted(county: County, case: Case) -> Answer:
    """Every factor's figure recorded, the household rated."""
    await county.open(funds={}, covers=())
    household = await county.household()
    await county.settle()
    factors = [(each["code"], each["score"]) for each in case["inputs"]["factors"]]
    await county.record_values(household, factors)
    await county.record(household, county.gates)
    await county.rate()
    file = await county.credit_file(household)
    whole = {
        "score_centi": file.score_centi,
        "grade": file.grade or None,
        "limit_fen": file.limit_fen,
    }
    return {key: whole[key] for key in case["expected"]}


GRADED = {"id": "A", "min_score_centi": 10_000}
VETO = "arrears"


def area_setup(case: Case) -> Setup:
    """Everybody has the base points and grade A, unless a veto stands."""
    grades = [GRADED] + [
        {"id": name, "min_score_centi": 11_000 + place}
        for place, name in enumerate(("AA", "AAA", "AAA+"))
    ]
    scoring = {
        "adjustments": [],
        "grades": grades,
        "observation_months": 12,
        "limit_validity_months": 12,
    }
    return Setup(starts_on(case), {"scoring": scoring}, own_credit=True)


async def credit_area(county: County, case: Case) -> Answer:
    """So many households of a village, or villages of a township, of which so many are credited."""
    given = case["inputs"]
    in_township = given["area"] == "township"
    await county.open(villages=given["total"] if in_township else 1, funds={}, covers=())
    villages = [county.village(place if in_township else 0) for place in range(given["total"])]
    households = await county.households(villages)
    await county.settle()
    for place, household in enumerate(households):
        vetoed = [VETO] * (place >= given["credited"])
        await county.record(household, [*county.gates, *vetoed])
    await county.rate()
    await county.ask("credit.AssessAreas", "centre", programme_id=county.programme_id)
    code = county.village()[: 9 if in_township else 12]
    answer = await county.ask("credit.ListCreditAreas", "centre", page_size=500)
    [area] = [each for each in answer.areas if each.area_code == code]
    must(area.denominator == given["total"], f"{area.denominator} units")
    must(area.numerator == given["credited"], f"{area.numerator} credited units")
    return {"awarded": area.certified, "min_units": area.min_units}


FULL_MARKS = 100
GATE = "gate:"
PROPOSED_FROM = date(2020, 3, 2)
PROPOSED_GRADE, PROPOSED_FEN = "standard", 3_000_000
PROPOSING = (
    {"step": "panel_proposes_names", "kind": "proposal", "organ": "moral_panel"},
    {"step": "council_proposes_amounts", "kind": "proposal", "organ": "village_council"},
    {"step": "others_check", "kind": "check", "organ": "village_committee"},
    {"step": "bank_grants", "kind": "grant", "organ": "lender"},
)
"""The programme's chain, with one of the groups of which it only says that they are others."""
AGREED, OVERRIDDEN = 1, 2
"""`StepOutcome` as on the wire."""


def gate_setup(case: Case) -> Setup:
    """Four grades, of which the highest score has the best; or people who propose them."""
    if "tongxiang" in case["programme"]:
        chain = {"scoring": {"review_chain": [dict(step) for step in PROPOSING]}}
        return Setup(PROPOSED_FROM, own_credit=True, variant=chain)
    grades = [
        {"id": f"grade_{4 - place}", "min_score_centi": 6_000 + 1_000 * place, "limit_fen": limit}
        for place, limit in enumerate((1_000_000, 2_000_000, 3_000_000, 5_000_000))
    ]
    return Setup(date(2018, 3, 5), {"scoring": {"grades": grades}}, own_credit=True)


async def gate(county: County, case: Case) -> Answer:
    """A household graded by all else of which the case's gates hold, and one of all or none."""
    given = case["inputs"]["gates"]
    must({each["code"] for each in given} == set(county.gates), "the programme has other gates")
    await county.open(funds={}, covers=())
    household, other = await county.households([county.village()] * 2)
    await county.settle()
    held = {each["code"]: each["passed"] for each in given}
    against = not all(held.values())
    for household_id, applies in ((household, held), (other, dict.fromkeys(held, against))):
        await county.record(household_id, [code for code, holds in applies.items() if holds])
        lacking = [code for code, holds in applies.items() if not holds]
        await county.record(household_id, lacking, applies=False)
    scheme = county.terms.scoring
    if isinstance(scheme, WeightedScoring):
        marks = [(factor.id, FULL_MARKS) for factor in known(scheme.factors)]
        for household_id in (household, other):
            await county.record_values(household_id, marks)
        await county.rate()
    else:
        await propose(county, [household, other])
    file, beside = await county.credit_file(household), await county.credit_file(other)
    must(bool(beside.grade) == against, f"grade {beside.grade or 'none'} for the other household")
    failed = [code.removeprefix(GATE) for code in file.holds if code.startswith(GATE)]
    must(bool(file.grade) == (not failed), f"grade {file.grade or 'none'} with {failed}")
    return {"eligible": bool(file.grade and file.limit_fen), "failed": failed}


async def propose(county: County, household_ids: Sequence[str]) -> None:
    """The chain takes all of these as far as to the grant; gates are held against it there."""
    opened = await county.ask(
        "credit.OpenReviews",
        "village",
        programme_id=county.programme_id,
        household_ids=household_ids,
    )
    review_ids = [verdict.id for verdict in opened.verdicts]
    must(all(review_ids), f"reviews refused: {[each.reason for each in opened.verdicts]}")
    for clause in PROPOSING[:-1]:
        named = clause["step"] == "council_proposes_amounts"
        step: dict[str, Any] = {"step": clause["step"], "outcome": AGREED}
        if named:
            step |= {"outcome": OVERRIDDEN, "grade": PROPOSED_GRADE, "limit_fen": PROPOSED_FEN}
            step |= {"reason": "they keep their word", "evidence_sha256": uuid4().hex * 2}
        steps = [{"review_id": review_id, **step} for review_id in review_ids]
        answer = await county.ask("credit.BatchDecideReviewSteps", "village", steps=steps)
        reasons = [each.reason for each in answer.verdicts if not each.accepted]
        must(not reasons, f"{clause['step']}: {reasons}")
        for review_id in review_ids if named else ():
            await county.ask(
                "credit.ConfirmOverride",
                "station",
                review_id=review_id,
                confirm=True,
                reason="so do we",
            )
    await county.ask("credit.GrantReviews", "bank", review_ids=review_ids)
    await county.settle()


DEDUCTION, BASE_POINTS = "bad_bank_record", 100
WAIVER = 4
"""`MeasureKind` as on the wire."""
WAIVED = {
    "id": "force_majeure_without_fault",
    "cause": "force_majeure",
    "only_without_fault": True,
    "only_if_repaid_on_time_before": True,
    "evidence_by": ["assigned_helper", "lender"],
}
"""The programme's clause; the path makes sure that it is."""


def waiver_setup(case: Case) -> Setup:
    """
    The programme's waiver in a scheme that takes the case's points off.

    The programme itself weighs factors that its sources do not print, so nothing in it takes points
    off: the scheme is the run's own, the waiver and everything else the programme's.
    """
    deduction = {"id": DEDUCTION, "points_centi": case["inputs"]["points"] * 100}
    scoring = {
        "type": "base_points",
        "scheme": "live",
        "base_points_centi": BASE_POINTS * 100,
        "adjustments": [deduction],
        "grades": OPEN_GRADES,
        "waivers": [WAIVED],
        "limit_validity_months": 12,
    }
    return Setup(starts_on(case), own_credit=True, variant={"scoring": scoring})


async def waiver(county: County, case: Case) -> Answer:
    """A household with the deduction, before and after somebody asks that it count nothing."""
    given = case["inputs"]
    packaged = county.platform.catalogue.programme(county.place.packaged_ref).scoring
    assert packaged is not None
    own = [each.model_copy(update={"source": ()}) for each in packaged.waivers]
    must(list(county.terms.scoring.waivers) == own, "the programme has other waivers")
    await county.open(funds={}, covers=())
    household = await county.household()
    await county.settle()
    await county.record(household, [DEDUCTION, *county.gates])
    await county.rate()
    score = (await county.credit_file(household)).score_centi
    must(score == (BASE_POINTS + given["points"]) * 100, f"a score of {score} with the deduction")
    proposed: dict[str, Any] = {
        "programme_id": county.programme_id,
        "household_id": household,
        "kind": WAIVER,
        "code": DEDUCTION,
        "reason": "seen",
        "evidence_sha256": uuid4().hex * 2,
        "fault": {key: given[key] for key in ("cause", "subjective", "repaid_on_time_before")},
    }
    refused = await county.refusal("credit.ProposeMeasure", "village", **proposed)
    must(refused in ("", "DEDUCTION_COUNTS"), f"refused with {refused}")
    if not refused:
        listed = await county.ask("credit.ListMeasures", "centre", household_id=household)
        (measure,) = listed.measures
        await county.ask(
            "credit.DecideMeasure",
            "bank",
            measure_id=measure.measure_id,
            approve=True,
            reason="so do we",
        )
    await county.rate()
    score = (await county.credit_file(household)).score_centi
    return {"waived": not refused, "applied_points": score // 100 - BASE_POINTS}


PATHS: Mapping[str, Path] = {
    "scoring.deduction_waiver": Path(waiver_setup, waiver),
    "scoring.gate": Path(gate_setup, gate),
    "scoring.credit_area": Path(
        area_setup, credit_area, needs=("credit.AssessAreas", "credit.ListCreditAreas")
    ),
    "scoring.base_points": Path(base_points_setup, base_points),
    "scoring.weighted": Path(weighted_setup, weighted, needs=("credit.Indicator.value",)),
}
