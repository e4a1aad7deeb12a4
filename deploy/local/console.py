"""The console of one machine: its process with the local store of spans, and sign-in links."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.local.places import DataFolder
from deploy.local.spans import SpanStore
from gateway.console import links
from gateway.console.serving import serve
from gateway.console.settings import ConsoleSettings
from services.kernel import process, telemetry
from services.kernel.settings import PlatformSettings

PORT = "console"
LINK_SECONDS = 900
SPANS_PATH = "CONSOLE_SPANS_PATH"


def key_path(folder: DataFolder) -> Path:
    """Where the key lies that signs links into a folder's console."""
    return folder.private("keys") / "console-links.key"


def spans_path(folder: DataFolder) -> Path:
    """Where a folder's spans are."""
    return folder.private("spans") / "spans.sqlite"


def environment(
    folder: DataFolder, *, port: int, gateway: str, public: str, common: Mapping[str, str]
) -> dict[str, str]:
    """What the console of a stack is told; no database is among it."""
    passed = (
        "LIANDONG_ENV", "LIANDONG_PROGRAMMES_DIRS", "PATH", "HOME", "LANG", "LC_ALL", "TZ",
        "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR",
    )  # fmt: skip
    return {name: common[name] for name in passed if name in common} | {
        "CONSOLE_ADDRESS": f"127.0.0.1:{port}",
        "CONSOLE_GATEWAY_ADDRESS": gateway,
        "CONSOLE_PUBLIC_GATEWAY_ADDRESS": public,
        "CONSOLE_CREDENTIALS_PATH": str(folder.private("certs")),
        "CONSOLE_LINK_KEY_PATH": str(key_path(folder)),
        # One machine's platform is for trying things out; so its gateway takes persons' names.
        "CONSOLE_PERSON_METADATA": "true",
        SPANS_PATH: str(spans_path(folder)),
    }


def link(
    base_url: str, key: Path, institution: str, person: str, *, seconds: int = LINK_SECONDS
) -> str:
    """An address by which a person comes in, once."""
    token = links.make(
        links.key_at(key), institution, person, now=int(time.time()), seconds=seconds
    )
    return f"{base_url}/enter?code={token}"


def main() -> None:
    """Serve until SIGTERM."""
    platform = PlatformSettings()
    telemetry.start_logs(platform.log_level)
    path = os.environ.get(SPANS_PATH, "")
    traces = SpanStore(Path(path), reading=True) if path else None
    process.main(serve(ConsoleSettings(), platform.env, platform.programme_folders(), traces))


if __name__ == "__main__":
    main()
