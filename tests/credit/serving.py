"""The credit service as a process of its own, asked over gRPC as by the gateway, and killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from liandong.credit.v1 import credit_pb2, credit_pb2_grpc

from deploy.local.ca import LocalCA
from deploy.local.places import free_port
from services.kernel.caller import METADATA_KEY, Signer, body_hash
from services.kernel.ids import new_id
from services.kernel.status import reason_of
from tests.builders import a_caller
from tests.credit.county import household_id
from tests.eventually import eventually
from tests.servers import NatsServer, Schema

SERVICE = "/liandong.credit.v1.CreditService"
START_SECONDS_MAX = 60.0
CALL_SECONDS = 20.0


class Serving:
    """A running `python -m services.credit`."""

    def __init__(
        self, process: asyncio.subprocess.Process, channel: grpc.aio.Channel, signer: Signer
    ) -> None:
        self._process = process
        self._signer = signer
        self._stub: Any = credit_pb2_grpc.CreditServiceStub(channel)

    async def ask(self, method: str, request: Message, **who: Any) -> Any:
        """One call, signed; a command gets a request id of its own."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:  # type: ignore[attr-defined]
            request.request_id = str(new_id())  # type: ignore[attr-defined]
        named = {"role": "county_centre", "institution_id": "cfc-1", **who}
        caller = a_caller(
            f"{SERVICE}/{method}",
            request,
            body_hash=body_hash(request.SerializeToString()),
            county_code=request.county_code,  # type: ignore[attr-defined]
            areas=(),
            **named,
        )
        metadata = ((METADATA_KEY, self._signer.sign(caller)),)
        return await getattr(self._stub, method)(request, metadata=metadata, timeout=CALL_SECONDS)

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        await self._process.wait()

    async def answers(self, county_code: str) -> bool:
        """Whether it serves; that it knows no such household is an answer."""
        request = credit_pb2.GetCreditFileRequest(
            county_code=county_code, household_id=str(household_id(2**40))
        )
        assert self._process.returncode is None, "the service ended while starting"
        try:
            await self.ask("GetCreditFile", request)
        except grpc.aio.AioRpcError as error:
            return reason_of(error) == "CREDIT_FILE_NOT_FOUND"
        return True


@asynccontextmanager
async def serving(
    schema: Schema, nats: NatsServer, certificates: LocalCA, folder: Path, files: Mapping[str, str]
) -> AsyncIterator[Serving]:
    """The service over a database and a NATS, with these programme files beside the packaged."""
    _write(folder, files)
    own, port = certificates.service("credit"), free_port()
    env = {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LIANDONG_NATS_URL": nats.url,
        "LIANDONG_NATS_MONITOR_URL": nats.monitor_url,
        "LIANDONG_CA_PATH": str(certificates.ca_path),
        "LIANDONG_CALLER_PUBLIC_KEY_PATH": str(certificates.caller_keys().public),
        "LIANDONG_PROGRAMMES_DIRS": str(folder),
        "CREDIT_DATABASE_URL": schema.app_dsn,
        "CREDIT_GRPC_ADDRESS": f"127.0.0.1:{port}",
        "CREDIT_CERT_PATH": str(own.cert),
        "CREDIT_KEY_PATH": str(own.key),
    }
    gateway = certificates.service("gateway")
    credentials = grpc.ssl_channel_credentials(
        gateway.ca.read_bytes(), gateway.key.read_bytes(), gateway.cert.read_bytes()
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.credit", env=env, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with grpc.aio.secure_channel(
            f"localhost:{port}",
            credentials,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_reconnect_backoff_ms", 200),
            ],
        ) as channel:
            served = Serving(process, channel, Signer(certificates.caller_keys().private))
            county_code = "990101"
            await eventually(lambda: served.answers(county_code), seconds_max=START_SECONDS_MAX)
            yield served
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), START_SECONDS_MAX)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
