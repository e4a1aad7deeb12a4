"""Cut-over: what insurers have in force comes in whole, proven to the fen, or not at all."""

from dataclasses import fields
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liandong.claims.v1 import claims_pb2, events_pb2
from liandong.claims.v1 import records_pb2 as pb
from liandong.loans.v1 import events_pb2 as loans

from services.claims.rules import opening as rules
from services.claims.rules.opening import OpeningInsured, Total
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.records import RecordsServicer
from services.kernel import journal, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.ids import new_id
from services.kernel.inbox import Delivery
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from tests.claims.county import (
    ADJUSTER,
    BANK,
    CENTRE,
    COUNTY,
    INSURER,
    LENDER,
    OPENED,
    OTHER_COUNTY,
    OTHER_INSURER,
    PROGRAMME,
    REF,
    House,
    Loan,
    a_caller,
    allocated,
    calling,
    told,
)
from tests.claims.steps import (
    a_confirmation,
    a_decision,
    a_policy,
    books_are_whole,
    confirm,
    decide,
    instructions,
    issue,
    payout,
    rows,
    said,
    take,
)

BEGAN = date(2020, 7, 1)
ENDS = date(2021, 6, 30)
ENTRY = ("sum_insured_fen", "premium_fen", "premium_owed_fen")


def a_live_policy(reference: str = "P-1", **changes: Any) -> pb.OpeningPolicy:
    values: dict[str, Any] = {
        "insurer_id": INSURER,
        "programme_id": PROGRAMME,
        "cover_id": "accident",
        "from_date": wire.date_to_proto(BEGAN),
        "until_date": wire.date_to_proto(ENDS),
    }
    return pb.OpeningPolicy(reference=reference, **{**values, **changes})


def an_entry(loan: Loan, reference: str = "C-1", **changes: Any) -> pb.OpeningInsured:
    """50,000 insured for 100, of which 40 are not paid."""
    values: dict[str, Any] = {
        "insurer_id": INSURER,
        "policy_reference": "P-1",
        "loan_id": str(loan.loan_id),
        "sum_insured_fen": 5_000_000,
        "premium_fen": 10_000,
        "premium_owed_fen": 4_000,
        "from_date": wire.date_to_proto(BEGAN),
        "until_date": wire.date_to_proto(ENDS),
    }
    return pb.OpeningInsured(reference=reference, **{**values, **changes})


def an_assignment(reference: str = "C-1", **changes: Any) -> pb.OpeningAssignment:
    values: dict[str, Any] = {
        "insurer_id": INSURER,
        "evidence": "sha256:old",
        "from_date": wire.date_to_proto(BEGAN),
    }
    return pb.OpeningAssignment(insured_reference=reference, **{**values, **changes})


def an_open_claim(reference: str = "K-1", **changes: Any) -> pb.OpeningClaim:
    values: dict[str, Any] = {
        "insurer_id": INSURER,
        "insured_reference": "C-1",
        "loss_date": wire.date_to_proto(OPENED - timedelta(20)),
        "cause": "fall",
        "assessed_fen": 4_500_000,
        "documents": ["sha256:report"],
        "reported_on": wire.date_to_proto(OPENED - timedelta(2)),
    }
    return pb.OpeningClaim(reference=reference, **{**values, **changes})


def a_total(lines: dict[str, list[Any]], insurer_id: str, **off: int) -> pb.OpeningPoliciesTotal:
    own = {
        kind: [line for line in found if line.insurer_id == insurer_id]
        for kind, found in lines.items()
    }
    total = pb.OpeningPoliciesTotal(insurer_id=insurer_id)
    for kind, found in own.items():
        setattr(total, kind, len(found))
    for name in ENTRY:
        setattr(total, name, sum(getattr(each, name) for each in own.get("insured", [])))
    total.claimed_fen = sum(each.assessed_fen for each in own.get("claims", []))
    for name, difference in off.items():
        setattr(total, name, getattr(total, name) + difference)
    return total


def importing(
    *,
    on: date = OPENED,
    dry_run: bool = False,
    off: dict[str, int] | None = None,
    **lines: list[Any],
) -> pb.ImportOpeningPoliciesRequest:
    insurers = sorted({line.insurer_id for found in lines.values() for line in found})
    return pb.ImportOpeningPoliciesRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        opening_on=wire.date_to_proto(on),
        control_totals=[a_total(lines, insurer, **(off or {})) for insurer in insurers],
        dry_run=dry_run,
        **lines,
    )


async def bring(
    records: RecordsServicer, request: pb.ImportOpeningPoliciesRequest, caller: Caller = CENTRE
) -> pb.ImportOpeningPoliciesResponse:
    return await records.ImportOpeningPolicies(request, calling(caller, request))


