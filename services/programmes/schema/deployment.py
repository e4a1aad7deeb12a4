"""Schema: what a deployment adds: overlays, adoptions, institutions, calendars."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    AreaCode,
    Clause,
    Code,
    CountyCode,
    InstitutionId,
    OverlayName,
    PackRef,
    TermsRef,
    Title,
    duplicates,
)

Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a certificate's DER."""
PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""The 32 bytes of an Ed25519 public key, base64url: `x` of its JWK."""


class OverlayHeader(Clause):
    """
    Which pack a county completes, under which name; a changed overlay is a new name.

    `conditions` are those of the pack that the county lives under, laid over it in this order.
    """

    name: OverlayName
    county: CountyCode
    programme: PackRef
    status: Literal["example", "decided"]
    conditions: tuple[Code, ...] = ()
    note: Title | None = None


class AdoptionEntry(Clause):
    """A county follows a programme's version from a day to a day, with these parties."""

    programme: TermsRef
    valid_from: Annotated[date, Field(alias="from")]
    valid_to: Annotated[date | None, Field(alias="to")] = None
    parties: dict[Code, InstitutionId | tuple[InstitutionId, ...]]

    @model_validator(mode="after")
    def _dates(self) -> Self:
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise ValueError("to is before from")
        return self

    def holds_on(self, on: date) -> bool:
        """Whether the county follows it on this day."""
        return self.valid_from <= on and (self.valid_to is None or on <= self.valid_to)

    def institutions(self, party: str) -> tuple[str, ...]:
        """The institutions behind a party, none if it is not named."""
        named = self.parties.get(party, ())
        return (named,) if isinstance(named, str) else tuple(named)


class Adoption(Clause):
    """All that one county has adopted."""

    county: CountyCode
    entries: tuple[AdoptionEntry, ...]


class InstitutionRole(StrEnum):
    """What an institution is; the gateway's table of rights goes by it."""

    COUNTY_CENTRE = "county_centre"
    TOWNSHIP_STATION = "township_station"
    VILLAGE_DEPARTMENT = "village_department"
    VILLAGE_COMMITTEE = "village_committee"
    VILLAGER_GROUP = "villager_group"
    ASSIGNED_HELPER = "assigned_helper"
    POVERTY_OFFICE = "poverty_office"
    FINANCE_BUREAU = "finance_bureau"
    BANK = "bank"
    MUTUAL_AID_SOCIETY = "mutual_aid_society"
    INSURER = "insurer"
    GUARANTOR = "guarantor"
    RE_GUARANTOR = "re_guarantor"
    COOPERATIVE = "cooperative"
    REGULATOR = "regulator"
    BANK_REGULATOR = "bank_regulator"
    INSURANCE_REGULATOR = "insurance_regulator"
    CENTRAL_BANK = "central_bank"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    COURT = "court"
    POLICE = "police"
    SOCIAL_INSURANCE = "social_insurance"
    MARKET_REGULATOR = "market_regulator"
    TAX_BUREAU = "tax_bureau"
    AGRICULTURE_BUREAU = "agriculture_bureau"
    FORESTRY_BUREAU = "forestry_bureau"
    WEATHER_BUREAU = "weather_bureau"
    CREDIT_BUREAU = "credit_bureau"
    DATA_SUPPLIER = "data_supplier"
    HOUSEHOLD = "household"


ALONE = frozenset({InstitutionRole.HOUSEHOLD, InstitutionRole.ASSIGNED_HELPER})
"""One person stands behind these: nothing of theirs needs a second."""


class Span(Clause):
    """Days, both included; without an end until something else is said."""

    valid_from: Annotated[date | None, Field(alias="from")] = None
    valid_to: Annotated[date | None, Field(alias="to")] = None

    @model_validator(mode="after")
    def _dates(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError("to is before from")
        return self


class Person(Span):
    """A post behind an institution: a role, never a name; on the days it is filled."""

    person_id: InstitutionId
    title: Title
    duty: Literal["maker", "checker"]
    post: Literal["", "monitoring_officer"] = ""
    deputy_id: InstitutionId | None = None
    """Who acts when this one is away."""


class Contract(Span):
    """What an institution takes part under; outside its days the institution cannot call."""

    contract_id: InstitutionId


class Institution(Clause):
    """Who takes part: one certificate, one role, its areas, its posts, its contracts."""

    institution_id: InstitutionId
    name: Title
    role: InstitutionRole
    county_code: CountyCode
    areas: tuple[AreaCode, ...]
    persons: tuple[Person, ...]
    contracts: tuple[Contract, ...] = ()
    certificates: tuple[Fingerprint, ...] = ()
    """Client certificates to begin with: the operator's has nobody to register it."""
    person_keys: tuple[PublicKey, ...] = ()
    """Keys of persons' tokens to begin with."""

    @model_validator(mode="after")
    def _persons(self) -> Self:
        if twice := duplicates([person.person_id for person in self.persons]):
            raise ValueError(f"person {twice[0]} is declared twice")
        duties = {person.duty for person in self.persons}
        if duties != {"maker", "checker"} and not (self.role in ALONE and duties):
            raise ValueError("an institution needs at least one maker and one checker")
        ids = {person.person_id for person in self.persons}
        for person in self.persons:
            if person.deputy_id is None:
                if person.post == "monitoring_officer":
                    raise ValueError(f"monitoring officer {person.person_id} needs a deputy")
            elif person.deputy_id == person.person_id or person.deputy_id not in ids:
                raise ValueError(f"{person.person_id}'s deputy must be another person here")
        if twice := duplicates([contract.contract_id for contract in self.contracts]):
            raise ValueError(f"contract {twice[0]} is declared twice")
        return self


class CalendarYear(Clause):
    """One year's official days off on weekdays, and weekend days that are worked."""

    year: Annotated[int, Field(ge=2000, le=2100)]
    holidays: tuple[date, ...]
    extra_workdays: tuple[date, ...] = ()

    @model_validator(mode="after")
    def _days(self) -> Self:
        days = [*self.holidays, *self.extra_workdays]
        if twice := duplicates([day.isoformat() for day in days]):
            raise ValueError(f"{twice[0]} is named twice")
        if outside := [day for day in days if day.year != self.year]:
            raise ValueError(f"{outside[0]} is not in {self.year}")
        if weekday := [day for day in self.extra_workdays if day.isoweekday() < 6]:
            raise ValueError(f"{weekday[0]} is a working day anyway")
        return self


class InstitutionsFile(Clause):
    """The institutions of a deployment."""

    institutions: tuple[Institution, ...]


class AdoptionFile(Clause):
    """One county's adoptions."""

    adoption: Adoption


class CalendarFile(Clause):
    """The official calendar, year by year."""

    calendar: tuple[CalendarYear, ...]
