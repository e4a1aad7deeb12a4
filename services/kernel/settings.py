"""Settings: what every process is told from outside, as environment variables."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class PlatformSettings(BaseSettings):
    """What all processes of one platform share (`LIANDONG_*`)."""

    model_config = SettingsConfigDict(env_prefix="LIANDONG_", frozen=True, extra="ignore")

    env: str = "local"
    """Name of the environment, part of every SPIFFE id."""
    nats_url: str = "tls://127.0.0.1:4222"
    nats_monitor_url: str = "http://127.0.0.1:8222"
    ca_path: Path = Path("certs/ca.pem")
    """Certificate authority that every peer's certificate must come from."""
    caller_public_key_path: Path = Path("certs/caller.pub.pem")
    """Ed25519 key that verifies the gateway's signed callers."""
    otlp_endpoint: str = ""
    """Where spans go (OTLP over gRPC); empty for nowhere."""
    trace_ratio_ppm: int = Field(default=10_000, ge=0, le=1_000_000)
    """Share of new traces that are kept; one that the caller samples is always kept."""
    metrics_port: int = 0
    """Port of the Prometheus endpoint; 0 for none."""
    metrics_host: str = "127.0.0.1"
    log_level: str = "info"
    programmes_dirs: str = ""
    """Folders of county overlays and adoptions, separated by `:`, after the packaged packs."""

    def programme_folders(self) -> list[Path]:
        """The overlay folders as paths."""
        return [Path(part) for part in self.programmes_dirs.split(":") if part]


class ServiceSettings(BaseSettings):
    """What one service is told (`<NOUN>_*`); each service sets its own prefix."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_url: str
    """DSN of the service's app role, `postgresql://...`."""
    grpc_address: str = "127.0.0.1:0"
    cert_path: Path = Path("certs/service.pem")
    key_path: Path = Path("certs/service.key")
    pool_size: int = Field(default=8, ge=2, le=100)
    concurrent_rpcs_max: int = Field(default=256, ge=1, le=10_000)
    batch_size_max: int = Field(default=500, ge=1, le=1_000)
    """Events taken in one transaction, and published in one batch."""
