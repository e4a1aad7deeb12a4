"""Funds over gRPC: statements, past balances, the register."""

from datetime import datetime
from uuid import UUID

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp
from liandong.funds.v1 import accounts_pb2, accounts_pb2_grpc

from services.funds import reports
from services.funds.operations import accounts
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import invalid_field
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of


def recorded(row: asyncpg.Record) -> Timestamp:
    """When a row was written."""
    when = Timestamp()
    when.FromDatetime(row["recorded_at"])
    return when


def _entry(row: asyncpg.Record) -> accounts_pb2.FundEntry:
    return accounts_pb2.FundEntry(
        entry_id=str(row["entry_id"]),
        kind=row["kind"],
        cause_id=row["cause_id"],
        custodian_id=row["place"].partition("/")[2],
        amount_fen=row["amount_fen"],
        against=row["against"],
        value_date=wire.date_to_proto(row["value_date"]),
        business_date=wire.date_to_proto(row["business_date"]),
        recorded_time=recorded(row),
    )


def _class(name: str) -> "accounts_pb2.FundClass.ValueType":
    return accounts_pb2.FundClass.Value(f"FUND_CLASS_{(name or 'unspecified').upper()}")


def _registered(
    row: asyncpg.Record, held: tuple[tuple[str, int], ...]
) -> accounts_pb2.RegisteredFund:
    return accounts_pb2.RegisteredFund(
        county_code=row["county_code"],
        fund_id=str(row["fund_id"]),
        programme_id=row["programme_id"],
        kind=row["kind"],
        fund_class=_class(row["fund_class"]),
        scope_id=row["scope_id"],
        state=accounts_pb2.FundState.Value(f"FUND_STATE_{row['state'].upper()}"),
        balance_fen=row["balance_fen"],
        covered_fen=row["covered_fen"],
        owed_fen=row["owed_fen"],
        contributed_fen=row["contributed_fen"],
        due_fen=row["due_fen"],
        accounts=[
            accounts_pb2.SubAccount(custodian_id=bank, balance_fen=fen) for bank, fen in held
        ],
    )


def _total(row: asyncpg.Record) -> accounts_pb2.RegisterTotal:
    return accounts_pb2.RegisterTotal(
        fund_class=_class(row["fund_class"]),
        counties=row["counties"],
        funds=row["funds"],
        balance_fen=row["balance_fen"],
        covered_fen=row["covered_fen"],
        owed_fen=row["owed_fen"],
        contributed_fen=row["contributed_fen"],
    )


def _after_entry(token: str) -> tuple[UUID, int, bool]:
    """Entry, line and side after which a page begins."""
    last = wire.page_start(token)
    if not last:
        return reports.FIRST, -1, False
    entry, line, side = (*last.split("/"), "", "")[:3]
    if not line.isdecimal() or side not in ("0", "1"):
        rule = "must come from the answer before"
        raise invalid_field("MALFORMED_PAGE_TOKEN", "page_token", token, rule)
    return parse_id("page_token", entry), int(line), side == "1"


def _after_fund(token: str) -> tuple[str, UUID]:
    last = wire.page_start(token)
    if not last:
        return "", reports.FIRST
    county_code, _, fund_id = last.partition("/")
    return county_code, parse_id("page_token", fund_id)


class BooksDoor(accounts_pb2_grpc.FundAccountsServiceServicer):
    """The books of funds, read."""

    _database: Database

    async def ListFundEntries(
        self, request: accounts_pb2.ListFundEntriesRequest, context: Context
    ) -> accounts_pb2.ListFundEntriesResponse:
        """A statement between two days."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller, snapshot=True) as session:
            found = await accounts.statement(
                session,
                caller,
                request.county_code,
                parse_id("fund_id", request.fund_id),
                custodian_id=request.custodian_id,
                between=(
                    wire.date_from_proto("from_date", request.from_date),
                    wire.date_from_proto("until_date", request.until_date),
                ),
                after=_after_entry(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(
            found.entries,
            size,
            lambda row: f"{row['entry_id']}/{row['line']}/{int(row['received'])}",
        )
        return accounts_pb2.ListFundEntriesResponse(
            entries=[_entry(row) for row in page],
            opening_balance_fen=found.opening_fen,
            closing_balance_fen=found.closing_fen,
            next_page_token=token,
        )

    async def GetFundBalance(
        self, request: accounts_pb2.GetFundBalanceRequest, context: Context
    ) -> accounts_pb2.GetFundBalanceResponse:
        """A past balance."""
        caller = caller_of(context)
        value_date = None
        if request.HasField("value_date"):
            value_date = wire.date_from_proto("value_date", request.value_date)
        instant: datetime | None = None
        if request.HasField("recorded_time"):
            instant = wire.time_from_proto("recorded_time", request.recorded_time)
        async with self._database.transaction(caller) as session:
            held = await accounts.balance_at(
                session,
                caller,
                request.county_code,
                parse_id("fund_id", request.fund_id),
                custodian_id=request.custodian_id,
                value_date=value_date,
                recorded=instant,
            )
        return accounts_pb2.GetFundBalanceResponse(
            balance_fen=sum(held.values()),
            accounts=[
                accounts_pb2.SubAccount(custodian_id=bank, balance_fen=fen)
                for bank, fen in held.items()
            ],
        )

    async def ListFundRegister(
        self, request: accounts_pb2.ListFundRegisterRequest, context: Context
    ) -> accounts_pb2.ListFundRegisterResponse:
        """The register of funds."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller, snapshot=True) as session:
            found = await accounts.register(
                session,
                caller,
                request.county_code,
                after=_after_fund(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(
            found.rows, size, lambda row: f"{row['county_code']}/{row['fund_id']}"
        )
        return accounts_pb2.ListFundRegisterResponse(
            funds=[_registered(row, found.accounts.get(row["fund_id"], ())) for row in page],
            totals=[_total(row) for row in found.totals],
            next_page_token=token,
        )
