"""Consents and disclosures: who may know what of a household. Pure."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Final

from services.households.model import (
    Consent,
    ConsentMedium,
    DataCategory,
    Disclosure,
    Evidence,
    EvidenceKind,
)
from services.households.rules import registration
from services.kernel.errors import LiandongError, invalid_field
from services.kernel.values import replace

DAYS_MAX: Final = 5 * 366
SHA256_BYTES: Final = 32
EVERYTHING: Final = frozenset(DataCategory)
SHEETS: Final = {
    ConsentMedium.STATION_SIGNATURE: EvidenceKind.SIGNATURE,
    ConsentMedium.STATION_THUMB_PRINT: EvidenceKind.THUMB_PRINT,
}
"""What a consent given at a station leaves behind."""


def evidence_fault(evidence: Evidence) -> LiandongError | None:
    """Why evidence is none: a scan or recording is known by its hash."""
    size = len(evidence.sha256)
    free = evidence.kind in {EvidenceKind.DOCUMENT, EvidenceKind.SYSTEM}
    if size == SHA256_BYTES or (free and size == 0):
        return None
    rule = f"a {evidence.kind} is kept by its SHA-256 of {SHA256_BYTES} bytes"
    shown = f"{size} bytes"
    return invalid_field(
        "EVIDENCE_HASH_NEEDED", "evidence.sha256", shown, rule, "须提供影像或录音哈希值"
    )


def medium_fault(medium: ConsentMedium, evidence: Evidence) -> LiandongError | None:
    """Why evidence does not fit the way in which a consent was given."""
    needed = SHEETS.get(medium)
    if needed is None or evidence.kind is needed:
        return None
    rule = f"a consent by {medium} rests on a {needed}"
    return invalid_field(
        "EVIDENCE_KIND", "evidence.kind", evidence.kind, rule, "证据与授权方式不符"
    )


def period_fault(valid_from: date, valid_to: date, today: date) -> LiandongError | None:
    """Why a consent cannot run from a day to another."""
    if valid_from < today:
        rule = f"must not be before the business date {today}"
        return invalid_field("CONSENT_PERIOD", "valid_from", valid_from, rule, "授权不得追溯")
    if not valid_from <= valid_to <= valid_from + timedelta(days=DAYS_MAX):
        rule = f"must be valid_from or at most {DAYS_MAX} days later"
        return invalid_field("CONSENT_PERIOD", "valid_to", valid_to, rule, "授权期限不符合要求")
    return None


def permitted(
    consents: Iterable[Consent],
    *,
    sees_all: bool,
    institution_id: str,
    purpose: str,
    today: date,
) -> frozenset[DataCategory]:
    """What a caller may know of a household: by its role and area, else by live consents."""
    if sees_all:
        return EVERYTHING
    return frozenset(
        category
        for consent in consents
        if consent.receiver_id == institution_id
        and consent.purpose == purpose
        and consent.live_on(today)
        for category in consent.categories
    )


def disclosed(
    person: Disclosure, asked: Sequence[DataCategory], granted: frozenset[DataCategory]
) -> Disclosure:
    """A person with what was asked for and may be known; the rest masked, empty and named."""
    shown = granted & frozenset(asked)
    identity = DataCategory.IDENTITY in shown
    accounts = DataCategory.ACCOUNTS in shown
    return replace(
        person,
        name=person.name if identity else registration.mask_name(person.name),
        identity_number=person.identity_number
        if identity
        else registration.mask_identity(person.identity_number),
        phone=person.phone
        if DataCategory.CONTACT in shown
        else registration.mask_phone(person.phone),
        relation=person.relation if DataCategory.FAMILY in shown else None,
        labour=person.labour if DataCategory.LABOUR in shown else None,
        account_number=person.account_number if accounts else "",
        account_bank=person.account_bank if accounts else "",
        withheld=tuple(category for category in asked if category not in granted),
    )
