"""Schemes that are not points: a model outside the platform, and people who propose."""

from uuid import UUID

import pytest
from google.protobuf.message import Message
from liandong.credit.v1 import indicators_pb2, reviews_pb2, scores_pb2

from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import Refused
from services.programmes.loader import Catalogue, load_texts
from tests.credit.chained import BANK, EVIDENCE, STATION, VILLAGE_PANEL, Desk
from tests.credit.county import OPENED, household_id

pytestmark = pytest.mark.postgres

HEAD = """
programme:
  id: {id}
  version: "1"
  effective_from: 2020-01-01
  title: {{zh: 示例, en: Example}}
scoring:
"""

PORTRAIT = (
    HEAD.format(id="portrait")
    + """
  type: external_model
  scheme: portrait
  vetoes: [{id: arrears}]
  grades:
    - {id: A, min_score_centi: 60000, limit_fen: 5000000}
    - {id: B, min_score_centi: 70000, limit_fen: 8000000}
"""
)

PANEL = (
    HEAD.format(id="panel")
    + """
  type: proposal
  scheme: panel
  vetoes: [{id: offender}]
  limit_validity_months: 36
  grades:
    - {id: standard, min_score_centi: {open: conduct is judged}, limit_fen: {open: not stated}}
    - {id: lead, min_score_centi: {open: conduct is judged}, limit_fen: 50000000}
  review_chain:
    - {step: panel_proposes, kind: proposal, organ: moral_panel}
    - {step: council_sums, kind: proposal, organ: village_council}
    - {step: bank_grants, kind: grant, organ: lender}
"""
)

ADOPTION = """
adoption:
  county: "990101"
  entries:
    - {programme: portrait@1, from: 2020-01-01, parties: {}}
    - {programme: panel@1, from: 2020-01-01, parties: {}}
"""


@pytest.fixture(scope="module")
def both() -> Catalogue:
    return load_texts(
        {"portrait@1.yaml": PORTRAIT, "panel@1.yaml": PANEL, "adoption.yaml": ADOPTION}
    )


@pytest.fixture
def outside(db: Database, both: Catalogue) -> Desk:
    return Desk(db, both)


async def test_a_models_score_grades_with_the_models_id_and_without_one_nobody_is_graded(
    outside: Desk,
) -> None:
    await outside.put(1, 2)
    score = scores_pb2.RecordExternalScoreRequest(
        household_id=str(household_id(1)),
        model_id="portrait@3",
        score_centi=71_000,
        min_score_centi=30_000,
        max_score_centi=95_000,
        scored_on=wire.date_to_proto(OPENED),
        evidence_sha256=EVIDENCE,
    )
    await outside.ask("RecordExternalScore", score, by=BANK)

    answer = await outside.ask("RateHouseholds", outside.rate_request("portrait"))

    file = await outside.file(1)
    assert (answer.rated, list(answer.incomplete_household_ids)) == (1, [str(household_id(2))])
    assert (file.grade, file.limit_fen) == ("B", 8_000_000)
    assert "71000 by model portrait@3" in file.working
    derived = await outside.rederive(file.rating_id)
    assert derived.identical
    assert [(each.code, each.state) for each in derived.stored.inputs] == [
        ("arrears", indicators_pb2.INPUT_STATE_MISSING),
        ("external_model:portrait@3", indicators_pb2.INPUT_STATE_FRESH),
    ]


async def test_people_propose_names_and_sums_and_the_bank_grants(outside: Desk) -> None:
    await outside.put(1)
    with pytest.raises(Refused, match="REVIEW_NEEDED"):
        await outside.ask("RateHouseholds", outside.rate_request("panel"))
    opening = reviews_pb2.OpenReviewsRequest(
        programme_id="panel", household_ids=[str(household_id(1))]
    )
    opened = await outside.ask("OpenReviews", opening, by=VILLAGE_PANEL)
    review_id = opened.verdicts[0].id

    async def say(method: str, request: Message, *, by: object = VILLAGE_PANEL) -> str:
        answer = await outside.ask(method, request, by=by)  # type: ignore[arg-type]
        reason: str = answer.verdicts[0].reason
        return reason

    def step(name: str, **more: object) -> reviews_pb2.BatchDecideReviewStepsRequest:
        taken = reviews_pb2.ReviewStep(review_id=review_id, step=name, **more)  # type: ignore[arg-type]
        return reviews_pb2.BatchDecideReviewStepsRequest(steps=[taken])

    agreed = step("panel_proposes", outcome=reviews_pb2.STEP_OUTCOME_AGREED)
    assert await say("BatchDecideReviewSteps", agreed) == ""
    sums = {
        "outcome": reviews_pb2.STEP_OUTCOME_OVERRIDDEN,
        "grade": "standard",
        "reason": "he keeps his word",
        "evidence_sha256": EVIDENCE,
    }
    assert await say("BatchDecideReviewSteps", step("council_sums", **sums)) == "LIMIT_NEEDED"
    with_sum = step("council_sums", **sums, limit_fen=3_000_000)
    assert await say("BatchDecideReviewSteps", with_sum) == ""
    confirm = reviews_pb2.ConfirmOverrideRequest(
        review_id=review_id, confirm=True, reason="so do I"
    )
    await outside.ask("ConfirmOverride", confirm, by=STATION)

    assert (
        await say("GrantReviews", reviews_pb2.GrantReviewsRequest(review_ids=[review_id]), by=BANK)
        == ""
    )

    file = await outside.file(1)
    assert (file.grade, file.limit_fen) == ("standard", 3_000_000)
    assert (await outside.rederive(file.rating_id)).identical
    assert UUID(file.rating_id)
