"""Funds: the nouns of their money: orders, lines of guarantors, results of insurers, fees."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from services.kernel.money import Fen


@dataclass(frozen=True, slots=True)
class Order:
    """What one person proposed and another decides."""

    county_code: str
    order_id: UUID
    kind: str
    state: str
    fund_id: UUID | None
    amount_fen: Fen
    payee: str
    details: Mapping[str, Any]
    """What the kind needs: lines, the line of a guarantor, the funds that come in."""
    value_date: date
    working: str
    proposed_by: str
    proposed_on: date
    decided_by: str = ""
    decided_on: date | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LineResult:
    """What an insurer's line came to."""

    county_code: str
    line_id: str
    insurer_id: str
    programme_id: str
    """Empty where the event names none."""
    premium_fen: Fen
    payouts_fen: Fen
    compensated_fen: Fen
    said_on: date


@dataclass(frozen=True, slots=True)
class FacilityLine:
    """What a guarantor stands behind at most, from a day to a day."""

    county_code: str
    order_id: UUID
    programme_id: str
    party: str
    institution_id: str
    line_fen: Fen
    from_date: date
    until_date: date | None


@dataclass(frozen=True, slots=True)
class FeeClaim:
    """A fee for lending or for collecting credit data."""

    county_code: str
    claim_id: UUID
    kind: str
    state: str
    institution_id: str
    programme: str
    programme_id: str
    from_date: date
    until_date: date
    disbursed_fen: Fen
    households: int
    amount_fen: Fen
    evidence: tuple[str, ...]
    working: str
    filed_by: str
    filed_on: date
    approved_by: str = ""
    paid_by: str = ""
    reason: str = ""
