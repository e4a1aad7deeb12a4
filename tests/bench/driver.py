"""The driver: runs the load generator in a process of its own and reads what it says."""

import asyncio
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.ca import Credentials
from tests.bench.load import Outcome, write_bodies

SECONDS_MAX = 600.0


@dataclass(frozen=True, slots=True)
class Driver:
    """Where load goes and as whom."""

    folder: Path
    """For the files of bodies."""
    credentials: Credentials
    person: str

    async def drive(
        self,
        address: str,
        method: str,
        bodies: Sequence[bytes],
        *,
        at_once: int = 32,
        rate: float = 0.0,
    ) -> Outcome:
        """Send each body once: so many at once, or so many a second."""
        path = self.folder / f"bodies-{secrets.token_hex(4)}"
        write_bodies(path, bodies)
        own = self.credentials
        arguments = {
            "address": address,
            "method": method,
            "bodies": path,
            "ca": own.ca,
            "cert": own.cert,
            "key": own.key,
            "header": f"liandong-person={self.person}",
            "at-once": at_once,
            "rate": rate,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.bench.load"),
            *(f"--{name}={value}" for name, value in arguments.items()),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
        finally:
            if process.returncode is None:
                process.kill()
            path.unlink()
        assert process.returncode == 0, f"the generator ended with {process.returncode}"
        return Outcome(**json.loads(said))
