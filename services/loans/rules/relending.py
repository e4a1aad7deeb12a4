"""Loans: the relending ledger: lines, draws within them, what loans earn. Pure decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.kernel.errors import Denied, NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.loans.rules.entitlements import require_not_ahead
from services.loans.rules.lending import Actor
from services.programmes import calendars, facilities, margins, pricing
from services.programmes.facilities import Movement
from services.programmes.margins import Margin
from services.programmes.schema.post_loan import Relending
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

OWN_FUNDS = "own_funds"
SOURCES = ("poverty_relending", "agri_relending")

_REASONS = {
    "over_limit": ("DRAW_ABOVE_QUOTA", "超过再贷款可用额度"),
    "expired": ("FACILITY_EXPIRED", "再贷款额度已到期"),
    "over_outstanding": ("REPAID_ABOVE_DRAWN", "归还金额超过余额"),
    "not_yet_granted": ("FACILITY_EXPIRED", "再贷款额度尚未生效"),
}


@dataclass(frozen=True, slots=True)
class Facility:
    """A line of the central bank to a lender."""

    facility_id: UUID
    lender_id: str
    programme_id: str
    rule_version: str
    source: str
    limit_fen: Fen
    rate_ppm: int
    rate_cap_ppm: int
    """What a loan out of it may cost at most; 0 for no cap."""
    revolving: bool
    granted_on: date
    validity_months: int
    valid_until: date
    reference: str
    opened_by: str
    drawn_fen: Fen = Fen(0)  # noqa: RUF009 - a whole number
    repaid_fen: Fen = Fen(0)  # noqa: RUF009 - a whole number
    closed_on: date | None = None
    version: int = 1

    @property
    def owed_fen(self) -> Fen:
        """Owed to the central bank."""
        return Fen(self.drawn_fen - self.repaid_fen)

    @property
    def free_fen(self) -> Fen:
        """What may still be drawn."""
        return Fen(self.limit_fen - (self.owed_fen if self.revolving else self.drawn_fen))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A line that is to be opened."""

    lender_id: str
    programme_id: str
    source: str
    limit_fen: Fen
    rate_ppm: int
    granted_on: date
    validity_months: int
    reference: str


@dataclass(frozen=True, slots=True)
class Moved:
    """One draw or repayment, and how the line stands after it."""

    facility_id: UUID
    number: int
    draw: bool
    amount_fen: Fen
    value_date: date
    booked_on: date
    reference: str
    owed_fen: Fen
    free_fen: Fen
    person_id: str


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit to a borrower whose loan is out of relending (SC.loa.7)."""

    visit_id: UUID
    loan_id: UUID
    lender_id: str
    visited_on: date
    finding: str
    evidence: str
    institution_id: str
    person_id: str


@dataclass(frozen=True, slots=True)
class Lent:
    """What a lender has lent out of a line."""

    lent_fen: Fen
    loans: int
    above_cap: int
    visited: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What a lender's own money and its work cost it, from a day on."""

    lender_id: str
    valid_from: date
    own_funds_ppm: int
    operating_ppm: int


@dataclass(frozen=True, slots=True)
class FundedLoan:
    """A loan as far as its margin goes; or many alike, with what they owe together."""

    loan_id: UUID | None
    programme_id: str
    source: str
    rate_ppm: int
    outstanding_fen: Fen
    count: int = 1


def open_facility(
    facility_id: UUID,
    wanted: Wanted,
    terms: Terms,
    *,
    granted_fen: Fen,
    actor: Actor,
    today: date,
) -> Facility:
    """Open a line; `granted_fen` is what the programme's other open lines come to."""
    clause = terms.loans.relending
    if clause is None:
        raise Refused(
            "NO_RELENDING_CLAUSE",
            f"{terms.ref} knows no relending",
            message_zh="方案未规定再贷款",
            facts={"key": "loans.relending"},
        )
    require_not_ahead("granted_on", wanted.granted_on, today)
    named: list[str] = [source.id for source in clause.sources] or list(SOURCES)
    if wanted.source not in named:
        rule = f"must be one of {', '.join(named)}"
        raise invalid_field("RELENDING_SOURCE_UNKNOWN", "source", wanted.source, rule)
    line = None if isinstance(clause.limit_fen, Open) else clause.limit_fen
    if line is not None and granted_fen + wanted.limit_fen > line:
        raise Refused(
            "ABOVE_PROGRAMME_LINE",
            f"{granted_fen} + {wanted.limit_fen} fen is above the programme's {line}",
            message_zh="超过方案再贷款总规模",
        )
    return Facility(
        facility_id=facility_id,
        lender_id=wanted.lender_id,
        programme_id=wanted.programme_id,
        rule_version=terms.ref,
        source=wanted.source,
        limit_fen=wanted.limit_fen,
        rate_ppm=_rate(clause, wanted.rate_ppm),
        rate_cap_ppm=_cap(terms, wanted.source),
        revolving=clause.revolving,
        granted_on=wanted.granted_on,
        validity_months=wanted.validity_months,
        valid_until=calendars.last_valid_day(wanted.granted_on, wanted.validity_months),
        reference=wanted.reference,
        opened_by=actor.person_id,
    )


