"""Start the loans service: the only module that builds things."""

from functools import partial

from services.kernel import chassis, pause_desk, process, telemetry
from services.kernel.chassis import Service
from services.kernel.operator import Books
from services.kernel.settings import PlatformSettings
from services.loans import store
from services.loans.events_in import handlers
from services.loans.jobs import close_day, work_day
from services.loans.servicer.everything import PROTO_SERVICES, Doors, add_to_server
from services.loans.settings import LoansSettings
from services.loans.store import readings
from services.programmes import offers
from services.programmes.loader import load


async def serve(settings: LoansSettings, platform: PlatformSettings) -> None:
    """Run the service until cancelled; a wrong pack ends it with the path of the key."""
    catalogue = load(platform.programme_folders())
    service = Service(
        noun="loans",
        proto_service=PROTO_SERVICES,
        add_to_server=add_to_server,
        servicer=lambda db: Doors(db, catalogue),
        handlers=handlers(catalogue),
        books=Books(
            totals=store.totals,
            close_day=close_day(catalogue),
            work_day=work_day(catalogue),
        ),
        pausable=pause_desk.products_of(partial(offers.has_product, catalogue)),
        reads=(readings.read,),
        # The bank first: a payout waits for its loan to be settled.
        gather_seconds=0.0,
    )
    await chassis.run(service, settings, platform)


if __name__ == "__main__":
    _platform = PlatformSettings()
    telemetry.start_logs(_platform.log_level)
    process.main(serve(LoansSettings(), _platform))
