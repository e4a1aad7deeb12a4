"""Schema: what a programme lets institutions share, publish and do in whose name."""

from typing import Literal, Self

from pydantic import model_validator

from services.programmes.schema.values import Clause, Code, Every, Open, Organ, OrOpen, duplicates

Duty = Literal[
    "intake",
    "data_comparison",
    "initial_review",
    "second_review",
    "check",
    "review",
    "disbursement",
    "lending",
    "insurance_issue",
    "identification",
    "coordination",
    "fund_supervision",
    "compensation_approval",
    "collection",
    "post_loan_check",
    "support",
    "technical_guidance",
    "supervision",
    "relending",
]


class Reconciliation(Clause):
    """Books are compared with these parties and signed, so often, in so many copies."""

    every: OrOpen[Every] | None = None
    between: tuple[Organ, ...]
    signed_by: tuple[Organ, ...] = ()

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if stranger := sorted(set(self.signed_by) - set(self.between)):
            raise ValueError(f"{stranger[0]} signs what it does not compare")
        return self


class SelfServiceScope(Clause):
    """One thing people may look up about themselves, and with what proof of who they are."""

    id: Literal["own_loans", "policy", "project_payments", "credit_index", "available_amount"]
    proof: Literal["id_card", "app", "remote_biometric"]


class Disclosure(Clause):
    """One section of what everybody may read; it never names a person."""

    id: Code
    channel: Literal["read_model", "plain_sheet", "notice_board"] = "read_model"


class RoleDuties(Clause):
    """What an organ answers for; `zone` where several sit in one joint centre."""

    organ: OrOpen[Organ]
    duties: OrOpen[tuple[Duty, ...]]
    zone: Code | None = None

    @property
    def name(self) -> str:
        """The organ and its zone, as far as they are known."""
        organ = "" if isinstance(self.organ, Open) else self.organ.value
        return f"{organ} {self.zone or ''}".strip()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.name:
            raise ValueError("a role names its organ or its zone")
        if isinstance(self.duties, Open):
            return self
        if not self.duties:
            raise ValueError("an organ in the role split has at least one duty")
        if twice := duplicates([str(duty) for duty in self.duties]):
            raise ValueError(f"duty {twice[0]} is named twice")
        return self


class Segregation(Clause):
    """Two duties in one file that may not be one person's (S52)."""

    first: Duty
    second: Duty

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.first == self.second:
            raise ValueError("a duty cannot be kept apart from itself")
        return self


class EventShare(Clause):
    """An event that authorities hear of: which, who, how often."""

    id: Code
    to: OrOpen[tuple[Organ, ...]]
    every: Every = Every.EVENT

    @model_validator(mode="after")
    def _someone(self) -> Self:
        if not self.to:
            raise ValueError("an event that is shared with nobody is no clause")
        return self


class GatewayRules(Clause):
    """What the programme lets institutions share."""

    shared_grade: Literal["none", "application_only", "government_and_banks"] = "application_only"
    reconciliation: bool = False
    reconciliations: tuple[Reconciliation, ...] = ()
    self_service: bool = False
    self_service_scopes: tuple[SelfServiceScope, ...] = ()
    disclosures: tuple[Disclosure, ...] = ()
    roles: tuple[RoleDuties, ...] = ()
    segregation: tuple[Segregation, ...] = ()
    compensation_approved_by: tuple[Organ, ...] = ()
    events: tuple[EventShare, ...] = ()
    partners: tuple[Code, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.self_service_scopes and not self.self_service:
            raise ValueError("self_service_scopes need self_service: true")
        if self.reconciliations and not self.reconciliation:
            raise ValueError("reconciliations need reconciliation: true")
        named: dict[str, list[str]] = {
            "self-service scope": [scope.id for scope in self.self_service_scopes],
            "disclosure": [disclosure.id for disclosure in self.disclosures],
            "role": [role.name for role in self.roles],
            "event": [event.id for event in self.events],
        }
        for what, names in named.items():
            if twice := duplicates(names):
                raise ValueError(f"{what} {twice[0]} is declared twice")
        return self
