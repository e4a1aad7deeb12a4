"""Households: what is told from outside, as HOUSEHOLDS_* environment variables."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from services.kernel.settings import ServiceSettings


class HouseholdsSettings(ServiceSettings):
    """What the households service is told."""

    model_config = SettingsConfigDict(env_prefix="HOUSEHOLDS_", frozen=True, extra="ignore")

    data_key_path: Path = Path("keys/households-data.key")
    """32 bytes that seal names, identity numbers and phones."""
    lookup_key_path: Path = Path("keys/households-lookup.key")
    """32 bytes of the keyed hash by which an identity number is found."""
    payee_waiting_days: int = 3
    """Days between a proposed change of a payee account and its confirmation by another person."""
