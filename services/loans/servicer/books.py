"""Loans over gRPC: books that lenders keep, differences from ours, loans taken over."""

from collections.abc import Sequence
from datetime import date

import asyncpg
from liandong.common.v1 import common_pb2
from liandong.loans.v1 import loans_pb2, loans_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import Denied, LiandongError, invalid_field
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.money import Fen
from services.kernel.rpc import Context, caller_of
from services.loans.operations import keeping, opening
from services.loans.operations.shared import Outcome
from services.loans.rules.keeping import Cause, CoreEntry, CoreKind, Keeper, LenderBook
from services.loans.rules.lending import LENDER_ROLES
from services.loans.rules.opening import Opening, Proof, Total
from services.loans.servicer.lending import actor_of, require_county
from services.loans.store import keeping as books
from services.programmes.loader import Catalogue


def _class(asked: "loans_pb2.FiveTierClass.ValueType") -> str:
    name = loans_pb2.FiveTierClass.Name(asked).removeprefix("FIVE_TIER_CLASS_").lower()
    return "" if name == "unspecified" else name


def _entry(place: int, item: loans_pb2.CoreEntry) -> CoreEntry:
    path = f"items[{place}]."
    kind = CoreKind(
        loans_pb2.CoreEntryKind.Name(item.kind).removeprefix("CORE_ENTRY_KIND_").lower()
    )
    if kind is CoreKind.REVERSAL and not item.undoes:
        raise invalid_field("UNDOES_MISSING", f"{path}undoes", "", "must name a reference")
    if kind is CoreKind.CLASS and not item.five_tier_class:
        raise invalid_field("CLASS_MISSING", f"{path}five_tier_class", "", "must be named")
    return CoreEntry(
        reference=item.reference,
        loan_id=parse_id(f"{path}loan_id", item.loan_id),
        kind=kind,
        value_date=wire.date_from_proto(f"{path}value_date", item.value_date),
        amount_fen=Fen(item.amount_fen),
        principal_fen=Fen(item.principal_fen),
        interest_fen=Fen(item.interest_fen),
        outstanding_fen=Fen(item.outstanding_fen) if item.HasField("outstanding_fen") else None,
        five_tier_class=_class(item.five_tier_class),
        undoes=item.undoes,
    )


def _opening(place: int, item: loans_pb2.OpeningLoan) -> Opening:
    path = f"items[{place}]."

    def day(name: str) -> date:
        return wire.date_from_proto(f"{path}{name}", getattr(item, name))

    return Opening(
        reference=item.reference,
        household_id=parse_id(f"{path}household_id", item.household_id),
        lender_id=item.lender_id,
        programme_id=item.programme_id,
        product_id=item.product_id,
        principal_fen=Fen(item.principal_fen),
        term_months=item.term_months,
        rate_ppm=item.rate_ppm,
        disbursed_on=day("disbursed_on"),
        outstanding_fen=Fen(item.outstanding_fen),
        interest_owed_fen=Fen(item.interest_owed_fen),
        next_due_on=day("next_due_on"),
        subsidised=item.subsidised,
        five_tier_class=_class(item.five_tier_class),
        non_performing_on=day("non_performing_on") if item.HasField("non_performing_on") else None,
        purpose=item.purpose,
        outlet_code=item.outlet_code,
    )


def _control(totals: Sequence[loans_pb2.OpeningTotal]) -> dict[str, Total]:
    given: dict[str, Total] = {}
    for place, total in enumerate(totals):
        if total.lender_id in given:
            field = f"control_totals[{place}].lender_id"
            raise invalid_field("LENDER_TWICE", field, total.lender_id, "must be named once")
        given[total.lender_id] = Total(total.loans, total.outstanding_fen, total.interest_owed_fen)
    return given


def _verdict(place: int, outcome: Outcome, *, landed: bool = True) -> common_pb2.Verdict:
    if isinstance(outcome, LiandongError):
        return wire.refused(place, outcome)
    return wire.accepted(place, outcome.loan_id if landed else "")


def _total_to_proto(lender_id: str, total: Total) -> loans_pb2.OpeningTotal:
    return loans_pb2.OpeningTotal(
        lender_id=lender_id,
        loans=total.loans,
        outstanding_fen=total.outstanding_fen,
        interest_owed_fen=total.interest_owed_fen,
    )


def _proof_to_proto(proof: Proof) -> loans_pb2.OpeningProof:
    return loans_pb2.OpeningProof(
        given=_total_to_proto(proof.lender_id, proof.given),
        found=_total_to_proto(proof.lender_id, proof.found),
        so_far=_total_to_proto(proof.lender_id, proof.so_far),
        agrees=proof.agrees,
    )


def _book_to_proto(book: LenderBook) -> loans_pb2.LenderBook:
    message = loans_pb2.LenderBook(
        lender_id=book.lender_id,
        keeper=loans_pb2.BookKeeper.Value(f"BOOK_KEEPER_{book.keeper.name}"),
        decided_on=wire.date_to_proto(book.decided_on),
        decided_by=book.decided_by,
    )
    # `from` is a word of the language.
    getattr(message, "from").CopyFrom(wire.date_to_proto(book.from_day))
    return message


