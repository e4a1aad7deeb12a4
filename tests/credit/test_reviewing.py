"""The rating chain over gRPC: steps, overrides, notice, objections, grant, contests."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from liandong.credit.v1 import reviews_pb2

from services.kernel import wire
from services.kernel.caller import Caller
from services.kernel.errors import Conflict, Denied, Invalid, Refused
from services.programmes.loader import load_texts
from tests.credit.chained import (
    ADOPTION,
    BANK,
    CALENDAR,
    CENTRE,
    EVIDENCE,
    GRANTER,
    OFFICE,
    STATION,
    VILLAGE_PANEL,
    Desk,
)
from tests.credit.county import OPENED, a_caller, household_id

pytestmark = pytest.mark.postgres

AGREED = reviews_pb2.STEP_OUTCOME_AGREED
OVERRIDDEN = reviews_pb2.STEP_OUTCOME_OVERRIDDEN
CLOSED = OPENED + timedelta(days=8)
SECOND = a_caller("village_department", institution_id="vil-1", areas=())
WEIGHED = """
programme:
  id: chained
  version: "2"
  effective_from: 2020-01-01
  title: {zh: 加权, en: Weighed}
scoring:
  type: weighted
  scheme: weighed
  factors: [{id: skills, weight_pct: 100}]
  grades: [{id: A, min_score_centi: 6000, limit_fen: 5000000}]
  review_chain: [{step: village_appraises, organ: moral_panel}]
  public_notice: {after_step: village_appraises, scope: village, days: 7}
