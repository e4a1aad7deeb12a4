"""Who may ask the log, what it answers, and the break-glass, through the door."""

import uuid
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.type.date_pb2 import Date
from liandong.gateway.v1 import access_log_pb2 as pb
from liandong.gateway.v1 import access_log_pb2_grpc
from liandong.households.v1 import households_pb2
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc

from deploy.local.ca import LocalCA
from gateway import log_seals, log_store
from gateway.log_chain import DayRoot, LogSigner, day_of, keys_of
from gateway.resources import RESOURCES_MAX, bounded, kind_of, reader
from services.kernel import status
from services.kernel.clock import recorded_time
from tests.eventually import eventually
from tests.gateway.conftest import House

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

GET_LOAN = "liandong.loans.v1.LoansService/GetLoan"
COUNTY = "123456"


def log_of(house: House, institution_id: str) -> "access_log_pb2_grpc.AccessLogServiceAsyncStub":
    return access_log_pb2_grpc.AccessLogServiceStub(house.as_institution(institution_id))


def loans_of(house: House, institution_id: str) -> "loans_pb2_grpc.LoansServiceAsyncStub":
    return loans_pb2_grpc.LoansServiceStub(house.as_institution(institution_id))


def person(name: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("liandong-person", name), *more)


async def reason_of(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return status.reason_of(refusal.value)


async def test_what_a_call_touched_stands_in_its_row_and_is_told(house: House) -> None:
    household_id, loan_id, own = (str(uuid.uuid4()) for _ in range(3))
    asked = pb.ListAccessesOfRequest(county_code=COUNTY, household_id=household_id)
    await log_of(house, "centre-1").ListAccessesOf(asked)
    await loans_of(house, "bank-1").GetLoan(
        loans_pb2.GetLoanRequest(county_code=COUNTY, loan_id=loan_id.upper()),
        metadata=person("bank-1-p1", ("liandong-purpose", "review")),
    )
    await loans_of(house, "bank-1").GetLoan(
        loans_pb2.GetLoanRequest(county_code=COUNTY, loan_id=own)
    )

    alone = await log_of(house, "centre-1").ListAccessesOf(asked)
    asked.also.append(f"loan:{loan_id}")
    asked.page_size = 1
    first = await log_of(house, "centre-1").ListAccessesOf(asked)
    asked.page_token, asked.page_size = first.next_page_token, 50
    second = await log_of(house, "centre-1").ListAccessesOf(asked)

    assert [access.institution_id for access in alone.accesses] == ["centre-1"]
    assert list(alone.accesses[0].resources) == [f"household:{household_id}"]
    found = [*first.accesses, *second.accesses]
    read = next(one for one in found if one.method == GET_LOAN)
    assert (read.institution_id, read.person_id, read.purpose) == ("bank-1", "bank-1-p1", "review")
    assert list(read.resources) == [f"loan:{loan_id}"]
    assert [one.position for one in found] == sorted((o.position for o in found), reverse=True)


async def test_the_log_is_told_to_auditors_and_of_ones_own_county(house: House) -> None:
    asked = pb.ListAccessesOfRequest(county_code="123457", household_id=str(uuid.uuid4()))
    now = recorded_time()
    search = pb.SearchAccessesRequest(institution_id="bank-1", method=GET_LOAN, page_size=2)
    search.from_time.FromDatetime(now - timedelta(hours=1))
    search.to_time.FromDatetime(now + timedelta(hours=1))
    await loans_of(house, "bank-1").GetLoan(
        loans_pb2.GetLoanRequest(county_code=COUNTY, loan_id=str(uuid.uuid4()))
    )

    found = await log_of(house, "auditor-1").SearchAccesses(search)
    reasons = [
        await reason_of(log_of(house, "centre-1").ListAccessesOf(asked)),
        await reason_of(log_of(house, "bank-1").ListAccessesOf(asked)),
        await reason_of(log_of(house, "operator-1").SearchAccesses(search)),
    ]
    search.to_time.FromDatetime(now + timedelta(days=100))
    reasons.append(await reason_of(log_of(house, "auditor-1").SearchAccesses(search)))

    assert {access.method for access in found.accesses} == {GET_LOAN}
    assert reasons == ["AREA_NOT_YOURS", "ROLE_NOT_ALLOWED", "ROLE_NOT_ALLOWED", "TIME_TOO_LONG"]


async def test_institutions_take_day_roots_and_who_took_one_is_known(
    house: House, certificates: LocalCA
) -> None:
    signer = LogSigner(certificates.log_keys().private)
    today = day_of(recorded_time())
    day = Date(year=today.year, month=today.month, day=today.day)
    take = pb.TakeDayRootRequest(request_id=str(uuid.uuid4()), day=day)
    assert await reason_of(log_of(house, "bank-1").TakeDayRoot(take)) == "DAY_ROOT_UNKNOWN"
    async with house.db.transaction() as session:
        await log_store.enter_key(session, signer)
        await log_seals.seal(session, signer, recorded_time())
        (made,) = await log_seals.root_days(session, signer, today + timedelta(days=1))

    taken = await log_of(house, "bank-1").TakeDayRoot(take, metadata=person("bank-1-p2"))
    again = await log_of(house, "bank-1").TakeDayRoot(take, metadata=person("bank-1-p2"))
    listed = await log_of(house, "insurer-1").ListDayRoots(pb.ListDayRootsRequest())
    takings = await log_of(house, "auditor-1").ListDayRootTakings(
        pb.ListDayRootTakingsRequest(day=day)
    )
    keys = await log_of(house, "bank-1").ListLogKeys(pb.ListLogKeysRequest())
    said = await house.schema.ask("SELECT * FROM outbox WHERE aggregate_type = 'gateway.day_root'")

    assert taken == again
    assert list(listed.roots) == [taken.root]
    root = DayRoot(
        day=today,
        checkpoint_number=taken.root.checkpoint_number,
        position=taken.root.position,
        digest=taken.root.digest,
        previous=taken.root.previous,
        key_id=taken.root.key_id,
        signature=taken.root.signature,
    )
    assert root == made
    assert root.is_signed(keys_of(key.public_key for key in keys.keys))
    assert [(one.institution_id, one.person_id) for one in takings.takings] == [
        ("bank-1", "bank-1-p2")
    ]
    assert [row["aggregate_id"] for row in said] == [today.isoformat()]


def an_opening(**changes: Any) -> pb.OpenBreakGlassRequest:
    values: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "county_code": COUNTY,
        "reason": "a payout hangs and the bank cannot be reached",
        "methods": [GET_LOAN],
        "minutes": 30,
    }
    return pb.OpenBreakGlassRequest(**values | changes)


