"""Start the credit service: the only module that builds things."""

from functools import partial

from liandong.credit.v1 import credit_pb2, credit_pb2_grpc

from services.credit.events_in import handlers
from services.credit.jobs import close_day, rescores
from services.credit.reports import totals
from services.credit.servicer import CreditServicer
from services.credit.settings import CreditSettings
from services.kernel import chassis, process, telemetry
from services.kernel.chassis import Service
from services.kernel.operator import Books
from services.kernel.settings import PlatformSettings
from services.programmes.loader import load


async def serve(settings: CreditSettings, platform: PlatformSettings) -> None:
    """Run until cancelled; a wrong pack ends it at once with the path of the key."""
    catalogue = load(platform.programme_folders())
    service = Service(
        noun="credit",
        proto_service=credit_pb2.DESCRIPTOR.services_by_name["CreditService"].full_name,
        add_to_server=credit_pb2_grpc.add_CreditServiceServicer_to_server,
        servicer=partial(CreditServicer, catalogue=catalogue),
        handlers=handlers(catalogue),
        books=Books(totals=totals, close_day=close_day(catalogue)),
        work=rescores(catalogue),
    )
    await chassis.run(service, settings, platform)


if __name__ == "__main__":
    platform = PlatformSettings()
    telemetry.start_logs(platform.log_level)
    process.main(serve(CreditSettings(), platform))
