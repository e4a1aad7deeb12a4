"""Who may say and hear what on NATS: the users files, from the topology and the registry."""

import json
from collections.abc import Sequence
from pathlib import Path

from deploy.local.ca import service_id
from deploy.local.places import ServerUser, write_file
from deploy.nats.topology import SERVER_CONF, Topology

OPERATOR = "operator"
PROBE_SUBJECT = "liandong.probe.v1.written.000000"
"""Where the operator tries whether the stream takes anything in; nobody hears it."""

INTERNAL = "LIANDONG"
"""The account of the services: no institution is in it."""
FEEDS = "FEEDS"
"""The account of the institutions' feeds; it shares nothing with the internal one."""

User = dict[str, object]
"""A user as the server's configuration has it: `user` (a SPIFFE id) and `permissions`."""


def write_server_files(
    folder: Path,
    topology: Topology,
    *,
    env: str,
    mode: int,
    owner: ServerUser | None = None,
    feeds: Sequence[User] = (),
) -> None:
    """Put nats-server.conf, users.conf and the feeds.conf that they include into one folder."""
    write_file(folder / "nats-server.conf", SERVER_CONF.read_text(), mode=mode, owner=owner)
    write_file(folder / "users.conf", users_conf(topology, env=env), mode=mode, owner=owner)
    write_feeds_file(folder, feeds, mode=mode, owner=owner)


def write_feeds_file(
    folder: Path, users: Sequence[User], *, mode: int, owner: ServerUser | None = None
) -> None:
    """Write the users of the feeds' account; the server takes them up when it is told to reload."""
    write_file(folder / "feeds.conf", feeds_conf(users), mode=mode, owner=owner)


def users_conf(topology: Topology, *, env: str) -> str:
    """The `accounts` block: the internal account, and a place for the one of the feeds."""
    users = [_service(topology, env, noun) for noun in topology.nouns]
    users.append(_operator(topology, env))
    return (
        "# Written by deploy/nats/users.py.\n"
        "accounts {\n"
        f"{_account(INTERNAL, users)}"
        "  include ./feeds.conf\n"
        "}\n"
    )


def feeds_conf(users: Sequence[User]) -> str:
    """The feeds' account, alone in a file, so that writing it anew touches no service's user."""
    return f"# Written by deploy/nats/users.py.\n{_account(FEEDS, users)}"


def _account(name: str, users: Sequence[User]) -> str:
    # JSON is a subset of the server's configuration language.
    lines = ",\n      ".join(json.dumps(user) for user in users)
    return f"  {name} {{\n    jetstream: enabled\n    users: [\n      {lines}\n    ]\n  }}\n"


def _service(topology: Topology, env: str, noun: str) -> User:
    stream = topology.stream.name
    publish = [
        f"liandong.{noun}.v1.>",
        f"$JS.API.STREAM.INFO.{stream}",
        # The last stored message of a subject of its own: what the relay compares with.
        f"$JS.API.DIRECT.GET.{stream}.liandong.{noun}.>",
    ]
    if noun in topology.hears:
        publish += [
            f"$JS.API.CONSUMER.INFO.{stream}.{noun}",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{noun}",
            f"$JS.ACK.{stream}.{noun}.>",
        ]
        # It may ask those whom it hears to say again what it misses, and nobody else.
        publish += [_republish(source) for source in topology.hears[noun]]
    # Replies come to the noun's own inbox, so that no one reads another's.
    return _user(env, noun, publish, [f"_INBOX_{noun}.>", _republish(noun)])


def _operator(topology: Topology, env: str) -> User:
    publish = ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", PROBE_SUBJECT]
    publish += map(_republish, topology.nouns)
    return _user(env, OPERATOR, publish, [f"_INBOX_{OPERATOR}.>"])


def _republish(noun: str) -> str:
    return f"liandong.control.{noun}.republish"


def _user(env: str, name: str, publish: Sequence[str], subscribe: Sequence[str]) -> User:
    allowed = {"publish": {"allow": list(publish)}, "subscribe": {"allow": list(subscribe)}}
    return {"user": service_id(env, name), "permissions": allowed}
