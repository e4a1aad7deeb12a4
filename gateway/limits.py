"""
Limits: how often, how many at once and how many a day an institution may call. Memory only.

Every method is of a class (`read`, `command`, `bulk`, `stream`); a limit is for a class, or for one
method beside its class, and is the institution's own, its role's or everybody's. The rate is a
token bucket. Several gateway processes each keep their own rate and number of running calls; the
day's calls they add up in the database (`gateway/usage.py`).
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from gateway.identity import CHINA, Institution, OwnLimit, day_begins
from gateway.routes import OWN, ROUTES, Route
from services.kernel.errors import Exhausted, Quota
from services.programmes.schema.deployment import InstitutionRole as Role

READ, COMMAND, BULK, STREAM = "read", "command", "bulk", "stream"
CLASSES = (READ, COMMAND, BULK, STREAM)
BULK_NAMES = ("Batch", "Import", "Export", "Render")

STRANGERS_PER_SECOND = 50
STRANGERS_BURST = 100
"""Calls by certificates that nobody known holds; each would be a row of the access log."""
TOLD_SECONDS = 1.0
"""A limit that is run against is recorded once in so long, and counted every time."""
RUNNING_RETRY_SECONDS = 0.5
REASONS_MAX = 200
"""Kinds of refusals of one institution and day that are counted apart."""
OTHER_REASONS = "OTHER"


class Limit(BaseModel):
    """How much of something."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls_per_second: int = Field(ge=1, le=1_000_000)
    burst: int = Field(ge=1, le=1_000_000)
    calls_per_day: int = Field(ge=1, le=10**12)
    running_max: int = Field(ge=1, le=10_000)

    def times(self, factor: int) -> "Limit":
        """So many times as much, within what there can be."""
        return Limit(
            calls_per_second=min(self.calls_per_second * factor, 1_000_000),
            burst=min(self.burst * factor, 1_000_000),
            calls_per_day=min(self.calls_per_day * factor, 10**12),
            running_max=min(self.running_max * factor, 10_000),
        )


def _limit(per_second: int, per_day: int, running: int) -> Limit:
    return Limit(
        calls_per_second=per_second,
        burst=2 * per_second,
        calls_per_day=per_day,
        running_max=running,
    )


EVERYBODYS: Mapping[str, Limit] = {
    READ: _limit(200, 2_000_000, 64),
    COMMAND: _limit(100, 1_000_000, 64),
    BULK: _limit(10, 100_000, 16),
    STREAM: _limit(5, 10_000, 16),
}
OF_ROLES: Mapping[str, Mapping[str, Limit]] = {
    Role.OPERATOR: {READ: _limit(500, 10_000_000, 64)},
    Role.ASSIGNED_HELPER: {READ: _limit(10, 20_000, 4), COMMAND: _limit(5, 5_000, 4)},
    Role.HOUSEHOLD: {
        # A portal stands for a county's people; what one of them may is for self_service.py.
        READ: _limit(50, 200_000, 16),
        COMMAND: _limit(10, 10_000, 8),
        BULK: _limit(1, 1, 1),
        STREAM: _limit(1, 100, 1),
    },
}


class LimitRules(BaseModel):
    """What the settings say: by class of methods, or by one method's full name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    everybody: dict[str, Limit] = {}
    roles: dict[str, dict[str, Limit]] = {}
    times: int = Field(default=1, ge=1, le=10_000)
    """All limits so many times: for load tests and demos on one's own machine."""

    def of(self, role: str, scope: str) -> Limit | None:
        """The limit of a scope for a role; none where only a class has one."""
        found = (
            self.roles.get(role, {}).get(scope)
            or self.everybody.get(scope)
            or OF_ROLES.get(role, {}).get(scope)
            or EVERYBODYS.get(scope)
        )
        return found and found.times(self.times)


def class_of(route: Route) -> str:
    """Which class a method is of."""
    if route.streams or route.tells:
        return STREAM
    if route.method.rpartition("/")[2].startswith(BULK_NAMES):
        return BULK
    return COMMAND if route.command else READ


METHOD_CLASSES: Mapping[str, str] = {route.method: class_of(route) for route in ROUTES}
_ASKS_SERVICES = (
    "liandong.gateway.v1.DocumentsService/",
    "liandong.gateway.v1.HouseholdSelfService/",
)
ALWAYS = frozenset(
    route.method
    for route in ROUTES
    if route.noun == OWN
    and not route.command
    and not route.tells
    and not route.method.startswith(_ASKS_SERVICES)
)
"""The gateway's own questions: an institution out of quota may still ask why."""


