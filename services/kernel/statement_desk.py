"""Statements: an institution's list taken in, held against ours, its differences resolved."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import business_day, ids
from services.kernel import statement_store as store
from services.kernel import statements as rules
from services.kernel.caller import Caller
from services.kernel.errors import Denied, LiandongError, Refused
from services.kernel.statement_store import Held, Kept
from services.kernel.statements import (
    Cause,
    Comparison,
    DifferenceState,
    Line,
    Parts,
    Record,
    Resolution,
    Statement,
    Who,
)
from services.kernel.values import replace

DIFFERENCES_SHOWN_MAX: Final = 500

Ours = Callable[
    [AsyncSession, Statement, Sequence[Line]],
    Awaitable[tuple[Sequence[Line], Mapping[str, Record]]],
]
"""What we have beside a list: its lines, each naming our id where we know it, and our records."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found."""

    held: Held
    agreeing: int
    causes: Mapping[Cause, int]
    differences: Sequence[Kept]


def who(caller: Caller) -> Who:
    """The person who acts; refused when the call names none."""
    return Who(caller.institution_id, caller.require_person())


class StatementDesk:
    """
    Takes lists in and holds them against what one service has.

    It never changes anything of ours: a correction is a command of its own.
    """

    def __init__(
        self,
        ours: Ours,
        parts: Parts,
        *,
        money: Collection[Cause] = (),
        sees_all: Collection[str] = (),
        check_line: Callable[[Statement, Line], None] | None = None,
    ) -> None:
        self._ours = ours
        self._parts = parts
        self._money = frozenset(money)
        self._check_line = check_line
        self._sees_all = frozenset(sees_all)
        """Roles that bring and see anybody's lists; all others have their own."""

    def own(self, caller: Caller) -> str:
        """The institution whose lists alone a caller sees; empty for whoever sees all."""
        return "" if caller.role in self._sees_all else caller.institution_id

    async def start(self, session: AsyncSession, caller: Caller, asked: Statement) -> UUID:
        """Announce a list; the same announcement again is the same reconciliation."""
        person = who(caller)
        if self.own(caller) not in ("", asked.institution_id):
            raise Denied(
                "NOT_YOUR_STATEMENT",
                f"{caller.institution_id} cannot bring a list of {asked.institution_id}",
                message_zh="不得代其他机构对账",
            )
        today = await business_day.today(session, asked.county_code)
        rules.check_statement(asked, today=today)
        await store.alone(session, asked.county_code, f"{asked.institution_id}:{asked.reference}")
        before = await store.find_by_reference(session, asked)
        if before is not None:
            return rules.check_own(asked, before).statement_id
        made = replace(asked, statement_id=ids.new_id(), started_by=person, started_on=today)
        await store.add_statement(session, made)
        return made.statement_id

    async def _held(
        self, session: AsyncSession, caller: Caller, county_code: str, statement_id: UUID
    ) -> Held:
        """A reconciliation of the caller's, held until the transaction ends."""
        await store.alone(session, county_code, str(statement_id))
        found = await store.find(session, county_code, self.own(caller), statement_id)
        if found is None:
            raise rules.reconciliation_not_found(statement_id)
        return found

    async def post_lines(
        self,
        session: AsyncSession,
        caller: Caller,
        county_code: str,
        statement_id: UUID,
        *,
        institution_id: str,
        as_of: date,
        lines: Sequence[Line | LiandongError],
    ) -> list[Line | LiandongError]:
        """Keep lines; each on its own, and one that came before once."""
        person = who(caller)
        today = await business_day.today(session, county_code)
        held = await self._held(session, caller, county_code, statement_id)
        statement = held.statement
        rules.check_file(statement, institution_id, as_of)
        numbers = [line.line_number for line in lines if isinstance(line, Line)]
        known = {
            line.line_number: line for line in await store.lines_of(session, statement, numbers)
        }
        fresh: list[Line] = []
        outcomes: list[Line | LiandongError] = []
        for line in lines:
            try:
                outcomes.append(self._taken(held, line, known, fresh))
            except LiandongError as error:
                outcomes.append(error)
        if held.posted_lines + len(fresh) > statement.stated_lines:
            raise Refused(
                "TOO_MANY_LINES",
                f"{statement.stated_lines} lines were stated",
                message_zh="笔数超过登记的笔数",
            )
        await store.add_lines(session, statement, fresh, by=person, on=today)
        return outcomes

    def _taken(
        self, held: Held, line: Line | LiandongError, known: dict[int, Line], fresh: list[Line]
    ) -> Line:
        """One line, as it is kept now."""
        if isinstance(line, LiandongError):
            raise line
        before = known.get(line.line_number)
        if before is not None:
            rules.check_same_line(line, before)
            return line
        if held.compared_on is not None:
            raise Refused(
                "RECONCILIATION_CLOSED",
                f"the list was compared on {held.compared_on}",
                message_zh="该对账单已完成比对",
            )
        if self._check_line is not None:
            self._check_line(held.statement, line)
        known[line.line_number] = line
        fresh.append(line)
        return line

    async def compare(
        self,
        session: AsyncSession,
        caller: Caller,
        county_code: str,
        statement_id: UUID,
        *,
        dry_run: bool,
    ) -> Compared:
        """Hold a list against ours; differences are kept once, and nothing of ours changes."""
        person = who(caller)
        today = await business_day.today(session, county_code)
        held = await self._held(session, caller, county_code, statement_id)
        if held.compared_on is not None:
            return await _found_before(session, held)
        statement = held.statement
        rules.check_whole(statement, lines=held.posted_lines, total=held.posted_sum)
        posted = await store.lines_of(session, statement)
        lines, records = await self._ours(session, statement, posted)
        found = rules.compare(lines, records, self._parts)
        if dry_run:
            return self._would_be(held, found, today)
        await store.add_comparison(session, statement, found, self._money, by=person, on=today)
        after = await store.find(session, county_code, "", statement_id)
        assert after is not None
        return await _found_before(session, after)

    def _would_be(self, held: Held, found: Comparison, today: date) -> Compared:
        causes: dict[Cause, int] = {}
        for each in found.differences:
            causes[each.cause] = causes.get(each.cause, 0) + 1
        shown = [
            Kept(
                number=0,
                statement_id=held.statement.statement_id,
                institution_id=held.statement.institution_id,
                difference=each,
                touches_money=each.cause in self._money,
                found_on=today,
                state=DifferenceState.OPEN,
            )
            for each in found.differences[:DIFFERENCES_SHOWN_MAX]
        ]
        return Compared(held, found.agreeing, causes, shown)

    async def _difference(
        self, session: AsyncSession, caller: Caller, county_code: str, number: int
    ) -> Kept:
        await store.alone(session, county_code, f"difference:{number}")
        found = await store.find_difference(session, county_code, self.own(caller), number)
        if found is None:
            raise rules.difference_not_found(number)
        return found

    async def resolve(
        self,
        session: AsyncSession,
        caller: Caller,
        county_code: str,
        number: int,
        *,
        resolution: Resolution,
        reason: str,
    ) -> Kept:
        """Keep what a person says of a difference; where money is touched a second one agrees."""
        person = who(caller)
        today = await business_day.today(session, county_code)
        found = await self._difference(session, caller, county_code, number)
        posters = await store.posters(session, county_code, found.statement_id)
        rules.check_resolver(number, person, posters=posters, state=found.state)
        await store.add_word(
            session, county_code, found, resolution, reason=reason, by=person, on=today
        )
        return await self._difference(session, caller, county_code, number)

    async def confirm(
        self,
        session: AsyncSession,
        caller: Caller,
        county_code: str,
        number: int,
        *,
        agrees: bool,
        reason: str,
    ) -> Kept:
        """Keep what a second person says of it."""
        person = who(caller)
        today = await business_day.today(session, county_code)
        found = await self._difference(session, caller, county_code, number)
        others = await store.posters(session, county_code, found.statement_id)
        if found.resolved_by is not None:
            others.add(found.resolved_by)
        rules.check_confirmer(number, person, others=others, state=found.state)
        await store.add_agreement(
            session, county_code, found, agrees=agrees, reason=reason, by=person, on=today
        )
        return await self._difference(session, caller, county_code, number)


async def _found_before(session: AsyncSession, held: Held) -> Compared:
    county_code, statement_id = held.statement.county_code, held.statement.statement_id
    shown = await store.list_differences(
        session,
        county_code,
        "",
        statement_id=statement_id,
        cause=None,
        unresolved=False,
        after=0,
        limit=DIFFERENCES_SHOWN_MAX,
    )
    causes = await store.causes_of(session, county_code, statement_id)
    return Compared(held, held.agreeing, causes, shown)
