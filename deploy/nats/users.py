"""Who may say and hear what on NATS: the users file, from the topology."""

import json
from pathlib import Path

from deploy.local.ca import service_id
from deploy.local.places import ServerUser, write_file
from deploy.nats.topology import SERVER_CONF, Topology

OPERATOR = "operator"


def write_server_files(
    folder: Path, topology: Topology, *, env: str, mode: int, owner: ServerUser | None = None
) -> None:
    """Put nats-server.conf and the users.conf that it includes into one folder."""
    write_file(folder / "nats-server.conf", SERVER_CONF.read_text(), mode=mode, owner=owner)
    write_file(folder / "users.conf", users_conf(topology, env=env), mode=mode, owner=owner)


def users_conf(topology: Topology, *, env: str) -> str:
    """The `accounts` block: one internal account; a user per noun, and the operator."""
    users = [_service(topology, env, noun) for noun in topology.nouns]
    users.append(_operator(env))
    lines = ",\n      ".join(json.dumps(user) for user in users)
    # JSON is a subset of the server's configuration language.
    return (
        "# Written by deploy/nats/users.py; an institution's feed belongs to another account.\n"
        "accounts {\n"
        "  LIANDONG {\n"
        "    jetstream: enabled\n"
        "    users: [\n"
        f"      {lines}\n"
        "    ]\n"
        "  }\n"
        "}\n"
    )


def _service(topology: Topology, env: str, noun: str) -> dict[str, object]:
    stream = topology.stream.name
    publish = [
        f"liandong.{noun}.>",
        "liandong.control.>",
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
    return {
        "user": service_id(env, noun),
        "permissions": {
            "publish": {"allow": publish},
            # Replies come to the noun's own inbox, so that no one reads another's.
            "subscribe": {"allow": [f"_INBOX_{noun}.>", "liandong.control.>"]},
        },
    }


def _operator(env: str) -> dict[str, object]:
    return {
        "user": service_id(env, OPERATOR),
        "permissions": {
            "publish": {"allow": ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "liandong.control.>"]},
            "subscribe": {"allow": [f"_INBOX_{OPERATOR}.>", "liandong.control.>"]},
        },
    }
