"""Schema: what a sanctioned borrower loses, for how long, who else loses it, and what ends it."""

from enum import StrEnum
from typing import Literal, Self

from pydantic import model_validator

from services.programmes.schema.values import Clause, Code, Months, Open, OrOpen, duplicates


class Relation(StrEnum):
    """How an applicant stands to a sanctioned person."""

    SELF = "self"
    SPOUSE = "spouse"
    CHILD = "child"
    PARENT = "parent"
    SIBLING = "sibling"
    OTHER = "other"


class SanctionEffect(StrEnum):
    """What is lost while a sanction holds."""

    NO_RATING = "no_rating"
    NO_CREDIT = "no_credit"
    NO_SUBSIDY = "no_subsidy"
    NO_GOVERNMENT_SUBSIDIES = "no_government_subsidies"
    LIMITED_GOVERNMENT_SUBSIDIES = "limited_government_subsidies"
    SUBSIDY_SET_OFF = "subsidy_set_off"


class SanctionEnd(StrEnum):
    """What ends a sanction before its time."""

    FULL_REPAYMENT = "full_repayment"
    NON_MALICIOUS = "non_malicious"


class Sanction(Clause):
    """
    What is lost for one cause; no months mean no end of its own.

    The decision is stored with its legal basis, and nobody's name is published (S47).
    """

    id: Code
    cause: Code | None = None
    effects: tuple[SanctionEffect, ...]
    relations: tuple[Relation, ...] = (Relation.SELF,)
    ban_months: OrOpen[Months] | None = None
    set_off_from: tuple[Code, ...] = ()
    only_where_law_allows: bool = False
    lifted_by: tuple[SanctionEnd, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.effects:
            raise ValueError(f"sanction {self.id} has no effect")
        if twice := duplicates([effect.value for effect in self.effects]):
            raise ValueError(f"effect {twice[0]} is declared twice")
        if twice := duplicates([relation.value for relation in self.relations]):
            raise ValueError(f"relation {twice[0]} is named twice")
        if Relation.SELF not in self.relations:
            raise ValueError(f"sanction {self.id} leaves out the borrower (self)")
        if Relation.OTHER in self.relations:
            raise ValueError(f"sanction {self.id} must name the relations it reaches")
        sets_off = SanctionEffect.SUBSIDY_SET_OFF in self.effects
        if sets_off != bool(self.set_off_from):
            raise ValueError("subsidy_set_off and set_off_from go together")
        if sets_off and not self.only_where_law_allows:
            raise ValueError("a set-off holds only_where_law_allows")
        return self


class Rehabilitation(Clause):
    """What a borrower wins back by repaying, step by step."""

    after: SanctionEnd
    within_campaign: bool = False
    steps: tuple[Literal["release", "recollect_data", "re_rate", "re_grant"], ...]

    @model_validator(mode="after")
    def _steps(self) -> Self:
        if not self.steps:
            raise ValueError("a rehabilitation has at least one step")
        if twice := duplicates(list(self.steps)):
            raise ValueError(f"step {twice[0]} is declared twice")
        return self


def one_length(sanctions: tuple[Sanction, ...]) -> None:
    """For one cause each effect has one length."""
    said: dict[tuple[str, str], Sanction] = {}
    for sanction in sanctions:
        for effect in sanction.effects:
            other = said.setdefault((sanction.cause or sanction.id, effect.value), sanction)
            if isinstance(other.ban_months, Open) or isinstance(sanction.ban_months, Open):
                continue
            if other.ban_months != sanction.ban_months:
                raise ValueError(
                    f"sanctions {other.id} and {sanction.id} give {effect.value} two lengths"
                )
