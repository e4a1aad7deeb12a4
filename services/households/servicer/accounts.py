"""Payee accounts over gRPC."""

from datetime import date
from uuid import UUID

from liandong.households.v1 import accounts_pb2, accounts_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import PayeeAccount, PayeeAccountState, Provenance
from services.households.operations import accounts as operations
from services.households.operations.shared import Keys
from services.households.servicer import shared
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.ids import parse_id
from services.kernel.rpc import Context

_STATE = "PAYEE_ACCOUNT_STATE"


class AccountsServicer(accounts_pb2_grpc.AccountsServiceServicer):
    """Where households are paid."""

    def __init__(self, db: Database, keys: Keys, *, waiting_days: int) -> None:
        self._database = db
        self._keys = keys
        self._waiting_days = waiting_days

    async def RegisterPayeeAccount(
        self, request: accounts_pb2.RegisterPayeeAccountRequest, context: Context
    ) -> accounts_pb2.RegisterPayeeAccountResponse:
        """Register an account."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)
        evidence = shared.evidence_of(request.evidence)
        account = PayeeAccount(
            account_id=UUID(int=0),
            household_id=parse_id("household_id", request.household_id),
            holder_id=parse_id("holder_id", request.holder_id),
            bank_id=request.bank_id,
            state=PayeeAccountState.PROPOSED,
            earliest_on=None,
            provenance=Provenance(caller.institution_id, caller.person_id, evidence, date.min),
            decision=None,
            account_number=request.account_number,
        )

        async def work(session: AsyncSession) -> accounts_pb2.RegisterPayeeAccountResponse:
            made = await operations.register_account(
                session,
                caller,
                request.county_code,
                account,
                self._keys,
                account_name=request.account_name,
                waiting_days=self._waiting_days,
                evidence=evidence,
            )
            return accounts_pb2.RegisterPayeeAccountResponse(
                account_id=str(made.account_id),
                state=shared.enum_to_proto(accounts_pb2.PayeeAccountState, _STATE, made.state),
                earliest_on=wire.date_to_proto(made.earliest_on),
            )

        answer = accounts_pb2.RegisterPayeeAccountResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def BatchRegisterPayeeAccounts(
        self, request: accounts_pb2.BatchRegisterPayeeAccountsRequest, context: Context
    ) -> accounts_pb2.BatchRegisterPayeeAccountsResponse:
        """Register the first accounts of many households."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)
        evidence = shared.evidence_of(request.evidence)
        accounts = [
            (
                PayeeAccount(
                    account_id=UUID(int=0),
                    household_id=parse_id(f"items[{place}].household_id", item.household_id),
                    holder_id=UUID(int=0),
                    bank_id=item.bank_id,
                    state=PayeeAccountState.PROPOSED,
                    earliest_on=None,
                    provenance=Provenance(
                        caller.institution_id, caller.person_id, evidence, date.min
                    ),
                    decision=None,
                    account_number=item.account_number,
                ),
                item.account_name,
            )
            for place, item in enumerate(request.items)
        ]

        async def work(session: AsyncSession) -> accounts_pb2.BatchRegisterPayeeAccountsResponse:
            made = await operations.register_first_accounts(
                session, caller, request.county_code, accounts, self._keys, evidence=evidence
            )
            return accounts_pb2.BatchRegisterPayeeAccountsResponse(
                verdicts=[
                    wire.refused(place, each)
                    if isinstance(each, LiandongError)
                    else wire.accepted(place, each.account_id)
                    for place, each in enumerate(made)
                ]
            )

        answer = accounts_pb2.BatchRegisterPayeeAccountsResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def DecidePayeeAccount(
        self, request: accounts_pb2.DecidePayeeAccountRequest, context: Context
    ) -> accounts_pb2.DecidePayeeAccountResponse:
        """Confirm or refuse a change as the second person."""
        caller = shared.allowed(context, request.county_code, shared.STATION_ROLES)

        async def work(session: AsyncSession) -> accounts_pb2.DecidePayeeAccountResponse:
            state = await operations.decide_account(
                session,
                caller,
                request.county_code,
                parse_id("account_id", request.account_id),
                self._keys,
                confirmed=request.confirmed,
                evidence=shared.evidence_of(request.evidence),
            )
            number = shared.enum_to_proto(accounts_pb2.PayeeAccountState, _STATE, state)
            return accounts_pb2.DecidePayeeAccountResponse(state=number)

        answer = accounts_pb2.DecidePayeeAccountResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def ListPayeeAccounts(
        self, request: accounts_pb2.ListPayeeAccountsRequest, context: Context
    ) -> accounts_pb2.ListPayeeAccountsResponse:
        """The accounts of a household."""
        caller = shared.allowed(context, request.county_code)
        async with self._database.transaction(caller) as session:
            found = await operations.list_accounts(
                session,
                caller,
                request.county_code,
                parse_id("household_id", request.household_id),
                self._keys,
                known_by=shared.known_by(request.as_of, request.HasField("as_of")),
            )
        return accounts_pb2.ListPayeeAccountsResponse(
            accounts=[_account_to_proto(account) for account in found]
        )


def _account_to_proto(account: PayeeAccount) -> accounts_pb2.PayeeAccount:
    return accounts_pb2.PayeeAccount(
        account_id=str(account.account_id),
        household_id=str(account.household_id),
        holder_id=str(account.holder_id),
        bank_id=account.bank_id,
        account_number=account.account_number,
        state=shared.enum_to_proto(accounts_pb2.PayeeAccountState, _STATE, account.state),
        earliest_on=wire.date_to_proto(account.earliest_on),
        provenance=shared.provenance_to_proto(account.provenance),
        decision=shared.optional_provenance(account.decision),
        disputed=account.disputed,
    )
