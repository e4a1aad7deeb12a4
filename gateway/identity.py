"""Identity: whose certificate it is, in force until when, and which purpose is named."""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.spans import TRACEPARENT
from services.kernel.caller import Caller
from services.kernel.errors import Denied, Unauthenticated, Unavailable
from services.kernel.rpc import Context
from services.programmes.schema.deployment import InstitutionRole as Role

PERSON_KEY = "liandong-person"
PURPOSE_KEY = "liandong-purpose"
SERVICE_KEY = "liandong-service"
AUTHORIZATION_KEY = "authorization"
BEARER = "Bearer "
BREAK_GLASS_KEY = "liandong-break-glass"

ABOVE_COUNTIES = "000000"
REFRESH_SECONDS = 1.0
AGE_SECONDS_MAX = 60.0
"""How long the directory may stand in for a database that does not answer."""
CERTIFICATES_READ_MAX = 2_048
"""Certificates that are kept as read; a peer shows one, and its reading costs."""

CHINA = timezone(timedelta(hours=8))
"""Days of contracts, of office and of quotas begin at midnight here."""
FOREVER = float("inf")

_SHOWN_MAX = 200
_PERSON = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def day_begins(day: date | None) -> float:
    """The moment a day begins; no day has always begun."""
    if day is None:
        return -FOREVER
    return datetime.combine(day, datetime.min.time(), CHINA).timestamp()


