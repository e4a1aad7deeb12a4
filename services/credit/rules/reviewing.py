"""Credit: the rating chain: steps of organs, overrides, public notice, objections, grant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from services.credit.model import (
    Actor,
    Cause,
    Contest,
    CreditFile,
    Objection,
    Rating,
    Review,
    ReviewEntry,
    ReviewState,
    StepOutcome,
)
from services.credit.rules.scheme import Scheme, has_grade, limit_of, rank_of
from services.kernel.errors import Denied, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.calendars import Calendar, working_days_after
from services.programmes.schema.scoring import ReviewStep
from services.programmes.schema.values import known

ANSWER_DAYS = 20
"""In which a person answers a contest, as for any dispute of a credit record."""
STATIONS = frozenset({"village_department", "township_station"})
LENDERS = frozenset({"bank", "mutual_aid_society"})
OFFICES = frozenset(
    {
        "village_department",
        "township_station",
        "county_centre",
        "poverty_office",
        "finance_bureau",
        "insurer",
        "guarantor",
    }
)
BY_OTHERS = {
    "lender": LENDERS,
    "account_manager": LENDERS,
    "mutual_aid_society": frozenset({"mutual_aid_society"}),
    "township_government": frozenset({"township_station"}),
    "poverty_cadre": frozenset({"poverty_office", *STATIONS}),
}
"""Organs that are no institution of their own, and the roles that record what they decide."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step as it is taken."""

    step: str
    outcome: StepOutcome
    present: int
    members: int
    votes_for: int
    grade: str
    limit_fen: Fen | None
    reason: str
    evidence_sha256: str


Moved = tuple[Review, ReviewEntry]
"""A review as it stands now, and the entry that brought it there."""


def roles_of(organ: str) -> frozenset[str]:
    """The roles of institutions that may act for an organ; a panel of a village by its station."""
    if organ in OFFICES:
        return frozenset({organ})
    return BY_OTHERS.get(organ, STATIONS)


def open_review(
    file: CreditFile,
    draft: Rating,
    *,
    scheme: Scheme,
    calendar: Calendar,
    review_id: UUID,
    contest_id: UUID | None,
    by: Actor,
    on: date,
) -> Moved:
    """Begin the chain with what the scheme says today."""
    if not scheme.scoring.review_chain:
        raise Refused(
            "NO_REVIEW_CHAIN",
            f"{scheme.ref} has no review chain",
            message_zh="该方案未规定评议程序",
        )
    if not file.may_hold_limit:
        raise Refused(
            "HOUSEHOLD_GONE",
            f"household {file.household_id} is off the file",
            message_zh="该农户已不在册",
        )
    review = Review(
        county_code=file.county_code,
        review_id=review_id,
        household_id=file.household_id,
        area_code=file.household.area_code,
        programme=scheme.ref,
        state=ReviewState.IN_REVIEW,
        step=0,
        due_on=None,
        opened_on=on,
        score_centi=draft.score_centi,
        scheme_grade=draft.grade,
        scheme_limit_fen=draft.limit_fen,
        vetoes=draft.vetoes,
        override_grade="",
        override_limit_fen=None,
        override_state="",
        override_person="",
        reviewers=(),
        notice_from=None,
        notice_to=None,
        notice_scope="",
        contest_id=contest_id,
        rating_id=None,
        version=0,
        entries=0,
    )
    return _moved(_arrived(review, scheme, calendar, on), _entry(review, "opened", by, on))


def next_step(review: Review, scheme: Scheme) -> ReviewStep | None:
    """The step that is next: one of the chain, or the grant where the chain ends with it."""
    chain = scheme.scoring.review_chain
    return chain[review.step] if review.open and review.step < len(chain) else None


