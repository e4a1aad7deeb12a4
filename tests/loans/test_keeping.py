"""Two ways to keep a lender's book: whose holds, what a core system posts, where ours differs."""

from datetime import date, timedelta
from typing import Any

import pytest
from liandong.loans.v1 import events_pb2, loans_pb2

from services.kernel.bus import Consumer
from services.kernel.database import Database
from services.kernel.errors import Denied, Refused
from services.loans.servicer import LoansServicer
from services.programmes.loader import Catalogue
from tests.loans import steps
from tests.loans.builders import YUAN
from tests.loans.county import (
    AUDITOR,
    BANK,
    CENTRE,
    COUNTY,
    LENDER,
    OPENED,
    OTHER_BANK,
    OTHER_LENDER,
    House,
    calling,
    day,
)

pytestmark = pytest.mark.postgres

CORE = loans_pb2.BOOK_KEEPER_LENDER_CORE
OURS = loans_pb2.BOOK_KEEPER_LIANDONG
PAID_OUT = loans_pb2.CORE_ENTRY_KIND_DISBURSEMENT
REPAID = loans_pb2.CORE_ENTRY_KIND_REPAYMENT
UNDONE = loans_pb2.CORE_ENTRY_KIND_REVERSAL
CHARGED = loans_pb2.CORE_ENTRY_KIND_INTEREST
CLASSED = loans_pb2.CORE_ENTRY_KIND_CLASS
NORMAL = loans_pb2.FIVE_TIER_CLASS_NORMAL


async def keep(
    servicer: LoansServicer,
    keeper: "loans_pb2.BookKeeper.ValueType" = CORE,
    *,
    since: date = OPENED,
    lender_id: str = BANK,
) -> None:
    request = loans_pb2.SetLenderBookRequest(
        request_id=steps.an_id(),
        county_code=COUNTY,
        lender_id=lender_id,
        keeper=keeper,
        **{"from": day(since)},
    )
    await servicer.SetLenderBook(request, calling(CENTRE, request))


def entry(
    loan_id: str,
    kind: "loans_pb2.CoreEntryKind.ValueType",
    reference: str = "",
    *,
    on: date = OPENED,
    **changes: Any,
) -> loans_pb2.CoreEntry:
    return loans_pb2.CoreEntry(
        reference=reference or steps.an_id(),
        loan_id=loan_id,
        kind=kind,
        value_date=day(on),
        **changes,
    )


async def post(
    servicer: LoansServicer, *items: loans_pb2.CoreEntry, caller: Any = LENDER
) -> loans_pb2.PostCoreEntriesResponse:
    request = loans_pb2.PostCoreEntriesRequest(
        request_id=steps.an_id(), county_code=COUNTY, items=items
    )
    return await servicer.PostCoreEntries(request, calling(caller, request))


Shown = tuple[str, str, int, int, str]


async def differences(
    servicer: LoansServicer, *, caller: Any = CENTRE, **filters: Any
) -> list[Shown]:
    request = loans_pb2.ListBookDifferencesRequest(county_code=COUNTY, **filters)
    answer = await servicer.ListBookDifferences(request, calling(caller, request))
    return [
        (
            each.reference,
            loans_pb2.DifferenceCause.Name(each.cause).removeprefix("DIFFERENCE_CAUSE_"),
            each.theirs_fen,
            each.ours_fen,
            each.detail,
        )
        for each in answer.differences
    ]


async def lent(
    servicer: LoansServicer, consumer: Consumer, house: House | None = None
) -> loans_pb2.Loan:
    """A loan of 30,000 yuan at 3 yuan a day, paid out by the core system."""
    house = house or House()
    await steps.know(consumer, house)
    loan = await steps.approved(servicer, house)
    paid = entry(loan.loan_id, PAID_OUT, amount_fen=30_000 * YUAN, outstanding_fen=30_000 * YUAN)
    answer = await post(servicer, paid)
    assert (answer.verdicts[0].accepted, answer.differences) == (True, 0)
    return await steps.get(servicer, loan.loan_id)


# --- whose book -----------------------------------------------------------------------------------