def day_ends(day: date | None) -> float:
    """The moment a day is over; no day never is."""
    return FOREVER if day is None else day_begins(day + timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment to a moment, in seconds of the clock on the wall."""

    begins: float = -FOREVER
    ends: float = FOREVER

    def holds(self, now: float) -> bool:
        """Whether it is now."""
        return self.begins <= now < self.ends


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client's certificate, as far as access turns on it."""

    fingerprint: str
    """SHA-256 of its DER, hexadecimal."""
    thumbprint: str
    """The same as a token's `cnf` names it (RFC 8705)."""
    serial: str
    not_after: float

    @classmethod
    def read(cls, pem: bytes) -> "Certificate":
        """Read a certificate; ValueError where it is none."""
        found = x509.load_pem_x509_certificate(pem)
        der = hashlib.sha256(found.public_bytes(_DER)).digest()
        return cls(
            fingerprint=der.hex(),
            thumbprint=base64.urlsafe_b64encode(der).decode().rstrip("="),
            serial=f"{found.serial_number:x}",
            not_after=found.not_valid_after_utc.timestamp(),
        )


@dataclass(frozen=True, slots=True)
class Registered:
    """A certificate or a key that was registered, and until when it opens the door."""

    period: Period
    revoked: bool
    public_key: bytes = b""
    """Of a key for persons' tokens."""


@dataclass(frozen=True, slots=True)
class Post:
    """A person behind an institution, who is there on some days."""

    period: Period
    duty: str
    post: str
    deputy_id: str


@dataclass(frozen=True, slots=True)
class OwnLimit:
    """What an institution may instead of what its role may."""

    calls_per_second: int
    burst: int
    calls_per_day: int
    running_max: int


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
    persons: Mapping[str, Post]
    contracts: tuple[Period, ...] = ()
    certificates: Mapping[str, Registered] = field(default_factory=dict)
    """By fingerprint."""
    person_keys: Mapping[str, Registered] = field(default_factory=dict)
    """By key id."""
    limits: Mapping[str, OwnLimit] = field(default_factory=dict)
    """By scope: a class of methods, or one method."""

    def require_post(self, person_id: str, now: float) -> Post:
        """The post of a person who is in office; refused where it is none of this institution."""
        found = self.persons.get(person_id)
        if found is None:
            raise Denied(
                "PERSON_NOT_YOURS",
                f"the person named is not one of {self.institution_id}",
                message_zh="经办人不属于本机构",
            )
        if not found.period.holds(now):
            raise Denied(
                "PERSON_NOT_IN_OFFICE",
                "the person named is not in office today; the deputy may act",
                message_zh="经办人不在任期内,可由代理人办理",
                facts={"deputy": found.deputy_id} if found.deputy_id else {},
            )
        return found


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
    token: str = ""
    """A signed token that names the person."""
    connection: str = ""
    """The client's end of the connection."""
    certificate: Certificate | None = None
    break_glass_id: str = ""
    """The break-glass that it wants to be let in by; empty for none."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What an environment lets pass; what is false here is refused in production."""

    unregistered_certificates: bool = False
    """A certificate of our authority is enough, nobody has to register it."""
    without_contract: bool = False
    """An institution may call although no contract of it was entered."""
    person_metadata: bool = False
    """A person may be named by metadata, without a token."""


_DER = serialization.Encoding.DER
_certificates: dict[bytes, Certificate | None] = {}


def _certificate(pem: bytes) -> Certificate | None:
    """A peer's certificate, read once."""
    try:
        return _certificates[pem]
    except KeyError:
        if len(_certificates) >= CERTIFICATES_READ_MAX:
            _certificates.clear()
        try:
            read = Certificate.read(pem)
        except ValueError:
            read = None
        _certificates[pem] = read
        return read


def read_claim(context: Context) -> Claim:
    """Take what a call brings; refuses nothing, so that a refusal can be recorded with it."""
    shown = context.auth_context()
    peers = list(shown.get("peer_spiffe_id", ()))
    pems = list(shown.get("x509_pem_cert", ()))
    person_id = purpose = service = traceparent = token = break_glass_id = ""
    for key, value in context.invocation_metadata() or ():
        if key == PERSON_KEY:
            person_id = str(value)[:_SHOWN_MAX]
        elif key == PURPOSE_KEY:
            purpose = str(value)[:_SHOWN_MAX]
        elif key == SERVICE_KEY:
            service = str(value)[:_SHOWN_MAX]
        elif key == TRACEPARENT:
            traceparent = str(value)
        elif key == AUTHORIZATION_KEY:
            token = str(value).removeprefix(BEARER)
        elif key == BREAK_GLASS_KEY:
            break_glass_id = str(value)[:_SHOWN_MAX]
    peer = peers[0].decode("ascii", "replace")[:_SHOWN_MAX] if len(peers) == 1 else ""
    return Claim(
        peer,
        person_id,
        purpose,
        service,
        traceparent,
        token=token,
        connection=context.peer() if token else "",
        certificate=_certificate(pems[0]) if pems else None,
        break_glass_id=break_glass_id,
    )


class Directory:
    """
    All institutions, held in memory and never older than `AGE_SECONDS_MAX`.

    A change in the database is seen within `REFRESH_SECONDS`; a call costs a look into a mapping.
    """

    def __init__(
        self,
        *,
        env: str,
        clock: Callable[[], float],
        admission: Admission = Admission(),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._prefix = f"spiffe://liandong/{env}/inst/"
        self._clock = clock
        self._now = now
        self._admission = admission
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

    def find(self, institution_id: str) -> Institution | None:
        """An institution, also one that may not call."""
        return self._institutions.get(institution_id)

    def everyone(self) -> Mapping[str, Institution]:
        """All institutions by id, also those that may not call."""
        return self._institutions

    def identify(self, claim: Claim) -> Institution:
        """The institution of the certificate, if it may call with it today."""
        self._require_fresh()
        if not claim.peer.startswith(self._prefix):
            raise Unauthenticated(
                "CERTIFICATE_UNKNOWN",
                "the client certificate is not an institution's of this environment",
                message_zh="证书不属于任何机构",
            )
        found = self._institutions.get(claim.peer.removeprefix(self._prefix))
        if found is None:
            raise Unauthenticated(
                "INSTITUTION_UNKNOWN",
                "the institution of the certificate is not known here",
                message_zh="机构不存在",
            )
        now = self._now()
        self._require_certificate(found, claim.certificate, now)
        if not found.active:
            raise Denied(
                "INSTITUTION_SUSPENDED",
                "the institution is suspended; the operator knows why",
                message_zh="机构已停用,请联系运营方",
            )
        if not self.in_force(found):
            raise Denied(
                "CONTRACT_NOT_IN_FORCE",
                "no contract of the institution is in force today",
                message_zh="机构合同不在有效期内",
            )
        return found

    def in_force(self, institution: Institution) -> bool:
        """Whether a contract of the institution holds now, or none is needed."""
        now = self._now()
        if not institution.contracts:
            return self._admission.without_contract
        return any(contract.holds(now) for contract in institution.contracts)

    def _require_certificate(
        self, institution: Institution, shown: Certificate | None, now: float
    ) -> None:
        """Hold the certificate against what is registered; a connection may outlive it."""
        registered = institution.certificates.get(shown.fingerprint) if shown else None
        if registered is not None and registered.revoked:
            raise Unauthenticated(
                "CERTIFICATE_REVOKED", "the client certificate is revoked", message_zh="证书已吊销"
            )
        expired = registered is not None and not registered.period.holds(now)
        if expired or (shown is not None and now >= shown.not_after):
            raise Unauthenticated(
                "CERTIFICATE_EXPIRED", "the client certificate is too old", message_zh="证书已过期"
            )
        if registered is None and not self._admission.unregistered_certificates:
            raise Unauthenticated(
                "CERTIFICATE_NOT_REGISTERED",
                "nobody registered this certificate for the institution",
                message_zh="证书未登记",
            )

    def require_person(
        self, institution: Institution, claim: Claim, tokens: "Callable[[Institution, Claim], str]"
    ) -> str:
        """The person who acts, by a token or by what the environment allows; empty for none."""
        if claim.token:
            person_id = tokens(institution, claim)
            if claim.person_id and claim.person_id != person_id:
                raise Unauthenticated(
                    "PERSON_TOKEN_INVALID",
                    "the metadata names another person than the token",
                    message_zh="经办人令牌无效",
                )
        elif claim.person_id and not self._admission.person_metadata:
            raise Unauthenticated(
                "PERSON_TOKEN_NEEDED",
                "a person acts here by a signed token, not by a name",
                message_zh="须提供经办人令牌",
            )
        else:
            person_id = claim.person_id
        if person_id and institution.role == Role.HOUSEHOLD:
            require_citizen(person_id)
        elif person_id:
            institution.require_post(person_id, self._now())
        return person_id

    def require_office(self, institution: Institution, person_id: str) -> None:
        """Refuse a person who is not, or no longer, in office."""
        institution.require_post(person_id, self._now())

    def _require_fresh(self) -> None:
        if self._clock() - self._checked_at > AGE_SECONDS_MAX:
            raise Unavailable(
                "DIRECTORY_UNAVAILABLE",
                "the gateway cannot tell who may call: its database does not answer",
                message_zh="网关数据库暂时不可用,请稍后重试",
            )


def require_citizen(person_id: str) -> None:
    """Refuse a person of a portal who is named otherwise than by the registry's id."""
    if not _PERSON.fullmatch(person_id):
        raise Denied(
            "PERSON_NOT_A_CITIZEN",
            "a portal names people by the id that IdentifyMe answers, and nothing else",
            message_zh="门户须以登记的人员编号表明本人",
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