class LimitReached(Exhausted):
    """A call too many; `told` where the access log has heard of it within the second."""

    told = False


@dataclass(frozen=True, slots=True)
class Bar:
    """What stands against a call now: which limit, for how long, how many there may be."""

    reason: str
    seconds: float | None
    """None for until the day is over."""
    most: int


class Gate:
    """One limit of one institution: its bucket, its day, its running calls."""

    __slots__ = ("_filled_at", "_tokens", "limit", "running", "scope", "told_at", "used")

    def __init__(self, scope: str, limit: Limit, now: float) -> None:
        self.scope = scope
        self.limit = limit
        self.running = 0
        self.used = 0
        """Calls of today, by all gateways as far as is known."""
        self.told_at = float("-inf")
        self._tokens = float(limit.burst)
        self._filled_at = now

    def bar(self, now: float) -> Bar | None:
        """What stands against a call now."""
        limit = self.limit
        grown = self._tokens + (now - self._filled_at) * limit.calls_per_second
        self._tokens = min(grown, float(limit.burst))
        self._filled_at = now
        if self.used >= limit.calls_per_day:
            return Bar("DAILY_QUOTA_REACHED", None, limit.calls_per_day)
        if self._tokens < 1.0:
            return Bar("RATE_REACHED", (1.0 - self._tokens) / limit.calls_per_second, limit.burst)
        if self.running >= limit.running_max:
            return Bar("TOO_MANY_RUNNING", RUNNING_RETRY_SECONDS, limit.running_max)
        return None

    def take(self) -> None:
        """Let a call in."""
        self._tokens -= 1.0
        self.used += 1
        self.running += 1

    def under(self, limit: Limit) -> "Gate":
        """The same gate under another limit: what was used stays used, what runs will end."""
        self.limit = limit
        self._tokens = min(self._tokens, float(limit.burst))
        return self


@dataclass(slots=True)
class Meter:
    """The gates of an institution, as long as it stays as it is in the directory."""

    institution: Institution
    gates: dict[str, Gate]
    of_method: dict[str, tuple[Gate, ...]]


@dataclass(frozen=True, slots=True)
class Usage:
    """How an institution stands with one limit."""

    scope: str
    limit: Limit
    used: int
    running: int


Count = tuple[date, str, str]
"""Day, institution, and a scope or a reason."""


