"""Credit: ratings of one file: made, made again for another reason, derived again years later."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from services.credit.model import (
    Cause,
    CreditFile,
    Decision,
    Fact,
    Hold,
    Household,
    Last,
    Observed,
    Pins,
    Rating,
)
from services.credit.rules.scheme import Scheme, score
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.calendars import last_valid_day
from services.programmes.rerating import after_veto
from services.programmes.schema.values import Open
from services.programmes.scoring import gates_held

OBSERVATION = "observation:"
STALE = "stale:"
LAPSED = "lapsed"
REVIEW = "review"
BREAKER = "breaker:"
GATE = "gate:"
NOTHING = Pins()
"""A household of which nothing but its indicators and its honour counts."""


def rate(
    file: CreditFile,
    inputs: Mapping[str, Observed],
    *,
    scheme: Scheme,
    rating_id: UUID,
    on: date,
    standing: Pins = NOTHING,
    cause: Cause = Cause.RATED,
) -> Decision:
    """Score a household, grade it and set its limit anew; what changed is said."""
    return _rate(
        file,
        inputs,
        scheme=scheme,
        rating_id=rating_id,
        on=on,
        standing=standing,
        cause=cause,
        valid_until=validity(scheme, on),
    )


def rescore(
    file: CreditFile,
    inputs: Mapping[str, Observed],
    *,
    scheme: Scheme,
    rating_id: UUID,
    on: date,
    standing: Pins,
    last: Last,
) -> Decision:
    """
    Rate again because a rule or the data changed, without anybody's asking.

    A limit that stands keeps its last day, one that has run out is not granted again, and what
    people decided in place of the scheme goes on.
    """
    holds = standing.holds
    if lapsed(file, last):
        holds = (*holds, Hold(LAPSED, grade_too=False, until=None))
    return _rate(
        file,
        inputs,
        scheme=scheme,
        rating_id=rating_id,
        on=on,
        standing=replace(standing, holds=holds, override=last.override),
        cause=Cause.RESCORED,
        valid_until=file.valid_until if file.limit_fen > 0 else validity(scheme, on),
    )


def lapsed(file: CreditFile, last: Last) -> bool:
    """Whether the last rating's limit has run out since."""
    return file.limit_fen == 0 and (last.limit_fen > 0 or LAPSED in file.holds)


def changes(before: CreditFile, decision: Decision) -> bool:
    """Whether a decision is worth writing down: said to others, or told to the next rating."""
    after = decision.file
    return bool(decision.facts) or (
        (before.programme, before.barred, before.holds)
        != (after.programme, after.barred, after.holds)
    )


def _rate(
    file: CreditFile,
    inputs: Mapping[str, Observed],
    *,
    scheme: Scheme,
    rating_id: UUID,
    on: date,
    standing: Pins,
    cause: Cause,
    valid_until: date | None,
) -> Decision:
    observed = observations(file, inputs, scheme=scheme, on=on)
    holds = (*standing.holds, *observed, *closed_gates(inputs, scheme=scheme))
    rating = _rating(
        county_code=file.county_code,
        household_id=file.household_id,
        inputs=inputs,
        honour=file.household.honour,
        scheme=scheme,
        rating_id=rating_id,
        on=on,
        cause=cause,
        valid_until=valid_until,
        pins=replace(standing, holds=holds, terms_digest=scheme.digest),
    )
    watched = [hold.code.partition(":")[2] for hold in observed]
    return _take(file, rating, barred=tuple(sorted({*rating.vetoes, *watched})))


def awaiting_review(standing: Pins, file: CreditFile, *, scheme: Scheme) -> Pins:
    """
    Hold a first limit back where the programme publishes ratings before they take effect.

    A household that was granted before is re-rated as its data change, without a new notice.
    """
    if scheme.scoring.public_notice is None or file.granted_on is not None:
        return standing
    return replace(standing, holds=(*standing.holds, Hold(REVIEW, grade_too=False, until=None)))


def while_stopped(standing: Pins, file: CreditFile, stops: Sequence[str]) -> Pins:
    """
    Hold a new limit back where a breaker has tripped; one that stands goes on.

    `stops` names areas, and the programme itself where that is what has stopped.
    """
    area_code = file.household.area_code
    tripped = next(
        (code for code in stops if area_code.startswith(code) or not code.isdigit()), None
    )
    if tripped is None or file.limit_fen > 0:
        return standing
    hold = Hold(f"{BREAKER}{tripped}", grade_too=False, until=None)
    return replace(standing, holds=(*standing.holds, hold))