def loan_opened(loan: Loan) -> Delivery:
    """Loans took a contract over at cut-over."""
    message = loans.LoanOpened(
        loan_id=str(loan.loan_id),
        household_id=str(loan.house.household_id),
        lender_id=loan.lender_id,
        principal_fen=loan.principal_fen,
        outstanding_fen=3_000_000,
        area_code=loan.house.area_code,
        opening_on=wire.date_to_proto(OPENED),
    )
    aggregate = ("loans.loan", str(loan.loan_id))
    return told("liandong.loans.v1.loan_opened", aggregate, 1, message, programme=REF)


async def an_old_loan(consumer: Consumer) -> Loan:
    loan = Loan(House())
    await take(consumer, loan.house.registered(), loan.house.payee(), loan_opened(loan))
    return loan


def whole(loan: Loan, **more: Any) -> pb.ImportOpeningPoliciesRequest:
    return importing(
        policies=[a_live_policy()],
        insured=[an_entry(loan)],
        assignments=[an_assignment()],
        claims=[an_open_claim()],
        **more,
    )


async def nothing_came_in(db: Database) -> None:
    for table in ("master_policy", "insured", "assignment", "claim", "policy_opening", "journal"):
        assert await rows(db, f"SELECT FROM {table}") == [], table
    assert await said(db, "household_insured", events_pb2.HouseholdInsured) == []
    assert await said(db, "claim_reported", events_pb2.ClaimReported) == []


# --- whole ----------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_what_is_live_comes_in_with_its_books_and_its_proof(
    records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    loan = await an_old_loan(consumer)

    tried = await bring(records, whole(loan, dry_run=True))
    assert not tried.landed
    assert [verdict.accepted for verdict in (*tried.policies, *tried.claims)] == [True, True]
    assert {v.id for v in (*tried.policies, *tried.insured, *tried.claims)} == {""}
    await nothing_came_in(db)
    request = whole(loan)
    answer = await bring(records, request)
    again = await bring(records, request)

    assert answer == again
    assert answer.landed
    (proof,) = answer.proofs
    assert proof.agrees
    assert proof.found == proof.given == proof.so_far == tried.proofs[0].found
    assert await rows(
        db,
        "SELECT insured_id::text, premium_fen FROM insured WHERE household_id = $1",
        loan.house.household_id,
    ) == [(answer.insured[0].id, 10_000)]
    assert await rows(db, "SELECT lender_id, evidence, from_date FROM assignment") == [
        (BANK, "sha256:old", BEGAN)
    ]
    async with db.transaction(EVERY_COUNTY) as session:
        balances = await journal.balances(session, COUNTY)
    assert balances["premium_receivable"] == 4_000
    assert balances["premium_income"] == -10_000
    (insured,) = await said(db, "household_insured", events_pb2.HouseholdInsured)
    assert (insured.loan_id, insured.sum_insured_fen) == (str(loan.loan_id), 5_000_000)
    (reported,) = await said(db, "claim_reported", events_pb2.ClaimReported)
    assert reported.claim_id == answer.claims[0].id
    await books_are_whole(db)


