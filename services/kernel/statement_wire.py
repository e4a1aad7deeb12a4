"""Statements over gRPC: what every service's records door says and hears alike."""

from datetime import date
from uuid import UUID

from google.type.date_pb2 import Date
from liandong.common.v1 import statements_pb2 as pb
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import statement_store, wire
from services.kernel.caller import Caller
from services.kernel.ids import parse_id
from services.kernel.statement_desk import Compared, StatementDesk
from services.kernel.statement_store import Held, Kept
from services.kernel.statements import Cause, Kind, Line, Resolution, Statement, Who

UNKNOWN = UUID(int=0)
"""Stands for an id that the desk gives."""


def asked(heading: pb.StatementHeading, caller: Caller, kind: Kind) -> Statement:
    """What is announced; who and when, the desk says."""
    return Statement(
        county_code=heading.county_code,
        statement_id=UNKNOWN,
        institution_id=heading.institution_id,
        kind=kind,
        reference=heading.reference,
        as_of=wire.date_from_proto("heading.as_of", heading.as_of),
        stated_lines=heading.lines,
        stated_sum=heading.sum,
        started_by=Who(caller.institution_id, caller.person_id),
        started_on=wire.date_from_proto("heading.as_of", heading.as_of),
    )


def day_cell(field: str, day: Date) -> str:
    """A day as a line keeps it."""
    return wire.date_from_proto(field, day).isoformat()


def canonical(record_id: str) -> str:
    """What a line names, in the one form in which we write an id."""
    try:
        return str(UUID(record_id))
    except ValueError:
        return record_id.strip()


def verdict_id(line: Line) -> str:
    """What an accepted line was about."""
    return line.record_id


def _cause(cause: Cause) -> "pb.StatementCause.ValueType":
    return pb.StatementCause.Value(f"STATEMENT_CAUSE_{cause.name}")


def statement_to_proto(held: Held) -> pb.Statement:
    """A list, for the wire."""
    statement = held.statement
    return pb.Statement(
        reconciliation_id=str(statement.statement_id),
        county_code=statement.county_code,
        institution_id=statement.institution_id,
        reference=statement.reference,
        as_of=wire.date_to_proto(statement.as_of),
        stated_lines=statement.stated_lines,
        stated_sum=statement.stated_sum,
        posted_lines=held.posted_lines,
        posted_sum=held.posted_sum,
        compared_on=wire.date_to_proto(held.compared_on),
        agreeing=held.agreeing,
        differences=held.differences,
        unresolved=held.unresolved,
    )


def difference_to_proto(kept: Kept) -> pb.StatementDifference:
    """A difference, for the wire."""
    found = kept.difference
    said = kept.resolution.name if kept.resolution else "UNSPECIFIED"
    return pb.StatementDifference(
        number=kept.number,
        reconciliation_id=str(kept.statement_id),
        institution_id=kept.institution_id,
        record_id=found.record_id,
        line_number=found.line_number,
        cause=_cause(found.cause),
        theirs_fen=found.theirs_fen,
        ours_fen=found.ours_fen,
        theirs=found.theirs,
        ours=found.ours,
        touches_money=kept.touches_money,
        found_on=wire.date_to_proto(kept.found_on),
        state=pb.DifferenceState.Value(f"DIFFERENCE_STATE_{kept.state.name}"),
        resolution=pb.StatementResolution.Value(f"STATEMENT_RESOLUTION_{said}"),
        reason=kept.reason,
        resolved_by=kept.resolved_by.person_id if kept.resolved_by else "",
        resolved_on=wire.date_to_proto(kept.resolved_on),
        confirmed_by=kept.confirmed_by.person_id if kept.confirmed_by else "",
        confirmed_on=wire.date_to_proto(kept.confirmed_on),
    )


def comparison_to_proto(found: Compared) -> pb.StatementComparison:
    """What a comparison found, for the wire."""
    return pb.StatementComparison(
        statement=statement_to_proto(found.held),
        agreeing=found.agreeing,
        causes=[
            pb.StatementCauseCount(cause=_cause(cause), differences=found.causes[cause])
            for cause in Cause
            if cause in found.causes
        ],
        differences=[difference_to_proto(each) for each in found.differences],
    )


async def page_of_statements(
    session: AsyncSession,
    desk: StatementDesk,
    caller: Caller,
    county_code: str,
    institution_id: str,
    *,
    page_size: int,
    page_token: str,
) -> tuple[list[pb.Statement], str]:
    """A page of lists that the caller may see, the latest first."""
    size = wire.page_size(page_size)
    start = wire.page_start(page_token)
    found = await statement_store.list_statements(
        session,
        county_code,
        desk.own(caller) or institution_id,
        before=parse_id("page_token", start) if start else None,
        limit=size + 1,
    )
    page, token = wire.page_of(found, size, lambda each: each.statement.statement_id)
    return [statement_to_proto(each) for each in page], token


async def page_of_differences(
    session: AsyncSession, desk: StatementDesk, caller: Caller, wanted: pb.DifferenceFilter
) -> tuple[list[pb.StatementDifference], str]:
    """A page of differences that the caller may see, the oldest first."""
    size = wire.page_size(wanted.page_size)
    of, cause = wanted.reconciliation_id, pb.StatementCause.Name(wanted.cause)
    found = await statement_store.list_differences(
        session,
        wanted.county_code,
        desk.own(caller),
        statement_id=parse_id("reconciliation_id", of) if of else None,
        cause=Cause[cause.removeprefix("STATEMENT_CAUSE_")] if wanted.cause else None,
        unresolved=wanted.unresolved,
        after=wire.page_offset(wanted.page_token),
        limit=size + 1,
    )
    page, token = wire.page_of(found, size, lambda each: each.number)
    return [difference_to_proto(each) for each in page], token


async def say_word(
    session: AsyncSession, desk: StatementDesk, caller: Caller, word: pb.DifferenceWord
) -> pb.StatementDifference:
    """What a person says becomes of a difference."""
    name = pb.StatementResolution.Name(word.resolution).removeprefix("STATEMENT_RESOLUTION_")
    kept = await desk.resolve(
        session,
        caller,
        word.county_code,
        word.number,
        resolution=Resolution[name],
        reason=word.reason,
    )
    return difference_to_proto(kept)


async def say_agreement(
    session: AsyncSession, desk: StatementDesk, caller: Caller, said: pb.DifferenceAgreement
) -> pb.StatementDifference:
    """What a second person says of it."""
    kept = await desk.confirm(
        session, caller, said.county_code, said.number, agrees=said.agrees, reason=said.reason
    )
    return difference_to_proto(kept)


def file_day(day: Date) -> date:
    """The day that a file names."""
    return wire.date_from_proto("as_of", day)
