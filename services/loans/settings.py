"""Loans: what is told from outside, as LOANS_* environment variables."""

from pydantic_settings import SettingsConfigDict

from services.kernel.settings import ServiceSettings


class LoansSettings(ServiceSettings):
    """Settings of the loans service."""

    model_config = SettingsConfigDict(env_prefix="LOANS_", frozen=True, extra="ignore")
