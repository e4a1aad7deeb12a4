"""Start the funds service: the only module that builds things."""

from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import reports
from services.funds.events_in import handlers
from services.funds.servicer.everything import PROTO_SERVICES, Doors, add_to_server
from services.funds.settings import FundsSettings
from services.kernel import chassis, process, telemetry
from services.kernel.chassis import Service
from services.kernel.operator import Books
from services.kernel.settings import PlatformSettings
from services.programmes.loader import load


async def close_day(_session: AsyncSession, _county_code: str, _day: date) -> None:
    """Nothing of funds ends with a day yet: cover and debts have no term in the programmes."""


async def serve(settings: FundsSettings, platform: PlatformSettings) -> None:
    """Run the service until cancelled; a wrong pack ends it with the path of the key."""
    catalogue = load(platform.programme_folders())
    service = Service(
        noun="funds",
        proto_service=PROTO_SERVICES,
        add_to_server=add_to_server,
        servicer=lambda db: Doors(db, catalogue),
        handlers=handlers(catalogue),
        books=Books(totals=reports.totals, close_day=close_day),
    )
    await chassis.run(service, settings, platform)


if __name__ == "__main__":
    shared = PlatformSettings()
    telemetry.start_logs(shared.log_level)
    process.main(serve(FundsSettings(), shared))
