"""The registry itself over gRPC: areas, registration, import, reading."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from liandong.households.v1 import households_pb2, households_pb2_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import (
    Area,
    AreaLevel,
    Household,
    Line,
    Person,
    RegistrationStatus,
)
from services.households.operations import registration as operations
from services.households.operations.shared import IDENTITY_ROLES, Keys, require_county
from services.households.rules import registration as rules
from services.households.servicer import files, shared
from services.households.store import registration as store
from services.kernel import wire
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of

REGISTRAR_ROLES: Final = (*sorted(IDENTITY_ROLES), "operator")

_LEVELS: Final = {
    AreaLevel.COUNTY: households_pb2.AREA_LEVEL_COUNTY,
    AreaLevel.TOWNSHIP: households_pb2.AREA_LEVEL_TOWNSHIP,
    AreaLevel.VILLAGE: households_pb2.AREA_LEVEL_VILLAGE,
    AreaLevel.VILLAGER_GROUP: households_pb2.AREA_LEVEL_VILLAGER_GROUP,
}
_LEVELS_IN: Final = {number: level for level, number in _LEVELS.items()}
_STATUSES: Final = {
    RegistrationStatus.REGISTERED_POOR: households_pb2.REGISTRATION_STATUS_REGISTERED_POOR,
    RegistrationStatus.NEAR_POOR: households_pb2.REGISTRATION_STATUS_NEAR_POOR,
    RegistrationStatus.NON_POOR: households_pb2.REGISTRATION_STATUS_NON_POOR,
    RegistrationStatus.FIVE_GUARANTEE: households_pb2.REGISTRATION_STATUS_FIVE_GUARANTEE,
    RegistrationStatus.DELISTED: households_pb2.REGISTRATION_STATUS_DELISTED,
    RegistrationStatus.FLAGGED: households_pb2.REGISTRATION_STATUS_FLAGGED,
    RegistrationStatus.DECEASED: households_pb2.REGISTRATION_STATUS_DECEASED,
    RegistrationStatus.EXITED: households_pb2.REGISTRATION_STATUS_EXITED,
}
_STATUSES_IN: Final = {number: status for status, number in _STATUSES.items()}
RELATION_WORDS: Final = {relation: word for word, relation in rules.RELATION_WORDS.items()}
LABOUR_WORDS: Final = {labour: word for word, labour in rules.LABOUR_WORDS.items()}


class HouseholdsServicer(households_pb2_grpc.HouseholdsServiceServicer):
    """The registry's door."""

    def __init__(self, db: Database, keys: Keys) -> None:
        self._database = db
        self._keys = keys

    async def RegisterAreas(
        self, request: households_pb2.RegisterAreasRequest, context: Context
    ) -> households_pb2.RegisterAreasResponse:
        """Enter areas, parents before children."""
        caller = self._registrar(context, request.county_code)
        areas = [
            Area(area.area_code, area.name.strip(), _LEVELS_IN[area.level])
            for area in request.areas
        ]

        async def work(session: AsyncSession) -> households_pb2.RegisterAreasResponse:
            created = await operations.register_areas(session, request.county_code, areas)
            return households_pb2.RegisterAreasResponse(created=created, known=len(areas) - created)

        return await once(
            self._database, caller, request, households_pb2.RegisterAreasResponse, work, money=False
        )

    async def ListAreas(
        self, request: households_pb2.ListAreasRequest, context: Context
    ) -> households_pb2.ListAreasResponse:
        """Areas below one, in code order."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size = wire.page_size(request.page_size, default=100)
        async with self._database.transaction(caller) as session:
            found = await store.list_areas(
                session,
                request.county_code,
                within=request.within,
                after=wire.page_start(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.area_code)
        return households_pb2.ListAreasResponse(
            areas=[
                households_pb2.Area(area_code=a.area_code, name=a.name, level=_LEVELS[a.level])
                for a in page
            ],
            next_page_token=token,
        )

    async def RegisterHousehold(
        self, request: households_pb2.RegisterHouseholdRequest, context: Context
    ) -> households_pb2.RegisterHouseholdResponse:
        """Register one household with its people."""
        caller = self._registrar(context, request.county_code)

        async def work(session: AsyncSession) -> households_pb2.RegisterHouseholdResponse:
            household_id = await operations.register_household(
                session, caller, request.county_code, _lines_of_household(request), self._keys
            )
            return households_pb2.RegisterHouseholdResponse(household_id=str(household_id))

        return await once(
            self._database,
            caller,
            request,
            households_pb2.RegisterHouseholdResponse,
            work,
            money=False,
        )

    def ImportHouseholds(
        self,
        requests: AsyncIterator[households_pb2.ImportHouseholdsRequest],
        context: Context,
    ) -> AsyncIterator[households_pb2.ImportHouseholdsResponse]:
        """Register or update households from a file."""
        caller = caller_of(context)
        require_role(caller, REGISTRAR_ROLES)
        return files.import_file(self._database, self._keys, caller, requests)

    def ExportHouseholds(
        self,
        requests: AsyncIterator[households_pb2.ExportHouseholdsRequest],
        context: Context,
    ) -> AsyncIterator[households_pb2.ExportHouseholdsResponse]:
        """The registry in the form of a household file."""
        caller = caller_of(context)
        require_role(caller, REGISTRAR_ROLES)
        return files.export_file(self._database, self._keys, caller, requests)

    async def GetHousehold(
        self, request: households_pb2.GetHouseholdRequest, context: Context
    ) -> households_pb2.GetHouseholdResponse:
        """One household by id."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        household_id = parse_id("household_id", request.household_id)
        async with self._database.transaction(caller) as session:
            household, people, disputed = await operations.get_household(
                session,
                caller,
                request.county_code,
                household_id,
                self._keys,
                known_by=shared.known_by(request.as_of, request.HasField("as_of")),
            )
        answer = _to_proto(household, people)
        answer.disputed = disputed
        return households_pb2.GetHouseholdResponse(household=answer)

    async def ListHouseholds(
        self, request: households_pb2.ListHouseholdsRequest, context: Context
    ) -> households_pb2.ListHouseholdsResponse:
        """Households of an area, in id order, without their people."""
        caller = caller_of(context)
        require_county(caller, request.county_code)
        size = wire.page_size(request.page_size)
        start = wire.page_start(request.page_token)
        async with self._database.transaction(caller) as session:
            found = await operations.list_households(
                session,
                caller,
                request.county_code,
                within=request.within,
                after=parse_id("page_token", start) if start else store.ID_ZERO,
                limit=size + 1,
            )
        page, token = wire.page_of(found, size, lambda each: each.household_id)
        return households_pb2.ListHouseholdsResponse(
            households=[_to_proto(household, ()) for household in page],
            next_page_token=token,
        )

    @staticmethod
    def _registrar(context: Context, county_code: str) -> Caller:
        caller = caller_of(context)
        require_role(caller, REGISTRAR_ROLES)
        require_county(caller, county_code)
        return caller


