"""Credit: the catalogue of indicators of a programme in a county, and how long each counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from services.credit.model import IndicatorRule, Observed, Refresh, Use
from services.credit.rules.scheme import FACTOR_MAX
from services.kernel.errors import Refused, invalid_field
from services.kernel.values import replace
from services.programmes.calendars import add_months
from services.programmes.rerating import MONTHS
from services.programmes.schema.deployment import InstitutionRole
from services.programmes.schema.scoring import Adjustment, BasePointsScoring, WeightedScoring
from services.programmes.schema.values import Every, Open, known
from services.programmes.terms import Terms

RECORDERS = ("county_centre", "township_station")
"""Who supplies what the county has not declared."""
EVERY = {
    Refresh.REAL_TIME: Every.EVENT,
    Refresh.QUARTERLY: Every.QUARTER,
    Refresh.YEARLY: Every.YEAR,
}
GRADE = "grade"
"""The refresh clause of the grade itself; the others are of data."""
YES_NO = "yes_no"
POINTS = "points"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a programme and a county know of indicators, by code, and what is still open of it."""

    rules: Mapping[str, IndicatorRule]
    open: tuple[Open, ...]
    item_count: int
    """What the programme says is collected of each household; 0 where it does not say."""


def catalogue_of(terms: Terms, declared: Mapping[str, IndicatorRule]) -> Catalogue:
    """What the programme's clauses read, with what the county declared laid over it."""
    uses, readers, unknown = _read(terms)
    rules = {code: _undeclared(code, found, readers.get(code, ())) for code, found in uses.items()}
    for code, rule in declared.items():
        rules[code] = replace(rule, uses=uses.get(code, ()), declared=True)
    scoring = terms.pack.scoring
    return Catalogue(rules, unknown, (scoring.item_count or 0) if scoring else 0)


def _read(
    terms: Terms,
) -> tuple[dict[str, tuple[Use, ...]], dict[str, list[Adjustment]], tuple[Open, ...]]:
    scoring, eligibility, loans = terms.pack.scoring, terms.pack.eligibility, terms.pack.loans
    found: list[tuple[str, Use]] = []
    readers: dict[str, list[Adjustment]] = {}
    unknown: list[Open] = []
    if isinstance(scoring, BasePointsScoring):
        if isinstance(scoring.adjustments, Open):
            unknown.append(scoring.adjustments)
        else:
            for each in scoring.adjustments:
                readers.setdefault(each.reads, []).append(each)
                found.append((each.reads, Use.ADJUSTMENT))
    elif isinstance(scoring, WeightedScoring):
        if isinstance(scoring.factors, Open):
            unknown.append(scoring.factors)
        else:
            found += [(factor.id, Use.FACTOR) for factor in scoring.factors]
    if scoring is not None:
        found += [(veto.reads, Use.VETO) for veto in scoring.vetoes]
    if eligibility is not None:
        if not isinstance(eligibility.gates, Open):
            found += [(gate.code, Use.GATE) for gate in eligibility.gates]
        found += [(code, Use.STANDARD) for code in eligibility.standards]
    for reward in loans.rewards if loans else ():
        found += [(code, Use.REWARD) for code in reward.requires]
    uses: dict[str, tuple[Use, ...]] = {}
    for code, use in found:
        held = uses.get(code, ())
        uses[code] = held if use in held else (*held, use)
    return uses, readers, tuple(unknown)


def _undeclared(code: str, uses: tuple[Use, ...], readers: Sequence[Adjustment]) -> IndicatorRule:
    """What the clauses themselves say: a factor goes to 100, what only bars or must hold to 1."""
    most, unit = None, ""
    if Use.FACTOR in uses:
        most, unit = FACTOR_MAX, POINTS
    elif Use.ADJUSTMENT not in uses:
        most, unit = 1, YES_NO
    return IndicatorRule(
        code=code,
        name_zh="",
        min=min([0, *(each.min for each in readers)]),
        max=most,
        unit=unit,
        refresh=Refresh.NONE,
        suppliers=RECORDERS,
        uses=uses,
    )


