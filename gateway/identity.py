"""Identity: whose certificate it is, which person is named, for which purpose."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.spans import TRACEPARENT
from services.kernel.caller import Caller
from services.kernel.errors import Denied, Unauthenticated, Unavailable, invalid_field
from services.kernel.rpc import Context

PERSON_KEY = "liandong-person"
PURPOSE_KEY = "liandong-purpose"
SERVICE_KEY = "liandong-service"
BREAK_GLASS_KEY = "liandong-break-glass"

ABOVE_COUNTIES = "000000"
REFRESH_SECONDS = 1.0
AGE_SECONDS_MAX = 60.0
"""How long the directory may stand in for a database that does not answer."""

_PURPOSE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}")
_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True)
class Institution:
    """An institution that may call, with the posts behind it."""

    institution_id: str
    name: str
    name_zh: str
    role: str
    county_code: str
    areas: tuple[str, ...]
    active: bool
    version: int
    persons: frozenset[str]


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a call says it is from, before anything is verified but the certificate's chain."""

    peer: str
    """SPIFFE id of the client's certificate, empty for none."""
    person_id: str
    purpose: str
    service: str
    """The noun that the call names; only the operator's surface asks for it."""
    traceparent: str
    break_glass_id: str = ""
    """The break-glass that it wants to be let in by; empty for none."""


def read_claim(context: Context) -> Claim:
    """Take what a call brings; refuses nothing, so that a refusal can be recorded with it."""
    peers = list(context.auth_context().get("peer_spiffe_id", ()))
    person_id = purpose = service = traceparent = break_glass_id = ""
    for key, value in context.invocation_metadata() or ():
        if key == PERSON_KEY:
            person_id = str(value)[:_SHOWN_MAX]
        elif key == PURPOSE_KEY:
            purpose = str(value)[:_SHOWN_MAX]
        elif key == SERVICE_KEY:
            service = str(value)[:_SHOWN_MAX]
        elif key == TRACEPARENT:
            traceparent = str(value)
        elif key == BREAK_GLASS_KEY:
            break_glass_id = str(value)[:_SHOWN_MAX]
    peer = peers[0].decode("ascii", "replace")[:_SHOWN_MAX] if len(peers) == 1 else ""
    return Claim(peer, person_id, purpose, service, traceparent, break_glass_id)


class Directory:
    """
    All institutions, held in memory and never older than `AGE_SECONDS_MAX`.

    A change in the database is seen within `REFRESH_SECONDS`; a call costs a look into a mapping.
    """

    def __init__(self, *, env: str, clock: Callable[[], float]) -> None:
        self._prefix = f"spiffe://liandong/{env}/inst/"
        self._clock = clock
        self._institutions: Mapping[str, Institution] = MappingProxyType({})
        self._checked_at = float("-inf")
        self.version = 0

    def replace(self, version: int, institutions: Mapping[str, Institution]) -> None:
        """Take a newer state of the database."""
        self._institutions = MappingProxyType(dict(sorted(institutions.items())))
        self.version = version
        self.confirm()

    def confirm(self) -> None:
        """Note that the database has nothing newer."""
        self._checked_at = self._clock()

    def institutions(self, county_code: str) -> list[Institution]:
        """The institutions of a county that may call, in id order."""
        self._require_fresh()
        return [
            found
            for found in self._institutions.values()
            if found.active and found.county_code == county_code
        ]

    def admit(self, claim: Claim) -> Institution:
        """The institution of the certificate, if the person and the purpose named are its own."""
        self._require_fresh()
        if not claim.peer.startswith(self._prefix):
            raise Unauthenticated(
                "CERTIFICATE_UNKNOWN",
                "the client certificate is not an institution's of this environment",
                message_zh="证书不属于任何机构",
            )
        found = self._institutions.get(claim.peer.removeprefix(self._prefix))
        if found is None or not found.active:
            raise Unauthenticated(
                "INSTITUTION_UNKNOWN",
                "the institution of the certificate is not known here, or is suspended",
                message_zh="机构不存在或已停用",
            )
        if claim.person_id and claim.person_id not in found.persons:
            raise Denied(
                "PERSON_NOT_YOURS",
                f"the person named is not one of {found.institution_id}",
                message_zh="经办人不属于本机构",
            )
        if claim.purpose and not _PURPOSE.fullmatch(claim.purpose):
            rule = "must be 1 to 60 of a-z, 0-9, '_', '.', '-'"
            raise invalid_field("MALFORMED_PURPOSE", PURPOSE_KEY, claim.purpose[:60], rule)
        return found

    def _require_fresh(self) -> None:
        if self._clock() - self._checked_at > AGE_SECONDS_MAX:
            raise Unavailable(
                "DIRECTORY_UNAVAILABLE",
                "the gateway cannot tell who may call: its database does not answer",
                message_zh="网关数据库暂时不可用,请稍后重试",
            )


def caller_for(institution: Institution, claim: Claim, *, method: str, body_hash: str) -> Caller:
    """What the services are told of who is asking."""
    return Caller(
        institution_id=institution.institution_id,
        role=institution.role,
        person_id=claim.person_id,
        county_code=institution.county_code,
        areas=institution.areas,
        purpose=claim.purpose,
        method=method,
        body_hash=body_hash,
    )
