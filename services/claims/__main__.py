"""Start the claims service: the only module that builds things."""

from functools import partial

from services.claims.events_in import handlers
from services.claims.reports import books
from services.claims.servicer.everything import PROTO_SERVICES, Doors, add_to_server
from services.claims.settings import ClaimsSettings
from services.claims.store import readings
from services.kernel import chassis, pause_desk, process, telemetry
from services.kernel.chassis import Service
from services.kernel.settings import PlatformSettings
from services.programmes import offers
from services.programmes.loader import load


async def serve(settings: ClaimsSettings, platform: PlatformSettings) -> None:
    """Build the service and run it until cancelled."""
    catalogue = load(platform.programme_folders())
    service = Service(
        noun="claims",
        proto_service=PROTO_SERVICES,
        add_to_server=add_to_server,
        servicer=lambda db: Doors(db, catalogue),
        handlers=handlers(catalogue),
        books=books(catalogue),
        pausable=pause_desk.products_of(partial(offers.has_cover, catalogue)),
        reads=(readings.read,),
    )
    await chassis.run(service, settings, platform)


if __name__ == "__main__":
    platform_settings = PlatformSettings()
    telemetry.start_logs(platform_settings.log_level)
    process.main(serve(ClaimsSettings(), platform_settings))
