"""An invented county with a fund: its programme, its institutions, what loans says of its loans."""

from datetime import UTC, date, datetime
from typing import cast
from uuid import UUID

from google.protobuf.message import Message
from liandong.claims.v1 import events_pb2 as claims
from liandong.loans.v1 import events_pb2 as loans
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.kernel import rpc
from services.kernel.caller import Caller
from services.kernel.cloudevents import Envelope
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.kernel.rpc import Context, Guarded
from services.programmes.loader import Catalogue, load_texts

COUNTY = "990101"
OTHER_COUNTY = "990102"
TOWN = "990101001"
VILLAGE = "990101001001"
OTHER_VILLAGE = "990101002001"
OPENED = date(2021, 1, 4)
PROGRAMME = "plain"
REF = "plain@1"
OPEN_REF = "undecided@1"
CAUSE = "natural_disaster"

BANK = "rcb-1"
OTHER_BANK = "psb-1"

_PACK = """
programme:
  id: plain
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 示例, en: Plain}
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
      covered_causes: [natural_disaster, illness, death]
    - id: pots_first
      title: {zh: 先互助, en: Pots first}
      borrower_classes: [entity]
      layers:
        - {layer: mutual, pot: mutual_fund}
        - {layer: ratio, ratio: {county_fund: 50, bank: 50}}
      trigger: {overdue_more_than_days: 70}
      base: principal
"""

_UNDECIDED = """
programme:
  id: undecided
  version: "1"
  effective_from: 2020-01-01
  title: {zh: 未定, en: Undecided}
fund:
  multiple: {open: nobody has said}
  custody: special_account
  models:
    - id: two_party
      title: {zh: 二方, en: Two parties}
      borrower_classes: [poor_household]
      layers: [{layer: ratio, ratio: {county_fund: 7, bank: 3}}]
      trigger: {open: nobody has said}
      base: {open: nobody has said}
"""

_ADOPTION = """
adoption:
  county: "%s"
  entries:
    - programme: plain@1
      from: 2020-01-01
      parties: &parties
        county_fund: fin-1
        bank: [rcb-1, psb-1]
        guarantee: agr-1
        reguarantee: grp-1
        mutual_fund: fin-1
    - programme: undecided@1
      from: 2020-01-01
      parties: {county_fund: fin-1, bank: [rcb-1, psb-1]}
"""


def a_catalogue(*, until: date | None = None) -> Catalogue:
    """`until` is the last day of the plain programme."""
    adoption = _ADOPTION.replace("&parties", "")
    if until is not None:
        adoption = adoption.replace("2020-01-01", f"2020-01-01\n      to: {until}", 1)
    return load_texts(
        {
            "plain@1.yaml": _PACK,
            "undecided@1.yaml": _UNDECIDED,
            "adoption.yaml": adoption % COUNTY,
            "other.yaml": adoption % OTHER_COUNTY,
        }
    )


def a_caller(
    role: str = "county_centre",
    *,
    institution_id: str = "cfc-1",
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
        method="/liandong.funds.v1.FundsService/Any",
        body_hash="",
    )


CENTRE = a_caller()
TREASURY = a_caller("finance_bureau", institution_id="fin-1")
LENDER = a_caller("bank", institution_id=BANK)
OTHER_LENDER = a_caller("bank", institution_id=OTHER_BANK)
GUARANTOR = a_caller("guarantor", institution_id="agr-1")
AUDITOR = a_caller("auditor", institution_id="aud-1")


def calling(caller: Caller, request: Message) -> Context:
    """The context of a call that came through the guard: well formed, caller verified."""
    rpc.check(request)
    return cast(Context, Guarded(cast(Context, None), caller))


def loan_id(number: int) -> UUID:
    return UUID(int=0x7000_8000_0000_0000_0000 << 48 | number)


