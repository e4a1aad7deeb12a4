"""Households: the nouns. Values only; nothing here acts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class AreaLevel(StrEnum):
    """Level of an administrative area."""

    COUNTY = "county"
    TOWNSHIP = "township"
    VILLAGE = "village"
    VILLAGER_GROUP = "villager_group"


class RegistrationStatus(StrEnum):
    """Standing of a household on the registry."""

    REGISTERED_POOR = "registered_poor"
    NEAR_POOR = "near_poor"
    NON_POOR = "non_poor"
    FIVE_GUARANTEE = "five_guarantee"
    DELISTED = "delisted"
    FLAGGED = "flagged"
    DECEASED = "deceased"
    EXITED = "exited"


class Honour(StrEnum):
    """Honour that a household holds."""

    LAW_ABIDING = "law_abiding"
    HONEST = "honest"
    CIVILISED = "civilised"
    MODEL = "model"


class Relation(StrEnum):
    """Relation of a person to the head of the household."""

    HEAD = "head"
    SPOUSE = "spouse"
    SON = "son"
    DAUGHTER = "daughter"
    FATHER = "father"
    MOTHER = "mother"
    GRANDSON = "grandson"
    GRANDDAUGHTER = "granddaughter"


class Labour(StrEnum):
    """Ability to work."""

    ABLE = "able"
    SKILLED = "skilled"
    WEAK = "weak"
    LOST = "lost"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Area:
    """An administrative area; its parent's code is a prefix of its own."""

    area_code: str
    name: str
    level: AreaLevel


class Line(NamedTuple):
    """One line of a household file, one person, all as text. A tuple: a file has many."""

    line_number: int
    household_number: str
    village_code: str
    relation: str
    name: str
    identity_number: str
    phone: str
    registration_status: str
    honour: str
    labour: str
    registered_on: str
    unreadable: str
    left_on: str = ""
    leave_reason: str = ""


class Entry(NamedTuple):
    """A line whose every column is right by itself."""

    line: Line
    household_number: str
    name: str
    relation: Relation
    status: RegistrationStatus | None
    """None when the line leaves it to the head's."""
    honour: Honour | None
    labour: Labour | None
    registered_on: date


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that is refused; `value` shows no name, identity number or phone."""

    line_number: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry already has of what a chunk names."""

    areas: frozenset[str]
    """Villages and villager groups."""
    areas_of_caller: frozenset[str]
    """Those of them that the caller may act in."""
    household_numbers: frozenset[str]
    identity_numbers: frozenset[str]
    """Of people in some household."""
    dead_numbers: frozenset[str] = frozenset()
    idle: Mapping[str, UUID] = field(default_factory=dict)
    """People who are in no household now, by their number."""


