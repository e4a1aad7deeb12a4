"""A gateway as production runs it: registered certificates, contracts, signed persons."""

import base64
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from liandong.gateway.v1 import institutions_pb2 as pb
from liandong.gateway.v1 import institutions_pb2_grpc

from deploy.local.ca import Credentials, LocalCA
from gateway.identity import Certificate
from gateway.person_signer import PersonSigner
from tests.gateway.conftest import INSTITUTIONS, House, channel

STRICT: Mapping[str, Any] = {
    "unregistered_certificates": False,
    "without_contract": False,
    "person_metadata": False,
}


def fingerprint(credentials: Credentials) -> str:
    """As the registry names a certificate."""
    return Certificate.read(credentials.cert.read_bytes()).fingerprint


def a_person_key(path: Path) -> str:
    """Write a new Ed25519 key; its public half as a JWK's `x`."""
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")


def raw_key(x: str) -> bytes:
    """The 32 bytes of such an `x`."""
    return base64.urlsafe_b64decode(f"{x}=")


def write_institutions(folder: Path, certificates: LocalCA) -> Path:
    """The county of the other tests, with contracts; only the operator has what it begins with."""
    found = yaml.safe_load(INSTITUTIONS.read_text(encoding="utf-8"))
    for one in found["institutions"]:
        one["contracts"] = [{"contract_id": f"{one['institution_id']}-c1"}]
        if one["institution_id"] in {"operator-1", "bank-1"}:
            own = certificates.institution(one["institution_id"])
            one["certificates"] = [fingerprint(own)]
            one["person_keys"] = [a_person_key(folder / f"{one['institution_id']}.pem")]
    path = folder / "institutions.yaml"
    path.write_text(yaml.safe_dump(found, allow_unicode=True), encoding="utf-8")
    return path


class Desk:
    """The operator of a strict gateway, by tokens of its two persons."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.folder = folder

    def signer(self, institution_id: str, credentials: Credentials | None = None) -> PersonSigner:
        """Who signs for the persons of an institution."""
        own = credentials or self.house.authority.institution(institution_id)
        key = self.folder / f"{institution_id}.pem"
        return PersonSigner(institution_id, key=key, certificate=own.cert, env="local")

    def as_person(
        self, institution_id: str, post: int = 1, credentials: Credentials | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Metadata that names a person by a fresh token."""
        token = self.signer(institution_id, credentials).token(f"{institution_id}-p{post}")
        return (("authorization", f"Bearer {token}"),)

    async def ask(self, method: str, *, post: int = 1, **values: Any) -> Any:
        """One method of the registry."""
        request_type = getattr(pb, f"{method}Request")
        if "request_id" in request_type.DESCRIPTOR.fields_by_name:
            values.setdefault("request_id", str(uuid.uuid4()))
        stub = institutions_pb2_grpc.InstitutionsServiceStub(
            self.house.as_institution("operator-1")
        )
        metadata = self.as_person("operator-1", post)
        return await getattr(stub, method)(request_type(**values), metadata=metadata)

    async def register(self, institution_id: str, credentials: Credentials, **values: Any) -> Any:
        """Register a certificate."""
        return await self.ask(
            "RegisterCertificate",
            institution_id=institution_id,
            certificate_pem=credentials.cert.read_text(encoding="ascii"),
            **values,
        )


def another(certificates: LocalCA, folder: Path, institution_id: str) -> Credentials:
    """A second pair for an identity, of the same authority."""
    beside = LocalCA(certificates.ca_path.parent, "local")
    beside._folder = folder / uuid.uuid4().hex
    beside._folder.mkdir()
    made = beside.institution(institution_id)
    return Credentials(made.spiffe_id, made.cert, made.key, certificates.ca_path)


def expired(
    certificates: LocalCA, folder: Path, institution_id: str, *, ended: timedelta
) -> Credentials:
    """A pair whose certificate ended so long ago."""
    made = another(certificates, folder, institution_id)
    cert = x509.load_pem_x509_certificate(made.cert.read_bytes())
    end = datetime.now(UTC) - ended
    builder = (
        x509.CertificateBuilder()
        .subject_name(cert.subject)
        .issuer_name(cert.issuer)
        .public_key(cert.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=1))
        .not_valid_after(end)
    )
    for extension in cert.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    signed = builder.sign(certificates._key, cert.signature_hash_algorithm)  # type: ignore[arg-type]
    made.cert.write_bytes(signed.public_bytes(Encoding.PEM))
    return made


def connect(house: House, credentials: Credentials) -> grpc.aio.Channel:
    """A connection of its own, which the house closes."""
    made = channel(house.settings.grpc_address, credentials)
    house.channels[uuid.uuid4().hex] = made
    return made
