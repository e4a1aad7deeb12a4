"""An invented county that lends: its programme, its institutions, what others say to loans."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import cast
from uuid import UUID

from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.claims.v1 import events_pb2 as claims
from liandong.credit.v1 import events_pb2 as credit
from liandong.funds.v1 import events_pb2 as funds
from liandong.households.v1 import events_pb2 as households
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.kernel import rpc, wire
from services.kernel.caller import Caller
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.kernel.rpc import Context, Guarded
from services.programmes.loader import Catalogue, load_texts
from tests import builders

COUNTY = "990101"
OTHER_COUNTY = "990102"
TOWN = "990101001"
VILLAGE = "990101001001"
OTHER_VILLAGE = "990101002001"
OPENED = date(2021, 1, 4)
PROGRAMME = "plain"
REF = "plain@1"

BANK = "rcb-1"
OTHER_BANK = "psb-1"

COVERED, ORDINARY = "covered", "ordinary"
"""Products: subsidised, insured and behind the fund; and with none of that."""

PACK = """
programme:
  id: plain
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 示例, en: Plain}
loans:
  benchmark:
    - {from: 2020-01-01, max_tenor_months: 12, rate_ppm: 36000}
    - {from: 2020-01-01, max_tenor_months: 60, rate_ppm: 54000}
  day_basis: 360
  area_of_use: county
  npl: {measure: overdue_days, more_than_days: 70}
  maturity_notice: {lead_months: 2, to: [township_station]}
loan_products:
  - id: covered
    title: {zh: 小额信贷, en: Covered}
    borrower_classes: [poor_household]
    max_principal_fen: 5000000
    max_term_months: 36
    pricing: {mode: benchmark}
    subsidy: {mode: full_at_benchmark, max_months: 36}
    interest_settlement: bullet
    approval_chain:
      - {step: village_accepts, kind: initial_review, organ: village_department, starts_sla: true}
      - {step: county_recommends, kind: guarantee_recommendation, organ: county_centre}
      - {step: bank_approves, kind: approval, organ: lender}
    sla: {unit: working_days, value: 4}
    purpose: {prohibited: [house_purchase], allowed: [mushroom_growing, beekeeping]}
    sharing_models: [four_party]
  - id: ordinary
    title: {zh: 普通贷款, en: Ordinary}
    borrower_classes: [poor_household, non_poor_household]
    max_term_months: 36
    pricing: {mode: benchmark}
    subsidy: {mode: none}
    interest_settlement: bullet
    approval_chain:
      - {step: county_checks, kind: check, organ: county_centre}
      - {step: bank_approves, kind: approval, organ: lender}
    purpose: {prohibited: [house_purchase]}
insurance:
  covers:
    - id: accident
      kind: personal_accident
      title: {zh: 意外险, en: Accident}
      assigned: true
      payees: [bank, household]
      sum_insured: {of: loan_principal, pct: 100}
      premium: {rate_ppm: 2000, payer: county}
  required_covers: [{borrower_class: poor_household, covers: [accident]}]
  sweep_trigger: always
  claim_tiers: [{tier: any, max_fen: null, working_days: 5}]
fund:
  multiple: 10
  custody: special_account
  models:
    - id: four_party
      title: {zh: 四位一体, en: Four parties}
      borrower_classes: [poor_household]
      layers:
        - {layer: ratio, ratio: {county_fund: 20, bank: 10, guarantee: 50, reguarantee: 20}}
      trigger: {overdue_more_than_days: 70}
      base: principal_and_interest
monitoring:
  breakers:
    - id: village_npl
      measure: npl_ratio
      scope: village
      more_than_ppm: 50000
      effects: [stop_grant, stop_approve, stop_draw, stop_disburse]
    - id: township_villages
      measure: tripped_villages
      scope: township
      at_least_pct: 30
      effects: [stop_grant, stop_approve, stop_draw, stop_disburse]
  five_tier:
    - {tier: normal, min_overdue_days: 0}
    - {tier: special_mention, min_overdue_days: 1}
    - {tier: substandard, min_overdue_days: 91}
    - {tier: doubtful, min_overdue_days: 181}
    - {tier: loss, min_overdue_days: 361}
"""

_ADOPTION = """
adoption:
  county: "%s"
  entries:
    - programme: plain@1
      from: 2020-01-01
      parties:
        lender: [rcb-1, psb-1]
        bank: [rcb-1, psb-1]
        county_fund: fin-1
        guarantee: agr-1
        reguarantee: grp-1
