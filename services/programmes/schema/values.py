"""Schema: the small values every clause is made of, and what `open` means."""

from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from services.kernel.errors import Refused
from services.kernel.money import Fen

FEN_MAX = 10**15

Row = Annotated[
    str, Field(pattern=r"^(?:[A-Z][A-Z0-9]*(?:-[A-Z]+)?\.[a-z]{3}\.[1-9][0-9]?|[SCX][0-9]{2})$")
]
"""A row of the programme sources (LS18.fun.2) or a recorded decision on them (S12)."""


class Clause(BaseModel):
    """A part of a pack: frozen, no unknown keys, and the source rows it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    source: tuple[Row, ...] = ()


class Open(Clause):
    """A value no source gives: legal in a pack, and it blocks every rule that needs it."""

    open: Annotated[str, Field(min_length=3, max_length=400)]
    path: str = ""


def _open_or_value(value: Any) -> str:
    is_open = isinstance(value, Open) or (isinstance(value, dict) and "open" in value)
    return "(open)" if is_open else "(value)"


T = TypeVar("T")
OrOpen = Annotated[
    Annotated[T, Tag("(value)")] | Annotated[Open, Tag("(open)")], Discriminator(_open_or_value)
]
"""A value, or `{open: reason}` until a county's overlay sets it."""


def known(value: T | Open) -> T:
    """Take a pack's value; refuse, naming its key, while it is open."""
    if isinstance(value, Open):
        raise Refused(
            "PROGRAMME_VALUE_OPEN",
            f"{value.path or 'a value'} is open: {value.open}",
            message_zh=f"方案参数 {value.path} 尚未确定",
            facts={
                "key": value.path,
                "value": f"open: {value.open}",
                "rule": "an open value blocks every rule that needs it",
                "hint": f"set {value.path} below values: in the county's overlay",
            },
        )
    return value


def _text(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


FenAmount = Annotated[Fen, Field(ge=0, le=FEN_MAX)]
RatePpm = Annotated[int, Field(ge=0, le=1_000_000)]
Pct = Annotated[int, Field(ge=1, le=100)]
Months = Annotated[int, Field(ge=1, le=600)]
Days = Annotated[int, Field(ge=0, le=36_500)]
ScoreCenti = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
GradeCode = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,30}\+?$")]
CountyCode = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
AreaCode = Annotated[str, Field(pattern=r"^(?:[0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12,14})$")]
InstitutionId = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=40)]
ProgrammeId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$", max_length=60)]
Version = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[a-z0-9][a-z0-9_]{0,30}$")]
PackRef = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(?:-[a-z0-9]+)*@[a-z0-9][a-z0-9_]{0,30}$")]
OverlayName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
TermsRef = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9]*(?:-[a-z0-9]+)*@[a-z0-9][a-z0-9_]{0,30}(?::[a-z][a-z0-9_-]{0,39})?$"
    ),
]
"""`id@version`, or `id@version:overlay`: what a decision stores and keeps for life."""


class Title(Clause):
    """A name for people, in both languages."""

    zh: Annotated[str, Field(min_length=1, max_length=120)]
    en: Annotated[str, Field(min_length=1, max_length=160)]


class BorrowerClass(StrEnum):
    """Who borrows; caps, subsidies, deadlines and loss shares may depend on it."""

    POOR_HOUSEHOLD = "poor_household"
    NEAR_POOR_HOUSEHOLD = "near_poor_household"
    NON_POOR_HOUSEHOLD = "non_poor_household"
    ENTITY = "entity"
    VILLAGE_COLLECTIVE = "village_collective"


class Organ(StrEnum):
    """Who takes a step of a chain or a duty; an adoption names the institutions."""

    ASSIGNED_HELPER = "assigned_helper"
    VILLAGE_REVIEW_GROUP = "village_review_group"
    VILLAGE_DEPARTMENT = "village_department"
    TOWNSHIP_STATION = "township_station"
    COUNTY_CENTRE = "county_centre"
    POVERTY_OFFICE = "poverty_office"
    FINANCE_BUREAU = "finance_bureau"
    LENDER = "lender"
    ENTERPRISE = "enterprise"
    INSURER = "insurer"
    GUARANTOR = "guarantor"
    COURT = "court"
    VILLAGE_COMMITTEE = "village_committee"
    VILLAGE_RISK_GROUP = "village_risk_group"
    VILLAGE_WORK_TEAM = "village_work_team"
    VILLAGE_COUNCIL = "village_council"
    VILLAGE_OFFICIAL = "village_official"
    VILLAGER = "villager"
    MORAL_PANEL = "moral_panel"
    FIVE_ELDERS = "five_elders"
    COMMUNITY_ELDER = "community_elder"
    LOAN_REVIEW_COMMITTEE = "loan_review_committee"
    FIRST_SECRETARY = "first_secretary"
    POVERTY_CADRE = "poverty_cadre"
    ACCOUNT_MANAGER = "account_manager"
    TOWNSHIP_GOVERNMENT = "township_government"
    COOPERATIVE = "cooperative"
    MUTUAL_AID_SOCIETY = "mutual_aid_society"
    CENTRAL_BANK = "central_bank"
    BANK_REGULATOR = "bank_regulator"
    INSURANCE_REGULATOR = "insurance_regulator"
    AGRICULTURE_BUREAU = "agriculture_bureau"


class Every(StrEnum):
    """How often something is done."""

    EVENT = "event"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


def duplicates(names: list[str]) -> list[str]:
    """The names that occur more than once, each once, in order."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