def _difference_to_proto(row: asyncpg.Record) -> loans_pb2.BookDifference:
    return loans_pb2.BookDifference(
        reference=row["reference"],
        loan_id=str(row["loan_id"]),
        lender_id=row["lender_id"],
        cause=loans_pb2.DifferenceCause.Value(f"DIFFERENCE_CAUSE_{row['cause'].upper()}"),
        theirs_fen=row["theirs_fen"],
        ours_fen=row["ours_fen"],
        detail=row["detail"],
        value_date=wire.date_to_proto(row["value_date"]),
        found_on=wire.date_to_proto(row["found_on"]),
    )


class BooksDoor(loans_pb2_grpc.LoansServiceServicer):
    """Who keeps a book, what core systems post, what is taken over."""

    _database: Database
    _catalogue: Catalogue

    async def SetLenderBook(
        self, request: loans_pb2.SetLenderBookRequest, context: Context
    ) -> loans_pb2.SetLenderBookResponse:
        """Decide who keeps a lender's book."""
        caller = caller_of(context)
        person_id = caller.require_person()
        require_county(caller, request.county_code)
        name = loans_pb2.BookKeeper.Name(request.keeper).removeprefix("BOOK_KEEPER_")
        from_day = wire.date_from_proto("from", getattr(request, "from"))

        async def work(session: AsyncSession) -> loans_pb2.SetLenderBookResponse:
            await keeping.set_lender_book(
                session,
                request.county_code,
                lender_id=request.lender_id,
                keeper=Keeper[name],
                from_day=from_day,
                person_id=person_id,
            )
            return loans_pb2.SetLenderBookResponse()

        return await once(self._database, caller, request, loans_pb2.SetLenderBookResponse, work)

    async def ListLenderBooks(
        self, request: loans_pb2.ListLenderBooksRequest, context: Context
    ) -> loans_pb2.ListLenderBooksResponse:
        """What was decided."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size = wire.page_size(request.page_size)
        start = wire.page_offset(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await books.lender_books(
                session, request.county_code, start=start, limit=size + 1
            )
        more = len(found) > size
        return loans_pb2.ListLenderBooksResponse(
            books=[_book_to_proto(each) for each in found[:size]],
            next_page_token=wire.page_token(str(start + size)) if more else "",
        )

    async def PostCoreEntries(
        self, request: loans_pb2.PostCoreEntriesRequest, context: Context
    ) -> loans_pb2.PostCoreEntriesResponse:
        """Take what a lender's core system booked."""
        caller = caller_of(context)
        actor = actor_of(caller)
        entries = [_entry(place, item) for place, item in enumerate(request.items)]

        async def work(session: AsyncSession) -> loans_pb2.PostCoreEntriesResponse:
            outcomes, differences = await keeping.post_core_entries(
                session, request.county_code, entries, actor, self._catalogue
            )
            told = [_verdict(place, outcome) for place, outcome in enumerate(outcomes)]
            return loans_pb2.PostCoreEntriesResponse(verdicts=told, differences=differences)

        return await once(self._database, caller, request, loans_pb2.PostCoreEntriesResponse, work)

    async def ListBookDifferences(
        self, request: loans_pb2.ListBookDifferencesRequest, context: Context
    ) -> loans_pb2.ListBookDifferencesResponse:
        """Where core systems and we differ; a lender sees its own."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        lends = caller.role in LENDER_ROLES
        if lends and request.lender_id not in ("", caller.institution_id):
            raise Denied("NOT_THE_LENDER", "a lender sees its own", message_zh="非承贷机构")
        cause = loans_pb2.DifferenceCause.Name(request.cause).removeprefix("DIFFERENCE_CAUSE_")
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller) as session:
            found = await books.list_differences(
                session,
                request.county_code,
                areas=list(caller.areas) or [request.county_code],
                lender_id=caller.institution_id if lends else request.lender_id,
                loan_id=parse_id("loan_id", request.loan_id) if request.loan_id else None,
                cause=Cause[cause] if request.cause else None,
                after=wire.page_offset(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda row: row["number"])
        return loans_pb2.ListBookDifferencesResponse(
            differences=[_difference_to_proto(row) for row in page],
            next_page_token=token,
        )

    async def ImportOpeningLoans(
        self, request: loans_pb2.ImportOpeningLoansRequest, context: Context
    ) -> loans_pb2.ImportOpeningLoansResponse:
        """Take loans over at cut-over."""
        caller = caller_of(context)
        person_id = caller.require_person()
        require_county(caller, request.county_code)
        cutover = opening.Cutover(
            county_code=request.county_code,
            opening_on=wire.date_from_proto("opening_on", request.opening_on),
            person_id=person_id,
            dry_run=request.dry_run,
        )
        wanted = [_opening(place, item) for place, item in enumerate(request.items)]
        control = _control(request.control_totals)

        async def work(session: AsyncSession) -> loans_pb2.ImportOpeningLoansResponse:
            done = await opening.import_openings(session, cutover, wanted, control, self._catalogue)
            told = [
                _verdict(place, outcome, landed=done.landed)
                for place, outcome in enumerate(done.outcomes)
            ]
            return loans_pb2.ImportOpeningLoansResponse(
                landed=done.landed,
                verdicts=told,
                proofs=[_proof_to_proto(proof) for proof in done.proofs],
            )

        return await once(
            self._database, caller, request, loans_pb2.ImportOpeningLoansResponse, work
        )
