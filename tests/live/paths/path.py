"""A path: how a case of one rule is asked of the running services."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.live.county import County
from tests.live.platform import knows
from tests.live.setup import Case, Setup

Answer = Mapping[str, Any]


def always(_: Case) -> str:
    """Every case of the rule has a path."""
    return ""


def light(_: Case) -> bool:
    """A case of a few loans."""
    return False


def long(_: Case) -> bool:
    """A case of years of day closes."""
    return True


@dataclass(frozen=True, slots=True)
class Path:
    """From a case to its county, and from its county to what the services answer."""

    setup: Callable[[Case], Setup]
    drive: Callable[[County, Case], Awaitable[Answer]]
    """Answers in the words of the case's `expected`."""
    unsaid: tuple[str, ...] = ()
    """Keys of `expected` that no service says."""
    needs: tuple[str, ...] = ()
    """Methods (`credit.AssessAreas`) and fields (`credit.Indicator.value`) of the protos."""
    lacks: Callable[[Case], str] = always
    """Why this one case has no path; empty when it has one."""

    heavy: Callable[[Case], bool] = light
    """Whether a case takes so many loans or days that only the long form asks it."""

    def reason_without(self, case: Case) -> str:
        """Why a case cannot be asked of these services; empty when it can."""
        missing = [name for name in self.needs if not knows(name)]
        if missing:
            return f"the services have no {', '.join(missing)}"
        return self.lacks(case)
