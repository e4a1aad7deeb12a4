"""Credit: the nouns. Values only; nothing here acts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from services.kernel.money import Fen

NO_FEN = Fen(0)
RATE_CHUNK = 2_000
"""Households rated in one call, unless the caller says otherwise."""

GONE = ("deceased", "delisted")
"""Standings on the registry with which a household is not rated and holds no limit."""


class Cause(StrEnum):
    """Why a rating was made."""

    RATED = "rated"
    RESCORED = "rescored"
    """A whole county was rated again, because a rule or the data changed."""
    HONOUR_CHANGED = "honour_changed"
    STANDING_CHANGED = "standing_changed"
    """A sanction, a reward or a second grant began or ended."""
    REVIEWED = "reviewed"
    """Granted at the end of a review."""


class Fact(StrEnum):
    """What a change of a credit file says to others, in the order in which it is said."""

    LISTED = "listed"
    RELEASED = "released"
    REWARDED = "rewarded"
    REWARD_ENDED = "reward_ended"
    GRADED = "graded"
    VETOED = "vetoed"
    LIMIT_GRANTED = "limit_granted"
    LIMIT_CHANGED = "limit_changed"


@dataclass(frozen=True, slots=True)
class Household:
    """What this service knows of a household."""

    household_id: UUID
    area_code: str
    status: str
    honour: str
    """Empty for none."""


@dataclass(frozen=True, slots=True)
class CreditFile:
    """A household's credit file: its last rating and the limit that rests on it."""

    county_code: str
    household: Household
    delisted: bool
    version: int
    """Events said of it so far: the next one carries this plus one."""
    rating_id: UUID | None
    """The last rating; None before the first."""
    programme: str
    score_centi: int
    grade: str
    """Empty for none."""
    vetoes: tuple[str, ...]
    limit_fen: Fen
    valid_until: date | None
    """Last day of the limit; None without a limit, or when the programme states no end."""
    granted_on: date | None
    """When a limit was granted for the first time."""
    barred: tuple[str, ...] = ()
    """Vetoes that hit once and whose observation has not been seen through."""
    holds: tuple[str, ...] = ()
    """What kept the grade or the limit back at the last rating, by code."""

    @property
    def household_id(self) -> UUID:
        """Whose file it is."""
        return self.household.household_id

    @property
    def may_hold_limit(self) -> bool:
        """Whether the household is still on the registry's file and alive."""
        return not self.delisted and self.household.status not in GONE


@dataclass(frozen=True, slots=True)
class Indicator:
    """One thing observed of a household on a day; yes is 1 and no is 0."""

    household_id: UUID
    code: str
    value: int
    observed_on: date
    expires_on: date | None = None
    """Its last day where its source says one."""
    evidence_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """An indicator as a rating found it, with the entry that it was read from."""

    value: int
    observed_on: date
    entry: int
    expires_on: date | None = None
    """Last day on which it counts; None when it has none."""
    stale: bool = False
    """It was past that day: it did not count, which is not the same as counting zero."""


class Refresh(StrEnum):
    """How often an indicator is renewed, and so how long an observation counts."""

    NONE = ""
    REAL_TIME = "real_time"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"


class Use(StrEnum):
    """What a clause of a programme does with an indicator."""

    ADJUSTMENT = "adjustment"
    FACTOR = "factor"
    VETO = "veto"
    GATE = "gate"
    STANDARD = "standard"
    REWARD = "reward"


@dataclass(frozen=True, slots=True)
class IndicatorRule:
    """What holds of one indicator in a county under a programme."""

    code: str
    name_zh: str
    min: int
    max: int | None
    unit: str
    refresh: Refresh
    suppliers: tuple[str, ...]
    """Roles that may supply it."""
    uses: tuple[Use, ...] = ()
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """An observation as it was recorded."""

    code: str
    value: int
    observed_on: date
    source_id: str
    evidence_sha256: str


class RescoreState(StrEnum):
    """Where a re-score stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


Moves = Mapping[tuple[str, str], int]
"""Households whose grade changes, by grade before and after."""


@dataclass(frozen=True, slots=True)
class Rescore:
    """A county rated again in the service itself, chunk by chunk."""

    county_code: str
    rescore_id: UUID
    programme_id: str
    programme: str
    dry_run: bool
    reason: str
    state: RescoreState
    started_on: date
    started_by: str
    person_id: str
    after_household_id: UUID
    """The last household that was looked at."""
    households: int
    done: int
    changed: int
    incomplete: int
    moves: Moves
    failure: str = ""
    basis: str = ""
    """What it rests on beside the households' own data, the same in all its chunks; else empty."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A re-score that is over, as far as the next one may build on it."""

    started_on: date
    seen_upto: int
    """What a transaction before this one observed, it saw."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What keeps a grade or a limit back, whatever the score."""

    code: str
    """
    `observation:<veto>`, `stale:<veto>`, `sanction:<id>`, `breaker:<area>`, `lapsed` or `review`.
    """
    grade_too: bool
    """It takes the grade as well as the limit."""
    until: date | None
    """Its last day; None when it has none of its own, or none that is known."""


