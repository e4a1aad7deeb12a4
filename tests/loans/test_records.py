"""Lists of lenders and of a national system against our loans: each difference has its cause."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.common.v1 import statements_pb2 as common
from liandong.loans.v1 import loans_pb2
from liandong.loans.v1 import records_pb2 as pb

from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.statements import Cause
from services.loans.servicer import LoansServicer
from services.loans.servicer.records import LoanRecordsServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    APPROVER,
    AUDITOR,
    BANK,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_COUNTY,
    OTHER_LENDER,
    OTHER_VILLAGE,
    Fund,
    House,
    a_caller,
    calling,
    day,
)
from tests.loans.test_keeping import keep

pytestmark = pytest.mark.postgres

POVERTY_OFFICE = a_caller("poverty_office", institution_id="pov-1")
SECOND = a_caller("bank", institution_id=BANK, post=4)
TODAY = OPENED + timedelta(days=10)


@pytest.fixture
def records(db: Database, catalogue: Catalogue) -> LoanRecordsServicer:
    return LoanRecordsServicer(db, catalogue)


async def ask(records: LoanRecordsServicer, caller: Caller, request: Message) -> Any:
    name = type(request).__name__.removesuffix("Request")
    if name != "PostLoanLines":
        return await getattr(records, name)(request, calling(caller, request))

    async def one() -> AsyncIterator[Message]:
        yield request

    (answer,) = [each async for each in records.PostLoanLines(one(), calling(caller, request))]  # type: ignore[arg-type]
    return answer


async def listed(
    servicer: LoansServicer, number: int, loan_id: str, **changes: Any
) -> pb.ListedLoan:
    """The loan as we have it, but for what changes; a value of None is left unsaid."""
    loan = await steps.get(servicer, loan_id)
    values: dict[str, Any] = {
        "line_number": number,
        "record_id": loan_id,
        "household_id": loan.household_id,
        "area_code": loan.area_code,
        "product_id": loan.product_id,
        "purpose": "beekeeping",
        "principal_fen": loan.principal_fen,
        "outstanding_fen": loan.outstanding_fen,
        "term_months": 12,
        "rate_ppm": 36000,
        "disbursed_on": day(OPENED),
        "state": "active",
        "five_tier_class": "normal",
        "overdue_days": 0,
        **changes,
    }
    return pb.ListedLoan(**{name: value for name, value in values.items() if value is not None})


def heading(
    lines: Sequence[pb.ListedLoan],
    *,
    institution_id: str = BANK,
    reference: str = "s-1",
    as_of: date = TODAY,
    **more: Any,
) -> pb.StartLoanReconciliationRequest:
    return pb.StartLoanReconciliationRequest(
        request_id=str(uuid4()),
        heading=common.StatementHeading(
            county_code=more.pop("county_code", COUNTY),
            institution_id=institution_id,
            reference=reference,
            as_of=day(as_of),
            lines=more.pop("lines", len(lines)),
            sum=more.pop("sum", sum(line.outstanding_fen for line in lines)),
        ),
    )


def posting(
    made: str,
    lines: Sequence[pb.ListedLoan],
    *,
    institution_id: str = BANK,
    as_of: date = TODAY,
) -> pb.PostLoanLinesRequest:
    return pb.PostLoanLinesRequest(
        request_id=str(uuid4()),
        county_code=COUNTY,
        reconciliation_id=made,
        institution_id=institution_id,
        as_of=day(as_of),
        items=lines,
    )


async def brought(
    records: LoanRecordsServicer,
    lines: Sequence[pb.ListedLoan],
    *,
    caller: Caller = LENDER,
    **more: Any,
) -> str:
    asked = heading(lines, institution_id=caller.institution_id, **more)
    made: str = (await ask(records, caller, asked)).reconciliation_id
    if lines:
        as_of = more.get("as_of", TODAY)
        post = posting(made, lines, institution_id=caller.institution_id, as_of=as_of)
        answer = await ask(records, caller, post)
        assert all(verdict.accepted for verdict in answer.verdicts), answer
    return made


async def compare(
    records: LoanRecordsServicer, made: str, *, caller: Caller = LENDER, dry_run: bool = False
) -> common.StatementComparison:
    request = pb.CompareLoanStatementRequest(
        request_id=str(uuid4()), county_code=COUNTY, reconciliation_id=made, dry_run=dry_run
    )
    answer: common.StatementComparison = (await ask(records, caller, request)).comparison
    return answer


def causes(found: common.StatementComparison) -> list[tuple[int, str]]:
    return [
        (
            each.line_number,
            common.StatementCause.Name(each.cause).removeprefix("STATEMENT_CAUSE_").lower(),
        )
        for each in found.differences
    ]


# --- kinds of difference --------------------------------------------------------------------------

PLANTED: Sequence[tuple[Cause, dict[str, Any]]] = (
    (Cause.BORROWER, {"household_id": str(uuid4())}),
    (Cause.VILLAGE, {"area_code": OTHER_VILLAGE}),
    (Cause.PRODUCT, {"product_id": "covered"}),
    (Cause.PURPOSE, {"purpose": "mushroom_growing"}),
    (Cause.PRINCIPAL, {"principal_fen": 2_900_000}),
    (Cause.OUTSTANDING, {"outstanding_fen": 2_999_999}),
    (Cause.INTEREST, {"interest_fen": 2_999}),
    (Cause.RATE, {"rate_ppm": 43_500}),
    (Cause.TERM, {"term_months": 24}),
    (Cause.DISBURSED_ON, {"disbursed_on": day(OPENED + timedelta(days=1))}),
    (Cause.MATURES_ON, {"matures_on": day(OPENED)}),
    (Cause.STATE, {"state": "settled"}),
    (Cause.CLASS, {"five_tier_class": "doubtful"}),
    (Cause.OVERDUE_DAYS, {"overdue_days": 3}),
    (Cause.SUBSIDY, {"subsidised": True}),
)
"""One thing that a list says otherwise, a loan each."""


# HN-PO.reg.4
async def test_each_planted_difference_is_named_with_its_cause_and_changes_nothing(
    servicer: LoansServicer,
    records: LoanRecordsServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    loans = [(await steps.active(servicer, consumer, House())).loan_id for _ in PLANTED]
    foreign = await steps.active_of_other(servicer, consumer)
    forgotten = (await steps.active(servicer, consumer, House())).loan_id
    house = House()
    await steps.know(consumer, house)
    undecided = (await steps.apply(servicer, house)).loan_id
    await steps.advance(db, catalogue, 10)
    before = await steps.rows(db, "SELECT * FROM loan ORDER BY loan_id")
    lines = [
        await listed(servicer, number, loan_id, **changes)
        for number, (loan_id, (_, changes)) in enumerate(zip(loans, PLANTED, strict=True), 1)
    ]
    here, next_line = len(lines), len(lines) + 1
    lines += [
        pb.ListedLoan(line_number=next_line, record_id="their-77", outstanding_fen=1),
        await listed(servicer, next_line + 1, foreign),
        await listed(servicer, next_line + 2, loans[0]),
        pb.ListedLoan(line_number=next_line + 3, record_id=undecided, state="active"),
    ]
    made = await brought(records, lines)

    tried = await compare(records, made, dry_run=True)
    assert await steps.rows(db, "SELECT FROM statement_difference") == []
    found = await compare(records, made)

    assert causes(found) == [
        *((number, str(cause)) for number, (cause, _) in enumerate(PLANTED, 1)),
        (here + 1, "missing_here"),
        (here + 2, "wrong_lender"),
        (here + 3, "doubled"),
        (here + 4, "state"),
        (0, "missing_there"),
    ]
    assert (len(found.differences), found.agreeing) == (20, 0)
    assert found.differences[-1].record_id == forgotten
    shown = {
        common.StatementCause.Name(each.cause)[16:].lower(): each for each in found.differences
    }
    assert (shown["interest"].theirs_fen, shown["interest"].ours_fen) == (2_999, 3_000)
    assert (shown["rate"].theirs, shown["rate"].ours) == ("43500", "36000")
    # Whose the other loan is, is not this bank's business.
    assert shown["wrong_lender"].ours == "another"
    assert [each.touches_money for each in found.differences[:5]] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert causes(tried) == causes(found)
    assert {each.number for each in tried.differences} == {0}
    assert [(c.cause, c.differences) for c in tried.causes] == [
        (c.cause, c.differences) for c in found.causes
    ]
    assert before == await steps.rows(db, "SELECT * FROM loan ORDER BY loan_id")
    await steps.books_are_whole(db)


async def test_a_list_that_agrees_leaves_no_difference_and_comes_once(
    servicer: LoansServicer,
    records: LoanRecordsServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    subsidised = await steps.covered(servicer, consumer, House(status="registered_poor"), Fund())
    plain = (await steps.active(servicer, consumer, House())).loan_id
    settled = (await steps.active(servicer, consumer, House())).loan_id
    await steps.repay(servicer, settled, 30_000 * YUAN)
    await steps.advance(db, catalogue, 10)
    lines = [
        await listed(servicer, 1, plain.upper(), interest_fen=3_000, subsidised=False),
        await listed(servicer, 2, subsidised.loan_id, interest_fen=0, subsidised=True),
        await listed(servicer, 3, settled, state="settled"),
    ]
    lines[0].record_id = plain.upper()

    made = await brought(records, lines)
    found = await compare(records, made)

    assert (found.agreeing, causes(found)) == (3, [])
    assert await brought(records, lines) == made
    assert await compare(records, made) == found
    assert len(await steps.rows(db, "SELECT FROM statement_line")) == 3


async def test_a_list_of_an_earlier_day_is_held_against_that_day(
    servicer: LoansServicer,
    records: LoanRecordsServicer,
    consumer: Consumer,
    db: Database,
    catalogue: Catalogue,
) -> None:
    paid = (await steps.active(servicer, consumer, House())).loan_id
    gone = (await steps.active(servicer, consumer, House())).loan_id
    first = await steps.advance(db, catalogue, 4)
    now = await steps.advance(db, catalogue, 6)
    await steps.repay(servicer, paid, 10_000 * YUAN, on=now)
    await steps.repay(servicer, gone, 30_000 * YUAN + 3_000, on=now)
    later = (await steps.active(servicer, consumer, House())).loan_id
    lines = [
        await listed(servicer, 1, paid, outstanding_fen=3_000_000, interest_fen=1_200),
        await listed(servicer, 2, gone, outstanding_fen=3_000_000, interest_fen=1_200),
    ]

    found = await compare(records, await brought(records, lines, as_of=first))
    after = [
        await listed(servicer, 1, paid, outstanding_fen=2_003_000),
        await listed(servicer, 2, later, disbursed_on=day(now)),
    ]
    today = await compare(records, await brought(records, after, reference="s-2"))

    assert (found.agreeing, causes(found)) == (2, [])
    assert (today.agreeing, causes(today)) == (2, [])


# HN-PO.reg.4
async def test_a_national_list_shows_whose_a_loan_is(
    servicer: LoansServicer, records: LoanRecordsServicer, consumer: Consumer
) -> None:
    ours = (await steps.active(servicer, consumer, House())).loan_id
    other = await steps.active_of_other(servicer, consumer)
    missed = await steps.active_of_other(servicer, consumer)
    lines = [
        await listed(servicer, 1, ours, lender_id=BANK),
        await listed(servicer, 2, other, lender_id=BANK),
    ]

    made = await brought(records, lines, caller=POVERTY_OFFICE, as_of=OPENED)
    found = await compare(records, made, caller=POVERTY_OFFICE)

    assert causes(found) == [(2, "wrong_lender"), (0, "missing_there")]
    assert (found.differences[0].theirs, found.differences[0].ours) == (BANK, OTHER_BANK)
    assert found.differences[1].record_id == missed


async def test_a_lender_may_name_a_loan_by_its_own_number(
    servicer: LoansServicer, records: LoanRecordsServicer, consumer: Consumer
) -> None:
    await keep(servicer)
    house = House()
    await steps.know(consumer, house)
    loan = await steps.approved(servicer, house)
    paid = loans_pb2.CoreEntry(
        reference="core-1",
        loan_id=loan.loan_id,
        kind=loans_pb2.CORE_ENTRY_KIND_DISBURSEMENT,
        value_date=day(OPENED),
        amount_fen=30_000 * YUAN,
    )
    request = loans_pb2.PostCoreEntriesRequest(
        request_id=steps.an_id(), county_code=COUNTY, items=[paid]
    )
    await servicer.PostCoreEntries(request, calling(LENDER, request))
    lines = [await listed(servicer, 1, loan.loan_id)]
    lines[0].record_id = "core-1"

    found = await compare(records, await brought(records, lines, as_of=OPENED))

    assert (found.agreeing, causes(found)) == (1, [])


# --- resolved by named persons --------------------------------------------------------------------


def word(number: int, **more: Any) -> pb.ResolveLoanDifferenceRequest:
    return pb.ResolveLoanDifferenceRequest(
        request_id=str(uuid4()),
        word=common.DifferenceWord(
            county_code=COUNTY,
            number=number,
            resolution=more.pop("resolution", common.STATEMENT_RESOLUTION_OURS_STANDS),
            reason=more.pop("reason", "the bank booked it late"),
        ),
    )


def agreement(
    number: int, *, agrees: bool = True, reason: str = ""
) -> pb.ConfirmLoanResolutionRequest:
    return pb.ConfirmLoanResolutionRequest(
        request_id=str(uuid4()),
        agreement=common.DifferenceAgreement(
            county_code=COUNTY, number=number, agrees=agrees, reason=reason
        ),
    )


async def refusal(records: LoanRecordsServicer, caller: Caller, request: Message) -> LiandongError:
    with pytest.raises(LiandongError) as refused:
        await ask(records, caller, request)
    return refused.value


async def test_where_money_is_touched_a_second_person_agrees_or_it_is_open_again(
    servicer: LoansServicer, records: LoanRecordsServicer, consumer: Consumer
) -> None:
    loan_id = (await steps.active(servicer, consumer, House())).loan_id
    line = await listed(servicer, 1, loan_id, outstanding_fen=7, area_code=OTHER_VILLAGE)
    made = await brought(records, [line], as_of=OPENED)
    village, money = (await compare(records, made)).differences

    assert (await refusal(records, LENDER, word(money.number))).reason == "SAME_PERSON"
    other = await refusal(records, OTHER_LENDER, word(money.number))
    assert other.reason == "DIFFERENCE_NOT_FOUND"
    early = await refusal(records, SECOND, agreement(money.number))
    assert early.reason == "DIFFERENCE_NOT_PROPOSED"

    # One person is enough where nobody's money changes.
    done = (await ask(records, APPROVER, word(village.number))).difference
    assert (done.state, done.resolved_by) == (common.DIFFERENCE_STATE_RESOLVED, "rcb-1-p2")
    twice = await refusal(records, SECOND, word(village.number))
    assert twice.reason == "DIFFERENCE_RESOLVED"

    said = (await ask(records, APPROVER, word(money.number))).difference
    assert said.state == common.DIFFERENCE_STATE_PROPOSED
    assert (await refusal(records, SECOND, word(money.number))).reason == "DIFFERENCE_PROPOSED"
    for same in (APPROVER, LENDER):
        assert (await refusal(records, same, agreement(money.number))).reason == "SAME_PERSON"
    against = agreement(money.number, agrees=False, reason="show the voucher")
    opened = (await ask(records, CENTRE, against)).difference
    assert opened.state == common.DIFFERENCE_STATE_OPEN
    await ask(records, APPROVER, word(money.number, reason="voucher 12"))
    settled = (await ask(records, CENTRE, agreement(money.number))).difference

    assert settled.state == common.DIFFERENCE_STATE_RESOLVED
    assert (settled.resolved_by, settled.confirmed_by) == ("rcb-1-p2", "cfc-1-p1")
    assert settled.reason == "voucher 12"
    # Ours is what it was: a correction is a command of its own.
    assert (await steps.get(servicer, loan_id)).outstanding_fen == 30_000 * YUAN
    open_only = pb.ListLoanDifferencesRequest(
        filter=common.DifferenceFilter(county_code=COUNTY, unresolved=True)
    )
    assert not (await ask(records, AUDITOR, open_only)).differences
    every = pb.ListLoanDifferencesRequest(
        filter=common.DifferenceFilter(county_code=COUNTY, page_size=1)
    )
    page = await ask(records, AUDITOR, every)
    every.filter.page_token = page.next_page_token
    assert list((await ask(records, AUDITOR, every)).differences) == [settled]
    assert not (await ask(records, OTHER_LENDER, every)).differences
    mine = pb.ListLoanReconciliationsRequest(county_code=COUNTY)
    (found,) = (await ask(records, LENDER, mine)).statements
    assert (found.differences, found.unresolved) == (2, 0)
    assert not (await ask(records, OTHER_LENDER, mine)).statements


# --- due each day ---------------------------------------------------------------------------------


async def due(
    records: LoanRecordsServicer, *, caller: Caller = CENTRE, overdue: bool = False
) -> list[tuple[str, int, bool, int]]:
    request = pb.ListDueReconciliationsRequest(county_code=COUNTY, overdue=overdue)
    answer = await ask(records, caller, request)
    return [
        (each.lender_id, each.as_of.day, each.overdue, each.days_overdue) for each in answer.due
    ]


async def test_a_core_system_owes_its_list_of_each_day_until_it_is_compared(
    servicer: LoansServicer, records: LoanRecordsServicer, db: Database, catalogue: Catalogue
) -> None:
    await keep(servicer)
    assert await due(records) == [(BANK, 4, False, 0)]
    await compare(records, await brought(records, [], as_of=OPENED))

    await steps.advance(db, catalogue, 3)

    assert await due(records) == [
        (BANK, 4, False, 0),
        (BANK, 5, True, 2),
        (BANK, 6, True, 1),
        (BANK, 7, False, 0),
    ]
    assert await due(records, overdue=True) == [(BANK, 5, True, 2), (BANK, 6, True, 1)]
    late = await brought(records, [], as_of=OPENED + timedelta(days=1), reference="s-2")
    assert len(await due(records, overdue=True)) == 2
    await compare(records, late)
    assert await due(records, overdue=True) == [(BANK, 6, True, 1)]
    assert await due(records, caller=OTHER_LENDER) == []


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_made", "caller", "reason"),
    [
        (heading([], institution_id=OTHER_BANK, as_of=OPENED), LENDER, "NOT_YOUR_STATEMENT"),
        (heading([], institution_id="nobody", as_of=OPENED), CENTRE, "INSTITUTION_UNKNOWN"),
        (heading([], institution_id="cfc-1", as_of=OPENED), CENTRE, "NO_LIST_OF_LOANS"),
        (heading([], as_of=OPENED + timedelta(days=1)), LENDER, "STATEMENT_AHEAD"),
        (heading([], as_of=OPENED), AUDITOR, "ROLE_NOT_ALLOWED"),
        (
            heading([], as_of=OPENED),
            a_caller("bank", institution_id=BANK, county_code=OTHER_COUNTY),
            "AREA_NOT_YOURS",
        ),
    ],
)
async def test_which_list_nobody_may_announce(
    records: LoanRecordsServicer, request_made: Message, caller: Caller, reason: str
) -> None:
    assert (await refusal(records, caller, request_made)).reason == reason


async def test_a_file_of_another_day_or_lender_is_refused_with_field_value_and_rule(
    records: LoanRecordsServicer, db: Database
) -> None:
    lines = [pb.ListedLoan(line_number=1, record_id="their-1", outstanding_fen=7)]
    made = (await ask(records, LENDER, heading(lines, as_of=OPENED))).reconciliation_id
    earlier = OPENED - timedelta(days=1)

    wrong_day = await refusal(records, LENDER, posting(made, lines, as_of=earlier))
    other = posting(made, lines, institution_id=OTHER_BANK, as_of=OPENED)
    wrong_lender = await refusal(records, OTHER_LENDER, other)
    foreign = [pb.ListedLoan(line_number=1, record_id="x", lender_id=OTHER_BANK)]
    (verdict,) = (await ask(records, LENDER, posting(made, foreign, as_of=OPENED))).verdicts

    assert wrong_day.reason == "FILE_OF_ANOTHER_DAY"
    (violation,) = wrong_day.violations
    assert (violation.field, violation.value) == ("as_of", "2021-01-03")
    assert violation.rule == "the list was announced as of 2021-01-04"
    assert wrong_lender.reason == "RECONCILIATION_NOT_FOUND"
    assert (verdict.accepted, verdict.reason) == (False, "LINE_OF_ANOTHER_LENDER")
    (broken,) = verdict.violations
    assert (broken.field, broken.value) == ("lender_id", OTHER_BANK)
    assert broken.rule == f"must be {BANK}, whose list it is"
    assert await steps.rows(db, "SELECT FROM statement_line") == []


async def test_a_line_that_cannot_be_read_is_refused_alone_with_its_place(
    records: LoanRecordsServicer, db: Database
) -> None:
    lines = [
        pb.ListedLoan(line_number=1, record_id="their-1", household_id="W-17"),
        pb.ListedLoan(
            line_number=2, record_id="their-2", matures_on=Date(year=2022, month=2, day=29)
        ),
        pb.ListedLoan(line_number=3, record_id="their-3", outstanding_fen=7),
    ]
    made = (await ask(records, LENDER, heading(lines, as_of=OPENED))).reconciliation_id

    verdicts = (await ask(records, LENDER, posting(made, lines, as_of=OPENED))).verdicts

    assert [(each.accepted, each.reason) for each in verdicts] == [
        (False, "MALFORMED_ID"),
        (False, "MALFORMED_DATE"),
        (True, ""),
    ]
    assert [[broken.field for broken in each.violations] for each in verdicts] == [
        ["items[0].household_id"],
        ["items[1].matures_on"],
        [],
    ]
    ((kept,),) = await steps.rows(db, "SELECT line_number FROM statement_line")
    assert kept == 3


async def test_a_list_is_compared_whole_and_then_closed(records: LoanRecordsServicer) -> None:
    lines = [
        pb.ListedLoan(line_number=n, record_id=f"their-{n}", outstanding_fen=n) for n in (1, 2)
    ]
    made = (await ask(records, LENDER, heading(lines, as_of=OPENED))).reconciliation_id
    await ask(records, LENDER, posting(made, lines[:1], as_of=OPENED))
    comparing = pb.CompareLoanStatementRequest(
        request_id=str(uuid4()), county_code=COUNTY, reconciliation_id=made
    )
    assert (await refusal(records, LENDER, comparing)).reason == "STATEMENT_TOTALS_DIFFER"
    again = heading(lines[:1], as_of=OPENED)
    assert (await refusal(records, LENDER, again)).reason == "STATEMENT_EXISTS"
    reused = [pb.ListedLoan(line_number=1, record_id="their-3", outstanding_fen=1)]
    (verdict,) = (await ask(records, LENDER, posting(made, reused, as_of=OPENED))).verdicts
    assert verdict.reason == "LINE_NUMBER_REUSED"
    more = [pb.ListedLoan(line_number=n, record_id="x") for n in (3, 4)]
    many = await refusal(records, LENDER, posting(made, more, as_of=OPENED))
    assert many.reason == "TOO_MANY_LINES"
    await ask(records, LENDER, posting(made, lines[1:], as_of=OPENED))
    await compare(records, made)

    (verdict,) = (await ask(records, LENDER, posting(made, more[:1], as_of=OPENED))).verdicts
    assert verdict.reason == "RECONCILIATION_CLOSED"
