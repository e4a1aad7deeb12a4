"""Credit: the decisions. Pure: no clock, no database, no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from services.credit.model import (
    Cause,
    CreditFile,
    Decision,
    Fact,
    Household,
    Indicator,
    Observed,
    Rating,
)
from services.kernel.errors import Refused, invalid_field
from services.kernel.money import Fen
from services.programmes.calendars import last_valid_day
from services.programmes.schema.scoring import BasePointsScoring
from services.programmes.schema.values import Open, known
from services.programmes.scoring import bands_of, score_by_points
from services.programmes.terms import Terms


@dataclass(frozen=True, slots=True)
class Scheme:
    """A programme's scoring with nothing open in it, ready to rate many households."""

    ref: str
    scoring: BasePointsScoring
    validity_months: int | None


def scheme_of(terms: Terms) -> Scheme:
    """The scheme to rate under; refused by key while a value that it needs is open."""
    scoring = terms.scoring
    if not isinstance(scoring, BasePointsScoring):
        raise Refused(
            "FACTOR_SCORES_MISSING",
            f"{terms.ref} weighs factor scores, and yes-or-no indicators do not give any",
            message_zh=f"方案 {terms.ref} 需要各项评分,尚未采集",
        )
    known(scoring.adjustments)
    bands_of(scoring)
    months = scoring.limit_validity_months
    return Scheme(terms.ref, scoring, None if months is None else known(months))


@dataclass(frozen=True, slots=True)
class Codes:
    """The indicators that the programmes in force read, and what of them is still open."""

    named: frozenset[str]
    open: tuple[Open, ...]


def codes_of(programmes: Sequence[Terms]) -> Codes:
    """What may be recorded: what adjustments, vetoes, gates and standards read."""
    named: set[str] = set()
    unknown: list[Open] = []
    for terms in programmes:
        scoring, eligibility = terms.pack.scoring, terms.pack.eligibility
        if scoring is not None:
            named.update(veto.reads for veto in scoring.vetoes)
        if isinstance(scoring, BasePointsScoring):
            if isinstance(scoring.adjustments, Open):
                unknown.append(scoring.adjustments)
            else:
                named.update(adjustment.reads for adjustment in scoring.adjustments)
        if eligibility is not None:
            named.update(eligibility.standards)
            if not isinstance(eligibility.gates, Open):
                named.update(gate.code for gate in eligibility.gates)
    return Codes(frozenset(named), tuple(unknown))


def check_indicator(indicator: Indicator, *, area: str | None, codes: Codes, today: date) -> None:
    """Refuse an indicator of a stranger, of no programme in force, or of a day to come."""
    if area is None:
        raise Refused(
            "UNKNOWN_HOUSEHOLD",
            f"no household {indicator.household_id} in this county",
            message_zh="本县无此农户",
        )
    if indicator.code not in codes.named:
        for value in codes.open:
            known(value)
        raise Refused(
            "UNKNOWN_INDICATOR",
            f"no programme in force names the indicator {indicator.code}",
            message_zh=f"现行方案未规定指标 {indicator.code}",
        )
    if indicator.observed_on > today:
        raise invalid_field(
            "OBSERVED_IN_FUTURE",
            "observed_on",
            indicator.observed_on,
            f"must not be after the business date {today}",
            "采集日期不能晚于营业日",
        )


def check_area(within: str, county_code: str) -> None:
    """Refuse an area that is not in the county that the request names."""
    if within and not within.startswith(county_code):
        raise invalid_field(
            "AREA_OUTSIDE_COUNTY",
            "within",
            within,
            f"must begin with the county code {county_code}",
            "区域不属于该县",
        )


def rate(
    file: CreditFile,
    inputs: Mapping[str, Observed],
    *,
    scheme: Scheme,
    rating_id: UUID,
    on: date,
) -> Decision:
    """Score a household, grade it and set its limit anew; what changed is said."""
    rating = _rating(
        file,
        inputs,
        scheme=scheme,
        rating_id=rating_id,
        on=on,
        cause=Cause.RATED,
        valid_until=_validity(scheme, on),
    )
    return _take(file, rating)


def change_honour(
    file: CreditFile,
    inputs: Mapping[str, Observed],
    *,
    scheme: Scheme,
    rating_id: UUID,
    on: date,
) -> Decision:
    """
    Rate again on the last rating's inputs, under its own terms, because the honour is another.

    What is not graded or has expired is left to the next rating; validity is not prolonged.
    """
    if file.limit_fen == 0:
        return Decision(file, None, ())
    rating = _rating(
        file,
        inputs,
        scheme=scheme,
        rating_id=rating_id,
        on=on,
        cause=Cause.HONOUR_CHANGED,
        valid_until=file.valid_until,
    )
    if rating.limit_fen == file.limit_fen:
        return Decision(file, None, ())
    return _take(file, rating)


def withdraw(file: CreditFile) -> Decision:
    """Take the limit of a household that is off the registry's file or dead."""
    if file.may_hold_limit or file.limit_fen == 0:
        return Decision(file, None, ())
    taken = replace(file, limit_fen=Fen(0), valid_until=None, version=file.version + 1)
    return Decision(taken, None, (Fact.LIMIT_CHANGED,))


def honour_changes(file: CreditFile, household: Household) -> bool:
    """Whether what the registry says now touches a limit through the honour."""
    return file.limit_fen > 0 and file.household.honour != household.honour


def _validity(scheme: Scheme, on: date) -> date | None:
    return None if scheme.validity_months is None else last_valid_day(on, scheme.validity_months)


def _rating(
    file: CreditFile,
    inputs: Mapping[str, Observed],
    *,
    scheme: Scheme,
    rating_id: UUID,
    on: date,
    cause: Cause,
    valid_until: date | None,
) -> Rating:
    honour = file.household.honour
    values = {code: observed.value for code, observed in inputs.items()}
    score = score_by_points(scheme.scoring, values, honour or None)
    end = valid_until if score.limit_fen > 0 else None
    until = f", valid until {end}" if end else ""
    return Rating(
        county_code=file.county_code,
        rating_id=rating_id,
        household_id=file.household_id,
        cause=cause,
        programme=scheme.ref,
        rated_on=on,
        inputs=inputs,
        honour=honour,
        score_centi=score.score_centi,
        grade=score.grade or "",
        vetoes=score.vetoes,
        base_limit_fen=score.base_limit_fen,
        uplift_fen=score.uplift_fen,
        limit_fen=score.limit_fen,
        valid_until=end,
        working=f"{score.working}{until}; {scheme.ref}, {on}",
    )


def _take(file: CreditFile, rating: Rating) -> Decision:
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