@dataclass(frozen=True, slots=True)
class Override:
    """What people decided in place of the scheme, with a reason and a second person."""

    review_id: UUID
    grade: str
    limit_fen: Fen | None
    """None for the limit of the grade."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What counted in a rating beside indicators and honour; pinned with it."""

    waived: tuple[str, ...] = ()
    """Deductions that count nothing, by adjustment."""
    holds: tuple[Hold, ...] = ()
    reward_fen: Fen = NO_FEN
    """Added to the limit of a grade for good payment."""
    cap_fen: Fen | None = None
    """The most that a second grant allows."""
    override: Override | None = None
    terms_digest: str = ""
    """SHA-256 of the clauses that were applied."""
    demoted: int = 0
    """Steps by which the grade is lowered: one for each non-performing loan that ordered it."""


@dataclass(frozen=True, slots=True)
class Rating:
    """A rating: what went in, under which terms, what came out and how."""

    county_code: str
    rating_id: UUID
    household_id: UUID
    cause: Cause
    programme: str
    rated_on: date
    inputs: Mapping[str, Observed]
    honour: str
    score_centi: int
    grade: str
    vetoes: tuple[str, ...]
    base_limit_fen: Fen
    uplift_fen: Fen
    limit_fen: Fen
    valid_until: date | None
    working: str
    pins: Pins = Pins()
    digest: str = ""
    """SHA-256 over all that went in and came out; empty for ratings older than digests."""


@dataclass(frozen=True, slots=True)
class Last:
    """What a re-score must know of the rating before it."""

    limit_fen: Fen
    override: Override | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule made of a credit file: the file as it is now, and what there is to say."""

    file: CreditFile
    rating: Rating | None
    facts: tuple[Fact, ...]
    """In order; the file's version is raised by their number."""
    measure: "Measure | None" = None
    """The measure that a fact tells of."""


@dataclass(frozen=True, slots=True)
class Expired:
    """A limit whose last day has passed."""

    household_id: UUID
    sequence: int
    programme: str


class MeasureKind(StrEnum):
    """What a measure on a household's standing is."""

    SANCTION = "sanction"
    REWARD = "reward"
    SECOND_GRANT = "second_grant"
    WAIVER = "waiver"
    REHABILITATION = "rehabilitation"
    DEMOTION = "demotion"
    """A grade lowered by a step, as a programme orders on a non-performing loan."""


class MeasureState(StrEnum):
    """Where a measure stands."""

    PROPOSED = "proposed"
    IN_FORCE = "in_force"
    REFUSED = "refused"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: an institution in its role, by a person."""

    institution_id: str
    role: str
    person_id: str


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure beyond the score, proposed by one person and decided by another."""

    county_code: str
    measure_id: UUID
    household_id: UUID
    area_code: str
    kind: MeasureKind
    code: str
    programme: str
    state: MeasureState
    reason: str
    evidence_sha256: str
    effects: tuple[str, ...]
    amount_fen: Fen
    proposed_on: date
    from_on: date | None
    until_on: date | None
    relation: str
    """`self`, or how the household stands to the sanctioned one."""
    origin_id: UUID | None
    """The measure of the sanctioned household, for a relative's."""
    proposed: Actor
    decided_by: str = ""
    decided_person: str = ""
    decision_reason: str = ""
    ended_on: date | None = None
    end_reason: str = ""
    end_evidence_sha256: str = ""
    ended_by: str = ""

    def holds_on(self, day: date) -> bool:
        """Whether it is in force on a day."""
        if self.state is not MeasureState.IN_FORCE or self.from_on is None:
            return False
        return self.from_on <= day and (self.until_on is None or day <= self.until_on)


