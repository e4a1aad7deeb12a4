"""An invented county with insurance: its programme, its institutions, what others say to claims."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import cast
from uuid import UUID

from google.protobuf.message import Message
from liandong.households.v1 import events_pb2 as households
from liandong.loans.v1 import events_pb2 as loans
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.kernel import rpc, wire
from services.kernel.caller import Caller
from services.kernel.cloudevents import Envelope
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.kernel.rpc import Context, Guarded
from services.programmes.loader import Catalogue, load_texts

COUNTY = "990101"
OTHER_COUNTY = "990102"
VILLAGE = "990101001001"
OTHER_VILLAGE = "990101002001"
OPENED = date(2021, 1, 4)
PROGRAMME = "plain"
REF = "plain@1"

BANK = "rcb-1"
OTHER_BANK = "psb-1"
SOCIETY = "soc-1"
INSURER = "ins-1"
OTHER_INSURER = "ins-2"

PACK = """
programme:
  id: plain
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 示例, en: Plain}
insurance:
  covers:
    - id: accident
      kind: personal_accident
      title: {zh: 意外险, en: Accident}
      assigned: true
      payees: [[bank], [mutual_aid_society], household]
      sum_insured: {of: loan_principal, pct: 100}
      premium: {rate_ppm: 2000, payer: county}
    - id: disaster
      kind: natural_disaster
      title: {zh: 灾害险, en: Disaster}
      assigned: true
      payees: [[bank, mutual_aid_society], household]
      sum_insured: {of: fixed, amount_fen: 6000000}
      cap_fen: 4500000
      premium: {open: not stated}
    - id: medical
      kind: medical
      title: {zh: 医疗险, en: Medical}
      assigned: false
      payees: [household]
      sum_insured: {of: fixed, amount_fen: 2000000}
      premium: {rate_ppm: 1000, payer: borrower}
    - id: guarantee
      kind: loan_guarantee
      title: {zh: 保证险, en: Loan guarantee}
      assigned: true
      payees: [bank, household]
      sum_insured: {of: loan_principal, pct: 100}
      premium: {open: not stated}
    - id: crop
      kind: agri
      title: {zh: 种植险, en: Crop}
      assigned: false
      payees: [household]
      sum_insured: {of: policy}
      premium: {open: not stated}
    - id: undecided
      kind: agri
      title: {zh: 未定, en: Undecided}
      assigned: {open: nobody has said}
      payees: {open: nobody has said}
      sum_insured: {of: fixed, amount_fen: 100}
      premium: {open: not stated}
    - id: later
      kind: agri
      title: {zh: 后来, en: Later}
      assigned: false
      payees: [household]
      sum_insured: {of: fixed, amount_fen: 100}
      premium: {open: not stated}
      from: 2022-01-01
  required_covers: [{borrower_class: poor_household, covers: [accident, disaster]}]
  sweep_trigger: always
  claim_tiers:
    - {tier: on_the_spot, max_fen: 200000, working_days: 0}
    - {tier: three_days, max_fen: 500000, working_days: 3}
    - {tier: five_days, max_fen: null, working_days: 5}
"""

_ADOPTION = """
adoption:
  county: "%s"
  entries:
    - programme: plain@1
      from: 2020-01-01
      parties: {bank: [rcb-1, psb-1], mutual_aid_society: soc-1, insurer: [ins-1, ins-2]%s}
"""

_INSTITUTION = """
  - institution_id: {name}
    name: {{zh: 机构, en: Institution}}
    role: {role}
    county_code: "990101"
    areas: ["990101"]
    persons:
      - {{person_id: {name}-p1, title: {{zh: 经办, en: Officer}}, duty: maker}}
      - {{person_id: {name}-p2, title: {{zh: 复核, en: Reviewer}}, duty: checker}}