def _lines_of_household(request: households_pb2.RegisterHouseholdRequest) -> list[Line]:
    status = _STATUSES_IN[request.status]
    return [
        Line(
            line_number=index,
            household_number=request.household_number,
            village_code=request.area_code,
            relation=member.relation,
            name=member.name,
            identity_number=member.identity_number,
            phone=member.phone,
            registration_status=status,
            honour=request.honour,
            labour=member.labour,
            registered_on="",
            unreadable="",
        )
        for index, member in enumerate(request.members)
    ]


def _to_proto(household: Household, people: Sequence[Person]) -> households_pb2.Household:
    return households_pb2.Household(
        household_id=str(household.household_id),
        county_code=household.county_code,
        household_number=household.household_number,
        area_code=household.area_code,
        status=_STATUSES[household.status],
        honour=household.honour or "",
        members=[
            households_pb2.Member(
                person_id=str(person.person_id),
                name=person.name,
                identity_number=person.identity_number,
                relation=RELATION_WORDS[person.relation],
                phone=person.phone,
                labour=LABOUR_WORDS[person.labour] if person.labour else "",
                disputed=person.disputed,
            )
            for person in people
        ],
        survivor_id=str(household.survivor_id or ""),
        version=household.version,
        provenance=shared.provenance_to_proto(household.provenance)
        if household.provenance
        else None,
    )
