"""Areas in time over gRPC: flags and village services."""

from liandong.households.v1 import areas_pb2, areas_pb2_grpc, households_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import AreaFlag, LiaisonOfficer, ServicePoint, VillageService
from services.households.operations import areas as operations
from services.households.servicer import shared
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.rpc import Context

_REGISTRARS = ("county_centre", "poverty_office")


class AreasServicer(areas_pb2_grpc.AreasServiceServicer):
    """What is known of areas beyond their names."""

    def __init__(self, db: Database) -> None:
        self._database = db

    async def SetAreaFlag(
        self, request: areas_pb2.SetAreaFlagRequest, context: Context
    ) -> areas_pb2.SetAreaFlagResponse:
        """Set or lift a dated flag."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)

        async def work(session: AsyncSession) -> areas_pb2.SetAreaFlagResponse:
            version = await operations.set_flag(
                session,
                caller,
                request.county_code,
                request.area_code,
                flag=request.flag,
                is_set=request.set,
                valid_from=shared.day("valid_from", request.valid_from),
                evidence=shared.evidence_of(request.evidence),
            )
            return areas_pb2.SetAreaFlagResponse(version=version)

        answer = areas_pb2.SetAreaFlagResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def SetVillageService(
        self, request: areas_pb2.SetVillageServiceRequest, context: Context
    ) -> areas_pb2.SetVillageServiceResponse:
        """Say who serves a village."""
        caller = shared.allowed(context, request.county_code, _REGISTRARS)

        async def work(session: AsyncSession) -> areas_pb2.SetVillageServiceResponse:
            version = await operations.set_service(
                session,
                caller,
                request.county_code,
                request.village_code,
                _service(request.service),
                evidence=shared.evidence_of(request.evidence),
            )
            return areas_pb2.SetVillageServiceResponse(version=version)

        answer = areas_pb2.SetVillageServiceResponse
        return await shared.command(self._database, caller, request, answer, work)

    async def GetArea(
        self, request: areas_pb2.GetAreaRequest, context: Context
    ) -> areas_pb2.GetAreaResponse:
        """One area with its flags and its service."""
        caller = shared.allowed(context, request.county_code)
        async with self._database.transaction(caller) as session:
            area, flags, service = await operations.get_area(
                session,
                request.county_code,
                request.area_code,
                shared.known_by(request.as_of, request.HasField("as_of")),
            )
        level = shared.enum_to_proto(households_pb2.AreaLevel, "AREA_LEVEL", area.level)
        return areas_pb2.GetAreaResponse(
            area=households_pb2.Area(area_code=area.area_code, name=area.name, level=level),
            flags=[_flag_to_proto(flag) for flag in flags],
            service=_service_to_proto(service) if service else None,
        )


def _service(message: areas_pb2.VillageService) -> VillageService:
    return VillageService(
        contracted_bank_id=message.contracted_bank_id,
        liaison_officers=tuple(
            LiaisonOfficer(
                shared.enum_name(areas_pb2.LiaisonSide, "LIAISON_SIDE", each.side),
                each.institution_id,
                each.post_id,
            )
            for each in message.liaison_officers
        ),
        service_points=tuple(
            ServicePoint(
                each.service_point_id, each.name, each.institution_id, tuple(each.post_ids)
            )
            for each in message.service_points
        ),
        valid_from=shared.day("service.valid_from", message.valid_from),
    )


def _flag_to_proto(flag: AreaFlag) -> areas_pb2.AreaFlag:
    return areas_pb2.AreaFlag(
        flag=flag.flag,
        set=flag.is_set,
        valid_from=wire.date_to_proto(flag.valid_from),
        provenance=shared.provenance_to_proto(flag.provenance),
    )


def _service_to_proto(service: VillageService) -> areas_pb2.VillageService:
    return areas_pb2.VillageService(
        contracted_bank_id=service.contracted_bank_id,
        liaison_officers=[
            areas_pb2.LiaisonOfficer(
                side=shared.enum_to_proto(areas_pb2.LiaisonSide, "LIAISON_SIDE", each.side),
                institution_id=each.institution_id,
                post_id=each.post_id,
            )
            for each in service.liaison_officers
        ],
        service_points=[
            areas_pb2.ServicePoint(
                service_point_id=each.service_point_id,
                name=each.name,
                institution_id=each.institution_id,
                post_ids=each.post_ids,
            )
            for each in service.service_points
        ],
        valid_from=wire.date_to_proto(service.valid_from),
        provenance=shared.optional_provenance(service.provenance),
    )
