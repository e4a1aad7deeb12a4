"""Which rules the running services can be asked about, and why the others cannot yet."""

from collections.abc import Mapping

from tests.live.paths import (
    applying,
    breakers,
    chain,
    funds,
    gateway,
    insurance,
    lending,
    loans,
    reports,
    scoring,
    settlement,
    suspensions,
    tasks,
)
from tests.live.paths.path import Path

PATHS: Mapping[str, Path] = {
    **scoring.PATHS,
    **loans.PATHS,
    **applying.PATHS,
    **lending.PATHS,
    **breakers.PATHS,
    **suspensions.PATHS,
    **reports.PATHS,
    **insurance.PATHS,
    **settlement.PATHS,
    **funds.PATHS,
    **gateway.PATHS,
    **chain.PATHS,
    **tasks.PATHS,
}

WITHOUT: Mapping[str, str] = {}
"""Rule → what is missing for a path."""

KNOWN_FAULTS: Mapping[str, str] = {}
"""Case → the fault it meets; it is counted as failed, and a pass says that this line may go."""