"""


async def opened(desk: Desk, *numbers: int) -> list[str]:
    request = reviews_pb2.OpenReviewsRequest(
        programme_id="chained", household_ids=[str(household_id(n)) for n in numbers]
    )
    answer: reviews_pb2.OpenReviewsResponse = await desk.ask("OpenReviews", request, by=STATION)
    assert all(verdict.accepted for verdict in answer.verdicts), answer
    return [verdict.id for verdict in answer.verdicts]


async def step(desk: Desk, review_id: str, name: str, *, by: Caller, **more: Any) -> Any:
    taken = {"outcome": AGREED, "present": 4, "members": 5, "votes_for": 4, **more}
    request = reviews_pb2.BatchDecideReviewStepsRequest(
        steps=[reviews_pb2.ReviewStep(review_id=review_id, step=name, **taken)]
    )
    answer: reviews_pb2.BatchDecideReviewStepsResponse = await desk.ask(
        "BatchDecideReviewSteps", request, by=by
    )
    return answer.verdicts[0]


async def reviewed(desk: Desk, review_id: str, **first: Any) -> None:
    for name, by, more in (
        ("village_appraises", VILLAGE_PANEL, first),
        ("township_reviews", STATION, {}),
        ("county_audits", CENTRE, {}),
    ):
        verdict = await step(desk, review_id, name, by=by, **more)
        assert verdict.accepted, verdict


async def published(desk: Desk, review_id: str) -> None:
    request = reviews_pb2.PublishNoticesRequest(review_ids=[review_id], evidence_sha256=EVIDENCE)
    answer = await desk.ask("PublishNotices", request, by=STATION)
    assert answer.verdicts[0].accepted, answer


async def grant(desk: Desk, *review_ids: str, by: Caller = GRANTER) -> Sequence[Any]:
    request = reviews_pb2.GrantReviewsRequest(review_ids=review_ids)
    answer: reviews_pb2.GrantReviewsResponse = await desk.ask("GrantReviews", request, by=by)
    return answer.verdicts


async def get(desk: Desk, review_id: str) -> reviews_pb2.GetReviewResponse:
    answer: reviews_pb2.GetReviewResponse = await desk.ask(
        "GetReview", reviews_pb2.GetReviewRequest(review_id=review_id)
    )
    return answer


async def objected(desk: Desk, review_id: str, on: date) -> str:
    request = reviews_pb2.ObjectToNoticeRequest(
        review_id=review_id, grounds="he gambles", raised_on=wire.date_to_proto(on)
    )
    answer: reviews_pb2.ObjectToNoticeResponse = await desk.ask(
        "ObjectToNotice", request, by=STATION
    )
    return answer.objection_id


async def test_the_chain_ends_in_a_grant_and_every_step_is_on_record(desk: Desk) -> None:
    await desk.put(1)
    await desk.observe(1, skills=1)
    await desk.rate()
    assert ((await desk.file(1)).grade, (await desk.file(1)).limit_fen) == ("AA", 0)
    assert list((await desk.file(1)).holds) == ["review"]
    [review_id] = await opened(desk, 1)
    await reviewed(desk, review_id)
    await published(desk, review_id)
    assert [v.reason for v in await grant(desk, review_id)] == ["NOTICE_RUNNING"]
    await desk.open_day(CLOSED)

    [verdict] = await grant(desk, review_id)

    file, found = await desk.file(1), await get(desk, review_id)
    assert (file.grade, file.limit_fen, file.rating_id) == ("AA", 10_000_000, verdict.id)
    assert file.valid_until == wire.date_to_proto(date(2024, 1, 12))
    assert found.review.state == reviews_pb2.REVIEW_STATE_GRANTED
    assert found.review.notice_to == wire.date_to_proto(OPENED + timedelta(days=7))
    assert [(e.kind, e.organ, e.person_id) for e in found.entries] == [
        ("opened", "", "tst-1-p1"),
        ("step", "moral_panel", "vil-1-p1"),
        ("step", "township_station", "tst-1-p1"),
        ("step", "county_centre", "cfc-1-p1"),
        ("published", "", "tst-1-p1"),
        ("granted", "", "cfc-2-p1"),
    ]
    assert found.entries[1].due_on == wire.date_to_proto(date(2021, 1, 11))
    assert (found.entries[1].present, found.entries[1].votes_for) == (4, 4)
    assert (await desk.rederive(verdict.id)).identical
    assert (await desk.said()).count("review_moved") == 6
    assert "limit_granted" in await desk.said()


async def test_data_that_no_rule_bears_open_no_review_and_hold_nobody_up(desk: Desk) -> None:
    await desk.put(1, 2)
    # As an item that adds points skills had no upper bound; as a factor they go to 100.
    await desk.observe(1, skills=700)
    await desk.observe(2, skills=70)
    texts = {"chained@2.yaml": WEIGHED, "adoption.yaml": ADOPTION.replace("@1", "@2")}
    weighed = Desk(desk.db, load_texts({**texts, "cn.yaml": CALENDAR}))
    wanted = [str(household_id(number)) for number in (1, 2)]
    request = reviews_pb2.OpenReviewsRequest(programme_id="chained", household_ids=wanted)

    answer = await weighed.ask("OpenReviews", request, by=STATION)

    assert [(verdict.accepted, verdict.reason) for verdict in answer.verdicts] == [
        (False, "FACTOR_SCORE_OUT_OF_RANGE"),
        (True, ""),
    ]
    found = await get(weighed, answer.verdicts[1].id)
    assert found.review.household_id == wanted[1]
    assert await desk.said() == ["review_moved"]


async def test_who_reviewed_does_not_grant_and_who_is_no_organ_takes_no_step(desk: Desk) -> None:
    await desk.put(1)
    [review_id] = await opened(desk, 1)

    wrong = await step(desk, review_id, "village_appraises", by=CENTRE)
    early = await step(desk, review_id, "county_audits", by=CENTRE)
    await reviewed(desk, review_id)
    await published(desk, review_id)
    await desk.open_day(CLOSED)

    assert (wrong.reason, early.reason) == ("ORGAN_MISMATCH", "REVIEW_NOT_AT_STEP")
    assert [v.reason for v in await grant(desk, review_id, by=CENTRE)] == ["REVIEWER_GRANTS"]
    assert [v.reason for v in await grant(desk, review_id, by=BANK)] == ["ORGAN_MISMATCH"]


async def test_a_quorum_and_a_majority_are_needed(desk: Desk) -> None:
    await desk.put(1)
    [review_id] = await opened(desk, 1)

    few = await step(desk, review_id, "village_appraises", by=VILLAGE_PANEL, present=2, votes_for=2)
    split = await step(
        desk, review_id, "village_appraises", by=VILLAGE_PANEL, present=4, votes_for=2
    )
    wrong = await step(
        desk, review_id, "village_appraises", by=VILLAGE_PANEL, present=6, votes_for=2
    )

    assert [v.reason for v in (few, split, wrong)] == [
        "QUORUM_NOT_MET",
        "MAJORITY_NOT_MET",
        "IMPOSSIBLE_COUNT",
    ]
    assert (few.violations[0].field, few.violations[0].value) == ("present", "2")


async def test_a_late_step_is_taken_and_marked(desk: Desk) -> None:
    await desk.put(1)
    [review_id] = await opened(desk, 1)
    await desk.open_day(date(2021, 1, 12))

    assert (await step(desk, review_id, "village_appraises", by=VILLAGE_PANEL)).accepted

    assert (await get(desk, review_id)).entries[1].late


async def test_an_override_needs_reason_evidence_and_a_second_person(desk: Desk) -> None:
    await desk.put(1)
    [review_id] = await opened(desk, 1)
    name = "village_appraises"
    override = {"outcome": OVERRIDDEN, "grade": "AA", "limit_fen": 8_000_000}

    no_reason = await step(desk, review_id, name, by=VILLAGE_PANEL, **override)
    no_evidence = await step(
        desk, review_id, name, by=VILLAGE_PANEL, reason="he is honest", **override
    )
    backed = {**override, "reason": "he is honest", "evidence_sha256": EVIDENCE}
    too_much = await step(
        desk, review_id, name, by=VILLAGE_PANEL, **{**backed, "limit_fen": 10_000_001}
    )
    unknown = await step(desk, review_id, name, by=VILLAGE_PANEL, **{**backed, "grade": "Z"})
    taken = await step(desk, review_id, name, by=VILLAGE_PANEL, **backed)
    unconfirmed = await step(desk, review_id, "township_reviews", by=STATION)
    confirm = reviews_pb2.ConfirmOverrideRequest(
        review_id=review_id, confirm=True, reason="I know him"
    )
    with pytest.raises(Denied, match="SECOND_PERSON_NEEDED"):
        await desk.ask("ConfirmOverride", confirm, by=VILLAGE_PANEL)
    confirm.ClearField("request_id")
    answer = await desk.ask("ConfirmOverride", confirm, by=STATION)

    assert [v.reason for v in (no_reason, no_evidence, too_much, unknown, unconfirmed)] == [
        "REASON_NEEDED",
        "EVIDENCE_NEEDED",
        "LIMIT_ABOVE_GRADE",
        "UNKNOWN_GRADE",
        "OVERRIDE_UNCONFIRMED",
    ]
    assert taken.accepted
    assert (answer.review.grade, answer.review.limit_fen) == ("AA", 8_000_000)
    for rest, by in (("township_reviews", STATION), ("county_audits", CENTRE)):
        assert (await step(desk, review_id, rest, by=by)).accepted
    await published(desk, review_id)
    await desk.open_day(CLOSED)
    [verdict] = await grant(desk, review_id)
    file = await desk.file(1)
    assert (file.grade, file.limit_fen) == ("AA", 8_000_000)
    derived = await desk.rederive(verdict.id)
    assert derived.identical
    assert derived.stored.override_review_id == review_id


async def test_a_veto_is_overridden_by_nobody(desk: Desk) -> None:
    await desk.put(1)
    await desk.observe(1, arrears=1)
    [review_id] = await opened(desk, 1)

    verdict = await step(
        desk,
        review_id,
        "village_appraises",
        by=VILLAGE_PANEL,
        outcome=OVERRIDDEN,
        grade="A",
        reason="he is honest",
        evidence_sha256=EVIDENCE,
    )

    assert verdict.reason == "VETO_STANDS"


async def test_an_objection_is_heard_while_the_notice_runs_and_holds_the_grant(
    desk: Desk,
) -> None:
    await desk.put(1)
    [review_id] = await opened(desk, 1)
    with pytest.raises(Refused, match="NOT_ON_NOTICE"):
        await objected(desk, review_id, OPENED)
    await reviewed(desk, review_id)
    await published(desk, review_id)
    objection_id = await objected(desk, review_id, OPENED)
    await desk.open_day(CLOSED)

    with pytest.raises(Invalid) as refusal:
        await objected(desk, review_id, CLOSED)
    held = await grant(desk, review_id)
    request = reviews_pb2.AnswerObjectionRequest(
        objection_id=objection_id, uphold=True, answer="so he does", evidence_sha256=EVIDENCE
    )
    answer = await desk.ask("AnswerObjection", request, by=CENTRE)

    assert refusal.value.reason == "OBJECTION_AFTER_CLOSE"
    assert refusal.value.violations[0].field == "raised_on"
    assert refusal.value.violations[0].value == "2021-01-12"
    assert "2021-01-11" in refusal.value.violations[0].rule
    assert [v.reason for v in held] == ["OBJECTION_OPEN"]
    assert answer.review.step == "village_appraises"
    found = await get(desk, review_id)
    assert [(o.answered, o.upheld) for o in found.objections] == [(True, True)]


async def test_data_that_moved_send_the_review_back(desk: Desk) -> None:
    await desk.put(1)
    [review_id] = await opened(desk, 1)
    await reviewed(desk, review_id)
    await published(desk, review_id)
    await desk.open_day(CLOSED)
    await desk.observe(1, arrears=1)

    [verdict] = await grant(desk, review_id)

    assert verdict.reason == "DATA_MOVED"
    found = (await get(desk, review_id)).review
    assert (found.step, list(found.vetoes)) == ("village_appraises", ["arrears"])


async def test_a_household_is_under_one_review_at_a_time(desk: Desk) -> None:
    await desk.put(1, 2)
    await opened(desk, 1)
    request = reviews_pb2.OpenReviewsRequest(
        programme_id="chained", household_ids=[str(household_id(n)) for n in (1, 2, 9)]
    )

    verdicts = (await desk.ask("OpenReviews", request, by=STATION)).verdicts

    assert [v.reason for v in verdicts] == ["REVIEW_OPEN", "", "CREDIT_FILE_NOT_FOUND"]
    listed = await desk.ask("ListReviews", reviews_pb2.ListReviewsRequest(page_size=1))
    assert len(listed.reviews) == 1
    rest = reviews_pb2.ListReviewsRequest(page_size=1, page_token=listed.next_page_token)
    assert (await desk.ask("ListReviews", rest)).reviews[0].household_id == str(household_id(2))


async def test_an_automated_refusal_is_contested_to_a_person(desk: Desk) -> None:
    await desk.put(1)
    await desk.observe(1, late=1)
    await desk.rate()
    rating_id = (await desk.file(1)).rating_id
    request = reviews_pb2.ContestRefusalRequest(rating_id=rating_id, grounds="the bank erred")
    contest = (await desk.ask("ContestRefusal", request, by=STATION)).contest
    request.ClearField("request_id")
    with pytest.raises(Conflict, match="CONTESTED_BEFORE"):
        await desk.ask("ContestRefusal", request, by=STATION)
    answer = reviews_pb2.AnswerContestRequest(
        contest_id=contest.contest_id, uphold=True, answer="let us see", evidence_sha256=EVIDENCE
    )

    answered = (await desk.ask("AnswerContest", answer, by=OFFICE)).contest

    assert contest.due_on == wire.date_to_proto(date(2021, 1, 24))
    assert (answered.answered, answered.upheld, answered.answered_by) == (True, True, "pov-1-p1")
    review = (await get(desk, answered.review_id)).review
    assert (review.contest_id, review.step) == (contest.contest_id, "village_appraises")
    said = await desk.said()
    assert [event for event in said if "contest" in event] == [
        "refusal_contested",
        "contest_answered",
    ]
    open_ones = reviews_pb2.ListContestsRequest(open_only=True)
    assert not (await desk.ask("ListContests", open_ones)).contests


async def test_only_a_refusal_that_no_person_decided_is_contested(desk: Desk) -> None:
    await desk.put(1)
    [review_id] = await opened(desk, 1)
    await reviewed(desk, review_id)
    await published(desk, review_id)
    await desk.open_day(CLOSED)
    [verdict] = await grant(desk, review_id)
    request = reviews_pb2.ContestRefusalRequest(rating_id=verdict.id, grounds="more")

    with pytest.raises(Refused, match="DECIDED_BY_PEOPLE"):
        await desk.ask("ContestRefusal", request, by=STATION)
