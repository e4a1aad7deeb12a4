"""The Secrets of the manifests: `python -m deploy.kubernetes.secrets ... | kubectl apply -f -`."""

import base64
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy import containers
from deploy.containers import NOUNS, ROLES
from deploy.local.places import write_file
from deploy.nats.users import OPERATOR

NAMESPACE = "liandong"
DATABASE_ADDRESS = "liandong-db-rw:5432/liandong"
NATS_SERVERS = 3

RECEIVERS = (*NOUNS, "nats", OPERATOR)

_PASSWORD_BYTES = 24

Manifest = dict[str, Any]


def nats_names(feeds_name: str = "") -> tuple[str, ...]:
    """What the three servers are called by one another, and what institutions call them."""
    peers = (f"nats-{place}.nats-peers" for place in range(NATS_SERVERS))
    return (*peers, *((feeds_name,) if feeds_name else ()))


def make(
    authority: Path,
    *,
    env: str,
    institutions: Sequence[str] = (),
    gateway_name: str = "",
    feeds_name: str = "",
    feeds: Path | None = None,
) -> list[Manifest]:
    """
    Make what is missing or due in the authority's folder; everything as Secrets.

    Institutions' certificates stay in the folder, below `institutions`: they are handed over, and
    no pod has any business with them.
    """
    names = {
        "gateway": (gateway_name,) if gateway_name else (),
        "nats": nats_names(feeds_name),
    }
    authority.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as building:
        issued = Path(building)
        for receiver in (*RECEIVERS, "institutions"):
            (issued / receiver).mkdir(mode=0o700)
        containers.certificates(
            authority,
            issued,
            env=env,
            institutions=institutions,
            feeds=_feeds(authority / "feeds-users.json", feeds),
            names=names,
        )
        handed_over = authority / "institutions"
        if handed_over.exists():
            shutil.rmtree(handed_over)
        shutil.copytree(issued / "institutions", handed_over)
        made = [_keys(receiver, issued / receiver) for receiver in RECEIVERS]
    passwords = _passwords(authority / "passwords.json")
    made += [_login(noun, role, passwords) for noun in NOUNS for role in ROLES]
    return made


def _feeds(kept: Path, told: Path | None) -> Path:
    """Who is in the feeds' account: as told now, or last; nobody is cut off by saying nothing."""
    if told is not None:
        write_file(kept, told.read_text(encoding="utf-8"), mode=0o600)
    return kept


def _keys(receiver: str, folder: Path) -> Manifest:
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return _secret(f"{receiver}-keys", files)


def _login(noun: str, role: str, passwords: Mapping[str, str]) -> Manifest:
    user, password = f"{noun}_{role}", passwords[containers.password_name(noun, role)]
    data = {"username": user.encode(), "password": password.encode()}
    if role == "app":
        data["url"] = f"postgresql://{user}:{password}@{DATABASE_ADDRESS}".encode()
    made = _secret(f"{noun}-{role}", data, kind="kubernetes.io/basic-auth")
    # The operator of PostgreSQL looks again when the password changes.
    made["metadata"]["labels"]["cnpg.io/reload"] = "true"
    return made


def _secret(name: str, data: Mapping[str, bytes], *, kind: str = "Opaque") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "liandong"},
        },
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _passwords(path: Path) -> dict[str, str]:
    """A password for every role, made once."""
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    wanted = [containers.password_name(noun, role) for noun in NOUNS for role in ROLES]
    missing = {name: secrets.token_hex(_PASSWORD_BYTES) for name in wanted if name not in known}
    if missing:
        known |= missing
        write_file(path, json.dumps(known, indent=1) + "\n", mode=0o600)
    return known


def main(
    *,
    authority: Annotated[Path, typer.Option(help="The authority's folder, kept offline.")],
    env: Annotated[str, typer.Option(help="LIANDONG_ENV, part of every identity.")] = "production",
    institutions: Annotated[
        str, typer.Option(help="The file of institutions, for a certificate of each.")
    ] = "",
    gateway_name: Annotated[str, typer.Option(help="What institutions call the gateway.")] = "",
    feeds_name: Annotated[str, typer.Option(help="What institutions call NATS.")] = "",
    feeds: Annotated[
        Path | None, typer.Option(help="The gateway's users.json, when it changed.")
    ] = None,
) -> None:
    """Print the Secrets as one list for `kubectl apply -f -`; the same again changes nothing."""
    if sys.stdout.isatty():
        raise SystemExit("these are private keys: pipe them into `kubectl apply -f -`")
    made = make(
        authority,
        env=env,
        institutions=containers.institutions_of(institutions),
        gateway_name=gateway_name,
        feeds_name=feeds_name,
        feeds=feeds,
    )
    json.dump({"apiVersion": "v1", "kind": "List", "items": made}, sys.stdout)


if __name__ == "__main__":
    typer.run(main)
