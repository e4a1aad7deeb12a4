"""Schema: what follows when a loan falls due, is overdue, or is non-performing."""

import itertools
from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    Months,
    Open,
    Organ,
    OrOpen,
    Pct,
    duplicates,
)


class NplAction(StrEnum):
    """What follows on non-performing, in the pack's order."""

    STOP_SUBSIDY = "stop_subsidy"
    COLLECT = "collect"
    LOWER_GRADE = "lower_grade"
    BLACKLIST = "blacklist"
    COURT = "court"


class OverdueAction(StrEnum):
    """What follows on overdue, before anything is non-performing, in the pack's order."""

    REMIND = "remind"
    DAILY_REPORT = "daily_report"
    COLLECTION_TEAM = "collection_team"


class Channel(StrEnum):
    """How a notice reaches somebody."""

    SMS = "sms"
    PHONE = "phone"
    LETTER = "letter"
    PLATFORM = "platform"


class MaturityNotice(Clause):
    """Who hears of a maturity, how, and how many months ahead (S36)."""

    lead_months: OrOpen[Months]
    to: tuple[Organ, ...] = ()
    to_borrower: bool = False
    channels: tuple[Channel, ...] = ()
    at_maturity: bool = False

    @model_validator(mode="after")
    def _reaches(self) -> Self:
        if self.to_borrower and not self.channels:
            raise ValueError("a notice to the borrower needs a channel")
        if twice := duplicates([channel.value for channel in self.channels]):
            raise ValueError(f"channel {twice[0]} is named twice")
        return self


class DiscountStage(Clause):
    """One stage of a collection campaign and its discount on unpaid interest."""

    id: Code
    discount_pct: Pct
    valid_from: Annotated[OrOpen[date], Field(alias="from")]
    valid_to: Annotated[OrOpen[date], Field(alias="to")]

    @model_validator(mode="after")
    def _dates(self) -> Self:
        start, end = self.valid_from, self.valid_to
        if not isinstance(start, Open) and not isinstance(end, Open) and end < start:
            raise ValueError("the stage ends before it starts")
        return self


class CollectionDiscount(Clause):
    """Discounts on unpaid interest in a campaign; never on principal, once a debt (S35)."""

    stages: tuple[DiscountStage, ...]

    @model_validator(mode="after")
    def _apart(self) -> Self:
        dated = sorted(
            (stage.valid_from, stage.valid_to, stage.id)
            for stage in self.stages
            if not isinstance(stage.valid_from, Open) and not isinstance(stage.valid_to, Open)
        )
        for (_, end, one), (start, _, other) in itertools.pairwise(dated):
            if start <= end:
                raise ValueError(f"stages {one} and {other} overlap on {start}")
        return self


class DueClass(StrEnum):
    """How a due or problem loan stands; each has one disposition."""

    SOUND = "sound"
    TEMPORARY_DIFFICULTY = "temporary_difficulty"
    SOUND_STILL_IN_NEED = "sound_still_in_need"
    MALICIOUS = "malicious"
    FORCE_MAJEURE = "force_majeure"


class DispositionAction(StrEnum):
    """What is done about a due or problem loan."""

    REPAYMENT_PLAN = "repayment_plan"
    NOTICE = "notice"
    FUNDING_HELP = "funding_help"
    RENEWAL = "renewal"
    FORCED_COLLECTION = "forced_collection"
    COMPENSATION = "compensation"


class Disposition(Clause):
    """The disposition of one class of due or problem loans, in order."""

    id: DueClass
    actions: tuple[DispositionAction, ...]
    plan_per_case: bool = False
    jointly_by: tuple[Organ, ...] = ()

    @model_validator(mode="after")
    def _acts(self) -> Self:
        if not self.actions:
            raise ValueError(f"class {self.id.value} has no action")
        if twice := duplicates([action.value for action in self.actions]):
            raise ValueError(f"action {twice[0]} is declared twice")
        return self


def every_class(dispositions: tuple[Disposition, ...]) -> None:
    """All classes, or no dispositions at all: a problem loan always has one."""
    named = [disposition.id.value for disposition in dispositions]
    if named and (missing := [each.value for each in DueClass if each.value not in named]):
        raise ValueError(f"class {missing[0]} has no disposition")
