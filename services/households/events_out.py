"""Households: what this service says. One function per event."""

from datetime import date

from google.protobuf.message import Message
from liandong.households.v1 import events_pb2

from services.households.model import (
    AreaFlag,
    Consent,
    Dispute,
    DisputeOutcome,
    Enterprise,
    Fact,
    Household,
    LinkageContract,
    PayeeAccount,
)
from services.kernel import wire
from services.kernel.outbox import OutgoingEvent

HOUSEHOLD = "households.household"
AREA_FLAG = "households.area_flag"
CONSENT = "households.consent"
CONTRACT = "households.linkage_contract"
DISPUTE = "households.dispute"
ENTERPRISE = "households.enterprise"
FACT = "households.fact"
PAYEE = "households.payee_account"


def household_registered(household: Household, business_date: date) -> OutgoingEvent:
    """A household was entered in the registry."""
    household_id = str(household.household_id)
    return OutgoingEvent(
        event_type="liandong.households.v1.household_registered",
        aggregate_type=HOUSEHOLD,
        aggregate_id=household_id,
        sequence=household.version,
        county_code=household.county_code,
        message=events_pb2.HouseholdRegistered(
            household_id=household_id,
            household_number=household.household_number,
            area_code=household.area_code,
            status=household.status,
            member_count=household.member_count,
            honour=household.honour or "",
        ),
        business_date=business_date,
    )


def _event(
    name: str,
    aggregate: tuple[str, object, int],
    county_code: str,
    message: Message,
    business_date: date,
) -> OutgoingEvent:
    """An event of an aggregate: its type, its id and the how manieth event of it this is."""
    kind, aggregate_id, sequence = aggregate
    return OutgoingEvent(
        event_type=name,
        aggregate_type=kind,
        aggregate_id=str(aggregate_id),
        sequence=sequence,
        county_code=county_code,
        message=message,
        business_date=business_date,
    )


def _of_household(
    name: str, household: Household, message: Message, business_date: date
) -> OutgoingEvent:
    aggregate = (HOUSEHOLD, household.household_id, household.version)
    return _event(name, aggregate, household.county_code, message, business_date)


def household_changed(household: Household, business_date: date) -> OutgoingEvent:
    """Something of a household is different; all of it as it is now."""
    message = events_pb2.HouseholdChanged(
        household_id=str(household.household_id),
        area_code=household.area_code,
        status=household.status,
        member_count=household.member_count,
        honour=household.honour or "",
    )
    name = "liandong.households.v1.household_changed"
    return _of_household(name, household, message, business_date)


def household_delisted(household: Household, reason: str, business_date: date) -> OutgoingEvent:
    """A household is off the file; its loans go on and are reconciled."""
    message = events_pb2.HouseholdDelisted(household_id=str(household.household_id), reason=reason)
    name = "liandong.households.v1.household_delisted"
    return _of_household(name, household, message, business_date)


def household_merged(alias: Household, business_date: date) -> OutgoingEvent:
    """A record is an alias of another from now on."""
    message = events_pb2.HouseholdMerged(
        household_id=str(alias.household_id), survivor_id=str(alias.survivor_id)
    )
    name = "liandong.households.v1.household_merged"
    return _of_household(name, alias, message, business_date)


def household_unmerged(
    household: Household, survivor_id: object, business_date: date
) -> OutgoingEvent:
    """A record stands alone again."""
    message = events_pb2.HouseholdUnmerged(
        household_id=str(household.household_id), survivor_id=str(survivor_id)
    )
    name = "liandong.households.v1.household_unmerged"
    return _of_household(name, household, message, business_date)


def area_flag_changed(
    county_code: str, area_code: str, flag: AreaFlag, business_date: date
) -> OutgoingEvent:
    """A flag of an area was set or lifted."""
    message = events_pb2.AreaFlagChanged(
        area_code=area_code,
        flag=flag.flag,
        set=flag.is_set,
        valid_from=wire.date_to_proto(flag.valid_from),
    )
    aggregate = (AREA_FLAG, f"{area_code}:{flag.flag}", flag.version)
    name = "liandong.households.v1.area_flag_changed"
    return _event(name, aggregate, county_code, message, business_date)


def enterprise_registered(
    county_code: str, enterprise: Enterprise, business_date: date
) -> OutgoingEvent:
    """An entity was entered in the registry."""
    message = events_pb2.EnterpriseRegistered(
        enterprise_id=str(enterprise.enterprise_id),
        area_code=enterprise.area_code,
        kind=enterprise.kind,
    )
    aggregate = (ENTERPRISE, enterprise.enterprise_id, 1)
    name = "liandong.households.v1.enterprise_registered"
    return _event(name, aggregate, county_code, message, business_date)