class Draft(NamedTuple):
    """A household that may be registered: its number, its head, the others in order."""

    household_number: str
    head: Entry
    others: tuple[Entry, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, head first."""
        return (self.head, *self.others)


class Wish(NamedTuple):
    """A line about a household that exists: what it states is right, what it leaves out is None."""

    line: Line
    identity_number: str
    area_code: str | None
    name: str | None
    phone: str | None
    relation: Relation | None
    status: RegistrationStatus | None
    honour: Honour | None
    labour: Labour | None
    registered_on: date | None
    left_on: date | None
    leave_reason: "LeaveReason | None"


@dataclass(frozen=True, slots=True)
class Household:
    """A household as it is now."""

    county_code: str
    household_id: UUID
    version: int
    household_number: str
    area_code: str
    status: RegistrationStatus
    honour: Honour | None
    member_count: int
    survivor_id: UUID | None = None
    """The record that this one is an alias of."""
    registered_on: date | None = None
    provenance: "Provenance | None" = None
    """Of this version; the registration's own is the registrar's."""
    registrar_id: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """A person of a household, opened or masked."""

    person_id: UUID
    name: str
    identity_number: str
    phone: str
    relation: Relation
    labour: Labour | None
    disputed: bool = False


# --- where a record comes from --------------------------------------------------------------------


class EvidenceKind(StrEnum):
    """What kind of thing proves a record."""

    DOCUMENT = "document"
    SIGNATURE = "signature"
    THUMB_PRINT = "thumb_print"
    RECORDED_CALL = "recorded_call"
    LETTER = "letter"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a record rests on: where it lies and the hash of its scan."""

    kind: EvidenceKind
    reference: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who recorded something, on which evidence, when."""

    source_id: str
    acted_by: str
    evidence: Evidence | None
    business_date: date
    recorded_at: datetime | None = None


class DataCategory(StrEnum):
    """A kind of data about a household, as consents and disclosures name it."""

    IDENTITY = "identity"
    CONTACT = "contact"
    FAMILY = "family"
    STATUS = "status"
    LABOUR = "labour"
    INCOME = "income"
    ASSETS = "assets"
    ACCOUNTS = "accounts"
    PUBLIC_RECORDS = "public_records"
    CREDIT_RECORDS = "credit_records"


# --- standing -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One status of a household; the first has the household's id."""

    change_id: UUID
    status: RegistrationStatus
    effective_on: date
    reason: str
    provenance: Provenance
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A household lives elsewhere in its county since a day."""

    move_id: UUID
    from_area_code: str
    to_area_code: str
    moved_on: date
    reason: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class DelistedLoan:
    """What a delisted household owes on one loan."""

    loan_id: UUID
    outstanding_fen: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A lender's statement about a delisted household, and who signed it."""

    reconciliation_id: UUID
    household_id: UUID
    lender_id: str
    loans: tuple[DelistedLoan, ...]
    statement_hash: bytes
    archive_holders: tuple[str, ...]
    signatures: Mapping[str, Provenance]
    """By side: `lender`, `poverty_office`."""


# --- people ---------------------------------------------------------------------------------------


class LeaveReason(StrEnum):
    """Why a membership ended."""

    MOVED = "moved"
    MARRIED_OUT = "married_out"
    DIED = "died"
    CORRECTION = "correction"
    SPLIT = "split"
    RESEATED = "reseated"


class MergeKind(StrEnum):
    """What was merged."""

    HOUSEHOLD = "household"
    PERSON = "person"


class DuplicateState(StrEnum):
    """What became of a suspected duplicate."""

    OPEN = "open"
    MERGED = "merged"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Kin:
    """What the rules of a family need of a person."""

    relation: Relation
    born_on: date
    male: bool


@dataclass(frozen=True, slots=True)
class Membership:
    """A person's place in a household, with who it is still sealed."""

    person_id: UUID
    household_id: UUID
    position: int
    relation: Relation
    labour: Labour | None
    joined_on: date
    sealed: bytes = b""


@dataclass(frozen=True, slots=True)
class Seat:
    """A person's place in a household, opened: what a file is held against."""

    person_id: UUID | None
    """None for somebody who is nowhere in the registry yet."""
    household_id: UUID
    """The record that holds it: of an alias it is another than the roll's."""
    position: int
    relation: Relation
    labour: Labour | None
    joined_on: date
    name: str
    identity_number: str
    phone: str


@dataclass(frozen=True, slots=True)
class Roll:
    """A household with its people as the registry has them, head first."""

    household: Household
    seats: tuple[Seat, ...]
    last_position: int


@dataclass(frozen=True, slots=True)
class Leaver:
    """Somebody who leaves, when and why."""

    seat: Seat
    left_on: date
    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class Revision:
    """What lines change of a household that exists."""

    before: Household
    after: Roll
    """Its version is not raised yet."""
    joined: tuple[Seat, ...]
    left: tuple[Leaver, ...]
    reseated: tuple[Seat, ...]
    """Whose relation or labour is another, as they sit now."""
    corrected: tuple[Seat, ...]
    """Whose name or phone is another, as they are called now."""
    changed_lines: tuple[int, ...]
    says: bool
    """Whether others are told: a name, phone or labour is nobody else's."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two records that may be one person."""

    duplicate_id: UUID
    person_id: UUID
    other_id: UUID
    ground: str
    state: DuplicateState
    found_on: date


@dataclass(frozen=True, slots=True)
class Merge:
    """One record made an alias of another."""

    merge_id: UUID
    kind: MergeKind
    alias_id: UUID
    survivor_id: UUID
    undone: bool


@dataclass(frozen=True, slots=True)
class PersonQuery:
    """What is known of a person who is looked for."""

    identity_number: str
    name: str
    born_on: date | None


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What a caller may know of a person."""

    person_id: UUID
    household_id: UUID | None
    name: str
    identity_number: str
    phone: str
    relation: Relation | None
    labour: Labour | None
    account_number: str
    account_bank: str
    withheld: tuple[DataCategory, ...]


# --- facts and disputes ---------------------------------------------------------------------------


class FactKind(StrEnum):
    """What a fact is about; the names are those of the wire's `FactContent`."""

    LABOUR = "labour"
    SKILL = "skill"
    INCOME = "income"
    ASSET = "asset"
    PROJECT = "project"
    PLAN = "plan"
    SIGNATORY = "signatory"
    REMOTE_AUTHORITY = "remote_authority"
    HELPER = "helper"
    HONOUR = "honour"
    COURT = "court"
    POLICE = "police"
    SOCIAL_INSURANCE = "social_insurance"
    MARKET = "market"
    TAX = "tax"
    CREDIT_BUREAU = "credit_bureau"
    AGRICULTURE = "agriculture"
    SOCIETY_RECORD = "society_record"


Content = Mapping[str, str | int | bool]
"""What a fact says, field by field."""


@dataclass(frozen=True, slots=True)
class NewFact:
    """A fact as somebody supplies it."""

    household_id: UUID | None
    person_id: UUID | None
    identity_number: str
    kind: FactKind
    content: Content
    valid_from: date
    valid_to: date | None
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact of the registry."""

    fact_id: UUID
    household_id: UUID
    person_id: UUID | None
    kind: FactKind
    content: Content
    valid_from: date
    valid_to: date | None
    source_role: str
    provenance: Provenance
    replaces_id: UUID | None = None
    disputed: bool = False


class DisputeSubject(StrEnum):
    """What is contested."""

    FACT = "fact"
    STATUS = "status"
    MEMBERSHIP = "membership"
    PAYEE_ACCOUNT = "payee_account"


class DisputeSide(StrEnum):
    """Who contests."""

    HOUSEHOLD = "household"
    INSTITUTION = "institution"


class DisputeOutcome(StrEnum):
    """What the answer says."""

    UPHELD = "upheld"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Dispute:
    """Something contested, and the answer once there is one."""

    dispute_id: UUID
    household_id: UUID
    area_code: str
    subject: DisputeSubject
    subject_id: UUID
    subject_source_id: str
    side: DisputeSide
    statement: str
    due_on: date
    provenance: Provenance
    outcome: DisputeOutcome | None = None
    answer: str = ""
    answered: Provenance | None = None


# --- consents and accounts ------------------------------------------------------------------------


class ConsentMedium(StrEnum):
    """How a consent was given or withdrawn."""

    ONLINE = "online"
    STATION_SIGNATURE = "station_signature"
    STATION_THUMB_PRINT = "station_thumb_print"


@dataclass(frozen=True, slots=True)
class Consent:
    """What a household lets a receiver know, for a purpose, for a time."""

    consent_id: UUID
    household_id: UUID
    person_id: UUID
    receiver_id: str
    purpose: str
    categories: tuple[DataCategory, ...]
    valid_from: date
    valid_to: date
    wording_version: str
    medium: ConsentMedium
    provenance: Provenance
    withdrawal: Provenance | None = None

    def live_on(self, day: date) -> bool:
        """Whether it holds on a day."""
        return self.withdrawal is None and self.valid_from <= day <= self.valid_to


class PayeeAccountState(StrEnum):
    """Where an account stands."""

    PROPOSED = "proposed"
    IN_FORCE = "in_force"
    REPLACED = "replaced"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PayeeAccount:
    """An account of a household's member, its number still sealed or as it may be seen."""

    account_id: UUID
    household_id: UUID
    holder_id: UUID
    bank_id: str
    state: PayeeAccountState
    earliest_on: date | None
    provenance: Provenance
    decision: Provenance | None
    sealed: bytes = b""
    account_number: str = ""
    disputed: bool = False


# --- areas in time and linkage --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AreaFlag:
    """A flag of an area as it stands."""

    flag: str
    version: int
    is_set: bool
    valid_from: date
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class LiaisonOfficer:
    """One of the two liaison officers of a village."""

    side: str
    institution_id: str
    post_id: str


@dataclass(frozen=True, slots=True)
class ServicePoint:
    """A place where a village is served, with its staff."""

    service_point_id: str
    name: str
    institution_id: str
    post_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VillageService:
    """Who serves a village."""

    contracted_bank_id: str
    liaison_officers: tuple[LiaisonOfficer, ...]
    service_points: tuple[ServicePoint, ...]
    valid_from: date
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Enterprise:
    """A co-operative, enterprise, family farm or village company."""

    enterprise_id: UUID
    credit_code: str
    name: str
    kind: str
    area_code: str
    paired_unit_id: str
    lead_radius_km: int
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class LinkageTerms:
    """What an entity and the households that it helps agreed."""

    modes: tuple[str, ...]
    household_share_ppm: int
    entity_share_ppm: int
    village_share_ppm: int
    household_majority: bool
    entity_control: bool
    chair_share_max_ppm: int
    guaranteed_minimum_fen: int
    lead_radius_km: int
    paired_unit_id: str
    no_dividend_years: int


@dataclass(frozen=True, slots=True)
class LinkageContract:
    """A contract between an entity and households."""

    contract_id: UUID
    enterprise_id: UUID
    household_ids: tuple[UUID, ...]
    terms: LinkageTerms
    valid_from: date
    valid_to: date | None
    provenance: Provenance | None = None
    ended_on: date | None = None
    end_reason: str = ""


@dataclass(frozen=True, slots=True)
class Society:
    """A mutual-aid society or a mutual-help group."""

    society_id: UUID
    kind: str
    name: str
    village_code: str
    institution_id: str
    lead_household_id: UUID | None
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class SocietyMember:
    """A household's membership of a society."""

    membership_id: UUID
    household_id: UUID
    share_fen: int
    joined_on: date
    left_on: date | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A project of the county's library."""

    project_id: UUID
    version: int
    name: str
    industry: str
    area_code: str
    amount_min_fen: int
    amount_max_fen: int
    term_months: int
    enterprise_id: UUID | None
    is_open: bool
    provenance: Provenance | None = None
