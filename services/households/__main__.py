"""Start the households service: the only module that builds things."""

from services.households.events_in import HANDLERS
from services.households.operations.registration import BOOKS
from services.households.operations.shared import Keys
from services.households.servicer.everything import PROTO_SERVICES, Doors, add_to_server
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
        proto_service=PROTO_SERVICES,
        add_to_server=add_to_server,
        servicer=lambda db: Doors(db, keys, settings.payee_waiting_days),
        handlers=HANDLERS,
        books=BOOKS,
    )
    await chassis.run(service, settings, platform)


if __name__ == "__main__":
    platform_settings = PlatformSettings()
    telemetry.start_logs(platform_settings.log_level)
    process.main(serve(HouseholdsSettings(), platform_settings))