def _rate(clause: Relending, asked_ppm: int) -> int:
    if clause.rate_ppm is None or isinstance(clause.rate_ppm, Open):
        if not asked_ppm:
            rule = "the programme does not say it, so the central bank's price is needed"
            raise invalid_field("RELENDING_RATE_MISSING", "rate_ppm", asked_ppm, rule)
        return asked_ppm
    fixed = known(clause.rate_ppm)
    if asked_ppm not in (0, fixed):
        raise Refused(
            "RELENDING_RATE_NOT_ALLOWED",
            f"the programme's price is {fixed} ppm, not {asked_ppm}",
            message_zh="再贷款利率与方案不符",
        )
    return fixed


def _cap(terms: Terms, source: str) -> int:
    """The lowest cap that a product sets on loans out of this money (SC.loa.1)."""
    caps = [
        pricing.rate_cap_ppm(product.funding_sources, source)
        for product in terms.pack.loan_products
        if any(each.id == source for each in product.funding_sources)
    ]
    return min((cap for cap in caps if cap is not None), default=0)


def move(
    facility: Facility,
    *,
    draw: bool,
    amount_fen: Fen,
    value_date: date,
    last_on: date | None,
    today: date,
) -> Facility:
    """Draw within the line and its days, or pay back what is owed (SC.loa.6, S33)."""
    require_open(facility)
    require_not_ahead("value_date", value_date, today)
    if last_on is not None and value_date < last_on:
        rule = f"must not be before the last movement on {last_on}"
        raise invalid_field("MOVED_BEFORE_LAST", "value_date", value_date, rule)
    # What was drawn and is paid back counts again only where the line revolves.
    before = [("draw", facility.owed_fen)]
    if not facility.revolving:
        before = [("draw", facility.drawn_fen), ("repay", facility.repaid_fen)]
    past = [
        Movement("draw" if kind == "draw" else "repay", facility.granted_on, fen)
        for kind, fen in before
        if fen
    ]
    asked = Movement("draw" if draw else "repay", value_date, amount_fen)
    found = facilities.revolving(
        facility.limit_fen,
        granted_on=facility.granted_on,
        validity_months=facility.validity_months,
        movements=[*past, asked],
        reusable=facility.revolving,
    )
    result = found.results[-1]
    if not result.accepted:
        reason, zh = _REASONS[result.reason or ""]
        raise Refused(reason, f"{asked.type} of {amount_fen} fen: {result.reason}", message_zh=zh)
    return replace(
        facility,
        drawn_fen=Fen(facility.drawn_fen + (amount_fen if draw else 0)),
        repaid_fen=Fen(facility.repaid_fen + (0 if draw else amount_fen)),
        version=facility.version + 1,
    )


def close(facility: Facility, today: date) -> Facility:
    """Close a line of which nothing is owed."""
    require_open(facility)
    if facility.owed_fen:
        raise Refused(
            "FACILITY_IN_USE", f"{facility.owed_fen} fen is owed", message_zh="再贷款尚未还清"
        )
    return replace(facility, closed_on=today, version=facility.version + 1)


def require_open(facility: Facility) -> None:
    """Refuse a line that is closed."""
    if facility.closed_on is not None:
        raise Refused("FACILITY_CLOSED", f"since {facility.closed_on}", message_zh="再贷款已关闭")


def require_found(held: Facility | None, facility_id: UUID) -> Facility:
    """One that is there."""
    if held is None:
        raise NotFound("FACILITY_NOT_FOUND", f"no line {facility_id}", message_zh="无此再贷款")
    return held


def require_lender_of(facility: Facility, actor: Actor) -> None:
    """Refuse anybody but the lender whose line it is."""
    if actor.institution_id != facility.lender_id:
        raise Denied("NOT_THE_LENDER", "it is another lender's line", message_zh="非本机构再贷款")


def require_funded(source: str) -> None:
    """Refuse a visit to a loan that no relending funds."""
    if source not in SOURCES:
        raise Refused(
            "NOT_FUNDED_BY_RELENDING",
            f"the loan is out of {source or OWN_FUNDS}",
            message_zh="该贷款未使用再贷款资金",
        )


# --- margins --------------------------------------------------------------------------------------


def margin(loan: FundedLoan, costs: Costs, rates: Mapping[tuple[str, str], int]) -> Margin:
    """What is left of a loan's rate; `rates` are the lines' prices by programme and source."""
    funding = rates.get((loan.programme_id, loan.source), costs.own_funds_ppm)
    return margins.net_margin(
        rate_ppm=loan.rate_ppm, funding_ppm=funding, operating_ppm=costs.operating_ppm
    )


def totals(
    groups: Sequence[FundedLoan], costs: Costs, rates: Mapping[tuple[str, str], int]
) -> list[tuple[str, int, Fen, int]]:
    """By kind of money: loans, what they owe, and the average margin."""
    found = []
    for source in sorted({group.source for group in groups}):
        own = [group for group in groups if group.source == source]
        weighed = [(group.outstanding_fen, margin(group, costs, rates).margin_ppm) for group in own]
        owed = Fen(sum(group.outstanding_fen for group in own))
        count = sum(group.count for group in own)
        found.append((source, count, owed, margins.average(weighed)))
    return found


def require_costs(costs: Costs | None) -> Costs:
    """Refuse margins of a lender that has not said what its money costs."""
    if costs is None:
        raise Refused(
            "FUNDING_COSTS_MISSING",
            "the lender has not said what its money and its work cost",
            message_zh="尚未登记资金成本",
        )
    return costs


def require_later(new: date, last: Costs | None) -> None:
    """Refuse costs from a day before the last ones: they were used already."""
    if last is not None and new <= last.valid_from:
        rule = f"must be after {last.valid_from}"
        raise invalid_field("DATED_BACK", "valid_from", new, rule)