"""


def a_catalogue(pack: str = PACK) -> Catalogue:
    return load_texts(
        {
            "plain@1.yaml": pack,
            "adoption.yaml": _ADOPTION % COUNTY,
            "other.yaml": _ADOPTION % OTHER_COUNTY,
            "days.yaml": "calendar: [{year: 2021, holidays: [2021-01-01, 2021-01-06]}]",
        }
    )


# --- who asks -------------------------------------------------------------------------------------


def a_caller(
    role: str,
    *,
    institution_id: str,
    post: int = 1,
    county_code: str = COUNTY,
    areas: tuple[str, ...] = (),
) -> Caller:
    return Caller(
        institution_id=institution_id,
        role=role,
        person_id=f"{institution_id}-p{post}",
        county_code=county_code,
        areas=areas,
        purpose="",
        method="/liandong.loans.v1.LoansService/Any",
        body_hash="",
    )


CENTRE = a_caller("county_centre", institution_id="cfc-1")
VILLAGE_DEPARTMENT = a_caller("village_department", institution_id="vil-1", areas=(VILLAGE,))
LENDER = a_caller("bank", institution_id=BANK)
APPROVER = a_caller("bank", institution_id=BANK, post=2)
CASHIER = a_caller("bank", institution_id=BANK, post=3)
OTHER_LENDER = a_caller("bank", institution_id=OTHER_BANK)
OTHER_CASHIER = a_caller("bank", institution_id=OTHER_BANK, post=3)
AUDITOR = a_caller("auditor", institution_id="aud-1")
OPERATOR = a_caller("operator", institution_id="ops-1", county_code="000000")


def calling(caller: Caller, request: Message) -> Context:
    """The context of a call that came through the guard: well formed, caller verified."""
    rpc.check(request)
    return cast(Context, Guarded(cast(Context, None), caller))


def day(value: date) -> Date:
    """A day for the wire."""
    found = wire.date_to_proto(value)
    assert found is not None
    return found


# --- what others say ------------------------------------------------------------------------------


def told(
    event_type: str,
    aggregate: tuple[str, str],
    sequence: int,
    message: Message,
    *,
    on: date = OPENED,
    county_code: str = COUNTY,
) -> Delivery:
    envelope = builders.an_envelope(
        event_type=event_type,
        aggregate_type=aggregate[0],
        aggregate_id=aggregate[1],
        sequence=sequence,
        county_code=county_code,
        business_date=on,
    )
    return Delivery(envelope, message.SerializeToString(), Msg(Client()))


class House:
    """What households and credit say of one household, in order."""

    def __init__(
        self,
        *,
        area_code: str = VILLAGE,
        status: str = "non_poor",
        limit_fen: int = 10_000_000,
        county_code: str = COUNTY,
    ) -> None:
        self.household_id = new_id()
        self.area_code = area_code
        self.status = status
        self.limit_fen = limit_fen
        self._county_code = county_code
        self._said: dict[str, int] = {}

    def _told(self, noun: str, kind: str, name: str, message: Message) -> Delivery:
        self._said[kind] = self._said.get(kind, 0) + 1
        return told(
            f"liandong.{noun}.v1.{name}",
            (f"{noun}.{kind}", str(self.household_id)),
            self._said[kind],
            message,
            county_code=self._county_code,
        )

    def registered(self, *, people: int = 0) -> Delivery:
        message = households.HouseholdRegistered(
            household_id=str(self.household_id),
            area_code=self.area_code,
            status=self.status,
            member_count=people,
        )
        return self._told("households", "household", "household_registered", message)

    def changed(self, *, area_code: str, status: str) -> Delivery:
        message = households.HouseholdChanged(
            household_id=str(self.household_id), area_code=area_code, status=status
        )
        return self._told("households", "household", "household_changed", message)

    def delisted(self) -> Delivery:
        message = households.HouseholdDelisted(household_id=str(self.household_id))
        return self._told("households", "household", "household_delisted", message)

    def granted(self, *, until: date = date(2022, 12, 31)) -> Delivery:
        message = credit.LimitGranted(
            household_id=str(self.household_id),
            limit_fen=self.limit_fen,
            grade="A",
            valid_until=day(until),
        )
        return self._told("credit", "credit_file", "limit_granted", message)

    def regranted(
        self,
        limit_fen: int,
        *,
        until: date = date(2022, 12, 31),
        held_by: Sequence[str] = (),
    ) -> Delivery:
        message = credit.LimitChanged(
            household_id=str(self.household_id),
            limit_fen=limit_fen,
            grade="AA" if limit_fen else "",
            valid_until=day(until),
            held_by=held_by,
        )
        return self._told("credit", "credit_file", "limit_changed", message)

    def expired(self) -> Delivery:
        message = credit.LimitExpired(household_id=str(self.household_id))
        return self._told("credit", "credit_file", "limit_expired", message)


class Fund:
    """What the fund says of covers and cases, in order."""

    def __init__(self) -> None:
        self._said: dict[str, int] = {}

    def _told(self, loan_id: str, name: str, message: Message) -> Delivery:
        self._said[loan_id] = self._said.get(loan_id, 0) + 1
        return told(
            f"liandong.funds.v1.{name}", ("funds.cover", loan_id), self._said[loan_id], message
        )

    def reserved(self, loan_id: str) -> Delivery:
        return self._told(loan_id, "cover_reserved", funds.CoverReserved(loan_id=loan_id))

    def refused(self, loan_id: str, reason: str = "FUND_EXHAUSTED") -> Delivery:
        message = funds.CoverRefused(loan_id=loan_id, reason=reason)
        return self._told(loan_id, "cover_refused", message)

    def released(self, loan_id: str) -> Delivery:
        return self._told(loan_id, "cover_released", funds.CoverReleased(loan_id=loan_id))

    def paid(self, loan_id: str, parts: Mapping[str, tuple[str, int]]) -> Delivery:
        case_id = str(new_id())
        message = funds.CompensationPaid(
            case_id=case_id,
            loan_id=loan_id,
            loss_fen=sum(amount for _, amount in parts.values()),
            parts=[
                funds.SharePart(party=party, institution_id=institution, amount_fen=amount)
                for party, (institution, amount) in parts.items()
            ],
        )
        aggregate = ("funds.compensation_case", case_id)
        return told("liandong.funds.v1.compensation_paid", aggregate, 1, message)


def insured(loan_id: str, cover_id: str = "accident") -> Delivery:
    insured_id = str(new_id())
    message = claims.HouseholdInsured(insured_id=insured_id, loan_id=loan_id, cover_id=cover_id)
    aggregate = ("claims.insured", insured_id)
    return told("liandong.claims.v1.household_insured", aggregate, 1, message)


def uninsured(loan_id: str, cover_id: str = "accident") -> Delivery:
    insured_id = str(new_id())
    message = claims.HouseholdUninsured(insured_id=insured_id, loan_id=loan_id, cover_id=cover_id)
    aggregate = ("claims.insured", insured_id)
    return told("liandong.claims.v1.household_uninsured", aggregate, 1, message)


def authorised(
    household_id: UUID,
    amount_fen: int,
    *groups: list[str],
    value_date: date = OPENED,
    on: date = OPENED,
    payout_id: UUID | None = None,
) -> Delivery:
    """Claims will pay so much: the loans of each group in turn, then the household."""
    found = payout_id or new_id()
    message = claims.PayoutAuthorised(
        payout_id=str(found),
        household_id=str(household_id),
        amount_fen=amount_fen,
        value_date=day(value_date),
        groups=[claims.PayeeGroup(loan_ids=group) for group in groups],
    )
    aggregate = ("claims.payout", str(found))
    return told("liandong.claims.v1.payout_authorised", aggregate, 1, message, on=on)


def corrected(
    payout_id: UUID,
    loan_id: str,
    freed_fen: int,
    *groups: list[str],
    number: int = 1,
    on: date = OPENED,
) -> Delivery:
    """A lender gives back a part of a payout; the loans of each group may take of it."""
    message = claims.PayoutCorrected(
        payout_id=str(payout_id),
        correction=number,
        loan_id=loan_id,
        freed_fen=freed_fen,
        groups=[claims.PayeeGroup(loan_ids=group) for group in groups],
    )
    aggregate = ("claims.payout", str(payout_id))
    return told("liandong.claims.v1.payout_corrected", aggregate, 1 + number, message, on=on)


def reversed_payout(payout_id: UUID, *, sequence: int = 3, on: date = OPENED) -> Delivery:
    """The insurer takes a payout back."""
    message = claims.PayoutReversed(payout_id=str(payout_id), reason="FRAUD", value_date=day(on))
    aggregate = ("claims.payout", str(payout_id))
    return told("liandong.claims.v1.payout_reversed", aggregate, sequence, message, on=on)
