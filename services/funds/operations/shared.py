"""Funds: what the use cases share: one transaction's work, leverage, days, debts of funds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import Fund, FundState, Movement, Part
from services.funds.rules import accounts as account_rules
from services.funds.rules import money as money_rules
from services.funds.store import accounts as account_store
from services.funds.store import cases as case_store
from services.funds.store import funds as fund_store
from services.funds.store import shared as shared_store
from services.funds.store import steps as step_store
from services.kernel import journal, outbox
from services.kernel.errors import NotFound, Refused
from services.kernel.journal import Account, Entry, Transfer
from services.kernel.money import Fen
from services.kernel.outbox import OutgoingEvent
from services.kernel.values import replace
from services.programmes.loader import Catalogue
from services.programmes.schema.values import known


@dataclass(slots=True)
class Work:
    """What one transaction has decided and not written yet."""

    funds: dict[UUID, Fund]
    changed: set[UUID] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    events: list[OutgoingEvent] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)

    def move(
        self,
        part: Part,
        kind: str,
        amount_fen: int,
        on: date,
        *,
        value_date: date | None = None,
        reference: str = "",
        person_id: str = "",
    ) -> None:
        """Note a change of a share, below zero when it is taken back; nothing is no change."""
        if amount_fen:
            self.movements.append(
                Movement(
                    county_code=part.county_code,
                    case_id=part.case_id,
                    position=part.position,
                    kind=kind,
                    amount_fen=amount_fen,
                    reference=reference,
                    person_id=person_id,
                    value_date=value_date or on,
                    business_date=on,
                )
            )

    def put(self, fund: Fund) -> None:
        """Take a fund's new value, if it is one."""
        if self.funds[fund.fund_id] != fund:
            self.funds[fund.fund_id] = fund
            self.changed.add(fund.fund_id)

    def of(self, county_code: str, programme_id: str) -> list[Fund]:
        """The funds of one programme in a county that are not closed."""
        return [
            fund
            for fund in self.funds.values()
            if fund.county_code == county_code
            and fund.programme_id == programme_id
            and fund.state is not FundState.CLOSED
        ]

    async def write(self, session: AsyncSession) -> None:
        """Write funds, journal and events."""
        await fund_store.save_funds(
            session, [self.funds[fund_id] for fund_id in sorted(self.changed)]
        )
        await journal.post(session, self.entries)
        await step_store.add_movements(session, self.movements)
        await outbox.record(session, self.events)


class Leverage:
    """The multiple that holds for a fund on a day; looked up once a transaction."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[tuple[str, str, date], int] = {}

    def multiple(self, county_code: str, programme_id: str, on: date) -> int:
        """Rules about funds use the version in force on the day; refused while it is open."""
        key = (county_code, programme_id, on)
        if key not in self._known:
            ref = self._catalogue.in_force(county_code, programme_id, on)
            self._known[key] = known(self._catalogue.terms(county_code, ref).fund.multiple)
        return self._known[key]

    def top_up_fen(self, fund: Fund, on: date) -> Fen:
        """What a fund needs by the rules of the day; nothing while they are open."""
        try:
            multiple = self.multiple(fund.county_code, fund.programme_id, on)
        except (NotFound, Refused):
            return fund.owed_fen
        ref = self._catalogue.in_force(fund.county_code, fund.programme_id, on)
        minimum = self._catalogue.terms(fund.county_code, ref).fund.min_balance_fen or 0
        return money_rules.top_up_fen(fund, multiple=multiple, min_balance_fen=minimum)


async def days(session: AsyncSession, said_on: Mapping[str, date]) -> dict[str, date]:
    """Each county's business date here; that of the event where no day was opened yet."""
    return {**said_on, **await shared_store.business_days(session, said_on)}


async def pay_debts(
    session: AsyncSession,
    work: Work,
    fund_ids: Iterable[UUID],
    *,
    cause: str,
    on: Mapping[str, date],
) -> None:
    """Let funds that received money pay what they owe."""
    owing = [fund_id for fund_id in fund_ids if work.funds[fund_id].owed_fen]
    if not owing:
        return
    paid: list[Part] = []
    found = await case_store.debts_of(session, owing)
    cases = {part.case_id for debts in found.values() for part in debts}
    lenders = await account_store.lenders_of(session, cases)
    loans = await case_store.loans_of(session, [part for each in found.values() for part in each])
    for fund_id, debts in found.items():
        before = work.funds[fund_id]
        fund, payments = money_rules.pay_debts(before, debts, lenders)
        work.put(fund)
        for payment in payments:
            part = replace(payment.part, version=payment.part.version + 1)
            paid.append(part)
            work.move(part, "paid", payment.amount_fen, on[fund.county_code], reference=cause)
            said = events_out.share_paid(
                part, loans[part.case_id], payment.amount_fen, on[fund.county_code]
            )
            work.events.append(said)
        moved = tuple(cash_moves(before, fund, Account("share_payable", str(fund_id))))
        name, day = f"{cause}/{fund_id}", on[fund.county_code]
        work.entries.append(Entry(fund.county_code, "debt_payment", name, day, day, moved))
    await case_store.save_parts(session, paid)


def cash(fund_id: UUID, custodian_id: str = "") -> Account:
    """The account of a fund's money, or of what one custodian bank keeps of it."""
    return Account("fund_cash", f"{fund_id}/{custodian_id}" if custodian_id else str(fund_id))


def cash_moves(before: Fund, after: Fund, against: Account) -> list[Transfer]:
    """What a fund paid or received, sub-account by sub-account, as transfers with another side."""
    moved = []
    for custodian_id, change in account_rules.changes(before, after):
        place = cash(before.fund_id, custodian_id)
        debit, credit = (place, against) if change > 0 else (against, place)
        moved.append(Transfer(debit, credit, Fen(abs(change))))
    return moved
