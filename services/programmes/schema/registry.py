"""
Schema: what the registry holds of a household under a programme, who signs, and what follows.

How often credit data and the grade are renewed stands in `scoring.refresh`; what honours add to a
limit in `scoring.honours`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.programmes.schema.values import (
    Clause,
    Code,
    Every,
    FenAmount,
    Months,
    Open,
    Organ,
    OrOpen,
    Pct,
    duplicates,
)

Signer = Literal["borrower", "spouse", "adult_child"]
Count = Annotated[int, Field(ge=1, le=1_000)]


class Signatories(Clause):
    """How many of these people must sign."""

    among: tuple[Signer, ...]
    required: Count

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if twice := duplicates([str(signer) for signer in self.among]):
            raise ValueError(f"{twice[0]} is named twice")
        if self.required > len(self.among):
            raise ValueError(f"required {self.required}, but only {len(self.among)} may sign")
        return self


class RemoteAuthority(Clause):
    """Who may authorise from afar, and all the evidence that takes."""

    by: tuple[Signer, ...]
    evidence: tuple[Code, ...]

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.by or not self.evidence:
            raise ValueError("remote authority names who may give it, and the evidence it takes")
        return self


class Documents(Clause):
    """The papers an application needs, and no others; `count` where a source only counts them."""

    required: OrOpen[tuple[Code, ...]]
    count: Count | None = None
    count_before: Count | None = None

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if isinstance(self.required, Open):
            return self
        if twice := duplicates(list(self.required)):
            raise ValueError(f"document {twice[0]} is required twice")
        if self.count is not None and self.count != len(self.required):
            raise ValueError(f"count is {self.count}, but {len(self.required)} are named")
        return self


class Source(Clause):
    """An authority whose data are imported."""

    id: Code
    every: OrOpen[Every]


class StatusEvent(Clause):
    """What a change of a household's registration does to its loans."""

    id: Literal["delisted", "flagged", "deceased", "exited_poverty", "relapsed_poverty"]
    effects: tuple[
        Literal["loan_review", "loan_recovery", "freeze_household", "reconcile_loans"], ...
    ]
    signed_by: tuple[Organ, ...] = ()
    archive_copies: Count | None = None
    archive_holders: OrOpen[tuple[Organ, ...]] | None = None

    @model_validator(mode="after")
    def _archive(self) -> Self:
        if not self.effects:
            raise ValueError("a status event that has no effect on loans is no clause")
        if "reconcile_loans" in self.effects and not self.signed_by:
            raise ValueError("reconcile_loans says who signs: signed_by")
        holders = self.archive_holders
        if isinstance(holders, tuple) and len(holders) != self.archive_copies:
            raise ValueError(f"{len(holders)} archive_holders for {self.archive_copies} copies")
        return self


class LinkageTerms(Clause):
    """What a linkage contract must grant the poor household, its village or its society."""

    household_majority: bool = False
    entity_control: bool = False
    min_annual_income_fen: FenAmount | None = None
    months_of_work: Months | None = None
    household_share_pct: Pct | None = None
    max_chair_holding_pct: Pct | None = None
    no_dividend_months: Months | None = None
    village_income_fen: FenAmount | None = None


class LinkageMode(Clause):
    """One way of using a loan or joining an entity; the programme's list is all it allows."""

    mode: Code
    households_per_leader: Count | None = None
    terms: LinkageTerms | None = None


class Linkage(Clause):
    """How households and entities may work together; `count` where a source only counts."""

    modes: OrOpen[tuple[LinkageMode, ...]]
    count: Count | None = None
    operating_forms: OrOpen[tuple[Code, ...]] | None = None
    operating_form_count: Count | None = None
    lead_radius_km: Count | None = None
    paired_unit_required: bool = False

    @model_validator(mode="after")
    def _modes(self) -> Self:
        if isinstance(self.modes, Open):
            return self
        names = [mode.mode for mode in self.modes]
        if twice := duplicates(names):
            raise ValueError(f"linkage mode {twice[0]} is declared twice")
        if self.count is not None and self.count < len(names):
            raise ValueError(f"count is {self.count}, but {len(names)} modes are named")
        return self


class Societies(Clause):
    """Mutual-aid societies: whose members borrow there, and where their record counts."""

    members_registered: bool = True
    repayment_record: Code | None = None


class AreaFlag(Clause):
    """A dated property of areas that other clauses may ask for."""

    id: Code
    scope: Literal["county", "township", "village"]


class Body(Clause):
    """A body of the village: who sits on it, and where it takes part."""

    organ: Organ
    members: tuple[Organ, ...] = ()
    takes_part_in: tuple[Literal["rating", "approval", "post_loan", "support"], ...]


class MutualHelpGroup(Clause):
    """Older poor households may borrow together with a lead household that meets all of these."""

    lead: tuple[Code, ...]
    member_min_age: OrOpen[Annotated[int, Field(ge=18, le=120)]]
    max_members: OrOpen[Count]


class BlacklistReason(Clause):
    """Why a household is listed, and what takes it off or lets it be granted again."""

    id: Code
    second_grant: bool = False
    released_after_full_repayment: bool = False
    evidence_by: tuple[Organ, ...] = ()

    @model_validator(mode="after")
    def _evidence(self) -> Self:
        if self.second_grant and not self.evidence_by:
            raise ValueError("a second grant says on whose evidence: evidence_by")
        return self


class Coverage(Clause):
    """Who is left out of the denominator of coverage ratios."""

    excludes: tuple[Literal["five_guarantee_household", "deceased", "delisted", "flagged"], ...]


class Registry(Clause):
    """What the registry keeps and asks for under a programme."""

    status_owner: Organ | None = None
    status_events: tuple[StatusEvent, ...] = ()
    signatories: Signatories | None = None
    remote_authority: RemoteAuthority | None = None
    identity_proof: tuple[Literal["in_person", "id_card", "remote_biometric"], ...] = ()
    documents: Documents | None = None
    sources: tuple[Source, ...] = ()
    honours: tuple[Code, ...] = ()
    linkage: Linkage | None = None
    societies: Societies | None = None
    area_flags: tuple[AreaFlag, ...] = ()
    bodies: tuple[Body, ...] = ()
    mutual_help: MutualHelpGroup | None = None
    blacklist: tuple[BlacklistReason, ...] = ()
    coverage: Coverage | None = None
    credit_file: Literal["per_household", "lifelong"] | None = None
    liaison_officers: Count | None = None
    project_library: bool = False
    household_plan: bool = False
    grid_workers: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        named: dict[str, list[str]] = {
            "status event": [event.id for event in self.status_events],
            "source": [each.id for each in self.sources],
            "honour": list(self.honours),
            "area flag": [flag.id for flag in self.area_flags],
            "body": [body.organ.value for body in self.bodies],
            "blacklist reason": [reason.id for reason in self.blacklist],
        }
        for what, names in named.items():
            if twice := duplicates(names):
                raise ValueError(f"{what} {twice[0]} is declared twice")
        return self
