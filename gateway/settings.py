"""Gateway: what is told from outside, as GATEWAY_* environment variables."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.kernel.rpc import MESSAGE_BYTES_MAX
from services.kernel.settings import ServiceSettings

DEADLINE_SECONDS_MAX = 120


class GatewaySettings(ServiceSettings):
    """Addresses, keys, limits."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="ignore")

    caller_private_key_path: Path = Path("certs/caller.pem")
    """Ed25519 key that signs callers; only the gateway holds it."""
    log_private_key_path: Path = Path("certs/log.pem")
    """Ed25519 key that signs the access log's checkpoints; only the gateway holds it."""
    archive_path: Path | None = None
    """Folder of what retention takes out of the access log; without one nothing is taken out."""
    access_log_kept_days: int = Field(default=1_095, ge=180)
    """The law asks for half a year at least."""
    idempotency_kept_days: int = Field(default=400, ge=30)
    """Of answers to commands that move no money."""
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

    def kept_days(self) -> dict[str, int]:
        """How long each category of data is kept."""
        return {
            "access_log": self.access_log_kept_days,
            "idempotency": self.idempotency_kept_days,
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
