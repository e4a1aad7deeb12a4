"""Console: what is told from outside, as CONSOLE_* environment variables."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ConsoleSettings(BaseSettings):
    """Addresses, credentials, bounds."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_", frozen=True, extra="ignore")

    address: str = "127.0.0.1:8420"
    """Where browsers come to; loopback unless told otherwise."""
    url: str = ""
    """How browsers name it where that is not `http://` and the address: behind a proxy."""
    gateway_address: str = "127.0.0.1:7100"
    public_gateway_address: str = ""
    """The gateway's public door, for the public page; empty for none."""
    public_ca_path: Path | None = None
    """Authority of the public door's certificate; the institutions' own where none is named."""
    credentials_path: Path = Path("certs")
    """Folder with `ca.pem` and `inst/<institution id>/{cert,key}.pem` of those that it serves."""
    link_key_path: Path = Path("console/link.key")
    """32 bytes that sign the links people come in by; `liandong console link` reads it too."""
    person_metadata: bool = False
    """Name persons without a signed token, where an institution has no `person.pem` there."""
    jaeger_url: str = ""
    """Where a trace is shown that the platform's own store does not keep; empty for nowhere."""
    cert_path: Path | None = None
    key_path: Path | None = None
    """Serve over TLS with these; cookies are then for TLS only."""
    link_seconds: int = Field(default=900, ge=10, le=86_400)
    """How long a link opens the door; it does so once."""
    session_seconds: int = Field(default=28_800, ge=60, le=86_400)
    """Of a session from its beginning."""
    idle_seconds: int = Field(default=3_600, ge=30, le=86_400)
    """After which a session that nobody uses is over."""
    connections_max: int = Field(default=500, ge=10, le=10_000)
    sessions_max: int = Field(default=1_000, ge=1, le=100_000)
    streams_of_session_max: int = Field(default=4, ge=1, le=32)
    """Live pages that one session may hold open."""
    call_seconds: float = Field(default=30.0, gt=0, le=120)
    report_seconds: float = Field(default=120.0, gt=0, le=3_600)
    """Of a report over every loan of a county; the gateway has a bound of its own."""
    page_seconds: float = Field(default=3.0, gt=0, le=60)
    """After which a page is shown without what is still being worked out, and asks again."""
    pages_read_max: int = Field(default=20, ge=1, le=200)
    """Pages of 500 that one page adds up; what is beyond is said to be left out."""

    @property
    def secure(self) -> bool:
        """Whether browsers reach it over TLS."""
        return self.cert_path is not None or self.url.startswith("https://")

    @property
    def base_url(self) -> str:
        """How a browser names it."""
        scheme = "https" if self.cert_path is not None else "http"
        return self.url or f"{scheme}://{self.address}"
