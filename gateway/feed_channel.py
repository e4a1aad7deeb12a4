"""Feed channels: a government system's place on NATS, in an account apart. Pure."""

from collections.abc import Iterable

from gateway.feed_rules import ORGANS
from gateway.groups import DEPARTMENTS, FUND_KEEPERS
from services.kernel.cloudevents import Envelope

FEED_SYSTEMS = ORGANS | DEPARTMENTS | FUND_KEEPERS
"""Roles whose systems may have their feed on NATS."""

WRITER = "feeds"
"""The gateway's own name in that account; in the account of the services it is `gateway`."""

SUBJECT = "feed"
CHANNELS_MAX = 40
BYTES_MAX = 4 * 1024 * 1024
"""Of a stream: transport only. Of whoever does not read, the rest waits in the database."""
DUPLICATES_SECONDS = 7_200
"""For so long the stream knows an event again that comes twice."""
ACK_WAIT_SECONDS = 30

TOKEN_REPLACED = str.maketrans({".": "_", "*": "_", ">": "_", " ": "_"})

User = dict[str, object]
"""A user as the server's configuration has it: `user` (a SPIFFE id) and `permissions`."""


def stream_of(institution_id: str) -> str:
    """The stream of an institution's feed."""
    return f"FEED-{institution_id}"


def durable_of(institution_id: str) -> str:
    """The durable consumer by which it reads."""
    return institution_id


def subjects_of(institution_id: str) -> str:
    """Everything in its feed."""
    return f"{SUBJECT}.{institution_id}.>"


def subject_of(institution_id: str, envelope: Envelope) -> str:
    """Where an event of a feed is published: `feed.<institution>.<noun>.<event>.<county>`."""
    event = envelope.event_type.rpartition(".")[2]
    county = envelope.county_code.translate(TOKEN_REPLACED)
    return f"{SUBJECT}.{institution_id}.{envelope.noun}.{event}.{county}"


def users(env: str, institution_ids: Iterable[str]) -> list[User]:
    """Who is in the feeds' account: the gateway, and every institution whose feed is open."""
    return [_writer(env), *(_reader(env, each) for each in sorted(institution_ids))]


def _writer(env: str) -> User:
    return {
        "user": f"spiffe://liandong/{env}/svc/{WRITER}",
        "permissions": {
            # Nothing but feeds is in this account: it makes their streams and durables.
            "publish": {"allow": [f"{SUBJECT}.>", "$JS.API.>"]},
            "subscribe": {"allow": [f"_INBOX_{WRITER}.>"]},
        },
    }


def _reader(env: str, institution_id: str) -> User:
    stream, durable = stream_of(institution_id), durable_of(institution_id)
    return {
        "user": f"spiffe://liandong/{env}/inst/{institution_id}",
        "permissions": {
            "publish": {
                "allow": [
                    f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
                    f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
                    f"$JS.ACK.{stream}.{durable}.>",
                ]
            },
            # Messages and answers come to its own inbox, so that no one reads another's.
            "subscribe": {"allow": [f"_INBOX_{institution_id}.>"]},
        },
    }
