"""Start the funds service: the only module that builds things."""

from services.funds import jobs, reports
from services.funds.events_in import handlers
from services.funds.servicer.everything import PROTO_SERVICES, Doors, add_to_server
from services.funds.settings import FundsSettings
from services.funds.store import readings
from services.kernel import chassis, process, telemetry
from services.kernel.chassis import Service
from services.kernel.operator import Books
from services.kernel.settings import PlatformSettings
from services.programmes.loader import load


async def serve(settings: FundsSettings, platform: PlatformSettings) -> None:
    """Run the service until cancelled; a wrong pack ends it with the path of the key."""
    catalogue = load(platform.programme_folders())
    service = Service(
        noun="funds",
        proto_service=PROTO_SERVICES,
        add_to_server=add_to_server,
        servicer=lambda db: Doors(db, catalogue),
        handlers=handlers(catalogue),
        books=Books(totals=reports.totals, close_day=jobs.close_day(catalogue)),
        reads=(readings.read,),
    )
    await chassis.run(service, settings, platform)


if __name__ == "__main__":
    shared = PlatformSettings()
    telemetry.start_logs(shared.log_level)
    process.main(serve(FundsSettings(), shared))
