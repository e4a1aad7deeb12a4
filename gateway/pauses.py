"""Pauses of institutions and feeds, held in memory: a call costs a look into a mapping."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from gateway.identity import Directory
from services.kernel import pauses
from services.kernel.caller import Caller
from services.kernel.clock import recorded_time
from services.kernel.errors import Denied, Refused
from services.kernel.pause_desk import Pausable
from services.kernel.pauses import Pause

ANSWERED: Final = frozenset(
    {
        "liandong.gateway.v1.GatewayService/WhoAmI",
        "liandong.gateway.v1.GatewayService/GetStatus",
    }
)
"""What whoever is paused may still ask: who it is, and why it is paused."""


class Pauses:
    """
    What is paused, as the database had it last.

    While that does not answer, what is paused stays so and nothing else begins to be.
    """

    def __init__(self, *, clock: Callable[[], datetime] = recorded_time) -> None:
        self._clock = clock
        self._institutions: Mapping[str, Pause] = {}
        self._feeds: Mapping[str, Pause] = {}

    def replace(self, found: Iterable[Pause]) -> None:
        """Take the state of the database."""
        known = list(found)
        self._institutions = {p.subject: p for p in known if p.kind == pauses.INSTITUTION}
        self._feeds = {p.subject: p for p in known if p.kind == pauses.FEED}

    def require_running(self, institution_id: str, method: str) -> None:
        """Refuse a call of an institution that is paused."""
        pause = self._institutions.get(institution_id)
        if pause is None or method in ANSWERED or not pause.holds(self._clock()):
            return
        raise Denied(
            "INSTITUTION_PAUSED",
            f"the institution is paused {pause.until()}: {pause.reason}",
            message_zh="机构已被运营方暂停",
            facts={"pause_reason": pause.reason},
        )

    def feed(self, institution_id: str) -> Pause | None:
        """The pause that holds an institution's feed, if any does."""
        pause = self._feeds.get(institution_id)
        return pause if pause is not None and pause.holds(self._clock()) else None

    def of(self, institution_id: str) -> list[Pause]:
        """What concerns an institution."""
        own = (self._institutions.get(institution_id), self._feeds.get(institution_id))
        now = self._clock()
        return [pause for pause in own if pause is not None and pause.holds(now)]


def pausable(directory: Directory) -> Pausable:
    """What the gateway can pause beside its consumer: institutions that it knows, their feeds."""

    def is_another(caller: Caller, subject: str) -> bool:
        if subject == caller.institution_id:
            raise Refused("NOT_ONESELF", "nobody pauses oneself", message_zh="不得停用本机构")
        return directory.find(subject) is not None

    return {
        pauses.INSTITUTION: is_another,
        pauses.FEED: lambda _caller, subject: directory.find(subject) is not None,
    }