@pytest.mark.postgres
async def test_an_open_claim_that_came_in_is_decided_and_pays_the_assigned_bank_first(
    servicer: ClaimsServicer, records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    loan = await an_old_loan(consumer)
    answer = await bring(records, whole(loan))
    claim = claims_pb2.Claim(claim_id=answer.claims[0].id)

    payout_id = (await decide(servicer, a_decision(claim))).payout_id
    (authorised,) = await said(db, "payout_authorised", events_pb2.PayoutAuthorised)
    assert [list(group.loan_ids) for group in authorised.groups] == [[str(loan.loan_id)]]
    await take(consumer, allocated(payout_id, [(loan, 3_000_000)], 1_500_000))
    for caller in (LENDER, ADJUSTER):
        (instruction,) = await instructions(servicer, caller)
        await confirm(servicer, a_confirmation(instruction), caller=caller)

    assert (await payout(servicer, payout_id)).state == claims_pb2.PAYOUT_STATE_SETTLED
    await books_are_whole(db)


@pytest.mark.postgres
async def test_lists_may_come_after_their_policies_and_a_waiting_loan_joins(
    records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    one, two = Loan(House()), Loan(House())
    await take(consumer, one.house.registered(), one.approved(), two.approved())
    first = await bring(records, importing(policies=[a_live_policy()]))
    assert first.landed
    # Both waited for the cover and joined the policy that came in; nobody is twice on a list.
    assert await rows(db, "SELECT count(*) FROM insured") == [(2,)]

    twice = await bring(records, importing(insured=[an_entry(one)]))
    assert twice.insured[0].reason == "INSURED_ALREADY"
    old = await an_old_loan(consumer)
    listed = await bring(records, importing(insured=[an_entry(old)]))

    assert listed.landed
    assert (listed.proofs[0].so_far.policies, listed.proofs[0].so_far.insured) == (1, 1)
    assert (await bring(records, importing(claims=[an_open_claim()]))).landed
    await books_are_whole(db)


@pytest.mark.postgres
async def test_a_waiting_loan_that_is_on_the_imported_list_joins_once(
    records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    loan = Loan(House())
    await take(consumer, loan.house.registered(), loan.approved())

    answer = await bring(records, importing(policies=[a_live_policy()], insured=[an_entry(loan)]))

    assert answer.landed
    assert await rows(db, "SELECT insured_id::text FROM insured") == [(answer.insured[0].id,)]
    assert await rows(db, "SELECT FROM awaited_cover") == []


@pytest.mark.postgres
async def test_a_household_without_a_loan_comes_in_with_the_policy_of_its_town(
    records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    house = House()
    await take(consumer, house.registered())
    policy = a_live_policy(
        area_code=house.area_code[:9], cover_id="medical", more_cover_ids=["accident"]
    )
    entry = an_entry(
        Loan(house), loan_id="", household_id=str(house.household_id), cover_id="medical"
    )

    unsaid = an_entry(Loan(house), "C-2", loan_id="", household_id=str(house.household_id))
    refused = await bring(
        records,
        importing(policies=[policy], insured=[entry, unsaid], assignments=[an_assignment()]),
    )
    answer = await bring(records, importing(policies=[policy], insured=[entry]))

    assert [verdict.reason for verdict in refused.insured] == ["", "COVER_NOT_IN_POLICY"]
    assert refused.assignments[0].reason == "ASSIGNEE_WITHOUT_LOAN"
    assert answer.landed
    assert await rows(db, "SELECT loan_id, state FROM insured") == [(None, "in_force")]
    # The household owes what it has not paid: 40 of 100.
    async with db.transaction(EVERY_COUNTY) as session:
        assert (await journal.balances(session, COUNTY))["premium_receivable"] == 4_000
    await books_are_whole(db)


# --- nothing --------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize(
    "name", [each.name for each in fields(Total) if each.name != "premium_owed_fen"]
)
async def test_totals_that_differ_by_one_refuse_the_whole(
    records: RecordsServicer, consumer: Consumer, db: Database, name: str
) -> None:
    loan = await an_old_loan(consumer)

    answer = await bring(records, whole(loan, off={name: 1}))

    assert not answer.landed
    assert not answer.proofs[0].agrees
    assert getattr(answer.proofs[0].given, name) == getattr(answer.proofs[0].found, name) + 1
    await nothing_came_in(db)


def day(days: int) -> Any:
    return wire.date_to_proto(OPENED + timedelta(days))


@pytest.mark.postgres
@pytest.mark.parametrize(
    "wrong",
    [
        ("policies", {"insurer_id": "ins-9"}, "INSURER_UNKNOWN"),
        ("policies", {"insurer_id": BANK}, "INSURER_UNKNOWN"),
        ("policies", {"cover_id": "nothing"}, "COVER_UNKNOWN"),
        ("policies", {"programme_id": "other"}, "PROGRAMME_NOT_ADOPTED"),
        ("policies", {"until_date": day(-1)}, "NOT_LIVE"),
        ("policies", {"from_date": day(1)}, "NOT_LIVE"),
        ("insured", {"policy_reference": "P-9"}, "POLICY_NOT_OPENED"),
        ("insured", {"insurer_id": OTHER_INSURER}, "POLICY_NOT_OPENED"),
        ("insured", {"loan_id": str(new_id())}, "LOAN_UNKNOWN"),
        ("insured", {"cover_id": "medical"}, "COVER_NOT_IN_POLICY"),
        ("insured", {"until_date": wire.date_to_proto(date(2021, 7, 1))}, "OUTSIDE_POLICY"),
        ("insured", {"until_date": day(-1)}, "NOT_LIVE"),
        ("insured", {"premium_owed_fen": 10_001}, "OWED_ABOVE_PREMIUM"),
        ("assignments", {"insured_reference": "C-9"}, "INSURED_NOT_OPENED"),
        ("assignments", {"from_date": day(1)}, "NOT_LIVE"),
        ("claims", {"insured_reference": "C-9"}, "INSURED_NOT_OPENED"),
        ("claims", {"loss_date": wire.date_to_proto(date(2020, 6, 30))}, "LOSS_OUTSIDE_TERM"),
        ("claims", {"reported_on": day(1)}, "VALUE_DATE_OUT_OF_RANGE"),
        ("claims", {"reported_on": day(-30)}, "VALUE_DATE_OUT_OF_RANGE"),
        ("claims", {"documents": [""]}, "MALFORMED_DOCUMENT"),
    ],
)
async def test_one_line_that_is_refused_keeps_all_out_and_says_why(
    records: RecordsServicer,
    consumer: Consumer,
    db: Database,
    wrong: tuple[str, dict[str, Any], str],
) -> None:
    kind, changes, reason = wrong
    loan = await an_old_loan(consumer)
    request = whole(loan)
    for name, value in changes.items():
        line = getattr(request, kind)[0]
        if isinstance(value, list):
            getattr(line, name)[:] = value
        elif hasattr(value, "year"):
            getattr(line, name).CopyFrom(value)
        else:
            setattr(line, name, value)

    answer = await bring(records, request)

    assert not answer.landed
    assert getattr(answer, kind)[0].reason == reason
    await nothing_came_in(db)


@pytest.mark.postgres
async def test_what_came_in_does_not_come_in_again_and_a_policy_of_ours_stands(
    servicer: ClaimsServicer, records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    loan = await an_old_loan(consumer)
    assert (await bring(records, whole(loan))).landed

    again = await bring(records, whole(loan))
    other = await bring(records, importing(policies=[a_live_policy("P-2")]))
    doubled = await bring(
        records,
        importing(
            assignments=[an_assignment()],
            claims=[an_open_claim("K-2")],
        ),
    )

    for verdicts in (again.policies, again.insured, again.assignments, again.claims):
        assert [verdict.reason for verdict in verdicts] == ["OPENED_ALREADY"]
    assert other.policies[0].reason == "POLICY_EXISTS"
    assert doubled.claims[0].reason == "CLAIM_DUPLICATE"
    await issue(servicer, a_policy("disaster"))
    disaster = await bring(records, importing(policies=[a_live_policy("P-3", cover_id="disaster")]))
    assert disaster.policies[0].reason == "POLICY_EXISTS"
    await books_are_whole(db)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("request_made", "caller", "reason"),
    [
        (importing(policies=[a_live_policy()]), ADJUSTER, "ROLE_NOT_ALLOWED"),
        (
            importing(policies=[a_live_policy()]),
            a_caller("county_centre", institution_id="cfc-2", county_code=OTHER_COUNTY),
            "AREA_NOT_YOURS",
        ),
        (
            importing(policies=[a_live_policy()], on=OPENED + timedelta(1)),
            CENTRE,
            "VALUE_DATE_OUT_OF_RANGE",
        ),
    ],
)
async def test_who_may_not_cut_over_and_when(
    records: RecordsServicer,
    db: Database,
    request_made: pb.ImportOpeningPoliciesRequest,
    caller: Caller,
    reason: str,
) -> None:
    with pytest.raises(LiandongError) as refusal:
        await bring(records, request_made, caller)

    assert refusal.value.reason == reason
    await nothing_came_in(db)


# --- the rule -------------------------------------------------------------------------------------

_ENTRIES = st.builds(
    OpeningInsured,
    reference=st.just("C"),
    insurer_id=st.sampled_from(["a", "b"]),
    policy_reference=st.just("P"),
    loan_id=st.uuids(),
    sum_insured_fen=st.integers(0, 9).map(Fen),
    premium_fen=st.integers(0, 9).map(Fen),
    premium_owed_fen=st.integers(0, 9).map(Fen),
    from_date=st.just(BEGAN),
    until_date=st.just(ENDS),
)


@given(st.lists(_ENTRIES, max_size=8), st.lists(_ENTRIES, max_size=4))
def test_a_proof_agrees_exactly_when_every_figure_does(
    found: list[OpeningInsured], before: list[OpeningInsured]
) -> None:
    def totals(entries: list[OpeningInsured]) -> dict[str, Total]:
        return {
            insurer: Total(
                insured=len(own),
                sum_insured_fen=sum(each.sum_insured_fen for each in own),
                premium_fen=sum(each.premium_fen for each in own),
                premium_owed_fen=sum(each.premium_owed_fen for each in own),
            )
            for insurer in {each.insurer_id for each in entries}
            for own in [[each for each in entries if each.insurer_id == insurer]]
        }

    proofs = rules.prove(totals(found), found, totals(before))

    assert all(proof.agrees for proof in proofs)
    together = totals([*found, *before])
    assert all(proof.so_far == together[proof.insurer_id] for proof in proofs)
    more = rules.prove(totals([*found, *before]), found, {})
    assert all(proof.agrees for proof in more) == (not before)
