"""The stream and the durables as data, and how a server is brought to them."""

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

FOLDER = Path(__file__).resolve().parent
SERVER_CONF = FOLDER / "nats-server.conf"
STREAMS_YAML = FOLDER / "streams.yaml"

_HTTP_SECONDS_MAX = 5.0


class UnsafeServerError(RuntimeError):
    """The server would lose acknowledged events; nothing may be published to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The one stream."""

    name: str
    subjects: tuple[str, ...]
    storage: str
    retention: str
    discard: str
    max_age_seconds: int
    max_bytes: int
    duplicate_window_seconds: int
    num_replicas: int
    allow_atomic: bool
    allow_direct: bool

    def config(self) -> StreamConfig:
        """As the server wants it."""
        return StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            storage=StorageType(self.storage),
            retention=RetentionPolicy(self.retention),
            discard=DiscardPolicy(self.discard),
            max_age=self.max_age_seconds,
            max_bytes=self.max_bytes,
            duplicate_window=self.duplicate_window_seconds,
            num_replicas=self.num_replicas,
            allow_atomic=self.allow_atomic,
            allow_direct=self.allow_direct,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Who speaks, the stream, and who hears whom."""

    nouns: tuple[str, ...]
    stream: Stream
    hears: Mapping[str, tuple[str, ...]]
    ack_wait_seconds: int
    max_deliver: int
    max_ack_pending: int

    def durable(self, noun: str) -> ConsumerConfig:
        """The durable of a noun: every event of each noun that it hears."""
        return ConsumerConfig(
            durable_name=noun,
            filter_subjects=[f"liandong.{source}.v1.>" for source in self.hears[noun]],
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_seconds,
            max_deliver=self.max_deliver,
            max_ack_pending=self.max_ack_pending,
        )


def load(
    path: Path = STREAMS_YAML,
    *,
    events_bytes_max: int | None = None,
    num_replicas: int | None = None,
) -> Topology:
    """
    Read the data; `events_bytes_max` is what this machine gives the stream instead.

    `num_replicas` is on how many servers of a cluster each event lies.
    """
    raw = yaml.safe_load(path.read_text())
    if not isinstance(raw, dict):
        raise TypeError(f"{path}: not a mapping")
    stream_raw: dict[str, Any] = dict(raw["stream"])
    stream_raw["subjects"] = tuple(stream_raw["subjects"])
    stream = Stream(**stream_raw)
    if events_bytes_max is not None:
        stream = replace(stream, max_bytes=events_bytes_max)
    if num_replicas is not None:
        stream = replace(stream, num_replicas=num_replicas)
    durables = raw["durables"]
    topology = Topology(
        nouns=tuple(raw["nouns"]),
        stream=stream,
        hears={noun: tuple(sources) for noun, sources in durables["hears"].items()},
        ack_wait_seconds=durables["ack_wait_seconds"],
        max_deliver=durables["max_deliver"],
        max_ack_pending=durables["max_ack_pending"],
    )
    named = {noun for pair in topology.hears.items() for noun in (pair[0], *pair[1])}
    if strangers := named - set(topology.nouns):
        raise ValueError(f"{path}: durables.hears names {sorted(strangers)}, not in nouns")
    return topology


async def ensure_streams(
    js: JetStreamContext, *, monitor_url: str, topology: Topology | None = None
) -> None:
    """Create or update the stream and the durables; refuse a server that could lose events."""
    wanted = topology or load()
    await require_sync_always(monitor_url)
    await _ensure_stream(js, wanted.stream.config())
    for noun in wanted.hears:
        # The server creates a durable or updates the one of this name.
        await js.add_consumer(wanted.stream.name, wanted.durable(noun))


async def _ensure_stream(js: JetStreamContext, config: StreamConfig) -> None:
    assert config.name is not None
    try:
        found = (await js.stream_info(config.name)).config
    except NotFoundError:
        await js.add_stream(config)
        return
    wanted = {key: value for key, value in vars(config).items() if value is not None}
    if any(getattr(found, key) != value for key, value in wanted.items()):
        await js.update_stream(config)


async def monitor(monitor_url: str, path: str) -> dict[str, Any]:
    """Read a page of the server's monitoring, such as /varz or /healthz."""
    return await asyncio.to_thread(_get_json, f"{monitor_url}{path}")


async def require_sync_always(monitor_url: str) -> None:
    """Refuse a server that acknowledges an event before it is on disk."""
    # /varz may keep what it said before JetStream was up.
    jetstream = (await monitor(monitor_url, "/jsz")).get("config", {})
    if jetstream.get("sync_always") is not True:
        raise UnsafeServerError(
            f"NATS at {monitor_url} does not sync before it acknowledges: set"
            " 'jetstream { sync_interval: always }' in its configuration"
            f" (it reports {jetstream or 'no JetStream'})"
        )


def _get_json(url: str) -> dict[str, Any]:
    if not url.startswith("http://"):
        raise ValueError(f"not a monitoring address: {url}")
    with urllib.request.urlopen(url, timeout=_HTTP_SECONDS_MAX) as answer:  # noqa: S310 - checked
        body = json.load(answer)
    assert isinstance(body, dict)
    return body