def take_step(
    review: Review,
    step: Step,
    *,
    scheme: Scheme,
    calendar: Calendar,
    objections: Sequence[Objection],
    by: Actor,
    on: date,
) -> Moved:
    """Take the next step of a review."""
    review = _past_notice(review, scheme, calendar, objections, on)
    clause = next_step(review, scheme)
    if review.state is not ReviewState.IN_REVIEW or clause is None or clause.step != step.step:
        wanted = clause.step if clause and review.state is ReviewState.IN_REVIEW else review.state
        raise Refused(
            "REVIEW_NOT_AT_STEP",
            f"{step.step} is not next: {wanted} is",
            message_zh=f"当前环节不是 {step.step}",
        )
    _require_organ(known(clause.organ).value, clause.step, by)
    _require_settled(review)
    _require_quorum(clause, step)
    if step.outcome is not StepOutcome.AGREED and not step.reason:
        raise invalid_field("REASON_NEEDED", "reason", "", "must say why", "须说明理由")
    entry = replace(
        _entry(review, "step", by, on),
        step=clause.step,
        organ=known(clause.organ).value,
        outcome=step.outcome,
        present=step.present,
        members=step.members,
        votes_for=step.votes_for,
        reason=step.reason,
        evidence_sha256=step.evidence_sha256,
        due_on=review.due_on,
    )
    taken = replace(review, reviewers=tuple(sorted({*review.reviewers, by.person_id})))
    if step.outcome is StepOutcome.REFUSED:
        return _moved(replace(taken, state=ReviewState.REFUSED, due_on=None), entry)
    if step.outcome is StepOutcome.RETURNED:
        return _moved(_from_start(taken, scheme, calendar, on), entry)
    if step.outcome is StepOutcome.OVERRIDDEN:
        _check_override(review, step, scheme)
        taken = replace(
            taken,
            override_grade=step.grade,
            override_limit_fen=step.limit_fen,
            override_state="pending",
            override_person=by.person_id,
        )
        entry = replace(entry, grade=step.grade, limit_fen=step.limit_fen or Fen(0))
    after = _arrived(replace(taken, step=review.step + 1), scheme, calendar, on)
    return _moved(after, entry)


def confirm_override(
    review: Review, *, confirm: bool, reason: str, scheme: Scheme, by: Actor, on: date
) -> Moved:
    """A second person stands for a grade against the scheme, or it falls."""
    if review.override_state != "pending":
        raise Refused(
            "NO_OVERRIDE_PENDING", "nothing waits for a second person", message_zh="无待确认的调整"
        )
    if by.person_id == review.override_person:
        raise Denied(
            "SECOND_PERSON_NEEDED",
            "who proposed a grade does not confirm it",
            message_zh="须由另一人确认",
        )
    organ = known(scheme.scoring.review_chain[review.step - 1].organ).value
    if by.role not in roles_of(organ) | {"county_centre"}:
        _require_organ(organ, "confirmation", by)
    kind = "override_confirmed" if confirm else "override_refused"
    entry = replace(
        _entry(review, kind, by, on),
        organ=organ,
        grade=review.override_grade if confirm else review.scheme_grade,
        limit_fen=review.override_limit_fen or Fen(0),
        reason=reason,
    )
    settled = replace(
        review,
        override_state="confirmed" if confirm else "",
        override_grade=review.override_grade if confirm else "",
        override_limit_fen=review.override_limit_fen if confirm else None,
        override_person=review.override_person if confirm else "",
        reviewers=tuple(sorted({*review.reviewers, by.person_id})),
    )
    return _moved(settled, entry)


def publish(review: Review, *, scheme: Scheme, evidence_sha256: str, by: Actor, on: date) -> Moved:
    """Put a review out for objections; n days end n days after, that day included."""
    clause = scheme.scoring.public_notice
    if review.state is not ReviewState.TO_PUBLISH or clause is None:
        raise Refused(
            "REVIEW_NOT_TO_PUBLISH",
            f"the review is {review.state}",
            message_zh="当前环节不能公示",
        )
    _require_settled(review)
    published = replace(
        review,
        state=ReviewState.ON_NOTICE,
        notice_from=on,
        notice_to=on + timedelta(days=known(clause.days)),
        notice_scope=known(clause.scope),
        due_on=None,
    )
    entry = replace(_entry(review, "published", by, on), evidence_sha256=evidence_sha256)
    return _moved(published, entry)


