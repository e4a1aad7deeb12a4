"""Funds: what is due to a fund and what arrived; what it must hold; fees worked out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.kernel.errors import Refused
from services.kernel.money import PPM, Fen
from services.kernel.values import replace
from services.programmes.schema.fund import Fund as FundTerms
from services.programmes.schema.upkeep import FeeSubsidy
from services.programmes.upkeep import Needed, Yearly, fee_subsidy_by, needed_by, yearly_top_up

_NOTHING = Fen(0)


@dataclass(frozen=True, slots=True)
class Due:
    """What somebody has to pay into a fund."""

    county_code: str
    due_id: UUID
    fund_id: UUID
    source: str
    amount_fen: Fen
    due_on: date
    year: int
    """Of a yearly addition; 0 for others."""
    working: str
    said_by: str
    business_date: date
    arrived_fen: Fen = _NOTHING


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a source owed by a day, and paid."""

    source: str
    due_fen: Fen
    paid_in_fen: Fen

    @property
    def ratio_ppm(self) -> int:
        """Paid in over due, rounded down; nothing due, no ratio."""
        return self.paid_in_fen * PPM // self.due_fen if self.due_fen else 0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """All sources of a fund, and together."""

    sources: tuple[Arrival, ...]
    dues: tuple[Due, ...]
    whole: Arrival


@dataclass(frozen=True, slots=True)
class TopUpView:
    """What a fund must hold and gets."""

    loans_fen: Fen
    needed: Needed
    minimum_fen: Fen
    yearly: Yearly
    due_on: date | None


def arrivals(dues: Sequence[Due], paid_in: Mapping[str, Fen], on: date) -> Arrivals:
    """
    Hold what was paid in against what is due; the oldest demand of a source is met first.

    Together, a source counts with no more than it owed: what one paid early is not another's.
    """
    left = dict(paid_in)
    met: list[Due] = []
    for due in sorted(dues, key=lambda each: (each.due_on, each.due_id)):
        amount = Fen(min(left.get(due.source, Fen(0)), due.amount_fen))
        left[due.source] = Fen(left.get(due.source, 0) - amount)
        met.append(replace(due, arrived_fen=amount))
    by_source = tuple(
        Arrival(
            source, _sum(d.amount_fen for d in _by(met, source, on)), paid_in.get(source, Fen(0))
        )
        for source in sorted({*paid_in, *(due.source for due in dues)})
    )
    whole = Arrival(
        "",
        _sum(each.due_fen for each in by_source),
        _sum(min(each.due_fen, each.paid_in_fen) for each in by_source),
    )
    return Arrivals(by_source, tuple(met), whole)


def _by(dues: Iterable[Due], source: str, on: date) -> list[Due]:
    return [due for due in dues if due.source == source and due.due_on <= on]


def _sum(amounts: Iterable[int]) -> Fen:
    return Fen(sum(amounts))


def top_up(terms: FundTerms, balance_fen: Fen, *, loans_fen: Fen, today: date) -> TopUpView:
    """What a fund must hold by its programme, and what a year adds (C15, S27)."""
    minimum = terms.min_balance_fen or Fen(0)
    clause = terms.top_up
    yearly = yearly_top_up(
        balance_fen,
        loans_fen=loans_fen,
        yearly_ppm=(clause.yearly_ppm if clause else None) or 0,
        min_balance_fen=minimum,
    )
    due_on = next_due(clause.yearly_due, today) if clause and clause.yearly_due else None
    return TopUpView(
        loans_fen, needed_by(terms, balance_fen, loans_fen=loans_fen), minimum, yearly, due_on
    )


def next_due(month_day: str, today: date) -> date:
    """The next such day of a year, today included."""
    this_year = date.fromisoformat(f"{today.year}-{month_day}")
    return this_year if this_year >= today else this_year.replace(year=today.year + 1)


@dataclass(frozen=True, slots=True)
class Fee:
    """A fee and how it came about."""

    amount_fen: Fen
    working: str


def fee(
    clause: FeeSubsidy | None, *, lending: bool, disbursed_fen: Fen, households: int, lender: bool
) -> Fee:
    """What a lender or a collector gets by the programme's rule; refused where it gets nothing."""
    if clause is None:
        raise Refused("NO_FEE_SUBSIDY", "the programme pays no fees", message_zh="本方案无费用补贴")
    if not lending and clause.per_household_to == "lender" and not lender:
        raise Refused(
            "NOT_THE_COLLECTOR",
            "the programme pays lenders for credit data, nobody else",
            message_zh="本方案仅向承贷机构支付信息采集费",
        )
    fees = fee_subsidy_by(
        clause,
        disbursed_fen=disbursed_fen if lending else Fen(0),
        households=0 if lending else households,
    )
    amount = fees.lending_subsidy_fen if lending else fees.data_fee_fen
    if amount == 0:
        raise Refused("NOTHING_TO_PAY", fees.working, message_zh="无应付费用")
    return Fee(amount, fees.working)
