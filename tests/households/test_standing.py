"""Registration status: who changes it, what was known when, and delisted households' loans."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from liandong.households.v1 import events_pb2, standing_pb2
from liandong.households.v1 import households_pb2 as pb

from services.households.model import DelistedLoan, RegistrationStatus
from services.households.rules import standing as rules
from services.kernel import ids
from services.kernel.status import reason_of
from tests.households.builders import COUNTY, TODAY, VILLAGE
from tests.households.conftest import Door, Registry, institution
from tests.households.village import (
    BANK,
    CENTRE,
    OFFICE,
    OTHER_BANK,
    STATION,
    after,
    day,
    head,
    paper,
    seen,
    settle,
)

needs_postgres = pytest.mark.postgres
HOLDERS = ["rcb-0001", "pov-0001", "tst-101", "vil-101"]


def a_change(household_id: str, status: int, **fields: object) -> standing_pb2.ChangeStatusRequest:
    right: dict[str, object] = {
        "household_id": household_id,
        "status": status,
        "effective_on": day(TODAY),
        "reason": "yearly_review",
        "evidence": paper(),
    }
    return standing_pb2.ChangeStatusRequest(**head(), **right | fields)  # type: ignore[arg-type]


async def history(
    door: Door, household_id: str, **fields: object
) -> list[standing_pb2.StatusChange]:
    request = standing_pb2.ListStatusHistoryRequest(
        county_code=COUNTY,
        household_id=household_id,
        **fields,  # type: ignore[arg-type]
    )
    return list((await door.call("ListStatusHistory", request, who=OFFICE)).changes)


# --- rules ----------------------------------------------------------------------------------------


def test_the_dead_stay_dead_and_only_the_poor_leave_poverty() -> None:
    steps = rules.STEPS

    assert steps[RegistrationStatus.DECEASED] == frozenset()
    assert {s for s in RegistrationStatus if RegistrationStatus.EXITED in steps[s]} == {
        RegistrationStatus.REGISTERED_POOR,
        RegistrationStatus.NEAR_POOR,
        RegistrationStatus.FLAGGED,
        RegistrationStatus.EXITED,
    }
    assert set(steps) == set(RegistrationStatus)


@given(st.lists(st.integers(0, 10**12), max_size=6), st.randoms())
def test_a_statement_is_the_same_in_any_order_and_another_with_another_debt(
    amounts: list[int], random: object
) -> None:
    household_id = ids.new_id()
    loans = [DelistedLoan(ids.new_id(), amount) for amount in amounts]
    stated = rules.statement_hash(household_id, "rcb-0001", loans, HOLDERS)

    assert rules.statement_hash(household_id, "rcb-0001", loans[::-1], HOLDERS[::-1]) == stated
    for index, loan in enumerate(loans):
        other = [*loans[:index], DelistedLoan(loan.loan_id, loan.outstanding_fen + 1)]
        changed = [*other, *loans[index + 1 :]]
        assert rules.statement_hash(household_id, "rcb-0001", changed, HOLDERS) != stated


# --- status ---------------------------------------------------------------------------------------


@needs_postgres
async def test_only_the_poverty_office_changes_a_status(door: Door, registry: Registry) -> None:
    household = await settle(door)
    change = a_change(household.household_id, pb.REGISTRATION_STATUS_EXITED)

    for who in (STATION, CENTRE, BANK, institution("operator")):
        error = await door.refuses("ChangeStatus", change, who=who)
        assert (error.code(), reason_of(error)) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "ROLE_NOT_ALLOWED",
        )
    made = await door.call("ChangeStatus", change, who=OFFICE)

    assert made.version == 2
    assert await registry.said("household_changed") == [(household.household_id, 2)]


@needs_postgres
async def test_what_was_known_on_a_day_can_be_read_for_ever(door: Door, registry: Registry) -> None:
    household = await settle(door)
    await registry.on(after(10))
    exited = a_change(
        household.household_id, pb.REGISTRATION_STATUS_EXITED, effective_on=day(after(5))
    )
    await door.call("ChangeStatus", exited, who=OFFICE)

    before = await seen(door, household.household_id, as_of=after(9))
    since = await seen(door, household.household_id, as_of=after(10))
    changes = await history(door, household.household_id)
    changes_then = await history(door, household.household_id, as_of=day(after(9)))
    unborn = await door.refuses(
        "GetHousehold",
        pb.GetHouseholdRequest(
            county_code=COUNTY, household_id=household.household_id, as_of=day(after(-1))
        ),
        who=OFFICE,
    )

    # It held since the fifth day, but on the ninth nobody knew.
    assert before.status == pb.REGISTRATION_STATUS_REGISTERED_POOR
    assert since.status == pb.REGISTRATION_STATUS_EXITED
    assert [change.status for change in changes] == [before.status, since.status]
    assert [change.status for change in changes_then] == [before.status]
    assert changes[0].change_id == household.household_id
    assert (changes[1].reason, changes[1].effective_on) == ("yearly_review", day(after(5)))
    assert changes[1].provenance.source_id == "poverty_office-1"
    assert changes[1].provenance.evidence == paper()
    assert changes[1].provenance.business_date == day(after(10))
    assert reason_of(unborn) == "HOUSEHOLD_NOT_FOUND"


@needs_postgres
async def test_a_step_that_cannot_be_is_refused_with_its_field(door: Door) -> None:
    household = await settle(door, status=pb.REGISTRATION_STATUS_NON_POOR)
    same = a_change(household.household_id, pb.REGISTRATION_STATUS_NON_POOR)
    exited = a_change(household.household_id, pb.REGISTRATION_STATUS_EXITED)
    flagged = pb.REGISTRATION_STATUS_FLAGGED
    tomorrow = a_change(household.household_id, flagged, effective_on=day(after(1)))
    early = a_change(household.household_id, flagged, effective_on=day(after(-1)))
    call = a_change(household.household_id, flagged, evidence=paper("RECORDED_CALL"))
    missing = a_change(str(ids.new_id()), flagged)

    for request, reason in (
        (same, "STATUS_UNCHANGED"),
        (exited, "STATUS_STEP_FORBIDDEN"),
        (tomorrow, "DATE_IN_FUTURE"),
        (early, "DATE_TOO_EARLY"),
        (call, "EVIDENCE_HASH_NEEDED"),
        (missing, "HOUSEHOLD_NOT_FOUND"),
    ):
        error = await door.refuses("ChangeStatus", request, who=OFFICE)
        assert reason_of(error) == reason
    assert "effective_on = 2018-01-02" in (
        (await door.refuses("ChangeStatus", tomorrow, who=OFFICE)).details() or ""
    )


# --- delisted households --------------------------------------------------------------------------


async def delist(door: Door) -> str:
    household = await settle(door)
    change = a_change(household.household_id, pb.REGISTRATION_STATUS_DELISTED, reason="has_a_car")
    await door.call("ChangeStatus", change, who=OFFICE)
    return household.household_id


def a_statement(household_id: str, *amounts: int) -> standing_pb2.StateDelistedLoansRequest:
    loans = [
        standing_pb2.DelistedLoan(loan_id=str(ids.new_id()), outstanding_fen=amount)
        for amount in amounts
    ]
    return standing_pb2.StateDelistedLoansRequest(
        **head(),
        household_id=household_id,
        loans=loans,
        archive_holders=HOLDERS,
        evidence=paper("SIGNATURE", b"\x02" * 32),
    )


def a_signature(
    reconciliation_id: str, statement_hash: bytes
) -> standing_pb2.SignReconciliationRequest:
    return standing_pb2.SignReconciliationRequest(
        **head(),
        reconciliation_id=reconciliation_id,
        statement_hash=statement_hash,
        evidence=paper("SIGNATURE", b"\x03" * 32),
    )


@needs_postgres
async def test_a_delisted_household_is_reconciled_and_signed_by_both(
    door: Door, registry: Registry
) -> None:
    household_id = await delist(door)
    made = await door.call("StateDelistedLoans", a_statement(household_id, 1_000, 50), who=BANK)
    sign = a_signature(made.reconciliation_id, made.statement_hash)
    await door.call("SignReconciliation", sign, who=OFFICE)

    asked = standing_pb2.ListReconciliationsRequest(county_code=COUNTY, household_id=household_id)
    (kept,) = (await door.call("ListReconciliations", asked, who=OFFICE)).reconciliations
    others = (await door.call("ListReconciliations", asked, who=OTHER_BANK)).reconciliations

    assert {s.side: s.provenance.source_id for s in kept.signatures} == {
        "lender": "rcb-0001",
        "poverty_office": "poverty_office-1",
    }
    assert kept.archive_holders == HOLDERS
    assert sorted(loan.outstanding_fen for loan in kept.loans) == [50, 1_000]
    assert list(others) == []
    ((said,),) = await registry.ask(
        "SELECT payload FROM outbox WHERE event_type LIKE '%household_delisted'"
    )
    assert events_pb2.HouseholdDelisted.FromString(said).reason == "has_a_car"


@needs_postgres
async def test_a_signature_is_for_the_newest_statement_and_for_what_was_read(door: Door) -> None:
    household_id = await delist(door)
    first = await door.call("StateDelistedLoans", a_statement(household_id, 1_000), who=BANK)
    second = await door.call("StateDelistedLoans", a_statement(household_id, 900), who=BANK)
    replaced = a_signature(first.reconciliation_id, first.statement_hash)
    differs = a_signature(second.reconciliation_id, first.statement_hash)
    right = a_signature(second.reconciliation_id, second.statement_hash)

    assert reason_of(await door.refuses("SignReconciliation", replaced, who=OFFICE)) == (
        "STATEMENT_REPLACED"
    )
    assert reason_of(await door.refuses("SignReconciliation", differs, who=OFFICE)) == (
        "STATEMENT_DIFFERS"
    )
    assert reason_of(await door.refuses("SignReconciliation", right, who=BANK)) == (
        "ROLE_NOT_ALLOWED"
    )
    await door.call("SignReconciliation", right, who=OFFICE)
    again = a_signature(second.reconciliation_id, second.statement_hash)
    assert reason_of(await door.refuses("SignReconciliation", again, who=OFFICE)) == (
        "SIGNED_ALREADY"
    )


@needs_postgres
async def test_an_office_of_other_areas_signs_no_statement(door: Door, registry: Registry) -> None:
    household_id = await delist(door)
    made = await door.call("StateDelistedLoans", a_statement(household_id, 1_000), who=BANK)
    sign = a_signature(made.reconciliation_id, made.statement_hash)
    elsewhere = institution("poverty_office", VILLAGE[:-1] + "2", name="poverty_office-2")

    foreign = await door.refuses("SignReconciliation", sign, who=elsewhere)

    assert reason_of(foreign) == "RECONCILIATION_NOT_FOUND"
    assert household_id not in repr(foreign)
    asked = standing_pb2.ListReconciliationsRequest(county_code=COUNTY, household_id=household_id)
    (kept,) = (await door.call("ListReconciliations", asked, who=OFFICE)).reconciliations
    assert [each.side for each in kept.signatures] == ["lender"]


@needs_postgres
async def test_who_is_on_the_file_is_not_reconciled(door: Door) -> None:
    household = await settle(door)
    statement = a_statement(household.household_id, 1)
    without = a_statement(household.household_id, 1)
    del without.archive_holders[0]

    error = await door.refuses("StateDelistedLoans", statement, who=BANK)
    assert reason_of(error) == "HOUSEHOLD_NOT_DELISTED"
    change = a_change(household.household_id, pb.REGISTRATION_STATUS_DELISTED)
    await door.call("ChangeStatus", change, who=OFFICE)
    lacking = await door.refuses("StateDelistedLoans", without, who=BANK)
    assert reason_of(lacking) == "ARCHIVE_HOLDERS"