def check_rule(rule: IndicatorRule, *, terms: Terms, catalogue: Catalogue) -> None:
    """Refuse a declaration that the programme does not bear."""
    for role in rule.suppliers or ("",):
        if role not in set(InstitutionRole):
            names = ", ".join(InstitutionRole)
            raise invalid_field(
                "UNKNOWN_ROLE", "suppliers", role, f"must be among {names}", "无此机构类别"
            )
    if rule.max is not None and rule.max < rule.min:
        raise invalid_field(
            "RANGE_EMPTY", "max", rule.max, f"must not be below min {rule.min}", "取值范围为空"
        )
    uses = catalogue.rules[rule.code].uses if rule.code in catalogue.rules else ()
    if Use.FACTOR in uses and not (rule.min == 0 and rule.max == FACTOR_MAX):
        raise invalid_field(
            "FACTOR_RANGE",
            "max",
            "" if rule.max is None else rule.max,
            f"the factor {rule.code} is scored from 0 to {FACTOR_MAX}",
            f"评分项须在0至{FACTOR_MAX}之间",
        )
    _check_refresh(rule, terms)
    if rule.code not in catalogue.rules and 0 < catalogue.item_count <= len(catalogue.rules):
        raise invalid_field(
            "TOO_MANY_ITEMS",
            "code",
            rule.code,
            f"{terms.ref} collects {catalogue.item_count} items, and all are named",
            f"方案规定 {catalogue.item_count} 项指标,已全部列明",
        )


def _check_refresh(rule: IndicatorRule, terms: Terms) -> None:
    scoring = terms.pack.scoring
    said = {each.every for each in scoring.refresh if each.id != GRADE} if scoring else set()
    if rule.refresh is not Refresh.NONE and said and EVERY[rule.refresh] not in said:
        raise invalid_field(
            "REFRESH_NOT_IN_PROGRAMME",
            "refresh",
            rule.refresh,
            f"{terms.ref} renews data every {', '.join(sorted(each.value for each in said))}",
            "方案未规定此更新周期",
        )


def counts_months(rules: Iterable[IndicatorRule]) -> dict[str, int]:
    """For how many months an observation counts, by code; those without an end are left out."""
    return {
        rule.code: MONTHS[EVERY[rule.refresh]]
        for rule in rules
        if rule.refresh in (Refresh.QUARTERLY, Refresh.YEARLY)
    }


def observed(
    value: int,
    observed_on: date,
    entry: int,
    *,
    stated: date | None,
    months: int | None,
    on: date,
) -> Observed:
    """An observation as it stands on a day: its own last day or its rule's, the earlier."""
    if stated is None and months is None:
        return Observed(value, observed_on, entry)
    by_rule = None if months is None else add_months(observed_on, months) - timedelta(days=1)
    last = min(day for day in (stated, by_rule) if day is not None)
    return Observed(value, observed_on, entry, expires_on=last, stale=on > last)


def entitled(rules: Sequence[IndicatorRule], role: str) -> None:
    """Refuse who may not supply an indicator under any programme that names it."""
    allowed = sorted({each for rule in rules for each in rule.suppliers})
    if role not in allowed:
        raise invalid_field(
            "SUPPLIER_NOT_ENTITLED",
            "code",
            rules[0].code,
            f"is supplied by {', '.join(allowed)}, not by {role}",
            f"本机构无权报送指标 {rules[0].code}",
        )


def in_range(rules: Sequence[IndicatorRule], value: int) -> None:
    """Refuse a value outside the range of any programme that names the indicator."""
    for rule in rules:
        if value < rule.min or (rule.max is not None and value > rule.max):
            most = "any" if rule.max is None else rule.max
            raise invalid_field(
                "INDICATOR_OUT_OF_RANGE",
                "value",
                value,
                f"{rule.code} goes from {rule.min} to {most} ({rule.unit or 'no unit'})",
                f"指标 {rule.code} 的取值须在 {rule.min} 至 {most} 之间",
            )


def rules_for(catalogues: Sequence[Catalogue], code: str) -> list[IndicatorRule]:
    """The rules of a code under the programmes in force; refused where nobody names it."""
    rules = [each.rules[code] for each in catalogues if code in each.rules]
    if rules:
        return rules
    for each in catalogues:
        for value in each.open:
            known(value)
    raise Refused(
        "UNKNOWN_INDICATOR",
        f"no programme in force names the indicator {code}",
        message_zh=f"现行方案未规定指标 {code}",
    )
