"""
Which worker runs what, and when: dear servers once, and the longest files first.

A file stays on one worker, as its fixtures are dear; so does a package that shares a platform. What
is not listed follows in its own order, which balances the workers at the end.
"""

from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

TOGETHER = ("tests/attack/", "tests/live/", "tests/console/", "tests/interop/")
"""Packages whose tests share a platform, or a folder on the disk."""

FIRST = (
    "tests/console/",
    "tests/attack/",
    "tests/faults/",
    "tests/live/",
    "tests/interop/",
    "tests/flows/",
    "tests/sagas/",
    "tests/loans/test_after.py",
    "tests/deploy/test_postgres.py",
    "tests/deploy/test_backup.py",
    "tests/deploy/test_cli_events.py",
    "tests/kernel/",
    "tests/credit/test_running.py",
    "tests/deploy/test_nats",
    "tests/sim/",
    "tests/deploy/test_cli_programmes.py",
    "tests/deploy/test_kubernetes.py",
    "tests/loans/test_reports.py",
    "tests/loans/test_operations.py",
)
"""The longest, longest first; a wrong place costs a minute, not a test."""


def rank(nodeid: str) -> int:
    """The place in the order; what is not listed comes last."""
    places = (place for place, start in enumerate(FIRST) if nodeid.startswith(start))
    return next(places, len(FIRST))


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests with the longest files first; the order within a file is kept."""
    return sorted(items, key=lambda item: rank(item.nodeid))


class ByServers(LoadScopeScheduling):  # type: ignore[misc]  # it carries no types
    """Files to workers, and packages that share a platform whole."""

    def _split_scope(self, nodeid: str) -> str:
        shared = (start for start in TOGETHER if nodeid.startswith(start))
        return next(shared, nodeid.partition("::")[0])
