"""Sessions: who is signed in, kept in memory only; a restart asks everybody to sign in again."""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.console.links import Link

LINKS_REMEMBERED_MAX = 10_000
RUNNING_SECONDS_MAX = 600.0


@dataclass(frozen=True, slots=True)
class Running:
    """Something that is being worked out for a person who will ask for it again."""

    task: "asyncio.Future[Any]"
    began: float

    def is_stale(self, now: float) -> bool:
        """Whether it has long been begun: nobody came back, or the answer would be an old one."""
        return now - self.began > RUNNING_SECONDS_MAX


@dataclass(slots=True)
class Session:
    """A person of an institution at one browser."""

    session_id: str
    institution_id: str
    person_id: str
    csrf: str
    began: float
    used: float
    streams: int = 0
    """Live pages that it holds open now."""
    facts: dict[str, object] = field(default_factory=dict)
    """What the gateway said about the institution, asked once a session."""
    running: dict[str, Running] = field(default_factory=dict)

    def owns(self, csrf: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode())


class Sessions:
    """At most `most` sessions; the one that was used longest ago gives way."""

    def __init__(
        self, *, most: int, lifetime: float, idle: float, clock: Callable[[], float]
    ) -> None:
        self._most = most
        self._lifetime = lifetime
        self._idle = idle
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._spent: dict[str, int] = {}

    def begin(self, link: Link) -> Session | None:
        """Sign in by a link; None for one that was used before."""
        if link.link_id in self._spent:
            return None
        if len(self._spent) >= LINKS_REMEMBERED_MAX:
            # Links that are too old are refused for that; the others stay remembered.
            now = self._clock()
            self._spent = {key: until for key, until in self._spent.items() if until > now}
        if len(self._spent) >= LINKS_REMEMBERED_MAX:
            return None
        self._spent[link.link_id] = link.until
        if len(self._sessions) >= self._most:
            oldest = min(self._sessions.values(), key=lambda each: each.used)
            del self._sessions[oldest.session_id]
        now = self._clock()
        made = Session(
            session_id=secrets.token_urlsafe(32),
            institution_id=link.institution_id,
            person_id=link.person_id,
            csrf=secrets.token_urlsafe(32),
            began=now,
            used=now,
        )
        self._sessions[made.session_id] = made
        return made

    def find(self, session_id: str) -> Session | None:
        """The session of a cookie, unless it is over."""
        found = self._sessions.get(session_id)
        if found is None:
            return None
        now = self._clock()
        if now - found.began > self._lifetime or now - found.used > self._idle:
            self.end(session_id)
            return None
        found.used = now
        return found

    def lives(self, session_id: str) -> bool:
        """Whether a session still is; to ask does not count as using it."""
        found = self._sessions.get(session_id)
        now = self._clock()
        return (
            found is not None
            and now - found.began <= self._lifetime
            and now - found.used <= self._lifetime
        )

    def end(self, session_id: str) -> None:
        """Sign out."""
        self._sessions.pop(session_id, None)
