"""A statement of an institution against ours: every difference has its cause and its person."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from liandong.claims.v1 import records_pb2 as pb

from services.claims.rules import reconciliation as rules
from services.claims.rules.reconciliation import Cause, Kind, Line, Record
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.records import RecordsServicer
from services.kernel import wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.money import Fen
from tests.claims.county import (
    ADJUSTER,
    AUDITOR,
    BANK,
    CENTRE,
    COUNTY,
    INSURER,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_COUNTY,
    OTHER_INSURER,
    OTHER_LENDER,
    House,
    Loan,
    a_caller,
    allocated,
    calling,
)
from tests.claims.steps import (
    a_confirmation,
    a_policy,
    approved_payout,
    books_are_whole,
    confirm,
    instructions,
    issue,
    rows,
    take,
)

POSTER = a_caller("bank", institution_id=BANK, person_id="rcb-1-p2")


def a_line(number: int, record_id: str, amount_fen: int, **more: Any) -> pb.StatementLine:
    return pb.StatementLine(
        line_number=number,
        record_id=record_id,
        amount_fen=amount_fen,
        value_date=wire.date_to_proto(more.pop("on", OPENED)),
        **more,
    )


def a_statement(
    lines: Sequence[pb.StatementLine],
    *,
    kind: str = "PAYMENTS",
    institution_id: str = BANK,
    **more: Any,
) -> pb.StartReconciliationRequest:
    return pb.StartReconciliationRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        institution_id=institution_id,
        kind=pb.StatementKind.Value(f"STATEMENT_KIND_{kind}"),
        reference=more.pop("reference", "s-1"),
        from_date=wire.date_to_proto(more.pop("from_date", OPENED)),
        until_date=wire.date_to_proto(more.pop("until_date", OPENED)),
        lines=more.pop("stated_lines", len(lines)),
        amount_fen=more.pop("stated_fen", sum(line.amount_fen for line in lines)),
    )


def posting(
    reconciliation_id: str,
    lines: Sequence[pb.StatementLine],
    *,
    institution_id: str = BANK,
    until: date = OPENED,
) -> pb.PostStatementLinesRequest:
    return pb.PostStatementLinesRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        reconciliation_id=reconciliation_id,
        institution_id=institution_id,
        until_date=wire.date_to_proto(until),
        items=lines,
    )


async def ask(records: RecordsServicer, caller: Caller, request: Message) -> Any:
    """Call the method that a request is of."""
    name = type(request).__name__.removesuffix("Request")
    return await getattr(records, name)(request, calling(caller, request))


async def brought(
    records: RecordsServicer,
    lines: Sequence[pb.StatementLine],
    *,
    caller: Caller = LENDER,
    **more: Any,
) -> str:
    """A statement announced and its lines posted."""
    asked = a_statement(lines, **more)
    made: str = (await ask(records, caller, asked)).reconciliation_id
    if lines:
        post = posting(made, lines, institution_id=asked.institution_id)
        answer = await ask(records, caller, post)
        assert all(verdict.accepted for verdict in answer.verdicts), answer
    return made


def comparing(reconciliation_id: str, *, dry_run: bool = False) -> pb.CompareStatementRequest:
    return pb.CompareStatementRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        reconciliation_id=reconciliation_id,
        dry_run=dry_run,
    )


def resolving(number: int, **more: Any) -> pb.ResolveDifferenceRequest:
    return pb.ResolveDifferenceRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        number=number,
        resolution=more.pop("resolution", pb.RESOLUTION_OURS_STANDS),
        reason=more.pop("reason", "the bank booked it twice"),
    )


def causes(answer: pb.CompareStatementResponse) -> list[tuple[str, str]]:
    return [
        (
            each.record_id,
            pb.ReconciliationCause.Name(each.cause).removeprefix("RECONCILIATION_CAUSE_").lower(),
        )
        for each in answer.differences
    ]


async def paid_to_two_banks(
    servicer: ClaimsServicer, consumer: Consumer
) -> tuple[str, str, str, str]:
    """A payout of 45,000: 30,000 to one bank, 10,000 to the other, the rest to the household."""
    await issue(servicer)
    house = House()
    one, two = Loan(house), Loan(house, lender_id=OTHER_BANK)
    payout_id = await approved_payout(servicer, consumer, [one, two])
    await take(consumer, allocated(payout_id, [(one, 3_000_000), (two, 1_000_000)], 500_000))
    (mine,) = await instructions(servicer, LENDER)
    (other,) = await instructions(servicer, OTHER_LENDER)
    await confirm(servicer, a_confirmation(mine), caller=LENDER)
    await confirm(servicer, a_confirmation(other), caller=OTHER_LENDER)
    (household,) = [
        each
        for each in await instructions(servicer, ADJUSTER)
        if each.payee_id == str(house.household_id)
    ]
    return payout_id, mine.instruction_id, other.instruction_id, household.instruction_id


# --- agreeing and differing -----------------------------------------------------------------------


@pytest.mark.postgres
async def test_a_banks_payments_that_agree_leave_no_difference(
    servicer: ClaimsServicer, records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    _, mine, _, _ = await paid_to_two_banks(servicer, consumer)
    made = await brought(records, [a_line(1, mine.upper(), 3_000_000, payee_id=BANK)])

    answer = await ask(records, LENDER, comparing(made))

    assert (answer.agreeing, list(answer.differences)) == (1, [])
    assert answer.reconciliation.compared_on == wire.date_to_proto(OPENED)
    await books_are_whole(db)


@pytest.mark.postgres
async def test_every_difference_of_a_banks_statement_has_its_cause_and_changes_nothing(
    servicer: ClaimsServicer, records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    _, mine, other, _ = await paid_to_two_banks(servicer, consumer)
    before = await rows(db, "SELECT * FROM instruction ORDER BY instruction_id")
    lines = [
        a_line(1, "their-77", 1),
        a_line(2, other, 1_000_000),
        a_line(3, mine, 2_999_999, payee_id=OTHER_BANK, state="open"),
        a_line(4, mine, 3_000_000),
    ]
    made = await brought(records, lines)

    tried = await ask(records, LENDER, comparing(made, dry_run=True))
    assert await rows(db, "SELECT FROM reconciliation_difference") == []
    answer = await ask(records, LENDER, comparing(made))

    # Another bank's instruction is as unknown to this one as a number of its own.
    assert causes(answer) == [
        ("their-77", "missing_here"),
        (other, "missing_here"),
        (mine, "amount"),
        (mine, "state"),
        (mine, "payee"),
        (mine, "doubled"),
    ]
    assert causes(tried) == causes(answer)
    assert {each.number for each in tried.differences} == {0}
    assert [(c.cause, c.differences) for c in tried.causes] == [
        (c.cause, c.differences) for c in answer.causes
    ]
    assert before == await rows(db, "SELECT * FROM instruction ORDER BY instruction_id")
    await books_are_whole(db)


@pytest.mark.postgres
async def test_an_insurer_that_says_it_paid_what_nobody_confirmed_differs_by_state(
    servicer: ClaimsServicer, records: RecordsServicer, consumer: Consumer
) -> None:
    _, mine, other, household = await paid_to_two_banks(servicer, consumer)
    lines = [a_line(1, household, 500_000), a_line(2, mine, 3_000_000, payee_id=BANK)]
    made = await brought(records, lines, caller=ADJUSTER, institution_id=INSURER)

    answer = await ask(records, ADJUSTER, comparing(made))

    assert causes(answer) == [(household, "state"), (other, "missing_there")]
    assert [(each.theirs, each.ours) for each in answer.differences] == [
        ("confirmed", "open"),
        ("", ""),
    ]
    assert answer.differences[1].ours_fen == 1_000_000


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["POLICIES", "INSURED", "CLAIMS", "PAYOUTS"])
async def test_an_insurers_lists_are_held_against_ours(
    servicer: ClaimsServicer,
    records: RecordsServicer,
    consumer: Consumer,
    db: Database,
    kind: str,
) -> None:
    payout_id, *_ = await paid_to_two_banks(servicer, consumer)
    await issue(servicer, a_policy("disaster", insurer_id=OTHER_INSURER))
    ((policy_id,),) = await rows(
        db, f"SELECT policy_id FROM master_policy WHERE insurer_id = '{INSURER}'"
    )
    insured = await rows(db, "SELECT insured_id, premium_fen FROM insured ORDER BY insured_id")
    ((claim_id,),) = await rows(db, "SELECT claim_id FROM claim")
    good: list[tuple[str, int, str]] = {
        "POLICIES": [(str(policy_id), 20_000, "in_force")],
        "INSURED": [(str(insured_id), int(str(fen)), "in_force") for insured_id, fen in insured],
        "CLAIMS": [(str(claim_id), 4_500_000, "approved")],
        "PAYOUTS": [(payout_id, 4_500_000, "household_instructed")],
    }[kind]
    lines = [
        a_line(place, key, fen, state=state) for place, (key, fen, state) in enumerate(good, 1)
    ]
    made = await brought(records, lines, kind=kind, caller=ADJUSTER, institution_id=INSURER)
    none = await brought(
        records, [], kind=kind, caller=ADJUSTER, institution_id=INSURER, reference="s-2"
    )

    agreed = await ask(records, ADJUSTER, comparing(made))
    missed = await ask(records, ADJUSTER, comparing(none))

    assert (agreed.agreeing, causes(agreed)) == (len(good), [])
    assert causes(missed) == [(key, "missing_there") for key in sorted(each[0] for each in good)]


# --- once -----------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_the_same_statement_lines_and_comparison_again_change_nothing(
    records: RecordsServicer, db: Database
) -> None:
    lines = [a_line(1, "their-1", 7), a_line(2, "their-2", 8)]
    made = await brought(records, lines)
    assert await brought(records, lines) == made
    first = await ask(records, LENDER, comparing(made))
    again = await ask(records, LENDER, comparing(made))
    await ask(records, LENDER, posting(made, lines))

    assert first == again
    assert await rows(db, "SELECT count(*) FROM statement_line") == [(2,)]
    assert await rows(db, "SELECT count(*) FROM reconciliation_difference") == [(2,)]


@pytest.mark.postgres
async def test_a_person_who_did_not_bring_the_statement_resolves_once_and_says_why(
    records: RecordsServicer,
) -> None:
    made = await brought(records, [a_line(1, "their-1", 7)])
    number = (await ask(records, LENDER, comparing(made))).differences[0].number

    for caller, reason in ((LENDER, "SAME_PERSON"), (OTHER_LENDER, "DIFFERENCE_NOT_FOUND")):
        with pytest.raises(LiandongError) as refusal:
            await ask(records, caller, resolving(number))
        assert refusal.value.reason == reason
    kept = (await ask(records, POSTER, resolving(number))).difference
    with pytest.raises(LiandongError) as refusal:
        await ask(records, CENTRE, resolving(number))

    assert refusal.value.reason == "DIFFERENCE_RESOLVED"
    assert (kept.resolution, kept.resolved_by) == (pb.RESOLUTION_OURS_STANDS, "rcb-1-p2")
    assert kept.reason == "the bank booked it twice"
    listing = pb.ListDifferencesRequest(county_code=COUNTY, unresolved=True)
    assert list((await ask(records, CENTRE, listing)).differences) == []
    listing = pb.ListDifferencesRequest(county_code=COUNTY)
    assert list((await ask(records, AUDITOR, listing)).differences) == [kept]
    assert list((await ask(records, OTHER_LENDER, listing)).differences) == []
    mine = pb.ListReconciliationsRequest(county_code=COUNTY)
    (found,) = (await ask(records, LENDER, mine)).reconciliations
    assert (found.differences, found.unresolved) == (1, 0)
    assert not (await ask(records, OTHER_LENDER, mine)).reconciliations


@pytest.mark.postgres
async def test_differences_come_by_cause_and_in_pages(records: RecordsServicer) -> None:
    lines = [a_line(n, f"their-{n}", n) for n in range(1, 6)]
    await ask(records, LENDER, comparing(await brought(records, [*lines, a_line(6, "their-1", 1)])))
    missing = pb.RECONCILIATION_CAUSE_MISSING_HERE

    found: list[int] = []
    token = ""
    while True:
        listing = pb.ListDifferencesRequest(
            county_code=COUNTY, cause=missing, page_size=2, page_token=token
        )
        page = await ask(records, LENDER, listing)
        found += [each.line_number for each in page.differences]
        token = page.next_page_token
        if not token:
            break

    assert found == [1, 2, 3, 4, 5]


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("request_made", "caller", "reason"),
    [
        (a_statement([], institution_id=OTHER_BANK), LENDER, "NOT_YOUR_STATEMENT"),
        (a_statement([], institution_id=OTHER_INSURER), ADJUSTER, "NOT_YOUR_STATEMENT"),
        (a_statement([], institution_id="nobody"), CENTRE, "INSTITUTION_UNKNOWN"),
        (a_statement([], kind="CLAIMS"), LENDER, "STATEMENT_KIND_NOT_THEIRS"),
        (a_statement([], until_date=OPENED + timedelta(1)), LENDER, "STATEMENT_AHEAD"),
        (
            a_statement([], until_date=OPENED - timedelta(1)),
            LENDER,
            "PERIOD_ENDS_BEFORE_IT_STARTS",
        ),
        (a_statement([]), AUDITOR, "ROLE_NOT_ALLOWED"),
        (
            a_statement([]),
            a_caller("county_centre", institution_id="cfc-2", county_code=OTHER_COUNTY),
            "AREA_NOT_YOURS",
        ),
    ],
)
async def test_which_statement_nobody_may_announce(
    records: RecordsServicer,
    request_made: pb.StartReconciliationRequest,
    caller: Caller,
    reason: str,
) -> None:
    with pytest.raises(LiandongError) as refusal:
        await ask(records, caller, request_made)

    assert refusal.value.reason == reason


@pytest.mark.postgres
async def test_a_file_of_another_day_institution_or_statement_is_refused(
    records: RecordsServicer, db: Database
) -> None:
    lines = [a_line(1, "their-1", 7)]
    made = (await ask(records, LENDER, a_statement(lines))).reconciliation_id
    earlier = OPENED - timedelta(1)
    refused = [
        (LENDER, posting(made, lines, until=earlier), "FILE_OF_ANOTHER_DAY"),
        (LENDER, posting(made, lines, institution_id=INSURER), "FILE_OF_ANOTHER_INSTITUTION"),
        (OTHER_LENDER, posting(made, lines), "RECONCILIATION_NOT_FOUND"),
        (LENDER, posting(str(uuid4()), lines), "RECONCILIATION_NOT_FOUND"),
        (LENDER, comparing(made), "STATEMENT_TOTALS_DIFFER"),
        (LENDER, a_statement(lines, stated_fen=8), "STATEMENT_EXISTS"),
        (LENDER, resolving(12345), "DIFFERENCE_NOT_FOUND"),
    ]

    for caller, request, reason in refused:
        with pytest.raises(LiandongError) as refusal:
            await ask(records, caller, request)
        assert refusal.value.reason == reason
    assert await rows(db, "SELECT FROM statement_line") == []


@pytest.mark.postgres
async def test_malformed_lines_are_refused_one_by_one_and_the_others_kept(
    records: RecordsServicer, db: Database
) -> None:
    lines = [
        a_line(1, "a", 1),
        a_line(2, "b", 2, on=OPENED - timedelta(1)),
        a_line(3, "c", 3, state="vanished"),
        a_line(4, "d", 4),
        a_line(1, "e", 5),
    ]
    lines[3].value_date.day = 31
    lines[3].value_date.month = 2
    made = (await ask(records, LENDER, a_statement(lines[:1]))).reconciliation_id

    answer = await ask(records, LENDER, posting(made, lines))

    assert [verdict.reason for verdict in answer.verdicts] == [
        "",
        "LINE_OUTSIDE_PERIOD",
        "STATE_UNKNOWN",
        "MALFORMED_DATE",
        "LINE_NUMBER_REUSED",
    ]
    assert await rows(db, "SELECT record_id FROM statement_line") == [("a",)]
    await ask(records, LENDER, comparing(made))
    late = await ask(records, LENDER, posting(made, [a_line(9, "z", 1)]))
    assert late.verdicts[0].reason == "RECONCILIATION_CLOSED"


@pytest.mark.parametrize(
    "request_made",
    [
        pb.ListDifferencesRequest(county_code=COUNTY, cause=99),  # type: ignore[arg-type]
        resolving(1, resolution=pb.RESOLUTION_UNSPECIFIED),
        resolving(1, resolution=99),
        resolving(1, reason=""),
        a_statement([], kind="UNSPECIFIED"),
    ],
)
async def test_unknown_causes_and_reasonless_words_are_malformed(request_made: Message) -> None:
    with pytest.raises(LiandongError) as refusal:
        calling(LENDER, request_made)

    assert refusal.value.violations


# --- the rule -------------------------------------------------------------------------------------

_RECORDS = st.builds(
    Record,
    record_id=st.sampled_from("abcdef"),
    amount_fen=st.integers(0, 3).map(Fen),
    value_date=st.none() | st.sampled_from([OPENED, OPENED - timedelta(1)]),
    state=st.sampled_from(["open", "confirmed"]),
    payee_id=st.sampled_from(["x", "y"]),
)
_LINES = st.builds(
    Line,
    line_number=st.just(1),
    record_id=st.sampled_from("abcdef"),
    amount_fen=st.integers(0, 3).map(Fen),
    value_date=st.sampled_from([OPENED, OPENED - timedelta(1)]),
    state=st.sampled_from(["", "open", "confirmed"]),
    payee_id=st.sampled_from(["", "x", "y"]),
)


@given(st.lists(_LINES, max_size=8), st.lists(_RECORDS, max_size=6))
def test_every_line_agrees_or_differs_and_nothing_of_ours_is_forgotten(
    listed: list[Line], kept: list[Record]
) -> None:
    lines = [replace(line, line_number=place) for place, line in enumerate(listed, 1)]
    ours = {record.record_id: record for record in kept}

    found = rules.compare(Kind.PAYMENTS, lines, ours)

    differing = {each.line_number for each in found.differences if each.line_number}
    assert found.agreeing == len(lines) - len(differing)
    named = {line.record_id for line in lines}
    missing = [d.record_id for d in found.differences if d.cause is Cause.MISSING_THERE]
    assert missing == sorted(set(ours) - named)
    doubled = [d for d in found.differences if d.cause is Cause.DOUBLED]
    assert len(doubled) == len(lines) - len(named)
    # What agrees has the same money on both sides.
    agreeing = [line for line in lines if line.line_number not in differing]
    assert sum(line.amount_fen for line in agreeing) == sum(
        ours[line.record_id].amount_fen for line in agreeing
    )
    theirs = sum(d.theirs_fen - d.ours_fen for d in found.differences if d.cause is Cause.AMOUNT)
    known = [line for line in lines if line.record_id in ours]
    assert theirs == sum(
        line.amount_fen - ours[line.record_id].amount_fen
        for line in known
        if line.line_number not in {d.line_number for d in doubled}
    )


def test_an_id_of_ours_is_the_same_however_it_is_written() -> None:
    ours = UUID(int=7)

    assert rules.canonical(str(ours).upper()) == rules.canonical(ours.hex) == str(ours)
    assert rules.canonical(" their-7 ") == "their-7"
