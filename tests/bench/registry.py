"""`python -m tests.bench.registry`: the registry's own door in a process of its own, no relay."""

import asyncio
import secrets
import sys
from pathlib import Path

from deploy.local.ca import LocalCA
from services.households.operations.shared import Keys
from services.households.servicer.everything import Doors, add_to_server
from services.kernel import process, rpc
from services.kernel.caller import Verifier
from services.kernel.database import Database
from services.kernel.sealing import Finder, Sealer


async def serve(dsn: str, certificates: LocalCA, env: str) -> None:
    """Say the port on standard output, then answer until killed."""
    own = certificates.service("households")
    serving = rpc.Server(
        address="127.0.0.1:0",
        credentials=rpc.server_credentials(own.ca, own.cert, own.key),
        interceptors=[rpc.guard(Verifier(certificates.caller_keys().public), env=env)],
        concurrent_rpcs_max=64,
    )
    keys = Keys(Sealer([secrets.token_bytes(32)]), Finder(secrets.token_bytes(32)))
    db = Database(dsn, "households", pool_size=4)
    try:
        add_to_server(Doors(db, keys, payee_waiting_days=3), serving.server)
        sys.stdout.write(f"{serving.port}\n")
        sys.stdout.flush()
        await serving.run()
    finally:
        await db.close()


async def _main() -> None:
    # The address comes on standard input: a command line is anybody's to read.
    dsn, folder, env = (await asyncio.to_thread(sys.stdin.readline)).strip().split("\t")
    await serve(dsn, LocalCA(Path(folder), env=env), env)


if __name__ == "__main__":
    process.main(_main())
