"""A running platform, as the `liandong` command finds it: where it is and as whom it calls."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from liandong.common.v1 import operator_pb2, operator_pb2_grpc

from deploy.local.ca import Credentials
from deploy.local.client import Institution, credentials_in
from deploy.local.places import DataFolder, write_file

FILE = "platform.json"


@dataclass(frozen=True, slots=True)
class Remote:
    """What a stack leaves in its folder for those who want to call it."""

    gateway: str
    nats_url: str
    certificates: str
    env: str
    counties: tuple[str, ...]
    institutions: Mapping[str, str]
    """Institution id to role."""
    console: str = ""
    """Where browsers find the console; empty where none was started."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Process to the host and port of its metrics."""

    def save(self, folder: DataFolder) -> None:
        """Write it into the stack's folder."""
        write_file(folder.path / FILE, json.dumps(asdict(self), indent=2), mode=0o600)

    @classmethod
    def read(cls, folder: DataFolder) -> "Remote":
        """The platform of a folder; LookupError when none was started there."""
        path = folder.path / FILE
        if not path.exists():
            raise LookupError(f"no platform was started in {folder.path}; try `liandong up`")
        found = json.loads(path.read_text(encoding="utf-8"))
        found["counties"] = tuple(found["counties"])
        return cls(**found)

    def with_role(self, role: str) -> str:
        """The first institution of a role."""
        for institution_id, own in self.institutions.items():
            if own == role:
                return institution_id
        raise LookupError(f"no institution has the role {role}")

    def institution(self, institution_id: str) -> Institution:
        """A client for an institution."""
        own = credentials_in(Path(self.certificates), institution_id, self.env)
        return Institution(self.gateway, own, institution_id)

    def service_credentials(self, noun: str) -> Credentials:
        """The certificate of a service or of the operator's tools."""
        folder = Path(self.certificates)
        own = folder / "svc" / noun
        return Credentials(
            spiffe_id=f"spiffe://liandong/{self.env}/svc/{noun}",
            cert=own / "cert.pem",
            key=own / "key.pem",
            ca=folder / "ca.pem",
        )

    def county(self, asked: str) -> str:
        """The county that was asked for, or the only one there is."""
        if asked:
            return asked
        if len(self.counties) != 1:
            raise LookupError(f"say which county: {', '.join(self.counties)}")
        return self.counties[0]


class Operator:
    """Calls the operator's surface of every service through the gateway."""

    def __init__(self, client: Institution) -> None:
        self._client = client

    async def ask(self, noun: str, method: str, request: Any, *, post: int = 1) -> Any:
        """One method of one service."""
        return await self._client.call(
            operator_pb2_grpc.OperatorServiceStub,
            method,
            request,
            post=post,
            metadata={"liandong-service": noun},
        )

    async def totals(
        self, noun: str, county_code: str, *, positions_only: bool
    ) -> operator_pb2.GetTotalsResponse:
        """A service's control totals, or only how far it has said and heard."""
        request = operator_pb2.GetTotalsRequest(
            county_code=county_code, positions_only=positions_only
        )
        answer: operator_pb2.GetTotalsResponse = await self.ask(noun, "GetTotals", request)
        return answer