def observations(
    file: CreditFile,
    inputs: Mapping[str, Observed],
    *,
    scheme: Scheme,
    on: date,
) -> tuple[Hold, ...]:
    """
    The vetoes that hit once and are still watched: the programme's months after the cause ended.

    A cause ends with the observation that says so; without one, nobody knows that it has (S11).
    So a hit that is out of date holds the grade until somebody looks again.
    """
    months = scheme.observation_months
    holds = []
    for veto in scheme.scoring.vetoes:
        seen = inputs.get(veto.reads)
        if seen is not None and seen.stale:
            if seen.value >= 1:
                holds.append(Hold(f"{STALE}{veto.id}", grade_too=True, until=None))
                continue
            seen = None
        if months is None or veto.id not in file.barred:
            continue
        if seen is not None and seen.value >= 1:
            continue
        until = None
        if seen is not None and not isinstance(months, Open):
            back = after_veto(scheme.scoring, cause_ended_on=seen.observed_on, on=on)
            if back.allowed or back.first_on is None:
                continue
            until = back.first_on - timedelta(days=1)
        holds.append(Hold(f"{OBSERVATION}{veto.id}", grade_too=True, until=until))
    return tuple(holds)


def closed_gates(inputs: Mapping[str, Observed], *, scheme: Scheme) -> tuple[Hold, ...]:
    """The programme's gates that do not hold, or of which nobody knows today that they do."""
    found = gates_held(scheme.gates, values_of(inputs))
    return tuple(Hold(f"{GATE}{code}", grade_too=True, until=None) for code in found.failed)


def restate(
    file: CreditFile,
    inputs: Mapping[str, Observed],
    *,
    scheme: Scheme,
    rating_id: UUID,
    on: date,
    pins: Pins,
    cause: Cause,
) -> Decision:
    """
    Rate again on the last rating's inputs, under its own terms, because something else changed.

    What is not graded or has expired is left to the next rating; validity is not prolonged.
    """
    if file.limit_fen == 0:
        return Decision(file, None, ())
    rating = _rating(
        county_code=file.county_code,
        household_id=file.household_id,
        inputs=inputs,
        honour=file.household.honour,
        scheme=scheme,
        rating_id=rating_id,
        on=on,
        cause=cause,
        valid_until=file.valid_until,
        pins=replace(pins, terms_digest=scheme.digest),
    )
    if (rating.limit_fen, rating.grade) == (file.limit_fen, file.grade):
        return Decision(file, None, ())
    return _take(file, rating, barred=file.barred)


def withdraw(file: CreditFile) -> Decision:
    """Take the limit of a household that is off the registry's file or dead."""
    if file.may_hold_limit or file.limit_fen == 0:
        return Decision(file, None, ())
    taken = replace(file, limit_fen=Fen(0), valid_until=None, version=file.version + 1)
    return Decision(taken, None, (Fact.LIMIT_CHANGED,))


def honour_changes(file: CreditFile, household: Household) -> bool:
    """Whether what the registry says now touches a limit through the honour."""
    return file.limit_fen > 0 and file.household.honour != household.honour


@dataclass(frozen=True, slots=True)
class Derivation:
    """A stored rating derived again from what it pinned."""

    again: Rating
    differing: tuple[str, ...]
    """Names of what came out otherwise; empty when nothing did."""
    intact: bool
    """The stored rating still has the digest that it was stored with."""
    same_terms: bool
    """The clauses read as they did then."""

    @property
    def identical(self) -> bool:
        """Bit for bit the same."""
        return not self.differing and self.intact


_DIGESTED = (
    "county_code",
    "rating_id",
    "household_id",
    "cause",
    "programme",
    "rated_on",
    "honour",
    "score_centi",
    "grade",
    "vetoes",
    "base_limit_fen",
    "uplift_fen",
    "limit_fen",
    "valid_until",
    "working",
)
COMPARED = (
    "score_centi",
    "grade",
    "vetoes",
    "base_limit_fen",
    "uplift_fen",
    "limit_fen",
    "valid_until",
    "working",
)


def derive_again(stored: Rating, *, scheme: Scheme) -> Derivation:
    """The same rating from its pinned inputs, honour and standing, under its pinned terms."""
    fresh = stored.cause in (Cause.RATED, Cause.REVIEWED)
    valid_until = validity(scheme, stored.rated_on) if fresh else stored.valid_until
    again = _rating(
        county_code=stored.county_code,
        household_id=stored.household_id,
        inputs=stored.inputs,
        honour=stored.honour,
        scheme=scheme,
        rating_id=stored.rating_id,
        on=stored.rated_on,
        cause=stored.cause,
        valid_until=valid_until,
        pins=stored.pins,
    )
    differing = [name for name in COMPARED if getattr(again, name) != getattr(stored, name)]
    return Derivation(
        again=again,
        differing=tuple(differing),
        intact=not stored.digest or stored.digest == digest_of(stored),
        same_terms=stored.pins.terms_digest in ("", scheme.digest),
    )


_CANONICAL = json.JSONEncoder(
    sort_keys=True, default=str, separators=(",", ":"), check_circular=False
)
"""One text for one rating, whenever it is written."""


