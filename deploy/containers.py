"""The one-shot steps and the probe of containers: `python -m deploy.containers certificates`."""

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

# What a step needs it imports itself: the probe starts every few seconds, and must be light.

SERVICES = ("households", "credit", "loans", "claims", "funds")
NOUNS = (*SERVICES, "gateway")
ROLES = ("owner", "app")

AUTHORITY = Path("/authority")
"""The certificate authority and every key; only the step `certificates` sees it."""
ISSUED = Path("/issued")
"""One folder per receiver, each a volume of its own."""
OWN = Path("/etc/liandong")
"""Where a receiver finds its folder."""

FEEDS = Path("/feeds/users.json")
"""Where the gateway writes who is in the feeds' account on NATS."""

_PROBE_SECONDS = 4.0
_KEY_BYTES = 32


def certificates(
    authority: Path,
    issued: Path,
    *,
    env: str,
    institutions: Sequence[str] = (),
    feeds: Path = FEEDS,
    postgres: bool = False,
    names: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """
    Make what is missing or due, and give each receiver its own and nothing else.

    An institution's folder is shaped like the authority's, without its secrets. PostgreSQL gets a
    certificate where it is reached over TLS. `names` are further names that a receiver answers to.
    """
    from deploy.local.ca import LocalCA
    from deploy.local.nats import read_feeds
    from deploy.nats import topology
    from deploy.nats.users import OPERATOR, write_server_files
    from gateway.feed_channel import WRITER, users

    ca = LocalCA(authority, env)
    keys = ca.caller_keys()
    anchor = ca.ca_path.read_bytes()
    for noun in (*NOUNS, "nats", OPERATOR, *(("postgres",) if postgres else ())):
        made = ca.service(noun, dns_names=(noun, "localhost", *names.get(noun, ())))
        _put(issued / noun / "ca.pem", anchor)
        _put(issued / noun / "cert.pem", made.cert.read_bytes())
        _put(issued / noun / "key.pem", made.key.read_bytes())
        if noun in NOUNS:
            _put(issued / noun / "caller-public.pem", keys.public.read_bytes())
    _put(issued / "gateway" / "caller-private.pem", keys.private.read_bytes())
    log_keys = ca.log_keys()
    _put(issued / "gateway" / "log-private.pem", log_keys.private.read_bytes())
    writer = ca.service(WRITER)
    _put(issued / "gateway" / "feeds-cert.pem", writer.cert.read_bytes())
    _put(issued / "gateway" / "feeds-key.pem", writer.key.read_bytes())
    for name in ("data.key", "lookup.key"):
        _put(issued / "households" / name, _kept_key(authority / name))
    told = read_feeds(feeds) or users(env, ())
    write_server_files(issued / "nats", topology.load(), env=env, mode=0o600, feeds=told)
    _put(issued / "institutions" / "ca.pem", anchor)
    # Whoever keeps day roots holds them against this key, not against one that the log names.
    _put(issued / "institutions" / "log-public.pem", log_keys.public.read_bytes())
    for institution in institutions:
        member = ca.institution(institution)
        folder = issued / "institutions" / "inst" / institution
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _put(folder / "cert.pem", member.cert.read_bytes())
        _put(folder / "key.pem", member.key.read_bytes())


async def prepare(environment: Mapping[str, str]) -> None:
    """Bring every schema to its newest version as its owner, then the stream and the durables."""
    from deploy.local import nats
    from deploy.local.ca import Credentials, service_id
    from deploy.nats import topology
    from deploy.nats.users import OPERATOR
    from services.kernel.migrate import upgrade

    address = _required(environment, "LIANDONG_DATABASE_ADDRESS")
    for noun in NOUNS:
        password = quote(_required(environment, password_name(noun, "owner")), safe="")
        package = noun if noun == "gateway" else f"services.{noun}"
        await upgrade(package, noun, f"postgresql://{noun}_owner:{password}@{address}")
        _say(f"migrated {noun}")
    operator = Credentials(
        spiffe_id=service_id(environment.get("LIANDONG_ENV", "local"), OPERATOR),
        cert=OWN / "cert.pem",
        key=OWN / "key.pem",
        ca=OWN / "ca.pem",
    )
    client = await nats.connect(_required(environment, "LIANDONG_NATS_URL"), operator, OPERATOR)
    # One server holds one of everything; a cluster is told how many of its servers do.
    replicas = int(environment.get("LIANDONG_STREAM_REPLICAS", "1"))
    try:
        await topology.ensure_streams(
            client.jetstream(),
            monitor_url=_required(environment, "LIANDONG_NATS_MONITOR_URL"),
            topology=topology.load(num_replicas=replicas),
        )
    finally:
        await client.close()
    _say("the stream and its durables are there")


def probe(address: str, *, own: Path = OWN) -> bool:
    """Ask a process for its health over mTLS, with its own certificate."""
    import grpc
    from grpc_health.v1 import health_pb2

    credentials = grpc.ssl_channel_credentials(
        (own / "ca.pem").read_bytes(),
        (own / "key.pem").read_bytes(),
        (own / "cert.pem").read_bytes(),
    )
    with grpc.secure_channel(address, credentials) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
        except grpc.RpcError as error:
            _say(f"{address}: {error}")
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def passwords() -> list[str]:
    """Lines for `.env`: a password of its own for every role."""
    names = [password_name(noun, role) for noun in NOUNS for role in ROLES]
    return [f"{name}={secrets.token_hex(24)}" for name in ("POSTGRES_PASSWORD", *names)]


def password_name(noun: str, role: str) -> str:
    """The variable that holds the password of a noun's role."""
    return f"LIANDONG_{noun.upper()}_{role.upper()}_PASSWORD"


def institutions_of(path: str) -> list[str]:
    """The ids in a file of institutions; none without a file."""
    from services.programmes import loader

    if not path:
        return []
    texts = {path: Path(path).read_text(encoding="utf-8")}
    return sorted(loader.load_texts(texts).institutions)


def _kept_key(path: Path) -> bytes:
    """A key that is made once: what it sealed cannot be opened without it."""
    if not path.exists():
        _put(path, secrets.token_bytes(_KEY_BYTES))
    return path.read_bytes()


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for its owner's eyes; the same again changes nothing."""
    if path.exists() and path.read_bytes() == content:
        return
    building = path.with_name(f".{path.name}.new")
    building.unlink(missing_ok=True)
    descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    building.rename(path)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SystemExit(f"{name} is not set")
    return value


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str]) -> None:
    """Do one step, or say which there are."""
    match arguments:
        case ["certificates"]:
            institutions = institutions_of(os.environ.get("GATEWAY_INSTITUTIONS_PATH", ""))
            env = os.environ.get("LIANDONG_ENV", "local")
            tls = os.environ.get("LIANDONG_POSTGRES_TLS") == "true"
            certificates(AUTHORITY, ISSUED, env=env, institutions=institutions, postgres=tls)
            _say(f"certificates of {env}, {len(institutions)} of them for institutions")
        case ["prepare"]:
            asyncio.run(prepare(os.environ))
        case ["probe", address]:
            sys.exit(0 if probe(address) else 1)
        case ["passwords"]:
            _say("\n".join(passwords()))
        case _:
            sys.exit(
                "usage: python -m deploy.containers certificates|prepare|probe ADDRESS|passwords"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