async def test_while_the_core_system_is_the_book_only_its_entries_move_money(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    ours = await steps.active(servicer, consumer, House())
    tomorrow = OPENED + timedelta(days=1)
    await keep(servicer, since=tomorrow)
    with pytest.raises(Refused, match="BOOK_KEPT_HERE"):
        await post(servicer, entry(ours.loan_id, CLASSED, five_tier_class=NORMAL))
    await steps.repay(servicer, ours.loan_id, 100)

    await steps.advance(db, catalogue, 1)

    with pytest.raises(Refused, match="BOOK_KEPT_ELSEWHERE"):
        await steps.repay(servicer, ours.loan_id, 100)
    house = House()
    await steps.know(consumer, house)
    waiting = await steps.approved(servicer, house)
    with pytest.raises(Refused, match="BOOK_KEPT_ELSEWHERE"):
        await steps.disburse(servicer, waiting.loan_id)
    await post(servicer, entry(ours.loan_id, REPAID, on=tomorrow, amount_fen=100))

    # And back again, with the day after; each decision stays to be read.
    await keep(servicer, OURS, since=tomorrow + timedelta(days=1))
    await steps.advance(db, catalogue, 1)
    await steps.repay(servicer, ours.loan_id, 100)
    request = loans_pb2.ListLenderBooksRequest(county_code=COUNTY, page_size=1)
    page = await servicer.ListLenderBooks(request, calling(AUDITOR, request))
    assert [(each.keeper, each.decided_by) for each in page.books] == [(OURS, "cfc-1-p1")]
    request.page_token = page.next_page_token
    page = await servicer.ListLenderBooks(request, calling(AUDITOR, request))
    assert [(each.keeper, each.lender_id) for each in page.books] == [(CORE, BANK)]
    assert page.next_page_token == ""
    await steps.books_are_whole(db)


async def test_the_other_lender_goes_on_as_before(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    await keep(servicer, lender_id=OTHER_BANK)
    loan = await steps.active(servicer, consumer, House())

    await steps.repay(servicer, loan.loan_id, 100)

    with pytest.raises(Refused, match="BOOK_KEPT_HERE"):
        await post(servicer, entry(loan.loan_id, REPAID, amount_fen=1))


async def test_who_kept_a_book_is_not_said_afterwards(servicer: LoansServicer) -> None:
    with pytest.raises(Refused, match="BOOK_DATED_BACK"):
        await keep(servicer, since=OPENED - timedelta(days=1))


# --- what agrees ----------------------------------------------------------------------------------


async def test_a_core_system_that_counts_as_we_do_shows_no_difference(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    await keep(servicer)
    house = House()
    loan = await lent(servicer, consumer, house)
    on = await steps.advance(db, catalogue, 100)

    answer = await post(
        servicer,
        entry(loan.loan_id, CHARGED, on=OPENED + timedelta(days=40), interest_fen=12_000),
        entry(loan.loan_id, CHARGED, on=on, interest_fen=18_000),
        entry(
            loan.loan_id,
            REPAID,
            "core-7",
            on=on,
            amount_fen=1_030_000,
            principal_fen=1_000_000,
            interest_fen=30_000,
            outstanding_fen=2_000_000,
        ),
        entry(loan.loan_id, CLASSED, on=on, five_tier_class=NORMAL),
    )

    assert [verdict.accepted for verdict in answer.verdicts] == [True] * 4
    assert answer.differences == 0
    assert await differences(servicer) == []
    now = await steps.get(servicer, loan.loan_id)
    assert (now.outstanding_fen, now.interest_fen) == (2_000_000, 0)
    assert await steps.exposure(db, house) == 2_000_000

    # What the core system undoes is undone here.
    answer = await post(servicer, entry(loan.loan_id, UNDONE, on=on, undoes="core-7"))
    assert answer.differences == 0
    now = await steps.get(servicer, loan.loan_id)
    assert (now.outstanding_fen, now.interest_fen) == (3_000_000, 30_000)
    await steps.books_are_whole(db)


async def test_an_entry_is_taken_once_by_its_reference(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    await keep(servicer)
    loan = await lent(servicer, consumer)
    paid = entry(loan.loan_id, REPAID, "core-1", amount_fen=1_000, principal_fen=999)

    first = await post(servicer, paid, paid)
    again = await post(servicer, paid)
    other = entry(loan.loan_id, REPAID, "core-1", amount_fen=1_001)
    (reused,) = (await post(servicer, other)).verdicts

    assert [each.accepted for each in (*first.verdicts, *again.verdicts)] == [True] * 3
    assert (first.differences, again.differences) == (1, 0)
    assert (reused.accepted, reused.reason) == (False, "REFERENCE_REUSED")
    assert (await steps.get(servicer, loan.loan_id)).outstanding_fen == 2_999_000
    assert len(await differences(servicer)) == 1
    await steps.books_are_whole(db)


# --- what differs ---------------------------------------------------------------------------------


async def test_every_difference_is_shown_and_none_is_corrected(
    servicer: LoansServicer, consumer: Consumer, db: Database, catalogue: Catalogue
) -> None:
    await keep(servicer)
    loan = await lent(servicer, consumer)
    on = await steps.advance(db, catalogue, 100)

    answer = await post(
        servicer,
        # A year of 365 days: 29,589 for our 30,000.
        entry(loan.loan_id, CHARGED, "core-1", on=on, interest_fen=29_589),
        entry(
            loan.loan_id,
            REPAID,
            "core-2",
            on=on,
            amount_fen=1_030_000,
            principal_fen=1_000_411,
            interest_fen=29_589,
            outstanding_fen=1_999_589,
        ),
        entry(
            loan.loan_id,
            CLASSED,
            "core-3",
            on=on,
            five_tier_class=loans_pb2.FIVE_TIER_CLASS_SUBSTANDARD,
        ),
    )

    assert [verdict.accepted for verdict in answer.verdicts] == [True] * 3
    shown = [
        ("core-1", "INTEREST_CHARGED", 29_589, 30_000, ""),
        ("core-2", "PRINCIPAL_TAKEN", 1_000_411, 1_000_000, ""),
        ("core-2", "INTEREST_TAKEN", 29_589, 30_000, ""),
        ("core-2", "OUTSTANDING", 1_999_589, 2_000_000, ""),
        ("core-3", "CLASS", 0, 0, "substandard/normal"),
    ]
    assert await differences(servicer) == shown
    assert answer.differences == len(shown)
    # Ours stays what we computed.
    now = await steps.get(servicer, loan.loan_id)
    assert (now.outstanding_fen, now.five_tier_class) == (2_000_000, NORMAL)
    told = await steps.said(db, "book_difference_found", events_pb2.BookDifferenceFound)
    assert [(each.reference, each.differences) for each in told] == [
        ("core-1", 1),
        ("core-2", 3),
        ("core-3", 1),
    ]
    await steps.books_are_whole(db)

    assert await differences(servicer, cause=loans_pb2.DIFFERENCE_CAUSE_CLASS) == shown[-1:]
    assert await differences(servicer, loan_id=steps.an_id()) == []
    assert await differences(servicer, caller=LENDER) == shown
    assert await differences(servicer, caller=OTHER_LENDER) == []
    with pytest.raises(Denied, match="NOT_THE_LENDER"):
        await differences(servicer, caller=OTHER_LENDER, lender_id=BANK)
    request = loans_pb2.ListBookDifferencesRequest(county_code=COUNTY, page_size=4)
    page = await servicer.ListBookDifferences(request, calling(CENTRE, request))
    request.page_token = page.next_page_token
    rest = await servicer.ListBookDifferences(request, calling(CENTRE, request))
    assert [each.reference for each in (*page.differences, *rest.differences)] == [
        each[0] for each in shown
    ]


async def test_what_our_rules_forbid_is_a_difference_and_not_in_our_book(
    servicer: LoansServicer, consumer: Consumer, db: Database
) -> None:
    await keep(servicer)
    house = House()
    await steps.know(consumer, house)
    undecided = (await steps.apply(servicer, house)).loan_id
    loan = (await lent(servicer, consumer)).loan_id
    later = OPENED + timedelta(days=1)

    answer = await post(
        servicer,
        entry(undecided, PAID_OUT, "core-1", amount_fen=30_000 * YUAN),
        entry(undecided, REPAID, "core-2", amount_fen=5),
        entry(loan, PAID_OUT, "core-3", amount_fen=30_000 * YUAN),
        entry(loan, REPAID, "core-4", on=later, amount_fen=5),
        entry(loan, REPAID, "core-5"),
        entry(loan, UNDONE, "core-6", undoes="nobody knows"),
        entry(loan, UNDONE, "core-7", undoes="core-4"),
        entry(loan, CHARGED, "core-8", on=OPENED - timedelta(days=1), interest_fen=5),
    )

    assert [verdict.accepted for verdict in answer.verdicts] == [True] * 8
    assert [(each[0], each[4]) for each in await differences(servicer)] == [
        ("core-1", "LOAN_NOT_APPROVED"),
        ("core-2", "LOAN_NOT_ACTIVE"),
        ("core-3", "LOAN_NOT_APPROVED"),
        ("core-4", "VALUE_DATE_OUT_OF_RANGE"),
        ("core-5", "AMOUNT_ZERO"),
        ("core-6", "ENTRY_UNKNOWN"),
        ("core-7", "ENTRY_UNKNOWN"),
        ("core-8", "VALUE_DATE_OUT_OF_RANGE"),
    ]
    assert (await steps.get(servicer, loan)).outstanding_fen == 30_000 * YUAN
    await steps.books_are_whole(db)


async def test_another_amount_paid_out_is_a_difference(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    await keep(servicer)
    house = House()
    await steps.know(consumer, house)
    loan = await steps.approved(servicer, house)

    await post(servicer, entry(loan.loan_id, PAID_OUT, "core-1", amount_fen=2_900_000))

    assert await differences(servicer) == [("core-1", "DISBURSED", 2_900_000, 3_000_000, "")]


async def test_entries_of_anothers_loan_or_of_none_are_refused(
    servicer: LoansServicer, consumer: Consumer
) -> None:
    await keep(servicer, lender_id=OTHER_BANK)
    loan = await steps.active(servicer, consumer, House())

    answer = await post(
        servicer,
        entry(loan.loan_id, REPAID, amount_fen=5),
        entry(steps.an_id(), REPAID, amount_fen=5),
        caller=OTHER_LENDER,
    )

    assert [each.reason for each in answer.verdicts] == ["LOAN_NOT_FOUND", "LOAN_NOT_FOUND"]
    assert await differences(servicer) == []
