"""Alerts: each fires when it should, has a page, asks for what is told, and leaves the machine."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from deploy.local import alerts, cli
from deploy.local.alerts import CONDITIONS, DOWN, Sample, Watch
from deploy.local.places import free_port, project_folder
from tests import webhook
from tests.webhook import Receiver

ROOT = project_folder()
PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "liandong.json"
TITLES = ("## What it means", "## What to look at", "## What to do", "## Whom to wake")
RULE_FILES = ("rules.yml", "slo.yml")
NOW = datetime(2019, 5, 6, tzinfo=UTC)

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
needs_amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="no amtool here")


def rules() -> list[dict[str, Any]]:
    groups = [
        group
        for name in RULE_FILES
        for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def expressions() -> list[str]:
    """What the dashboard asks."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- rules, pages and the dashboard ---------------------------------------------------------------


@needs_promtool
def test_the_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    for name in RULE_FILES:
        shutil.copy(PROMETHEUS / name, tmp_path)
    shutil.copy(Path(__file__).parent / "alerts_test.yml", tmp_path)

    run("promtool", "check", "rules", *RULE_FILES, folder=tmp_path)
    run("promtool", "test", "rules", "alerts_test.yml", folder=tmp_path)


def test_every_alert_is_tried() -> None:
    tried = (Path(__file__).parent / "alerts_test.yml").read_text()

    assert [name for name in ALERTS if name not in tried] == []


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {rule["annotations"]["runbook_url"] for rule in ALERTS.values()} == {
        str(path.relative_to(ROOT)) for path in RUNBOOKS.glob("*.md")
    }
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{alerts.page_of(name)}.md"
        text = (ROOT / rule["annotations"]["runbook_url"]).read_text()
        assert text.startswith(f"# {name}\n")
        assert [line for line in text.splitlines() if line.startswith("## ")] == list(TITLES)
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_a_page_names_commands_and_pages_that_there_are() -> None:
    commands = set(cli.COMMANDS)
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text()
        named = set(re.findall(r"`liandong ([a-z-]+)", text))
        assert named <= commands, path.name
        for page in re.findall(r"\((docs/[\w/.-]+)\)", text):
            assert (ROOT / page).exists(), page


@needs_promtool
def test_the_dashboard_asks_in_the_language_of_prometheus(tmp_path: Path) -> None:
    asked = [expr.replace("$__rate_interval", "5m") for expr in expressions()]
    made = [{"record": f"panel:{place}", "expr": expr} for place, expr in enumerate(asked)]
    text = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": made}]})
    (tmp_path / "dashboard.yml").write_text(text)

    run("promtool", "check", "rules", "dashboard.yml", folder=tmp_path)


def told_names() -> set[str]:
    """Every metric of ours, as Prometheus spells it."""
    sources = [
        path.read_text(encoding="utf-8")
        for package in ("services", "gateway")
        for path in (ROOT / package).rglob("*.py")
    ]
    counted = {
        found.replace(".", "_") + "_total"
        for source in sources
        for found in re.findall(r'telemetry\.count\(\s*"([\w.]+)"', source)
    }
    read = {found for source in sources for found in re.findall(r'"(liandong_\w+)"', source)}
    measured = {
        f"{family.name}{end}"
        for family in REGISTRY.collect()
        for end in ("_count", "_sum", "_bucket")
    }
    return counted | read | measured | {"liandong_access_log_checkpoint_age_seconds"}


def test_rules_and_dashboard_ask_for_what_is_told() -> None:
    texts = [*(rule["expr"] for rule in rules()), *expressions()]
    texts += [condition.metric for condition in CONDITIONS]
    pattern = r"\b(?:liandong|rpc_server|messaging)_\w+"
    asked = {name for text in texts for name in re.findall(pattern, text)}

    assert asked - told_names() == set()


@needs_amtool
def test_alertmanager_understands_its_file(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text()
    # Older tools know no file for the address.
    (tmp_path / "am.yml").write_text(re.sub(r"url_file: .*", "url: http://127.0.0.1:9/", text))

    run("amtool", "check-config", "am.yml", folder=tmp_path)


# --- on one machine -------------------------------------------------------------------------------


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(alerts, "RETRY_SECONDS", 0.001)
    with webhook.listening() as server:
        yield server


def parked(events: int) -> Sample:
    labels = {"noun": "loans", "process": "platform"}
    return Sample("liandong_parked_events", labels, events)


def test_what_is_watched_here_is_watched_by_prometheus_too() -> None:
    assert {condition.alert for condition in CONDITIONS} | {DOWN} <= set(ALERTS)
    for condition in CONDITIONS:
        rule = ALERTS[condition.alert]
        assert condition.metric in rule["expr"]
        assert condition.severity == rule["labels"]["severity"]


def test_an_alert_is_told_once_and_its_end_once() -> None:
    watch = Watch()
    first = watch.look([parked(1)], [], NOW)
    watch.note_told(first)
    again = watch.look([parked(2)], [], NOW + timedelta(minutes=1))
    over = watch.look([parked(0)], [], NOW + timedelta(minutes=2))
    watch.note_told(over)

    assert [(a.labels["alertname"], a.until) for a in first] == [("EventParked", None)]
    assert again == []
    assert [a.told()["status"] for a in over] == ["resolved"]
    assert watch.look([parked(0)], [], NOW + timedelta(minutes=3)) == []


def test_what_must_last_is_told_when_it_has_lasted() -> None:
    watch = Watch()
    old = Sample("liandong_outbox_oldest_age_seconds", {"noun": "loans", "process": "p"}, 90.0)

    assert watch.look([old], [], NOW) == []
    assert watch.look([], [], NOW + timedelta(seconds=30)) == []
    assert watch.look([old], [], NOW + timedelta(seconds=45)) == []
    late = watch.look([old], [], NOW + timedelta(seconds=110))
    assert [a.labels["alertname"] for a in late] == ["OutboxOld"]


async def test_a_receiver_is_told_in_alertmanagers_words(receiver: Receiver) -> None:
    receiver.refuse = 2
    nobody = {"platform": f"127.0.0.1:{free_port()}"}

    told = await alerts.round_of(Watch(), nobody, receiver.url)

    assert told == 1
    assert len(receiver.bodies) == 3
    body = receiver.bodies[-1]
    assert (body["version"], body["status"], body["truncatedAlerts"]) == ("4", "firing", 0)
    (alert,) = body["alerts"]
    assert alert["labels"] == {
        "alertname": "ProcessDown",
        "severity": "critical",
        "process": "platform",
    }
    assert alert["annotations"]["runbook_url"] == "docs/runbooks/process-down.md"
    assert datetime.fromisoformat(alert["startsAt"]).tzinfo is not None


async def test_a_receiver_that_does_not_take_it_is_told_again(receiver: Receiver) -> None:
    receiver.refuse = alerts.ATTEMPTS_MAX
    watch, nobody = Watch(), {"platform": f"127.0.0.1:{free_port()}"}

    assert await alerts.round_of(watch, nobody, receiver.url) == 0
    assert len(receiver.bodies) == alerts.ATTEMPTS_MAX
    assert await alerts.round_of(watch, nobody, receiver.url) == 1
    assert await alerts.round_of(watch, nobody, receiver.url) == 0
    assert await asyncio.wait_for(alerts.send("http://127.0.0.1:1/", []), 30) is False
