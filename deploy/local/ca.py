"""The local certificate authority: one SPIFFE identity per certificate, and keys that sign."""

import fcntl
import ipaddress
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.places import PlaceError, write_file

TRUST_DOMAIN = "liandong"

_CA_DAYS = 3650
_LEAF_DAYS = 90
_RENEW_DAYS = 7
# A peer's clock may be a little behind.
_BACKDATE = timedelta(minutes=5)


def service_id(env: str, noun: str) -> str:
    """The identity of a service, the gateway or the operator's tools."""
    return f"spiffe://{TRUST_DOMAIN}/{env}/svc/{noun}"


def institution_id(env: str, institution: str) -> str:
    """The identity of an institution."""
    return f"spiffe://{TRUST_DOMAIN}/{env}/inst/{institution}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate with exactly one SPIFFE id, its key, and the CA that its peers trust."""

    spiffe_id: str
    cert: Path
    key: Path
    ca: Path

    def client_context(self) -> ssl.SSLContext:
        """TLS for a client with this identity."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.cert, self.key)
        return context


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The gateway signs with `private`; others verify with `public`. PEM, Ed25519."""

    private: Path
    public: Path


class LocalCA:
    """Made once per folder; every file is 0600 and every key is kept."""

    def __init__(self, folder: Path, env: str) -> None:
        self._folder = folder
        self._env = env
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            if not (self._ca_key().exists() and self.ca_path.exists()):
                self._make_ca()
        self._key = _load_key(self._ca_key())
        self._cert = x509.load_pem_x509_certificate(self.ca_path.read_bytes())

    @property
    def ca_path(self) -> Path:
        """The CA's own certificate: what everyone trusts."""
        return self._folder / "ca.pem"

    def service(self, noun: str, *, dns_names: Sequence[str] = ("localhost",)) -> Credentials:
        """The certificate of a service, the gateway or the operator's tools."""
        return self.issue(service_id(self._env, noun), dns_names=dns_names)

    def institution(self, institution: str) -> Credentials:
        """The certificate of an institution."""
        return self.issue(institution_id(self._env, institution))

    def rotate(self, spiffe_id: str) -> Credentials:
        """A new key and certificate for an identity; the old pair stays beside it, by its day."""
        own = self._folder / spiffe_id.removeprefix(f"spiffe://{TRUST_DOMAIN}/{self._env}/")
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        with self._alone():
            for name in ("cert", "key"):
                if (old := own / f"{name}.pem").exists():
                    old.rename(own / f"{name}-until-{stamp}.pem")
        return self.issue(spiffe_id)

    def issue(
        self,
        spiffe_id: str,
        *,
        dns_names: Sequence[str] = ("localhost",),
        ip: str = "127.0.0.1",
    ) -> Credentials:
        """The identity's certificate, for both ends of a connection; a new one when it is due."""
        prefix = f"spiffe://{TRUST_DOMAIN}/{self._env}/"
        rest = spiffe_id.removeprefix(prefix)
        if rest == spiffe_id or not all(part.strip(".") for part in rest.split("/")):
            raise PlaceError(f"{spiffe_id!r} is not an identity below {prefix}")
        folder = self._folder / rest
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Credentials(
            spiffe_id=spiffe_id, cert=folder / "cert.pem", key=folder / "key.pem", ca=self.ca_path
        )
        names = x509.SubjectAlternativeName(
            [
                x509.UniformResourceIdentifier(spiffe_id),
                *(x509.DNSName(name) for name in dns_names),
                x509.IPAddress(ipaddress.ip_address(ip)),
            ]
        )
        with self._alone():
            if not made.key.exists():
                _write_key(made.key, ec.generate_private_key(ec.SECP256R1()))
            if not self._still_good(made.cert, names):
                self._write_leaf(made, names)
        return made

    def caller_keys(self) -> SigningKeys:
        """The key pair of the signed Caller."""
        return self._signing_keys("caller")

    def log_keys(self) -> SigningKeys:
        """The key pair of the access log's checkpoints."""
        return self._signing_keys("log")

    def _signing_keys(self, name: str) -> SigningKeys:
        keys = SigningKeys(
            private=self._folder / f"{name}-private.pem", public=self._folder / f"{name}-public.pem"
        )
        with self._alone():
            if not keys.private.exists():
                _write_key(keys.private, ed25519.Ed25519PrivateKey.generate())
            if not keys.public.exists():
                private = serialization.load_pem_private_key(keys.private.read_bytes(), None)
                public = private.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
                write_file(keys.public, public.decode(), mode=0o600)
        return keys

    def _ca_key(self) -> Path:
        return self._folder / "ca-key.pem"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two processes of one stack may ask at the same time."""
        descriptor = os.open(self._folder / "ca.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make_ca(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Liandong CA ({self._env})")])
        now = datetime.now(UTC)
        usage = _key_usage(signs_certificates=True)
        cert = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(now + timedelta(days=_CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        _write_key(self._ca_key(), key)
        write_file(self.ca_path, _pem(cert), mode=0o600)

    def _still_good(self, path: Path, names: x509.SubjectAlternativeName) -> bool:
        if not path.exists():
            return False
        cert = x509.load_pem_x509_certificate(path.read_bytes())
        due = cert.not_valid_after_utc - timedelta(days=_RENEW_DAYS)
        found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issuer = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        ours = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()).digest
        same = found == names and issuer.key_identifier == ours
        return same and datetime.now(UTC) < due

    def _write_leaf(self, made: Credentials, names: x509.SubjectAlternativeName) -> None:
        key = _load_key(made.key)
        subject = made.spiffe_id.rsplit("/", 1)[-1]
        now = datetime.now(UTC)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        cert = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(self._cert.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(now + timedelta(days=_LEAF_DAYS))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        write_file(made.cert, _pem(cert), mode=0o600)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(cert: x509.Certificate) -> str:
    return cert.public_bytes(serialization.Encoding.PEM).decode()


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PlaceError(f"{path} is not a key of this CA")
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_file(path, pem.decode(), mode=0o600)
