"""Cohorts: statistics by line, loans by year and batch, and the wall of maturities ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from services.kernel.errors import Refused
from services.programmes.schema.reports import Analytics, Grain


@dataclass(frozen=True, slots=True)
class BookLine:
    """One loan as statistics see it."""

    household_id: str
    disbursed_on: date
    maturity_on: date
    outstanding_fen: int
    non_performing_fen: int
    batch: str = ""
    keys: tuple[tuple[Grain, str], ...] = ()

    def key(self, grain: Grain) -> str:
        """What the loan belongs to at a grain."""
        found = dict(self.keys).get(grain)
        if found is None:
            raise Refused(
                "GRAIN_MISSING",
                f"a loan of household {self.household_id} has no {grain}",
                message_zh=f"缺少统计口径 {grain}",
                facts={"key": grain.value},
            )
        return found


@dataclass(frozen=True, slots=True)
class Group:
    """The loans of one line, cohort or maturity."""

    key: str
    loans: int
    households: int
    outstanding_fen: int
    non_performing_fen: int


def statistics(lines: Sequence[BookLine], grain: Grain) -> tuple[Group, ...]:
    """One line for every bank, village, household …, in order of their keys."""
    return _grouped([(line.key(grain), line) for line in lines])


def cohorts(rule: Analytics, lines: Sequence[BookLine]) -> tuple[Group, ...]:
    """Loans of the same year, month or batch of disbursement, watched together."""
    return _grouped([(cohort_key(rule, line.disbursed_on, line.batch), line) for line in lines])


def cohort_key(rule: Analytics, disbursed_on: date, batch: str) -> str:
    """The cohort of a loan, as the pack cuts them."""
    words = {
        "disbursement_year": f"{disbursed_on:%Y}",
        "disbursement_month": f"{disbursed_on:%Y-%m}",
        "batch": batch,
    }
    return "/".join(words[part] for part in rule.cohort_by)


def maturity_wall(rule: Analytics, lines: Sequence[BookLine]) -> tuple[Group, ...]:
    """What is still owed, by the year or month in which it falls due."""
    form = "%Y-%m" if rule.maturity_wall == "month" else "%Y"
    owed = [line for line in lines if line.outstanding_fen > 0]
    return _grouped([(line.maturity_on.strftime(form), line) for line in owed])


def _grouped(keyed: Sequence[tuple[str, BookLine]]) -> tuple[Group, ...]:
    groups: dict[str, list[BookLine]] = {}
    for key, line in keyed:
        groups.setdefault(key, []).append(line)
    return tuple(
        Group(
            key,
            len(lines),
            len({line.household_id for line in lines}),
            sum(line.outstanding_fen for line in lines),
            sum(line.non_performing_fen for line in lines),
        )
        for key, lines in sorted(groups.items())
    )