@dataclass(frozen=True, slots=True)
class LoanAction:
    """What a programme ordered on a problem loan, as loans told it."""

    loan_id: UUID
    household_id: UUID
    action: str
    place: int
    since: date
    """First day of the state that caused it."""
    taken_on: date
    rule_version: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """What all lenders together have lent a household, from loans' events."""

    used_fen: Fen
    drawn_fen: Fen
    committed_fen: Fen
    own_used_fen: Fen
    """Of what is used, with the institution that asks."""
    open_loans: int
    overdue_loans: int
    bad_loans: int
    settled_loans: int = 0
    late_loans: int = 0
    """Of all loans, those that were overdue at a day close at any time."""


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit, what is used of it and what is free."""

    granted_fen: Fen
    used_fen: Fen
    committed_fen: Fen
    free_fen: Fen
    own_used_fen: Fen
    grade: str
    valid_until: date | None
    exceeded: bool
    granted_on: date | None


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One change of a limit, as it was said."""

    sequence: int
    fact: str
    changed_on: date
    limit_fen: Fen
    grade: str
    valid_until: date | None
    rating_id: UUID | None


@dataclass(frozen=True, slots=True)
class ExternalScore:
    """A score that a model outside the platform gave, with the model's id."""

    county_code: str
    score_id: UUID
    household_id: UUID
    model_id: str
    score_centi: int
    min_score_centi: int
    max_score_centi: int
    scored_on: date
    evidence_sha256: str
    source_id: str
    person_id: str


class ReviewState(StrEnum):
    """Where a review stands."""

    IN_REVIEW = "in_review"
    TO_PUBLISH = "to_publish"
    ON_NOTICE = "on_notice"
    TO_GRANT = "to_grant"
    GRANTED = "granted"
    REFUSED = "refused"


class StepOutcome(StrEnum):
    """What a step of a review comes to."""

    AGREED = "agreed"
    OVERRIDDEN = "overridden"
    RETURNED = "returned"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Review:
    """A household on its way through the organs of the rating chain."""

    county_code: str
    review_id: UUID
    household_id: UUID
    area_code: str
    programme: str
    state: ReviewState
    step: int
    """Place of the next step in the chain; its length when all are taken."""
    due_on: date | None
    opened_on: date
    score_centi: int
    scheme_grade: str
    scheme_limit_fen: Fen
    vetoes: tuple[str, ...]
    override_grade: str
    """What people propose instead; empty for nothing."""
    override_limit_fen: Fen | None
    override_state: str
    """Empty, `pending` or `confirmed`."""
    override_person: str
    reviewers: tuple[str, ...]
    notice_from: date | None
    notice_to: date | None
    notice_scope: str
    contest_id: UUID | None
    rating_id: UUID | None
    version: int
    """Events said of it."""
    entries: int
    """Entries in its record."""

    @property
    def open(self) -> bool:
        """Whether it is still on its way."""
        return self.state not in (ReviewState.GRANTED, ReviewState.REFUSED)

    @property
    def override(self) -> Override | None:
        """What people decided and a second person confirmed."""
        if self.override_state != "confirmed":
            return None
        return Override(self.review_id, self.override_grade, self.override_limit_fen)


@dataclass(frozen=True, slots=True)
class ReviewEntry:
    """One entry of a review's record."""

    review_id: UUID
    place: int
    kind: str
    actor: Actor
    acted_on: date
    step: str = ""
    organ: str = ""
    outcome: str = ""
    present: int = 0
    members: int = 0
    votes_for: int = 0
    grade: str = ""
    limit_fen: Fen = NO_FEN
    reason: str = ""
    evidence_sha256: str = ""
    due_on: date | None = None

    @property
    def late(self) -> bool:
        """Whether it came after the day by which it was due."""
        return self.due_on is not None and self.acted_on > self.due_on


@dataclass(frozen=True, slots=True)
class Objection:
    """An objection to a published review, and its answer."""

    county_code: str
    objection_id: UUID
    review_id: UUID
    raised_on: date
    grounds: str
    evidence_sha256: str
    actor: Actor
    answered_on: date | None = None
    upheld: bool = False
    answer: str = ""
    answer_evidence_sha256: str = ""
    answered_by: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """A household contests a refusal that no person had decided."""

    county_code: str
    contest_id: UUID
    household_id: UUID
    area_code: str
    rating_id: UUID
    grounds: str
    evidence_sha256: str
    actor: Actor
    raised_on: date
    due_on: date
    answered_on: date | None = None
    upheld: bool = False
    answer: str = ""
    answer_evidence_sha256: str = ""
    answered_by: str = ""
    review_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class CreditArea:
    """A credit group, village or township, recognised or not since a day."""

    county_code: str
    area_code: str
    programme_id: str
    scope: str
    programme: str
    certified: bool
    since: date
    assessed_on: date
    numerator: int
    denominator: int
    min_units: int
    version: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """One figure of coverage."""

    area_code: str
    institution_id: str
    """Empty for all together."""
    measure: str
    numerator: int
    denominator: int
