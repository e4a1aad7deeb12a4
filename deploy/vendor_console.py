"""
Fetch the scripts of others that the console serves, from npm, with their licences.

Run it by hand after raising a version: `python -m deploy.vendor_console`. Each archive must have
the hash that stands here, so the same files come out whoever runs it.
"""

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDORED = Path(__file__).parents[1] / "gateway" / "console" / "static" / "vendor"
FETCH_SECONDS_MAX = 300


@dataclass(frozen=True, slots=True)
class Package:
    """A package of npm, and which of its files are kept under which names."""

    name: str
    version: str
    sha512: str
    files: dict[str, str]


PACKAGES = (
    Package(
        "htmx.org",
        "2.0.11",
        "Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==",
        {"package/dist/htmx.min.js": "htmx.min.js", "package/LICENSE": "htmx.LICENSE.txt"},
    ),
    Package(
        "echarts",
        "6.1.0",
        "q0yaFPggC9FUdsWH4blavRWFmxdrIodbkoKNAjJudAI6CA9gNPxHtV2RcZNEepZVlk4yvBYkOkbk6HIVpIyHZA==",
        {
            "package/dist/echarts.min.js": "echarts.min.js",
            "package/LICENSE": "echarts.LICENSE.txt",
            "package/NOTICE": "echarts.NOTICE.txt",
        },
    ),
)


def fetch(package: Package, folder: Path) -> None:
    """One package's files, once its archive has the hash that is promised."""
    subprocess.run(
        ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=FETCH_SECONDS_MAX,
    )
    archive = folder / f"{package.name}-{package.version}.tgz"
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != package.sha512:
        raise SystemExit(f"{archive.name}: sha512 is {found}, must be {package.sha512}")
    with tarfile.open(archive) as opened:
        for inside, name in package.files.items():
            member = opened.extractfile(inside)
            assert member is not None, f"{archive.name} has no {inside}"
            (VENDORED / name).write_bytes(member.read())


def main() -> None:
    """Fetch everything and say how heavy it is."""
    VENDORED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            fetch(package, Path(folder))
    for file in sorted(VENDORED.iterdir()):
        print(f"{file.name}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
