"""Start the console; `link INSTITUTION [PERSON]` prints an address to come in by instead."""

import sys
import time

from gateway.console import links
from gateway.console.serving import serve
from gateway.console.settings import ConsoleSettings
from services.kernel import process, telemetry
from services.kernel.settings import PlatformSettings


def link(settings: ConsoleSettings, institution: str, person: str = "") -> str:
    """An address by which a person comes in, once; the first post where none is named."""
    token = links.make(
        links.key_at(settings.link_key_path),
        institution,
        person or f"{institution}-p1",
        now=int(time.time()),
        seconds=settings.link_seconds,
    )
    return f"{settings.base_url}/enter?code={token}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["link"]:
        sys.stdout.write(f"{link(ConsoleSettings(), *sys.argv[2:4])}\n")
    else:
        _platform = PlatformSettings()
        telemetry.start_logs(_platform.log_level)
        process.main(serve(ConsoleSettings(), _platform.env, _platform.programme_folders()))