def confirmation(glass: pb.BreakGlass) -> pb.ConfirmBreakGlassRequest:
    return pb.ConfirmBreakGlassRequest(
        request_id=str(uuid.uuid4()), break_glass_id=glass.break_glass_id
    )


async def test_a_break_glass_opens_for_two_persons_what_it_names_and_every_call_is_marked(
    house: House,
) -> None:
    operator = log_of(house, "operator-1")
    opened = (
        await operator.OpenBreakGlass(an_opening(), metadata=person("operator-1-p1"))
    ).break_glass
    under = ("liandong-break-glass", opened.break_glass_id)
    loan = loans_pb2.GetLoanRequest(county_code=COUNTY, loan_id=str(uuid.uuid4()))
    elsewhere = loans_pb2.GetLoanRequest(county_code="123457", loan_id=str(uuid.uuid4()))

    def read(request: loans_pb2.GetLoanRequest, who: str = "operator-1-p1") -> Any:
        return loans_of(house, "operator-1").GetLoan(request, metadata=person(who, under))

    assert await reason_of(read(loan)) == "BREAK_GLASS_NOT_COVERING"
    alone = operator.ConfirmBreakGlass(confirmation(opened), metadata=person("operator-1-p1"))
    assert await reason_of(alone) == "SECOND_PERSON_NEEDED"
    begun = (
        await operator.ConfirmBreakGlass(confirmation(opened), metadata=person("operator-1-p2"))
    ).break_glass
    assert begun.expire_time.ToDatetime() - begun.confirmed_time.ToDatetime() == timedelta(
        minutes=30
    )
    answer = await read(loan)
    assert answer.loan.loan_id == loan.loan_id
    assert await reason_of(read(elsewhere)) == "BREAK_GLASS_NOT_COVERING"
    quote = loans_of(house, "operator-1").GetPayoffQuote(
        loans_pb2.GetPayoffQuoteRequest(county_code=COUNTY), metadata=person("operator-1-p1", under)
    )
    assert await reason_of(quote) == "BREAK_GLASS_NOT_COVERING"
    other = loans_of(house, "bank-1").GetLoan(loan, metadata=person("bank-1-p1", under))
    assert await reason_of(other) == "BREAK_GLASS_NOT_COVERING"
    unnamed = loans_of(house, "operator-1").GetLoan(loan, metadata=person("operator-1-p1"))
    assert await reason_of(unnamed) == "ROLE_NOT_ALLOWED"

    closing = pb.CloseBreakGlassRequest(
        request_id=str(uuid.uuid4()), break_glass_id=opened.break_glass_id
    )
    await operator.CloseBreakGlass(closing, metadata=person("operator-1-p2"))
    assert await reason_of(read(loan)) == "BREAK_GLASS_NOT_COVERING"
    listed = await log_of(house, "auditor-1").ListBreakGlasses(pb.ListBreakGlassesRequest())
    (shown,) = (one for one in listed.break_glasses if one.break_glass_id == opened.break_glass_id)
    assert (shown.opened_by, shown.confirmed_by) == ("operator-1-p1", "operator-1-p2")
    assert shown.closed_by == "operator-1-p2"
    sql = """SELECT decision, county_code FROM access_log WHERE break_glass_id = $1
             ORDER BY position"""
    rows = await eventually(
        lambda: house.schema.ask(sql, opened.break_glass_id), lambda found: len(found) == 6
    )
    assert [row["decision"] for row in rows].count("allowed") == 1


