"""Credit: what is told from outside, as CREDIT_* environment variables."""

from pydantic_settings import SettingsConfigDict

from services.kernel.settings import ServiceSettings


class CreditSettings(ServiceSettings):
    """Settings of the credit service."""

    model_config = SettingsConfigDict(env_prefix="CREDIT_", frozen=True, extra="ignore")