def told(
    event_type: str,
    aggregate: tuple[str, str],
    sequence: int,
    message: Message,
    *,
    on: date = OPENED,
    county_code: str = COUNTY,
    programme: str = REF,
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


class Loan:
    """What the loans service says of one loan, in order."""

    def __init__(
        self,
        number: int,
        *,
        principal_fen: int = 5_000_000,
        borrower_class: str = "poor_household",
        area_code: str = VILLAGE,
        lender_id: str = BANK,
        county_code: str = COUNTY,
        programme: str = REF,
    ) -> None:
        self.loan_id = loan_id(number)
        self.principal_fen = principal_fen
        self._borrower_class = borrower_class
        self._area_code = area_code
        self._lender_id = lender_id
        self._county_code = county_code
        self._programme = programme
        self._sequence = 1

    def _told(self, name: str, message: Message, *, on: date = OPENED) -> Delivery:
        told_now = told(
            f"liandong.loans.v1.{name}",
            ("loans.loan", str(self.loan_id)),
            self._sequence,
            message,
            on=on,
            county_code=self._county_code,
            programme=self._programme,
        )
        self._sequence += 1
        return told_now

    def asks(self) -> Delivery:
        message = loans.CoverRequested(
            loan_id=str(self.loan_id),
            household_id=str(new_id()),
            lender_id=self._lender_id,
            principal_fen=self.principal_fen,
            borrower_class=self._borrower_class,
            area_code=self._area_code,
        )
        return self._told("cover_requested", message)

    def refused(self) -> Delivery:
        message = loans.LoanRefused(loan_id=str(self.loan_id), reasons=["AGE_ABOVE_MAX"])
        return self._told("loan_refused", message)

    def disbursed(self) -> Delivery:
        message = loans.LoanDisbursed(
            loan_id=str(self.loan_id),
            lender_id=self._lender_id,
            principal_fen=self.principal_fen,
        )
        return self._told("loan_disbursed", message)

    def overdue(
        self, days: int, *, on: date, principal_fen: int | None = None, interest_fen: int = 0
    ) -> Delivery:
        message = loans.LoanOverdue(
            loan_id=str(self.loan_id),
            overdue_days=days,
            principal_fen=self.principal_fen if principal_fen is None else principal_fen,
            interest_fen=interest_fen,
            non_performing=days > 70,
        )
        return self._told("loan_overdue", message, on=on)

    def repaid(
        self,
        principal_fen: int,
        interest_fen: int,
        *,
        on: date,
        less: tuple[int, int] | None = None,
    ) -> Delivery:
        """`less` is by how much less principal and interest are owed; None as it was once said."""
        message = loans.LoanRepaid(
            loan_id=str(self.loan_id),
            amount_fen=principal_fen + interest_fen,
            principal_fen=principal_fen,
            interest_fen=interest_fen,
            outstanding_fen=self.principal_fen - principal_fen,
            principal_less_fen=less[0] if less else None,
            interest_less_fen=less[1] if less else None,
        )
        return self._told("loan_repaid", message, on=on)

    def settled(self) -> Delivery:
        return self._told("loan_settled", loans.LoanSettled(loan_id=str(self.loan_id)))


def payout_allocated(
    payout_id: str, loan: Loan, *, principal_fen: int, interest_fen: int, on: date
) -> Delivery:
    part = loans.LenderPart(
        loan_id=str(loan.loan_id),
        lender_id=BANK,
        amount_fen=principal_fen + interest_fen,
        interest_fen=interest_fen,
        principal_fen=principal_fen,
    )
    message = loans.PayoutAllocated(payout_id=payout_id, parts=[part], amount_fen=part.amount_fen)
    aggregate = ("loans.payout_allocation", payout_id)
    return told("liandong.loans.v1.payout_allocated", aggregate, 1, message, on=on)


def payout_undone(payout_id: str, *, on: date) -> Delivery:
    message = loans.PayoutAllocationReversed(payout_id=payout_id)
    aggregate = ("loans.payout_allocation", payout_id)
    return told("liandong.loans.v1.payout_allocation_reversed", aggregate, 2, message, on=on)


def payout_settled(payout_id: str, loan: Loan, *, subrogated_fen: int) -> Delivery:
    part = claims.SettledPart(
        loan_id=str(loan.loan_id),
        lender_id=BANK,
        amount_fen=subrogated_fen,
        subrogated_fen=subrogated_fen,
    )
    message = claims.PayoutSettled(payout_id=payout_id, lenders_fen=subrogated_fen, parts=[part])
    return told("liandong.claims.v1.payout_settled", ("claims.payout", payout_id), 1, message)


def breaker_tripped(village: str, *, sequence: int = 1) -> Delivery:
    message = loans.BreakerTripped(scope="village", scope_id=village, effects=["stop_disburse"])
    aggregate = ("loans.breaker", f"village:{village}")
    return told("liandong.loans.v1.breaker_tripped", aggregate, sequence, message)
