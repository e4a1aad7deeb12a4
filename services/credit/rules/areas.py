"""Credit: credit areas and coverage: what is counted, and what it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.credit.model import CreditArea
from services.kernel.money import PPM, half_up
from services.kernel.values import replace
from services.programmes.schema.scoring import ScoringRules
from services.programmes.schema.values import Open
from services.programmes.scoring import credit_area_of
from services.programmes.terms import Terms

DIGITS = {"county": 6, "township": 9, "village": 12, "villager_group": 14}
MEASURES = ("rated", "granted", "lent")
TARGETS = {"rated_ratio": "rated", "credit_granted_ratio": "granted"}
STATUSES = {"five_guarantee_household": "five_guarantee", "flagged": "flagged"}
"""What a programme leaves out of coverage, and the registry's word for it."""


@dataclass(frozen=True, slots=True)
class Count:
    """Units of an area: how many there are, and how many of them count."""

    area_code: str
    credited: int
    total: int


def scopes_of(scoring: ScoringRules) -> tuple[str, ...]:
    """The scopes whose share the programme states; an open share recognises nobody."""
    return tuple(
        area.scope
        for area in scoring.credit_areas
        if area.at_least_pct is not None and not isinstance(area.at_least_pct, Open)
    )


def villages_of(villages: Sequence[CreditArea]) -> list[Count]:
    """Recognised villages of each township; its denominator is all of its villages (S17)."""
    totals: dict[str, list[int]] = {}
    for village in villages:
        counted = totals.setdefault(village.area_code[: DIGITS["township"]], [0, 0])
        counted[0] += village.certified
        counted[1] += 1
    return [Count(code, *counted) for code, counted in sorted(totals.items())]


def assess(
    count: Count,
    before: CreditArea | None,
    *,
    county_code: str,
    programme_id: str,
    terms: Terms,
    scope: str,
    on: date,
) -> tuple[CreditArea, bool]:
    """An area as it is recognised today, and whether that is news."""
    award = credit_area_of(terms.scoring.credit_areas, scope, count.credited, count.total)
    assert award is not None, "the scope is one that the programme states"
    area = CreditArea(
        county_code=county_code,
        area_code=count.area_code,
        programme_id=programme_id,
        scope=scope,
        programme=terms.ref,
        certified=award.awarded,
        since=on,
        assessed_on=on,
        numerator=count.credited,
        denominator=count.total,
        min_units=award.min_units,
        version=1,
    )
    if before is None:
        # An area that never was one is no news; it is kept from the day on which it becomes one.
        return area if area.certified else replace(area, version=0), area.certified
    if before.certified == area.certified:
        return replace(area, since=before.since, version=before.version), False
    return replace(area, version=before.version + 1), True


def ends_month(day: date) -> bool:
    """Whether a day is the last of its month."""
    return (day + timedelta(days=1)).day == 1


def left_out(programmes: Sequence[Terms]) -> tuple[str, ...]:
    """Statuses that no coverage counts, by the programmes that the county follows (YY.reg.1)."""
    found = set()
    for terms in programmes:
        coverage = terms.pack.registry.coverage if terms.pack.registry else None
        found |= {
            STATUSES[each] for each in (coverage.excludes if coverage else ()) if each in STATUSES
        }
    return tuple(sorted(found))


def targets_of(programmes: Sequence[Terms]) -> Mapping[str, int]:
    """What the programmes ask for, the highest of each, in parts per million."""
    found: dict[str, int] = {}
    for terms in programmes:
        for target in terms.pack.scoring.targets if terms.pack.scoring else ():
            if measure := TARGETS.get(target.id):
                ppm = target.at_least_pct * PPM // 100
                found[measure] = max(found.get(measure, 0), ppm)
    return found


def ratio_ppm(numerator: int, denominator: int) -> int:
    """A share in parts per million, half up; nothing of nothing is 0."""
    return half_up(numerator * PPM, denominator) if denominator else 0