def hear_objection(review: Review, *, raised_on: date, today: date) -> None:
    """Refuse an objection that comes before or after the notice."""
    if review.notice_from is None or review.notice_to is None:
        raise Refused("NOT_ON_NOTICE", f"the review is {review.state}", message_zh="该评议未在公示")
    if raised_on > today:
        raise invalid_field(
            "RAISED_IN_FUTURE",
            "raised_on",
            raised_on,
            f"must not be after the business date {today}",
            "提出日期不能晚于营业日",
        )
    if review.state is not ReviewState.ON_NOTICE or raised_on > review.notice_to:
        raise invalid_field(
            "OBJECTION_AFTER_CLOSE",
            "raised_on",
            raised_on,
            f"the notice closed on {review.notice_to}",
            f"公示已于{review.notice_to}结束",
        )
    if raised_on < review.notice_from:
        raise invalid_field(
            "OBJECTION_BEFORE_NOTICE",
            "raised_on",
            raised_on,
            f"the notice began on {review.notice_from}",
            "早于公示开始日期",
        )


def answer_objection(
    review: Review,
    objection: Objection,
    *,
    uphold: bool,
    answer: str,
    evidence_sha256: str,
    scheme: Scheme,
    calendar: Calendar,
    by: Actor,
    on: date,
) -> tuple[Objection, Moved]:
    """Answer an objection; one that is right sends the review back to its first step."""
    if objection.answered_on is not None:
        raise Refused("OBJECTION_ANSWERED", "it was answered before", message_zh="该异议已答复")
    if by.person_id == objection.actor.person_id:
        raise Denied(
            "SECOND_PERSON_NEEDED",
            "who took an objection down does not answer it",
            message_zh="须由另一人答复",
        )
    answered = replace(
        objection,
        answered_on=on,
        upheld=uphold,
        answer=answer,
        answer_evidence_sha256=evidence_sha256,
        answered_by=by.person_id,
    )
    entry = replace(
        _entry(review, "objection_answered", by, on),
        outcome="upheld" if uphold else "dismissed",
        reason=answer,
        evidence_sha256=evidence_sha256,
    )
    after = _from_start(review, scheme, calendar, on) if uphold and review.open else review
    return answered, _moved(after, entry)


def check_grant(
    review: Review,
    *,
    scheme: Scheme,
    calendar: Calendar,
    objections: Sequence[Objection],
    by: Actor,
    on: date,
) -> Review:
    """Refuse a grant out of turn, by a reviewer, or by an organ that does not grant."""
    review = _past_notice(review, scheme, calendar, objections, on)
    if review.state is not ReviewState.TO_GRANT:
        raise Refused(
            "REVIEW_NOT_TO_GRANT",
            f"the review is {review.state}",
            message_zh="尚未完成评议,不能授信",
        )
    last = scheme.scoring.review_chain[-1]
    _require_organ(known(last.organ).value, "grant", by)
    _require_settled(review)
    if by.person_id in review.reviewers:
        raise Denied(
            "REVIEWER_GRANTS",
            f"{by.person_id} reviewed this and does not grant it",
            message_zh="评议人不得授信",
        )
    return review


def granted(review: Review, rating: Rating, *, by: Actor, on: date) -> Moved:
    """What the grant came to; a rating without a limit refuses."""
    state = ReviewState.GRANTED if rating.limit_fen else ReviewState.REFUSED
    entry = replace(
        _entry(review, str(state), by, on), grade=rating.grade, limit_fen=rating.limit_fen
    )
    return _moved(replace(review, state=state, rating_id=rating.rating_id, due_on=None), entry)


def moved_since(review: Review, rating: Rating) -> bool:
    """Whether the data have changed what was reviewed; vetoes always count."""
    if rating.vetoes != review.vetoes:
        return True
    return review.override is None and rating.grade != review.scheme_grade