def digest_of(rating: Rating) -> str:
    """SHA-256 over a rating's canonical text: everything but the digest itself."""
    return _digest({field.name: getattr(rating, field.name) for field in fields(rating)})


def _digest(said: Mapping[str, Any]) -> str:
    inputs = {code: _pinned_input(seen) for code, seen in said["inputs"].items()}
    return hashlib.sha256(canonical(said, inputs).encode()).hexdigest()


def canonical(said: Mapping[str, Any], inputs: object) -> str:
    """The text that a rating's digest is made of."""
    parts = {name: said[name] for name in _DIGESTED}
    return _CANONICAL.encode(parts | {"inputs": inputs, "pins": _pinned(said["pins"])})


def _pinned_input(seen: Observed) -> list[object]:
    # What has no last day reads as it did before there were any: old digests stay true.
    last = () if seen.expires_on is None else (seen.expires_on, seen.stale)
    return [seen.value, str(seen.observed_on), seen.entry, *last]


def _pinned(pins: Pins) -> list[object]:
    override = pins.override
    return [
        pins.waived,
        [[hold.code, hold.grade_too, hold.until] for hold in pins.holds],
        pins.reward_fen,
        pins.cap_fen,
        override and [override.review_id, override.grade, override.limit_fen],
        pins.terms_digest,
        # What was never lowered reads as it did before anything was: old digests stay true.
        *([pins.demoted] if pins.demoted else []),
    ]


def values_of(inputs: Mapping[str, Observed]) -> dict[str, int]:
    """What counts: nothing that is stale, for that is not zero."""
    return {code: seen.value for code, seen in inputs.items() if not seen.stale}


def validity(scheme: Scheme, on: date) -> date | None:
    """The last day of a limit that is granted on a day; None where it has no end."""
    return None if scheme.validity_months is None else last_valid_day(on, scheme.validity_months)


def _rating(
    *,
    county_code: str,
    household_id: UUID,
    inputs: Mapping[str, Observed],
    honour: str,
    scheme: Scheme,
    rating_id: UUID,
    on: date,
    cause: Cause,
    valid_until: date | None,
    pins: Pins,
) -> Rating:
    """What comes out of what a rating pins, sealed with its digest."""
    made = score(scheme, values_of(inputs), honour, pins)
    end = valid_until if made.limit_fen > 0 else None
    until = f", valid until {end}" if end else ""
    said: dict[str, Any] = {
        "county_code": county_code,
        "rating_id": rating_id,
        "household_id": household_id,
        "cause": cause,
        "programme": scheme.ref,
        "rated_on": on,
        "inputs": inputs,
        "honour": honour,
        "score_centi": made.score_centi,
        "grade": made.grade or "",
        "vetoes": made.vetoes,
        "base_limit_fen": made.base_limit_fen,
        "uplift_fen": made.uplift_fen,
        "limit_fen": made.limit_fen,
        "valid_until": end,
        "working": f"{made.working}{until}; {scheme.ref}, {on}",
        "pins": pins,
    }
    return Rating(**said, digest=_digest(said))


def _take(file: CreditFile, rating: Rating, *, barred: tuple[str, ...]) -> Decision:
    facts = _facts(file, rating)
    granted = Fact.LIMIT_GRANTED in facts
    taken = replace(
        file,
        version=file.version + len(facts),
        rating_id=rating.rating_id,
        programme=rating.programme,
        score_centi=rating.score_centi,
        grade=rating.grade,
        vetoes=rating.vetoes,
        limit_fen=rating.limit_fen,
        valid_until=rating.valid_until,
        granted_on=rating.rated_on if granted else file.granted_on,
        barred=barred,
        holds=tuple(hold.code for hold in rating.pins.holds),
    )
    return Decision(taken, rating, facts)


def _facts(file: CreditFile, rating: Rating) -> tuple[Fact, ...]:
    facts: list[Fact] = []
    before = (file.score_centi, file.grade, file.vetoes)
    if file.rating_id is None or before != (rating.score_centi, rating.grade, rating.vetoes):
        facts.append(Fact.GRADED)
    if not set(rating.vetoes) <= set(file.vetoes):
        facts.append(Fact.VETOED)
    if rating.limit_fen > 0 and file.granted_on is None:
        facts.append(Fact.LIMIT_GRANTED)
    elif _limit_differs(file, rating):
        facts.append(Fact.LIMIT_CHANGED)
    return tuple(facts)


def _limit_differs(file: CreditFile, rating: Rating) -> bool:
    """A later end and another grade are changes of a limit too: others lend by them."""
    if file.limit_fen == 0 and rating.limit_fen == 0:
        return False
    before = (file.limit_fen, file.grade, file.valid_until)
    return before != (rating.limit_fen, rating.grade, rating.valid_until)
