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
    POVERTY_OFFICE = "poverty_office"
    FINANCE_BUREAU = "finance_bureau"
    BANK = "bank"
    MUTUAL_AID_SOCIETY = "mutual_aid_society"
    INSURER = "insurer"
    GUARANTOR = "guarantor"
    REGULATOR = "regulator"
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
    CENTRAL_BANK = "central_bank"
    CREDIT_BUREAU = "credit_bureau"


class Person(Clause):
    """A post behind an institution: a role, never a name."""

    person_id: InstitutionId
    title: Title
    duty: Literal["maker", "checker"]


class Institution(Clause):
    """Who takes part: one certificate, one role, its areas, its posts."""

    institution_id: InstitutionId
    name: Title
    role: InstitutionRole
    county_code: CountyCode
    areas: tuple[AreaCode, ...]
    persons: tuple[Person, ...]

    @model_validator(mode="after")
    def _persons(self) -> Self:
        if twice := duplicates([person.person_id for person in self.persons]):
            raise ValueError(f"person {twice[0]} is declared twice")
        duties = {person.duty for person in self.persons}
        if duties != {"maker", "checker"}:
            raise ValueError("an institution needs at least one maker and one checker")
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
