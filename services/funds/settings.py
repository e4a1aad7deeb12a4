"""Funds: what is told from outside, as FUNDS_* environment variables."""

from pydantic_settings import SettingsConfigDict

from services.kernel.settings import ServiceSettings


class FundsSettings(ServiceSettings):
    """Settings of the funds service."""

    model_config = SettingsConfigDict(env_prefix="FUNDS_", frozen=True, extra="ignore")
