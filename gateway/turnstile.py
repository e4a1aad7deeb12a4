"""Turnstile: how often each of very many may ask, and all of them together. Memory only."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.limits import Gate, Limit
from services.kernel import telemetry
from services.kernel.errors import Exhausted, Quota

KEPT_MAX: Final = 10_000
"""How many are counted apart; the one that has been silent longest is forgotten."""


def per_second(calls: int) -> Limit:
    """So many calls a second, twice as many at once."""
    return Limit(
        calls_per_second=calls,
        burst=2 * calls,
        calls_per_day=10**12,
        running_max=min(2 * calls, 10_000),
    )


class Turnstile:
    """Counts the calls of each of many and of all together; keeps nothing else of them."""

    def __init__(
        self,
        everybody: Limit,
        one: Limit,
        *,
        of: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._of = of
        self._one = one
        self._clock = clock
        self._all = Gate("everybody", everybody, clock())
        self._each: OrderedDict[str, Gate] = OrderedDict()
        telemetry.bound(f"turnstile_{of}", lambda: len(self._each), KEPT_MAX, noun="gateway")

    def __len__(self) -> int:
        return len(self._each)

    def enter(self, who: str) -> tuple[Gate, Gate]:
        """Let a call in, or refuse it; give what `leave` takes back."""
        now = self._clock()
        own = self._each.pop(who, None) or Gate(self._of, self._one, now)
        self._each[who] = own
        if len(self._each) > KEPT_MAX:
            self._each.popitem(last=False)
        # One that asks too often takes nothing from the others.
        for gate in (own, self._all):
            if (bar := gate.bar(now)) is not None:
                subject = f"one {self._of}" if gate is own else "everybody"
                raise Exhausted(
                    "RATE_LIMIT_REACHED",
                    f"too many calls of {subject}",
                    message_zh="访问过于频繁,请稍后再试",
                    retry_seconds=bar.seconds,
                    quota=Quota(subject, "calls", bar.most),
                )
        for gate in (own, self._all):
            gate.take()
        return own, self._all

    def leave(self, gates: tuple[Gate, Gate]) -> None:
        """Take note that a call has ended."""
        for gate in gates:
            gate.running -= 1
