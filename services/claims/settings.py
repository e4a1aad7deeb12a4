"""Claims: what is told from outside, as CLAIMS_* environment variables."""

from pydantic_settings import SettingsConfigDict

from services.kernel.settings import ServiceSettings


class ClaimsSettings(ServiceSettings):
    """Settings of the claims service."""

    model_config = SettingsConfigDict(env_prefix="CLAIMS_", frozen=True, extra="ignore")