class Limiter:
    """Counts every call in and out; refuses one too many, saying when to come back."""

    def __init__(
        self,
        rules: LimitRules,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._now = now
        self._meters: dict[str, Meter] = {}
        self._strangers = Gate("strangers", _strangers(), clock())
        self._day_ends = 0.0
        self.day = date.min
        self.unsaved: Counter[Count] = Counter()
        """Calls that the database has not heard of."""
        self.refused: Counter[Count] = Counter()
        """Refusals that the database has not heard of."""
        self._reasons: dict[str, set[str]] = {}
        self._totals: Mapping[tuple[str, str], int] = {}

    def enter(self, institution: Institution, method: str) -> tuple[Gate, ...]:
        """Let a call in, or refuse it; give what `leave` takes back."""
        if self._now() >= self._day_ends:
            self._begin_day()
        meter = self._meters.get(institution.institution_id)
        if meter is None or meter.institution is not institution:
            meter = self._measure(institution, meter)
        gates = meter.of_method[method]
        now = self._clock()
        for gate in gates:
            if (bar := gate.bar(now)) is not None:
                if bar.seconds is None and method in ALWAYS:
                    continue
                raise self._reached(institution.institution_id, gate, bar, now)
        for gate in gates:
            gate.take()
            self.unsaved[self.day, institution.institution_id, gate.scope] += 1
        return gates

    def leave(self, gates: tuple[Gate, ...]) -> None:
        """Take note that a call has ended."""
        for gate in gates:
            gate.running -= 1

    def stranger(self) -> None:
        """Refuse calls by nobody known when they come too often to be recorded."""
        now = self._clock()
        if (bar := self._strangers.bar(now)) is not None:
            raise self._reached("", self._strangers, bar, now)
        self._strangers.take()
        self._strangers.running = self._strangers.used = 0

    def note(self, institution_id: str, reason: str) -> None:
        """Count a refusal of a known institution's call."""
        known = self._reasons.setdefault(institution_id, set())
        if reason not in known:
            reason = reason if len(known) < REASONS_MAX else OTHER_REASONS
            known.add(reason)
        self.refused[self.day, institution_id, reason] += 1

    def usage(self, institution: Institution) -> list[Usage]:
        """How an institution stands with each of its limits."""
        meter = self._meters.get(institution.institution_id)
        if meter is None or meter.institution is not institution:
            meter = self._measure(institution, meter)
        return [Usage(g.scope, g.limit, g.used, g.running) for g in meter.gates.values()]

    def seconds_left(self) -> float:
        """Until the day's quotas begin anew."""
        return max(0.0, self._day_ends - self._now())

    def restore(self, day: date, calls: Mapping[tuple[str, str], int]) -> None:
        """Take the totals that the database has of a day, ours and the other gateways'."""
        if day != self.day:
            return
        for institution_id, meter in self._meters.items():
            for scope, gate in meter.gates.items():
                unsaved = self.unsaved[day, institution_id, scope]
                gate.used = calls.get((institution_id, scope), 0) + unsaved
        self._totals = dict(calls)

    def begin(self) -> date:
        """The day whose calls are counted now."""
        if self._now() >= self._day_ends:
            self._begin_day()
        return self.day

    def forget(self, known: Mapping[str, Institution]) -> None:
        """Drop the meters of institutions that are gone."""
        for gone in self._meters.keys() - known.keys():
            del self._meters[gone]
        for gone in self._reasons.keys() - known.keys():
            del self._reasons[gone]

    def _begin_day(self) -> None:
        self.day = datetime.fromtimestamp(self._now(), CHINA).date()
        self._day_ends = day_begins(self.day + timedelta(days=1))
        self._totals = {}
        self._reasons.clear()
        for meter in self._meters.values():
            for gate in meter.gates.values():
                gate.used = 0

    def _measure(self, institution: Institution, before: Meter | None) -> Meter:
        """The gates as they are now; what was used and what runs goes over."""
        now = self._clock()
        gates: dict[str, Gate] = {}

        def gate(scope: str) -> Gate | None:
            if scope not in gates:
                own = institution.limits.get(scope)
                limit = _own(own) if own else self._rules.of(institution.role, scope)
                if limit is None:
                    return None
                old = before.gates.get(scope) if before else None
                if old is None:
                    old = Gate(scope, limit, now)
                    key = (institution.institution_id, scope)
                    old.used = self._totals.get(key, 0) + self.unsaved[(self.day, *key)]
                gates[scope] = old if old.limit == limit else old.under(limit)
            return gates[scope]

        of_method = {
            method: tuple(each for scope in (kind, method) if (each := gate(scope)) is not None)
            for method, kind in METHOD_CLASSES.items()
        }
        made = Meter(institution, gates, of_method)
        self._meters[institution.institution_id] = made
        return made

    def _reached(self, institution_id: str, gate: Gate, bar: Bar, now: float) -> LimitReached:
        told = now - gate.told_at < TOLD_SECONDS
        if not told:
            gate.told_at = now
        error = LimitReached(
            bar.reason,
            f"{gate.scope}: {_SAID[bar.reason]} {bar.most}",
            message_zh="调用超过限额,请按提示时间后重试",
            retry_seconds=self.seconds_left() if bar.seconds is None else bar.seconds,
            quota=Quota(
                subject=f"institution:{institution_id}" if institution_id else "strangers",
                metric=f"liandong.gateway/{gate.scope}",
                most=bar.most,
            ),
        )
        error.told = told
        return error


_SAID = {
    "DAILY_QUOTA_REACHED": "calls a day, at most",
    "RATE_REACHED": "calls come too fast, at once at most",
    "TOO_MANY_RUNNING": "calls running at the same time, at most",
}


def _strangers() -> Limit:
    return Limit(
        calls_per_second=STRANGERS_PER_SECOND,
        burst=STRANGERS_BURST,
        calls_per_day=10**12,
        running_max=10_000,
    )


def _own(limit: OwnLimit) -> Limit:
    return Limit(
        calls_per_second=limit.calls_per_second,
        burst=limit.burst,
        calls_per_day=limit.calls_per_day,
        running_max=limit.running_max,
    )