def back_to_start(
    review: Review, draft: Rating, *, scheme: Scheme, calendar: Calendar, by: Actor, on: date
) -> Moved:
    """Begin the chain anew with what the scheme says now."""
    fresh = replace(
        review,
        score_centi=draft.score_centi,
        scheme_grade=draft.grade,
        scheme_limit_fen=draft.limit_fen,
        vetoes=draft.vetoes,
    )
    entry = replace(_entry(review, "step", by, on), outcome=StepOutcome.RETURNED, reason="data")
    return _moved(_from_start(fresh, scheme, calendar, on), entry)


def check_contest(rating: Rating, file: CreditFile) -> None:
    """Refuse to contest what people decided, what granted, or what is no longer the last word."""
    if rating.cause is Cause.REVIEWED:
        raise Refused(
            "DECIDED_BY_PEOPLE",
            "people decided this: object to their review",
            message_zh="该评级系人工评议结果",
        )
    if rating.limit_fen > 0:
        raise Refused("NOTHING_REFUSED", "the rating granted a limit", message_zh="该评级未被拒绝")
    if file.rating_id != rating.rating_id:
        raise Refused(
            "RATING_SUPERSEDED", "a later rating stands in its place", message_zh="已有新的评级"
        )


def answer_contest(
    contest: Contest, *, uphold: bool, answer: str, evidence_sha256: str, by: Actor, on: date
) -> Contest:
    """A person answers; not the one who took it down."""
    if contest.answered_on is not None:
        raise Refused("CONTEST_ANSWERED", "it was answered before", message_zh="该申诉已答复")
    if by.person_id == contest.actor.person_id:
        raise Denied(
            "SECOND_PERSON_NEEDED",
            "who took a contest down does not answer it",
            message_zh="须由另一人答复",
        )
    return replace(
        contest,
        answered_on=on,
        upheld=uphold,
        answer=answer,
        answer_evidence_sha256=evidence_sha256,
        answered_by=by.person_id,
    )


def _moved(review: Review, entry: ReviewEntry) -> Moved:
    place = review.entries + 1
    after = replace(review, version=review.version + 1, entries=place)
    return after, replace(entry, place=place)


def _entry(review: Review, kind: str, by: Actor, on: date) -> ReviewEntry:
    return ReviewEntry(
        review_id=review.review_id,
        place=review.entries + 1,
        kind=kind,
        actor=by,
        acted_on=on,
        grade=review.override_grade or review.scheme_grade,
        limit_fen=review.override_limit_fen or review.scheme_limit_fen,
    )


def _arrived(review: Review, scheme: Scheme, calendar: Calendar, on: date) -> Review:
    """Where a review stands after its last step, and by when the next is due."""
    chain = scheme.scoring.review_chain
    notice = scheme.scoring.public_notice
    last = chain[review.step - 1].step if review.step else ""
    if notice is not None and notice.after_step == last and review.notice_from is None:
        return replace(review, state=ReviewState.TO_PUBLISH, due_on=None)
    return _to_next(review, scheme, calendar, on)


def _to_next(review: Review, scheme: Scheme, calendar: Calendar, on: date) -> Review:
    chain = scheme.scoring.review_chain
    clause = chain[review.step] if review.step < len(chain) else None
    days = None if clause is None or clause.working_days is None else known(clause.working_days)
    due_on = None if days is None else working_days_after(calendar, on, days)
    grants = clause is None or (clause.kind == "grant" and review.step == len(chain) - 1)
    state = ReviewState.TO_GRANT if grants else ReviewState.IN_REVIEW
    return replace(review, state=state, due_on=due_on)


def _from_start(review: Review, scheme: Scheme, calendar: Calendar, on: date) -> Review:
    back = replace(
        review,
        step=0,
        notice_from=None,
        notice_to=None,
        notice_scope="",
        override_grade="",
        override_limit_fen=None,
        override_state="",
        override_person="",
    )
    return _arrived(back, scheme, calendar, on)