async def test_a_break_glass_ends_by_itself_and_opens_nothing_that_changes(house: House) -> None:
    operator = log_of(house, "operator-1")
    one = person("operator-1-p1")
    wrong = {
        "METHOD_NOT_COVERABLE": ["liandong.loans.v1.LoansService/RepayLoan"],
        "METHOD_UNKNOWN": ["liandong.loans.v1.LoansService/ForgiveLoan"],
    }
    for reason, methods in wrong.items():
        opening = operator.OpenBreakGlass(an_opening(methods=methods), metadata=one)
        assert await reason_of(opening) == reason
    assert await reason_of(operator.OpenBreakGlass(an_opening())) == "PERSON_NEEDED"
    too_long = operator.OpenBreakGlass(an_opening(minutes=241), metadata=one)
    assert await reason_of(too_long) == "FIELD_RULE_BROKEN"
    glass = (await operator.OpenBreakGlass(an_opening(minutes=1), metadata=one)).break_glass
    await operator.ConfirmBreakGlass(confirmation(glass), metadata=person("operator-1-p2"))
    # A minute goes by.
    await house.schema.ask(
        "UPDATE break_glass SET expires_at = now() WHERE break_glass_id = $1",
        uuid.UUID(glass.break_glass_id),
    )

    async def refused() -> bool:
        try:
            await loans_of(house, "operator-1").GetLoan(
                loans_pb2.GetLoanRequest(county_code=COUNTY, loan_id=str(uuid.uuid4())),
                metadata=(*one, ("liandong-break-glass", glass.break_glass_id)),
            )
        except grpc.aio.AioRpcError as error:
            return status.reason_of(error) == "BREAK_GLASS_NOT_COVERING"
        return False

    assert await eventually(refused)
    again = operator.ConfirmBreakGlass(confirmation(glass), metadata=person("operator-1-p2"))
    assert await reason_of(again) == "BREAK_GLASS_OVER"


def test_resources_are_ids_of_ours_and_nothing_else() -> None:
    read = reader(loans_pb2.BatchRepayLoansRequest.DESCRIPTOR)
    assert read is not None
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    # The same id twice, what is no id of ours, and what must never stand in a log.
    texts = (one, one.upper(), "", "110101199003070000", other)
    batch = loans_pb2.BatchRepayLoansRequest(
        request_id=str(uuid.uuid4()), items=[loans_pb2.Repayment(loan_id=text) for text in texts]
    )

    assert read(batch.SerializeToString()) == (
        *(f"request:{batch.request_id}", f"loan:{one}", f"loan:{other}"),
    )
    assert read(b"\xff\xff") == ()
    many = bounded([f"loan:{number}" for number in range(RESOURCES_MAX + 7)])
    assert (len(many), many[-1]) == (RESOURCES_MAX + 1, "more:7")
    kinds = {name: kind_of(name) for name in ("lead_household_id", "household_ids", "request_id")}
    assert kinds == {
        "lead_household_id": "household",
        "household_ids": "household",
        "request_id": "",
    }
    assert kind_of("after_household_id") == ""
    assert reader(households_pb2.ListAreasRequest.DESCRIPTOR) is None
