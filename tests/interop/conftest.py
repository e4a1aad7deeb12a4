"""A platform with a small county's year on it, and what Node.js needs to call it."""

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.demo import run as demo
from deploy.demo import year_plan
from deploy.demo.year import Year
from deploy.local import places
from deploy.local.client import Institution, credentials_in
from deploy.local.stack import Stack
from deploy.nats import topology
from services.programmes.loader import load
from tests.interop import guide
from tests.platforms import a_platform

SCALE = 0.02
STARTS_ON = date(2018, 12, 17)
"""The plan's first weekday of lending; no day is lived that the guide does not need."""
TODAY = date(2018, 12, 25)
"""As the demo's year leaves it."""
SECONDS = 280


@dataclass(frozen=True)
class Desk:
    """The folder of an engineer who follows the guide, with a platform to call."""

    folder: Path
    platform: str
    """The platform's data folder, which the guide calls `demo`."""

    async def run(self, commands: str, *, node: Path | None = None) -> str:
        """Run commands as the guide has them; what they print."""
        text = commands.replace("--folder demo", f"--folder {self.platform}")
        code = f"{guide.ROOT}:{guide.ROOT / 'protos' / 'gen'}"
        env = os.environ | {"PYTHONPATH": code, "NODE_OPTIONS": "--no-deprecation"}
        env["PATH"] = f"{guide.ROOT / '.venv' / 'bin'}:{env['PATH']}"
        if node is not None and not (self.folder / "node_modules").exists():
            (self.folder / "node_modules").symlink_to(node)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", text),
            cwd=self.folder,
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode == 0, f"{out.decode()}\n{errors.decode()}"
        return out.decode()


class Beginning(Year):
    """A year whose first loans are lent at its end: enough for who follows the guide."""

    async def begin(self) -> None:
        """Households, limits, fund, policies and loans; then the days up to the guide's."""
        self.plan = plan = year_plan.plan(demo.SEED, SCALE, starts_on=STARTS_ON)
        await self._advance(plan.starts_on - timedelta(days=5))
        await self._register()
        await self._grant_credit()
        await self._found_fund_and_policies()
        day = min(application.applied_on for application in plan.applications)
        await self._advance(day)
        await self._lend([each for each in plan.applications if each.applied_on == day])
        await self._advance(TODAY)
        await self.quiet()


async def _live(stack: Stack) -> None:
    """Let there be loans that are covered and insured."""
    certificates = stack.folder.private("certs")

    def at(institution_id: str) -> Institution:
        own = credentials_in(certificates, institution_id, stack.shape.env)
        return Institution(stack.gateway_address, own, institution_id)

    year = Beginning(
        at,
        load([demo.COUNTY_FOLDER]),
        topology.load(),
        folder=stack.folder.private("files"),
        seed=demo.SEED,
        scale=SCALE,
        say=lambda _: None,
    )
    try:
        await year.begin()
    finally:
        await year.close()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A scratch folder beside a platform; of this project it holds the protos and the guide."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "protos").symlink_to(guide.ROOT / "protos")
    guide.write_files(folder)
    for path in guide.HERE.glob("*.mjs"):
        shutil.copy(path, folder)
    async with a_platform("interop") as stack:
        await _live(stack)
        yield Desk(folder, stack.folder.path.name)


@pytest.fixture(scope="session")
def node() -> Path:
    """The installed packages of package-lock.json, kept between runs."""
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        pytest.skip("Node.js is not installed: the Node.js clients of tests/interop did not run")
    lock = (guide.HERE / "package-lock.json").read_bytes()
    folder = places.find().root / "node" / hashlib.sha256(lock).hexdigest()[:16]
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(guide.HERE / name, folder)
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            pytest.skip(f"npm ci did not install the Node.js packages: {last}")
        (folder / "done").touch()
    return folder / "node_modules"
