"""Gateway: what is told from outside, as GATEWAY_* environment variables."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from gateway.identity import Admission
from gateway.limits import LimitRules
from services.kernel.rpc import MESSAGE_BYTES_MAX, METADATA_BYTES_MAX
from services.kernel.settings import ServiceSettings

DEADLINE_SECONDS_MAX = 120


class GatewaySettings(ServiceSettings):
    """Addresses, keys, limits."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="ignore")

    caller_private_key_path: Path = Path("certs/caller.pem")
    """Ed25519 key that signs callers; only the gateway holds it."""
    log_private_key_path: Path = Path("certs/log.pem")
    """Ed25519 key that signs the access log's checkpoints; only the gateway holds it."""
    feeds_cert_path: Path | None = None
    feeds_key_path: Path | None = None
    """As whom the feeds' account on NATS knows the gateway; without them no feed goes there."""
    feeds_users_path: Path | None = None
    """Where the users of that account are written (JSON) whenever they change."""
    archive_path: Path | None = None
    """Folder of what retention takes out of the access log; without one nothing is taken out."""
    access_log_kept_days: int = Field(default=1_095, ge=180)
    """The law asks for half a year at least."""
    idempotency_kept_days: int = Field(default=400, ge=30)
    """Of answers to commands that move no money."""
    feeds_kept_days: int = Field(default=1_095, ge=30)
    """Of events in feeds; as long as a contract in force reaches back further, for longer."""
    institutions_path: Path | None = None
    """YAML of institutions and their posts, entered at start; none where others enter them."""
    households_address: str = "127.0.0.1:7101"
    credit_address: str = "127.0.0.1:7102"
    loans_address: str = "127.0.0.1:7103"
    claims_address: str = "127.0.0.1:7104"
    funds_address: str = "127.0.0.1:7105"
    deadline_seconds: int = Field(default=30, ge=1, le=DEADLINE_SECONDS_MAX)
    """Of a call that brings none."""
    deadline_seconds_max: int = Field(default=120, ge=1, le=DEADLINE_SECONDS_MAX)
    stream_seconds_max: int = Field(default=3_600, ge=1, le=86_400)
    """Of a stream, whose deadline may be longer: a file takes its time."""
    body_bytes_max: int = Field(default=MESSAGE_BYTES_MAX, ge=1_024, le=MESSAGE_BYTES_MAX)

    # What a demo needs and production does not have.
    unregistered_certificates: bool = False
    """Any certificate of our authority is an institution's, registered or not; unless revoked."""
    without_contract: bool = False
    """An institution of which no contract was entered may call."""
    person_metadata: bool = False
    """`liandong-person` names the person without a signed token."""

    limits: LimitRules = LimitRules()
    """As JSON: `{"everybody": {"read": {...}}, "roles": {"bank": {...}}, "times": 1}`."""

    self_service_calls_per_second: int = Field(default=5, ge=1, le=1_000)
    """Of one person about the own household, or of one clerk for people."""

    # The public door: what everybody may read, without a certificate.
    public_address: str = ""
    """Where it listens; empty for nowhere."""
    public_cert_path: Path | None = None
    """A certificate that the public's clients know; the gateway's own where none is named."""
    public_key_path: Path | None = None
    public_calls_per_second: int = Field(default=100, ge=1, le=10_000)
    """Of everybody together."""
    public_address_calls_per_second: int = Field(default=5, ge=1, le=1_000)
    """Of one address."""

    # Connections.
    ping_seconds_min: int = Field(default=20, ge=1, le=3_600)
    """A client that pings oftener without a call running is cut off."""
    ping_strikes_max: int = Field(default=2, ge=1, le=100)
    alive_seconds: int = Field(default=60, ge=5, le=3_600)
    """How often we ask a silent peer whether it is there."""
    alive_timeout_seconds: int = Field(default=20, ge=1, le=600)
    handshake_seconds: int = Field(default=10, ge=1, le=120)
    """A connection that does not become one is closed."""
    idle_seconds_max: int = Field(default=900, ge=1, le=86_400)
    connection_seconds_max: int = Field(default=3_600, ge=1, le=86_400)
    """After that a client is asked to connect again; what runs may end."""
    streams_of_connection_max: int = Field(default=256, ge=1, le=10_000)
    """Calls at once over one connection; more wait in the client."""

    def admission(self) -> Admission:
        """What this environment lets pass."""
        return Admission(
            unregistered_certificates=self.unregistered_certificates,
            without_contract=self.without_contract,
            person_metadata=self.person_metadata,
        )

    def connection_options(self) -> list[tuple[str, int]]:
        """The bounds of connections, as gRPC's options."""
        seconds = {
            "grpc.http2.min_recv_ping_interval_without_data_ms": self.ping_seconds_min,
            "grpc.keepalive_time_ms": self.alive_seconds,
            "grpc.keepalive_timeout_ms": self.alive_timeout_seconds,
            "grpc.server_handshake_timeout_ms": self.handshake_seconds,
            "grpc.max_connection_idle_ms": self.idle_seconds_max,
            "grpc.max_connection_age_ms": self.connection_seconds_max,
            "grpc.max_connection_age_grace_ms": self.stream_seconds_max,
        }
        return [
            *((name, 1_000 * value) for name, value in seconds.items()),
            ("grpc.http2.max_ping_strikes", self.ping_strikes_max),
            ("grpc.max_concurrent_streams", self.streams_of_connection_max),
            ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
        ]

    def kept_days(self) -> dict[str, int]:
        """How long each category of data is kept."""
        return {
            "access_log": self.access_log_kept_days,
            "idempotency": self.idempotency_kept_days,
            "feeds": self.feeds_kept_days,
        }

    def addresses(self) -> dict[str, str]:
        """Where each service listens, by its noun."""
        return {
            "households": self.households_address,
            "credit": self.credit_address,
            "loans": self.loans_address,
            "claims": self.claims_address,
            "funds": self.funds_address,
        }
