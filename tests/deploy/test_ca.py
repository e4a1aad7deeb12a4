"""The local CA: one identity per certificate, kept keys, due renewals."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from deploy.local import ca as ca_module
from deploy.local.ca import Credentials, LocalCA
from deploy.local.places import PlaceError


def san(credentials: Credentials) -> x509.SubjectAlternativeName:
    cert = x509.load_pem_x509_certificate(credentials.cert.read_bytes())
    return cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """A whole TLS handshake in memory, both sides verifying."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def server_context(credentials: Credentials, ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.cert, credentials.key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_certificate_names_exactly_one_identity(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path, "local")

    for made, name in (
        (authority.service("loans"), "spiffe://liandong/local/svc/loans"),
        (authority.institution("rcb-0001"), "spiffe://liandong/local/inst/rcb-0001"),
    ):
        assert san(made).get_values_for_type(x509.UniformResourceIdentifier) == [name]
        assert san(made).get_values_for_type(x509.DNSName) == ["localhost"]


def test_every_file_is_ours_alone(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path / "ca", "local")
    authority.service("loans")
    authority.caller_keys()

    files = [path for path in (tmp_path / "ca").rglob("*") if path.is_file()]
    assert len(files) >= 7
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_one_certificate_serves_both_ends_and_a_strangers_is_refused(tmp_path: Path) -> None:
    ours, theirs = LocalCA(tmp_path / "ours", "local"), LocalCA(tmp_path / "theirs", "local")
    loans, gateway = ours.service("loans"), ours.service("gateway")
    stranger = theirs.service("gateway")

    shake_hands(gateway.client_context(), server_context(loans, ours.ca_path))
    shake_hands(loans.client_context(), server_context(gateway, ours.ca_path))

    with pytest.raises(ssl.SSLError):
        shake_hands(stranger.client_context(), server_context(loans, ours.ca_path))


def test_the_ca_and_its_certificates_are_kept(tmp_path: Path) -> None:
    first = LocalCA(tmp_path, "local").service("loans").cert.read_bytes()
    authority = tmp_path / "ca.pem"
    kept = authority.read_bytes()

    again = LocalCA(tmp_path, "local").service("loans").cert.read_bytes()

    assert (again, authority.read_bytes()) == (first, kept)


def test_a_certificate_that_is_due_is_issued_again_for_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr(ca_module, "_LEAF_DAYS", 6)
        old = LocalCA(tmp_path, "local").service("loans")
    cert, key = old.cert.read_bytes(), old.key.read_bytes()

    new = LocalCA(tmp_path, "local").service("loans")

    assert new.cert.read_bytes() != cert
    assert new.key.read_bytes() == key


def test_another_name_for_the_host_issues_the_certificate_again(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path, "local")
    authority.service("nats")

    made = authority.service("nats", dns_names=("localhost", "nats"))

    assert san(made).get_values_for_type(x509.DNSName) == ["localhost", "nats"]


@pytest.mark.parametrize(
    "spiffe_id",
    [
        "spiffe://liandong/live/svc/loans",
        "spiffe://elsewhere/local/svc/loans",
        "spiffe://liandong/local/svc/../../x",
        "spiffe://liandong/local//loans",
    ],
)
def test_an_identity_outside_the_environment_is_refused(tmp_path: Path, spiffe_id: str) -> None:
    with pytest.raises(PlaceError):
        LocalCA(tmp_path, "local").issue(spiffe_id)


def test_the_callers_keys_are_a_pair_and_kept(tmp_path: Path) -> None:
    keys = LocalCA(tmp_path, "local").caller_keys()
    private = serialization.load_pem_private_key(keys.private.read_bytes(), None)
    public = serialization.load_pem_public_key(keys.public.read_bytes())
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    assert isinstance(public, ed25519.Ed25519PublicKey)

    signature = private.sign(b"caller")

    public.verify(signature, b"caller")
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"another")
    again = LocalCA(tmp_path, "local").caller_keys()
    assert again.public.read_bytes() == keys.public.read_bytes()
