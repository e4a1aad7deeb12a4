"""Telling: how a method of our own answers one question many times, as long as it may."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from gateway.identity import Institution


@dataclass(frozen=True, slots=True)
class Watch:
    """What the door gives to a method that goes on telling."""

    allowed: Callable[[], Institution]
    """Who asks, as the registry has it now; raises once a new call would be refused."""
    record: Callable[[tuple[str, ...]], Awaitable[None]]
    """Write down what is about to be told; what cannot be recorded is not told."""
    purpose: str
    """What the caller says it asks for."""
    seconds: float
    """How long it may go on."""


OwnTelling = Callable[[Watch, bytes], AsyncGenerator[bytes]]
"""The watch and the question's body to the answers."""
