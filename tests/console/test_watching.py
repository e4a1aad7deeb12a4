"""Prometheus and Alertmanager, for real, on a platform that lived a year: every rule and query."""

import re
from pathlib import Path

import pytest

from tests.console import watching
from tests.console.house import House
from tests.eventually import eventually

pytestmark = [pytest.mark.stack]
CODE = Path(__file__).parents[2]
GAUGE = re.compile(r"max( by \(.*\))? ?\(")
QUIET = re.compile(r"_(total|bucket|count|sum)$")


def said_in_code() -> str:
    """What the services and the gateway are written in: metrics that wait for a first trouble."""
    files = [path for noun in ("services", "gateway") for path in (CODE / noun).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return text.replace(".", "_")


async def test_every_target_rule_and_query_works_and_an_alert_reaches_a_webhook(
    house: House, tmp_path: Path
) -> None:
    if gone := watching.missing():
        pytest.skip(f"not on this machine: {', '.join(gone)}")
    endpoints = sorted(house.remote.metrics.values())
    async with watching.watched(tmp_path, endpoints) as watch:
        up = await eventually(
            watch.targets, lambda found: set(found.values()) == {"up"}, seconds_max=120
        )
        assert sorted(up) == endpoints
        rules = await eventually(
            watch.rules, lambda found: all(health != "unknown" for health, _ in found.values()),
            seconds_max=180,
        )  # fmt: skip
        assert {name: said for name, said in rules.items() if said[0] != "ok"} == {}

        empty = [
            expression
            for expression in watching.expressions_of_the_dashboard()
            if not await watch.rows(expression) and GAUGE.match(expression)
        ]
        assert empty == [], "a gauge that is drawn only once there is trouble"
        there, code = await watch.names(), said_in_code()
        unknown = [
            name
            for name in sorted(watching.metrics_named())
            if not any(each == name or each.startswith(f"{name}_") for each in there)
            and QUIET.sub("", name) not in code
        ]
        assert unknown == [], "named by a rule or the dashboard, and told by nobody"

        # The year trips a breaker, and that is somebody's to know.
        await eventually(lambda: _names(watch), lambda told: "BreakerTripped" in told,
                         seconds_max=120)  # fmt: skip


async def _names(watch: watching.Watch) -> set[str]:
    return {each["labels"]["alertname"] for each in watch.hook.alerts}