"""

_ROLES = {
    BANK: "bank",
    OTHER_BANK: "bank",
    SOCIETY: "mutual_aid_society",
    INSURER: "insurer",
    OTHER_INSURER: "insurer",
    "agr-1": "agriculture_bureau",
}


def a_catalogue(pack: str = PACK, *, parties: Mapping[str, str] | None = None) -> Catalogue:
    also = "".join(f", {name}: {who}" for name, who in (parties or {}).items())
    listed = "".join(_INSTITUTION.format(name=name, role=role) for name, role in _ROLES.items())
    return load_texts(
        {
            "plain@1.yaml": pack,
            "adoption.yaml": _ADOPTION % (COUNTY, also),
            "other.yaml": _ADOPTION % (OTHER_COUNTY, also),
            "institutions.yaml": f"institutions:{listed}",
            "days.yaml": "calendar: [{year: 2021, holidays: [2021-01-01]}]",
        }
    )


def a_caller(
    role: str,
    *,
    institution_id: str,
    person_id: str = "",
    county_code: str = COUNTY,
    areas: tuple[str, ...] = (),
) -> Caller:
    return Caller(
        institution_id=institution_id,
        role=role,
        person_id=person_id or f"{institution_id}-p1",
        county_code=county_code,
        areas=areas,
        purpose="",
        method="/liandong.claims.v1.ClaimsService/Any",
        body_hash="",
    )


CENTRE = a_caller("county_centre", institution_id="cfc-1")
VILLAGE_DEPARTMENT = a_caller("village_department", institution_id="vil-1", areas=(VILLAGE,))
ADJUSTER = a_caller("insurer", institution_id=INSURER, person_id="ins-1-p2")
SURVEYOR = a_caller("insurer", institution_id=INSURER, person_id="ins-1-p1")
OTHER_ADJUSTER = a_caller("insurer", institution_id=OTHER_INSURER)
LENDER = a_caller("bank", institution_id=BANK)
OTHER_LENDER = a_caller("bank", institution_id=OTHER_BANK)
SOCIETY_LENDER = a_caller("mutual_aid_society", institution_id=SOCIETY)
AUDITOR = a_caller("auditor", institution_id="aud-1")


def calling(caller: Caller, request: Message) -> Context:
    """The context of a call that came through the guard: well formed, caller verified."""
    rpc.check(request)
    return cast(Context, Guarded(cast(Context, None), caller))


def told(
    event_type: str,
    aggregate: tuple[str, str],
    sequence: int,
    message: Message,
    *,
    on: date = OPENED,
    county_code: str = COUNTY,
    programme: str = "",
) -> Delivery:
    envelope = Envelope(
        event_id=new_id(),
        event_type=event_type,
        aggregate_type=aggregate[0],
        aggregate_id=aggregate[1],
        sequence=sequence,
        county_code=county_code,
        business_date=on,
        programme=programme,
        traceparent="",
        recorded_at=datetime(2021, 1, 4, tzinfo=UTC),
    )
    return Delivery(envelope, message.SerializeToString(), Msg(Client()))


class House:
    """What the households service says of one household, in order."""

    def __init__(self, *, area_code: str = VILLAGE, county_code: str = COUNTY) -> None:
        self.household_id = new_id()
        self.area_code = area_code
        self._county_code = county_code
        self._sequence = 0
        self._accounts = 0

    def _told(self, name: str, message: Message) -> Delivery:
        self._sequence += 1
        return told(
            f"liandong.households.v1.{name}",
            ("households.household", str(self.household_id)),
            self._sequence,
            message,
            county_code=self._county_code,
        )

    def registered(self) -> Delivery:
        message = households.HouseholdRegistered(
            household_id=str(self.household_id), area_code=self.area_code, status="registered_poor"
        )
        return self._told("household_registered", message)

    def payee(self, account_id: UUID | None = None) -> Delivery:
        """The household is paid to this account from now on."""
        self._accounts += 1
        message = households.PayeeAccountChanged(
            household_id=str(self.household_id),
            account_id=str(account_id or new_id()),
            bank_id=BANK,
        )
        return told(
            "liandong.households.v1.payee_account_changed",
            ("households.payee_account", str(self.household_id)),
            self._accounts,
            message,
            county_code=self._county_code,
        )

    def died(self) -> Delivery:
        message = households.HouseholdChanged(
            household_id=str(self.household_id), area_code=self.area_code, status="deceased"
        )
        return self._told("household_changed", message)

    def moved(self, area_code: str) -> Delivery:
        message = households.HouseholdChanged(
            household_id=str(self.household_id), area_code=area_code, status="registered_poor"
        )
        return self._told("household_changed", message)

    def delisted(self) -> Delivery:
        message = households.HouseholdDelisted(household_id=str(self.household_id))
        return self._told("household_delisted", message)


class Loan:
    """What the loans service says of one loan, in order."""

    def __init__(
        self,
        house: House,
        *,
        lender_id: str = BANK,
        principal_fen: int = 5_000_000,
        covers: tuple[str, ...] = ("accident",),
        evidence: str = "sha256:ab",
        county_code: str = COUNTY,
    ) -> None:
        self.loan_id = new_id()
        self.house = house
        self.lender_id = lender_id
        self.principal_fen = principal_fen
        self._covers = covers
        self._evidence = evidence
        self._county_code = county_code
        self._sequence = 0

    def _told(self, name: str, message: Message, on: date) -> Delivery:
        self._sequence += 1
        return told(
            f"liandong.loans.v1.{name}",
            ("loans.loan", str(self.loan_id)),
            self._sequence,
            message,
            on=on,
            county_code=self._county_code,
            programme=REF,
        )

    def approved(self, *, on: date = OPENED) -> Delivery:
        message = loans.LoanApproved(
            loan_id=str(self.loan_id),
            household_id=str(self.house.household_id),
            lender_id=self.lender_id,
            principal_fen=self.principal_fen,
            term_months=12,
            area_code=self.house.area_code,
            assignment_evidence=self._evidence,
            required_covers=self._covers,
        )
        return self._told("loan_approved", message, on)

    def refused(self, *, on: date = OPENED) -> Delivery:
        return self._told("loan_refused", loans.LoanRefused(loan_id=str(self.loan_id)), on)

    def disbursed(self, *, on: date = OPENED) -> Delivery:
        message = loans.LoanDisbursed(
            loan_id=str(self.loan_id),
            principal_fen=self.principal_fen,
            disbursed_on=wire.date_to_proto(on),
        )
        return self._told("loan_disbursed", message, on)

    def repaid(self, amount_fen: int, *, on: date = OPENED) -> Delivery:
        self.principal_fen -= amount_fen
        message = loans.LoanRepaid(
            loan_id=str(self.loan_id),
            amount_fen=amount_fen,
            principal_fen=amount_fen,
            outstanding_fen=self.principal_fen,
        )
        return self._told("loan_repaid", message, on)

    def reopened(self, outstanding_fen: int, *, on: date = OPENED) -> Delivery:
        message = loans.LoanReopened(loan_id=str(self.loan_id), outstanding_fen=outstanding_fen)
        return self._told("loan_reopened", message, on)

    def settled(self, *, on: date = OPENED) -> Delivery:
        return self._told("loan_settled", loans.LoanSettled(loan_id=str(self.loan_id)), on)


def allocated(
    payout_id: str,
    parts: list[tuple[Loan, int]],
    household_fen: int,
    *,
    subrogated_fen: int = 0,
    county_code: str = COUNTY,
    sequence: int = 1,
    corrections: int = 0,
) -> Delivery:
    """Loans divided a payout: each loan takes interest of one fen first, the rest is principal."""
    message = loans.PayoutAllocated(
        payout_id=payout_id,
        parts=[
            loans.LenderPart(
                loan_id=str(loan.loan_id),
                lender_id=loan.lender_id,
                amount_fen=amount_fen,
                interest_fen=1,
                principal_fen=amount_fen - 1,
                subrogated_fen=subrogated_fen,
                outstanding_fen=0,
            )
            for loan, amount_fen in parts
        ],
        household_fen=household_fen,
        amount_fen=household_fen + sum(amount for _, amount in parts),
        corrections=corrections,
    )
    aggregate = ("loans.payout_allocation", payout_id)
    return told(
        "liandong.loans.v1.payout_allocated", aggregate, sequence, message, county_code=county_code
    )


def an_id(number: int) -> UUID:
    return UUID(int=0x7000_8000_0000_0000_0000 << 48 | number)
