"""Schema: how a loan is looked after once it is paid out, whose money it is, who must sign."""

from enum import StrEnum
from typing import Literal, Self

from pydantic import model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    Days,
    Every,
    FenAmount,
    Organ,
    OrOpen,
    RatePpm,
    duplicates,
)


class Finding(StrEnum):
    """What a check of a loan's use may find."""

    UNUSED = "unused"
    OTHER_USE = "other_use"
    OTHER_USER = "other_user"


class PostLoanCheck(Clause):
    """A check after the money is paid out: who, how often, what it looks for."""

    id: Code
    by: tuple[Organ, ...]
    every: Every | None = None
    finds: tuple[Finding, ...] = ()

    @model_validator(mode="after")
    def _owner(self) -> Self:
        if not self.by:
            raise ValueError(f"check {self.id} has no owner")
        return self


class TaskTerms(Clause):
    """How long work after the loan may take where its clause is silent, and who hears when."""

    within_days: OrOpen[Days] | None = None
    escalate_every_days: OrOpen[Days] | None = None


class Duty(StrEnum):
    """A duty that may have to be another person's than another duty's."""

    REVIEW = "review"
    DISBURSE = "disburse"
    COMPENSATE = "compensate"


class Segregation(Clause):
    """Duties that no person may hold together on one loan (S52)."""

    apart: tuple[Duty, ...]

    @model_validator(mode="after")
    def _two(self) -> Self:
        if twice := duplicates([duty.value for duty in self.apart]):
            raise ValueError(f"duty {twice[0]} is named twice")
        if len(self.apart) < 2:
            raise ValueError("segregation needs at least two duties to keep apart")
        return self


class Disclosure(Clause):
    """Every loan is made public in this area, without the borrower's name (S47)."""

    area: OrOpen[Literal["village", "township", "county"]]


class LegacyLoans(Clause):
    """Loans of a use that is closed now, and how they are wound down (C06)."""

    id: Code
    requires: tuple[
        Literal["single_check", "ledger", "name_list", "dedicated_officer", "debt_isolation"], ...
    ]


class AreaContracts(Clause):
    """Each area has one lender in charge of it."""

    per: Literal["village", "township"]


class DueDiligence(Clause):
    """Who is not liable for a loss if the record shows that the duties were fulfilled."""

    exempts: tuple[Literal["loan_officer", "poverty_cadre"], ...]
    record_per_loan: bool = True


class JointAccount(Clause):
    """The account a controlled loan is paid from: who must sign, and who reconciles it."""

    signatories: tuple[Organ, ...]
    reconcile_every: Every | None = None
    reconcile_with: tuple[Organ, ...] = ()
    ledger_per_household: bool = False
    may_refuse: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.signatories:
            raise ValueError("a joint account has at least one signatory")
        if twice := duplicates([organ.value for organ in self.signatories]):
            raise ValueError(f"signatory {twice[0]} is named twice")
        if (self.reconcile_every is None) != (not self.reconcile_with):
            raise ValueError("reconcile_every and reconcile_with go together")
        return self


class RelendingSource(Clause):
    """One kind of central-bank line, and for which counties it is."""

    id: Literal["poverty_relending", "agri_relending"]
    counties: Literal["all", "poor", "other"] = "all"


class Relending(Clause):
    """The central bank's line that funds the loans: its size, its price, how it is used."""

    limit_fen: OrOpen[FenAmount] | None = None
    rate_ppm: OrOpen[RatePpm] | None = None
    sources: tuple[RelendingSource, ...] = ()
    revolving: bool = False
    supervision: tuple[Literal["ledger", "visit", "assessment", "bulletin"], ...] = ()

    @model_validator(mode="after")
    def _sources(self) -> Self:
        if self.revolving and self.limit_fen is None:
            raise ValueError("a revolving line needs limit_fen")
        classes = [source.counties for source in self.sources]
        if "all" in classes and len(classes) > 1:
            raise ValueError("a relending source for all counties stands alone")
        if twice := duplicates(list(classes)):
            raise ValueError(f"two relending sources for {twice[0]} counties")
        return self
