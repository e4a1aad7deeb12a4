"""Start the console: a web server, and connections to the gateway."""

import structlog

from gateway.console.serving import serve
from gateway.console.settings import ConsoleSettings
from services.kernel import process, telemetry
from services.kernel.settings import PlatformSettings

log = structlog.get_logger(__name__)

if __name__ == "__main__":
    _platform = PlatformSettings()
    telemetry.start_logs(_platform.log_level)
    process.main(serve(ConsoleSettings(), _platform.env, _platform.programme_folders()))
