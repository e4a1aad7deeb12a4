"""Review: the rating's chain step by step, its public notice, and when it takes effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from services.kernel.errors import Refused
from services.programmes.schema.scoring import ReviewStep, ScoringRules
from services.programmes.schema.values import Open, known


class ReviewState(StrEnum):
    """Where a rating's review stands."""

    AT_STEP = "at_step"
    NOTICE_DUE = "notice_due"
    ON_NOTICE = "on_notice"
    OBJECTED = "objected"
    REFUSED = "refused"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step as it was taken: which, by which organ, and whether it passed."""

    step: str
    organ: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice as it was posted, and the objections not yet answered."""

    posted_on: date
    open_objections: int = 0


@dataclass(frozen=True, slots=True)
class Review:
    """Where a review stands, the step that is next, and the last day of the notice."""

    state: ReviewState
    next_step: str | None
    notice_until: date | None
    working: str


def review(
    scheme: ScoringRules, taken: Sequence[StepTaken], *, notice: Notice | None = None, on: date
) -> Review:
    """
    Follow a pack's chain; a step out of order or by another organ is refused.

    A notice of n days ends n days after its posting, that day included; an objection halts the
    review until it is answered.
    """
    chain = scheme.review_chain
    for place, done in enumerate(taken):
        _check_step(chain, place, done)
        if not done.passed:
            return Review(ReviewState.REFUSED, None, None, f"{done.step} did not pass")
        if stop := _notice(scheme, done.step, notice, on):
            if place + 1 < len(taken):
                raise Refused("REVIEW_NOTICE_OPEN", f"{taken[place + 1].step}: {stop.working}")
            return stop
    if len(taken) < len(chain):
        step = chain[len(taken)]
        return Review(ReviewState.AT_STEP, step.step, None, f"{len(taken)} of {len(chain)} steps")
    return Review(ReviewState.DONE, None, None, f"all {len(chain)} steps passed")


def _check_step(chain: Sequence[ReviewStep], place: int, done: StepTaken) -> None:
    expected = chain[place] if place < len(chain) else None
    if expected is None or expected.step != done.step:
        wanted = expected.step if expected else "nothing more"
        raise Refused("REVIEW_OUT_OF_ORDER", f"step {done.step} where {wanted} is expected")
    organ = known(expected.organ).value
    if organ != done.organ:
        raise Refused("REVIEW_WRONG_ORGAN", f"{done.organ} took {done.step}, which is {organ}'s")


def _notice(scheme: ScoringRules, step: str, notice: Notice | None, on: date) -> Review | None:
    """What keeps the review at its notice after this step; None when nothing does."""
    clause = scheme.public_notice
    if clause is None or clause.after_step != step:
        return None
    if notice is None:
        scope = "a scope not yet set" if isinstance(clause.scope, Open) else clause.scope
        return Review(ReviewState.NOTICE_DUE, None, None, f"to be posted in {scope}")
    until = notice.posted_on + timedelta(days=known(clause.days))
    if notice.open_objections:
        said = f"{notice.open_objections} objections to answer"
        return Review(ReviewState.OBJECTED, None, until, said)
    if on <= until:
        return Review(ReviewState.ON_NOTICE, None, until, f"on notice until {until}")
    return None
