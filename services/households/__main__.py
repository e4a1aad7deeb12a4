"""Start the households service: the only module that builds things."""

from liandong.households.v1 import households_pb2_grpc

from services.households.events_in import HANDLERS
from services.households.operations import BOOKS, Keys
from services.households.servicer import HouseholdsServicer
from services.households.settings import HouseholdsSettings
from services.kernel import chassis, process, telemetry
from services.kernel.sealing import Finder, Sealer, read_key
from services.kernel.settings import PlatformSettings


async def serve(settings: HouseholdsSettings, platform: PlatformSettings) -> None:
    """Run the service until cancelled."""
    keys = Keys(
        sealer=Sealer([read_key(settings.data_key_path)]),
        finder=Finder(read_key(settings.lookup_key_path)),
    )
    service = chassis.Service(
        noun="households",
        proto_service="liandong.households.v1.HouseholdsService",
        add_to_server=households_pb2_grpc.add_HouseholdsServiceServicer_to_server,
        servicer=lambda db: HouseholdsServicer(db, keys),
        handlers=HANDLERS,
        books=BOOKS,
    )
    await chassis.run(service, settings, platform)


if __name__ == "__main__":
    platform_settings = PlatformSettings()
    telemetry.start_logs(platform_settings.log_level)
    process.main(serve(HouseholdsSettings(), platform_settings))