def linkage_contract_signed(
    county_code: str, contract: LinkageContract, business_date: date
) -> OutgoingEvent:
    """An entity and households are bound by a contract."""
    message = events_pb2.LinkageContractSigned(
        contract_id=str(contract.contract_id),
        enterprise_id=str(contract.enterprise_id),
        household_ids=[str(each) for each in contract.household_ids],
        modes=contract.terms.modes,
        valid_from=wire.date_to_proto(contract.valid_from),
        valid_to=wire.date_to_proto(contract.valid_to),
    )
    aggregate = (CONTRACT, contract.contract_id, 1)
    name = "liandong.households.v1.linkage_contract_signed"
    return _event(name, aggregate, county_code, message, business_date)


def linkage_contract_ended(
    county_code: str, contract: LinkageContract, ended_on: date, business_date: date
) -> OutgoingEvent:
    """A contract was ended before its time."""
    message = events_pb2.LinkageContractEnded(
        contract_id=str(contract.contract_id), ended_on=wire.date_to_proto(ended_on)
    )
    aggregate = (CONTRACT, contract.contract_id, 2)
    name = "liandong.households.v1.linkage_contract_ended"
    return _event(name, aggregate, county_code, message, business_date)


def consent_given(county_code: str, consent: Consent, business_date: date) -> OutgoingEvent:
    """A household lets a receiver know something."""
    message = events_pb2.ConsentGiven(
        consent_id=str(consent.consent_id),
        household_id=str(consent.household_id),
        receiver_id=consent.receiver_id,
        purpose=consent.purpose,
        categories=consent.categories,
        valid_from=wire.date_to_proto(consent.valid_from),
        valid_to=wire.date_to_proto(consent.valid_to),
    )
    aggregate = (CONSENT, consent.consent_id, 1)
    name = "liandong.households.v1.consent_given"
    return _event(name, aggregate, county_code, message, business_date)


def consent_withdrawn(county_code: str, consent: Consent, business_date: date) -> OutgoingEvent:
    """Reads that rest on a consent end."""
    message = events_pb2.ConsentWithdrawn(
        consent_id=str(consent.consent_id), household_id=str(consent.household_id)
    )
    aggregate = (CONSENT, consent.consent_id, 2)
    name = "liandong.households.v1.consent_withdrawn"
    return _event(name, aggregate, county_code, message, business_date)


def payee_account_changed(
    county_code: str, account: PayeeAccount, version: int, business_date: date
) -> OutgoingEvent:
    """Payments to a household go to another account."""
    message = events_pb2.PayeeAccountChanged(
        household_id=str(account.household_id),
        account_id=str(account.account_id),
        bank_id=account.bank_id,
    )
    aggregate = (PAYEE, account.household_id, version)
    name = "liandong.households.v1.payee_account_changed"
    return _event(name, aggregate, county_code, message, business_date)


def fact_recorded(county_code: str, fact: Fact) -> OutgoingEvent:
    """A fact was recorded; what it says stays here."""
    message = events_pb2.FactRecorded(
        fact_id=str(fact.fact_id),
        household_id=str(fact.household_id),
        kind=fact.kind,
        replaces_id=str(fact.replaces_id) if fact.replaces_id else "",
        source_id=fact.provenance.source_id,
    )
    aggregate = (FACT, fact.fact_id, 1)
    name = "liandong.households.v1.fact_recorded"
    return _event(name, aggregate, county_code, message, fact.provenance.business_date)


def dispute_opened(county_code: str, dispute: Dispute) -> OutgoingEvent:
    """Something is contested."""
    message = events_pb2.DisputeOpened(
        dispute_id=str(dispute.dispute_id),
        household_id=str(dispute.household_id),
        subject=dispute.subject,
        subject_id=str(dispute.subject_id),
        due_on=wire.date_to_proto(dispute.due_on),
    )
    aggregate = (DISPUTE, dispute.dispute_id, 1)
    name = "liandong.households.v1.dispute_opened"
    return _event(name, aggregate, county_code, message, dispute.provenance.business_date)


def dispute_answered(
    county_code: str, dispute: Dispute, outcome: DisputeOutcome, business_date: date
) -> OutgoingEvent:
    """A dispute has its answer."""
    message = events_pb2.DisputeAnswered(dispute_id=str(dispute.dispute_id), outcome=outcome)
    aggregate = (DISPUTE, dispute.dispute_id, 2)
    name = "liandong.households.v1.dispute_answered"
    return _event(name, aggregate, county_code, message, business_date)