def _past_notice(
    review: Review,
    scheme: Scheme,
    calendar: Calendar,
    objections: Sequence[Objection],
    on: date,
) -> Review:
    """A review whose notice has closed with every objection answered goes on."""
    if review.state is not ReviewState.ON_NOTICE or review.notice_to is None:
        return review
    if on <= review.notice_to:
        raise Refused(
            "NOTICE_RUNNING",
            f"objections are heard until {review.notice_to}",
            message_zh=f"公示期至{review.notice_to}",
        )
    if any(each.answered_on is None for each in objections):
        raise Refused("OBJECTION_OPEN", "an objection is not answered", message_zh="异议尚未答复")
    return _to_next(review, scheme, calendar, review.notice_to)


def _require_organ(organ: str, step: str, by: Actor) -> None:
    if by.role not in roles_of(organ):
        raise Denied(
            "ORGAN_MISMATCH",
            f"{step} is taken by {organ}, not by {by.role}",
            message_zh="本机构无权办理该环节",
        )


def _require_settled(review: Review) -> None:
    if review.override_state == "pending":
        raise Refused(
            "OVERRIDE_UNCONFIRMED",
            f"the grade {review.override_grade} waits for a second person",
            message_zh="调整后的等级尚待另一人确认",
        )


def _require_quorum(clause: ReviewStep, step: Step) -> None:
    if step.present > step.members or step.votes_for > step.present:
        raise invalid_field(
            "IMPOSSIBLE_COUNT",
            "present",
            step.present,
            f"{step.votes_for} votes of {step.present} present of {step.members} members",
            "人数不符",
        )
    if clause.quorum_pct is None:
        return
    quorum = known(clause.quorum_pct)
    if step.members == 0 or step.present * 100 < quorum * step.members:
        raise invalid_field(
            "QUORUM_NOT_MET",
            "present",
            step.present,
            f"{quorum} % of {step.members} members must be there",
            "未达到法定人数",
        )
    if step.outcome is StepOutcome.AGREED and step.votes_for * 2 <= step.present:
        raise invalid_field(
            "MAJORITY_NOT_MET",
            "votes_for",
            step.votes_for,
            f"more than half of {step.present} must be for it",
            "未过半数同意",
        )


def _check_override(review: Review, step: Step, scheme: Scheme) -> None:
    if review.vetoes:
        raise Refused(
            "VETO_STANDS", f"{', '.join(review.vetoes)} cannot be overridden", message_zh="一票否决"
        )
    if not step.evidence_sha256:
        raise invalid_field(
            "EVIDENCE_NEEDED", "evidence_sha256", "", "an override needs evidence", "须附证据"
        )
    if not has_grade(scheme, step.grade):
        raise invalid_field(
            "UNKNOWN_GRADE", "grade", step.grade, f"must be a grade of {scheme.ref}", "无此等级"
        )
    most = limit_of(scheme, step.grade)
    within = scheme.scoring.limit_range
    if most is None and within is not None:
        most = within.max_fen
    if step.limit_fen is None and limit_of(scheme, step.grade) is None:
        raise invalid_field(
            "LIMIT_NEEDED", "limit_fen", 0, "the programme names no limit for it", "须提出额度"
        )
    if most is not None and step.limit_fen is not None and step.limit_fen > most:
        raise invalid_field(
            "LIMIT_ABOVE_GRADE",
            "limit_fen",
            step.limit_fen,
            f"{step.grade} allows {most} fen",
            "超过该等级额度",
        )
    raises = rank_of(scheme, step.grade) > rank_of(scheme, review.scheme_grade)
    if raises and scheme.automatic and not scheme.scoring.override_with_reason:
        raise Refused(
            "OVERRIDE_NOT_ALLOWED",
            f"{scheme.ref} lets nobody raise a grade",
            message_zh="该方案不允许上调等级",
        )
