"""Credit: what may be recorded of a household, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.credit.model import Indicator
from services.credit.rules.scheme import FACTOR_MAX
from services.kernel.errors import Refused, invalid_field
from services.programmes.schema.scoring import BasePointsScoring, WeightedScoring
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms


@dataclass(frozen=True, slots=True)
class Codes:
    """The indicators that the programmes in force read, and what of them is still open."""

    named: frozenset[str]
    factors: frozenset[str]
    """Those that a weighted scheme reads: scored from 0 to 100."""
    open: tuple[Open, ...]


def codes_of(programmes: Sequence[Terms]) -> Codes:
    """What may be recorded: what adjustments, vetoes, gates and standards read."""
    named: set[str] = set()
    factors: set[str] = set()
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
        elif isinstance(scoring, WeightedScoring):
            if isinstance(scoring.factors, Open):
                unknown.append(scoring.factors)
            else:
                factors.update(factor.id for factor in scoring.factors)
        if eligibility is not None:
            named.update(eligibility.standards)
            if not isinstance(eligibility.gates, Open):
                named.update(gate.code for gate in eligibility.gates)
    return Codes(frozenset(named | factors), frozenset(factors), tuple(unknown))


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
    if indicator.code in codes.factors and not 0 <= indicator.value <= FACTOR_MAX:
        raise invalid_field(
            "INDICATOR_OUT_OF_RANGE",
            "value",
            indicator.value,
            f"the factor {indicator.code} is scored from 0 to {FACTOR_MAX}",
            f"指标 {indicator.code} 的评分须在0至{FACTOR_MAX}之间",
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
