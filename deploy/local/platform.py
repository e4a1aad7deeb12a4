"""All services and the gateway in one process, each as it would run in its own."""

import asyncio

from gateway.__main__ import serve as serve_gateway
from gateway.settings import GatewaySettings
from services.claims.__main__ import serve as serve_claims
from services.claims.settings import ClaimsSettings
from services.credit.__main__ import serve as serve_credit
from services.credit.settings import CreditSettings
from services.funds.__main__ import serve as serve_funds
from services.funds.settings import FundsSettings
from services.households.__main__ import serve as serve_households
from services.households.settings import HouseholdsSettings
from services.kernel import process, telemetry
from services.kernel.settings import PlatformSettings
from services.loans.__main__ import serve as serve_loans
from services.loans.settings import LoansSettings


async def serve(platform: PlatformSettings) -> None:
    """Run everything until cancelled; the gateway stops first."""
    parts = (
        serve_gateway(GatewaySettings(), platform),
        serve_households(HouseholdsSettings(), platform),
        serve_credit(CreditSettings(), platform),
        serve_loans(LoansSettings(), platform),
        serve_claims(ClaimsSettings(), platform),
        serve_funds(FundsSettings(), platform),
    )
    # Each in a task of its own: what a service notes in its context stays its own.
    await process.run(*(asyncio.create_task(part) for part in parts))


if __name__ == "__main__":
    _platform = PlatformSettings()
    telemetry.start_logs(_platform.log_level)
    process.main(serve(_platform))
