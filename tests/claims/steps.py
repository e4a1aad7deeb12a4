"""Steps of a claims test: what institutions ask, what is heard, what was said and booked then."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TypeVar
from uuid import uuid4

from google.protobuf.message import Message
from liandong.claims.v1 import claims_pb2, events_pb2

from services.claims import reports
from services.claims.servicer import ClaimsServicer
from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database, fetch
from services.kernel.inbox import Delivery
from services.kernel.walls import EVERY_COUNTY
from tests.claims.county import (
    ADJUSTER,
    CENTRE,
    COUNTY,
    INSURER,
    OPENED,
    PROGRAMME,
    VILLAGE_DEPARTMENT,
    House,
    Loan,
    calling,
)

M = TypeVar("M", bound=Message)


async def take(consumer: Consumer, *deliveries: Delivery) -> int:
    """Apply a batch as the consumer does; how many events were new."""
    return len((await consumer._apply(deliveries)).take)


def a_policy(
    cover_id: str = "accident",
    *,
    insurer_id: str = INSURER,
    from_date: date = OPENED,
    until_date: date = date(2021, 12, 31),
) -> claims_pb2.IssueMasterPolicyRequest:
    return claims_pb2.IssueMasterPolicyRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        insurer_id=insurer_id,
        programme_id=PROGRAMME,
        cover_id=cover_id,
        from_date=wire.date_to_proto(from_date),
        until_date=wire.date_to_proto(until_date),
    )


async def issue(
    servicer: ClaimsServicer,
    request: claims_pb2.IssueMasterPolicyRequest | None = None,
    *,
    caller: Caller = CENTRE,
) -> str:
    asked = request or a_policy()
    return (await servicer.IssueMasterPolicy(asked, calling(caller, asked))).policy_id


def a_report(
    house: House,
    *,
    cover_id: str = "accident",
    loss_date: date = OPENED,
    assessed_fen: int = 4_500_000,
) -> claims_pb2.ReportClaimRequest:
    return claims_pb2.ReportClaimRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        household_id=str(house.household_id),
        cover_id=cover_id,
        loss_date=wire.date_to_proto(loss_date),
        cause="storm",
        assessed_fen=assessed_fen,
        documents=["sha256:cd"],
    )


async def report(
    servicer: ClaimsServicer,
    request: claims_pb2.ReportClaimRequest,
    *,
    caller: Caller = VILLAGE_DEPARTMENT,
) -> claims_pb2.Claim:
    return (await servicer.ReportClaim(request, calling(caller, request))).claim


def a_decision(
    claim: claims_pb2.Claim, *, approve: bool = True, reason: str = ""
) -> claims_pb2.AdjudicateClaimRequest:
    return claims_pb2.AdjudicateClaimRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        claim_id=claim.claim_id,
        approve=approve,
        reason=reason,
    )


async def decide(
    servicer: ClaimsServicer,
    request: claims_pb2.AdjudicateClaimRequest,
    *,
    caller: Caller = ADJUSTER,
) -> claims_pb2.Claim:
    return (await servicer.AdjudicateClaim(request, calling(caller, request))).claim


async def approved_payout(
    servicer: ClaimsServicer,
    consumer: Consumer,
    loans: Sequence[Loan],
    *,
    cover_id: str = "accident",
    assessed_fen: int = 4_500_000,
) -> str:
    """Loans of one household approved, its claim reported and approved: the payout's id."""
    house = loans[0].house
    await take(consumer, house.registered(), house.payee(), *[loan.approved() for loan in loans])
    asked = a_report(house, cover_id=cover_id, assessed_fen=assessed_fen)
    claim = await report(servicer, asked, caller=CENTRE)
    return (await decide(servicer, a_decision(claim))).payout_id


async def instructions(
    servicer: ClaimsServicer, caller: Caller
) -> list[claims_pb2.PaymentInstruction]:
    request = claims_pb2.ListPaymentInstructionsRequest(
        county_code=COUNTY, state=claims_pb2.INSTRUCTION_STATE_OPEN
    )
    return list(
        (await servicer.ListPaymentInstructions(request, calling(caller, request))).instructions
    )


def a_confirmation(
    instruction: claims_pb2.PaymentInstruction, *, off_fen: int = 0, on: date = OPENED
) -> claims_pb2.ConfirmPaymentRequest:
    return claims_pb2.ConfirmPaymentRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        instruction_id=instruction.instruction_id,
        confirmed_fen=instruction.amount_fen + off_fen,
        value_date=wire.date_to_proto(on),
    )


async def confirm(
    servicer: ClaimsServicer, request: claims_pb2.ConfirmPaymentRequest, *, caller: Caller
) -> claims_pb2.Payout:
    return (await servicer.ConfirmPayment(request, calling(caller, request))).payout


async def payout(
    servicer: ClaimsServicer, payout_id: str, *, caller: Caller = CENTRE
) -> claims_pb2.Payout:
    request = claims_pb2.GetPayoutRequest(county_code=COUNTY, payout_id=payout_id)
    return (await servicer.GetPayout(request, calling(caller, request))).payout


async def said(db: Database, name: str, message_type: type[M]) -> list[M]:
    """Every event of a kind in the outbox, in order."""
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(
            session,
            "SELECT payload FROM outbox WHERE event_type = $1 ORDER BY position",
            f"liandong.claims.v1.{name}",
        )
    return [message_type.FromString(row["payload"]) for row in rows]


async def settled_once(db: Database) -> list[str]:
    """The payouts that were said to be settled."""
    return [e.payout_id for e in await said(db, "payout_settled", events_pb2.PayoutSettled)]


async def sequences(db: Database) -> dict[tuple[str, str], list[int]]:
    """The sequence numbers said of each aggregate, in order."""
    async with db.transaction(EVERY_COUNTY) as session:
        rows = await fetch(
            session,
            "SELECT aggregate_type, aggregate_id, sequence FROM outbox ORDER BY position",
        )
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        key = (row["aggregate_type"], row["aggregate_id"])
        found.setdefault(key, []).append(row["sequence"])
    return found


async def totals(db: Database, county_code: str = COUNTY) -> Mapping[str, int]:
    async with db.transaction(EVERY_COUNTY) as session:
        return await reports.totals(session, county_code)


async def rows(db: Database, sql: str, *args: object) -> list[tuple[object, ...]]:
    async with db.transaction(EVERY_COUNTY) as session:
        return [tuple(row.values()) for row in await fetch(session, sql, *args)]


async def books_are_whole(db: Database) -> None:
    """Rows and journal agree, money adds up, and no aggregate's history has a hole."""
    found = await totals(db)
    assert found["claims.book_difference_fen"] == 0
    whole = found["claims.payout_lenders_fen"] + found["claims.payout_household_fen"]
    assert found["claims.payout_amount_fen"] == whole
    for numbers in (await sequences(db)).values():
        assert numbers == list(range(1, len(numbers) + 1))
