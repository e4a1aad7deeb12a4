"""
Alerts on one machine without Prometheus: looked for in the metrics, told to a webhook.

A small part of deploy/prometheus/rules.yml by the same names, so that the same pages help; told as
Alertmanager tells them, so that the same receivers understand.
"""

import asyncio
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from prometheus_client.parser import text_string_to_metric_families

SCRAPE_SECONDS: Final = 5.0
SEND_SECONDS: Final = 10.0
ATTEMPTS_MAX: Final = 4
RETRY_SECONDS: Final = 0.5
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
ALERTS_MAX: Final = 100
"""Of one message; what is more is counted."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Condition:
    """A gauge that must not be above a bound."""

    alert: str
    metric: str
    above: float
    severity: str
    summary: str
    for_seconds: float = 0.0
    only: Mapping[str, str] = field(default_factory=dict)


_DAY = 86_400.0
CONDITIONS: Final = (
    Condition("EventParked", "liandong_parked_events", 0, "critical", "events wait for a person"),
    Condition(
        "OutboxOld", "liandong_outbox_oldest_age_seconds", 60, "critical", "not in the stream", 60
    ),
    Condition("ConsumerLags", "liandong_consumer_lag_events", 10_000, "warning", "is behind", 600),
    Condition(
        "AccessLogUnsealed",
        "liandong_access_log_checkpoint_age_seconds",
        180,
        "critical",
        "no checkpoint of the access log is signed",
        60,
    ),
    Condition("ReadingsStale", "liandong_readings_age_seconds", 120, "warning", "gauges are old"),
    Condition(
        "PayoutUnallocated",
        "liandong_payouts_oldest_age_seconds",
        600,
        "critical",
        "loans has not divided a payout",
        120,
        {"state": "authorised"},
    ),
    Condition(
        "PayoutStuck",
        "liandong_payouts_oldest_age_seconds",
        5 * _DAY,
        "warning",
        "a payout is on its way for more than five days",
    ),
    Condition(
        "CaseStuck",
        "liandong_compensation_cases_oldest_age_seconds",
        30 * _DAY,
        "warning",
        "a compensation case stands for more than thirty days",
    ),
    Condition(
        "ClaimDeadlineMissed", "liandong_claims_deadline_missed", 0, "critical", "claims are late"
    ),
    Condition(
        "ClaimDeadlineAtRisk",
        "liandong_claims_deadline_at_risk",
        0,
        "warning",
        "claims must be decided within two days",
    ),
    Condition("BreakerTripped", "liandong_breakers_tripped", 0, "warning", "lending stands still"),
    Condition(
        "LeverageReached",
        "liandong_fund_leverage_reached",
        0,
        "warning",
        "the fund can take no more cover",
    ),
    Condition("FundSuspended", "liandong_fund_suspended", 0, "warning", "the fund is suspended"),
    Condition("FeedBehind", "liandong_feed_readers_behind", 0, "warning", "readers fall behind"),
    Condition(
        "CertificateEnds", "liandong_certificates_ending", 0, "warning", "certificates end soon"
    ),
    Condition("PausedForLong", "liandong_pauses", 0, "warning", "paused for a day", _DAY),
)
DOWN: Final = "ProcessDown"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value that a process told."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that somebody must look at."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since: datetime
    until: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same labels."""
        told = json.dumps(dict(sorted(self.labels.items())))
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def told(self) -> dict[str, Any]:
        """As Alertmanager's webhook has it."""
        return {
            "status": "firing" if self.until is None else "resolved",
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "startsAt": self.since.isoformat(),
            "endsAt": self.until.isoformat() if self.until else "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": self.fingerprint,
        }


def read(process: str, text: str) -> list[Sample]:
    """What one process told, with its name."""
    return [
        Sample(sample.name, {**sample.labels, "process": process}, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def holding(samples: Iterable[Sample], down: Sequence[str]) -> list[tuple[Condition, Sample]]:
    """Which conditions hold now, and of what."""
    found = [
        (Condition(DOWN, "up", 0, "critical", "does not answer"), Sample("up", {"process": p}, 0))
        for p in down
    ]
    by_metric: dict[str, list[Condition]] = {}
    for condition in CONDITIONS:
        by_metric.setdefault(condition.metric, []).append(condition)
    for sample in samples:
        for condition in by_metric.get(sample.name, ()):
            named = all(sample.labels.get(key) == value for key, value in condition.only.items())
            if named and sample.value > condition.above:
                found.append((condition, sample))
    return found


class Watch:
    """Remembers what holds since when, and what the receiver was told of."""

    def __init__(self) -> None:
        self._pending: dict[str, datetime] = {}
        self._told: dict[str, Alert] = {}

    def look(self, samples: Iterable[Sample], down: Sequence[str], now: datetime) -> list[Alert]:
        """What the receiver does not know yet: what fires now, and what no longer does."""
        pending: dict[str, datetime] = {}
        firing: dict[str, Alert] = {}
        for condition, sample in holding(samples, down):
            alert = _alert(condition, sample, now)
            since = pending[alert.fingerprint] = self._pending.get(alert.fingerprint, now)
            if (now - since).total_seconds() >= condition.for_seconds:
                firing[alert.fingerprint] = _alert(condition, sample, since)
        self._pending = pending
        news = [alert for key, alert in firing.items() if key not in self._told]
        over = [
            Alert(alert.labels, alert.annotations, alert.since, now)
            for key, alert in self._told.items()
            if key not in firing
        ]
        return [*news, *over]

    def note_told(self, alerts: Iterable[Alert]) -> None:
        """The receiver knows of these."""
        for alert in alerts:
            if alert.until is None:
                self._told[alert.fingerprint] = alert
            else:
                self._told.pop(alert.fingerprint, None)


def _alert(condition: Condition, sample: Sample, since: datetime) -> Alert:
    whose = sample.labels.get("noun") or sample.labels["process"]
    labels = {"alertname": condition.alert, "severity": condition.severity, **sample.labels}
    annotations = {
        "summary": f"{whose}: {condition.summary} ({sample.value:g})",
        "runbook_url": f"docs/runbooks/{page_of(condition.alert)}.md",
    }
    return Alert(labels, annotations, since)


def page_of(alert: str) -> str:
    """The name of an alert's page."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in alert).lstrip("-")


def message(alerts: Sequence[Alert]) -> dict[str, Any]:
    """What the webhook is told: version 4 of Alertmanager's format."""
    shown = alerts[:ALERTS_MAX]
    return {
        "version": "4",
        "groupKey": "liandong",
        "truncatedAlerts": len(alerts) - len(shown),
        "status": "firing" if any(alert.until is None for alert in alerts) else "resolved",
        "receiver": "duty",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": [alert.told() for alert in shown],
    }


async def scrape(endpoints: Mapping[str, str]) -> tuple[list[Sample], list[str]]:
    """What all processes tell, and which of them do not answer."""
    texts = await asyncio.gather(
        *(asyncio.to_thread(_text, address) for address in endpoints.values())
    )
    samples = [
        sample
        for process, text in zip(endpoints, texts, strict=True)
        for sample in (read(process, text) if text is not None else ())
    ]
    return samples, [p for p, text in zip(endpoints, texts, strict=True) if text is None]


def _text(address: str) -> str | None:
    url = f"http://{address}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as answer:
            text: str = answer.read(BODY_BYTES_MAX).decode()
    except OSError:
        return None
    return text


async def send(url: str, alerts: Sequence[Alert]) -> bool:
    """Tell the receiver; False when it does not take it after some attempts."""
    body = json.dumps(message(alerts), ensure_ascii=False).encode()
    for attempt in range(ATTEMPTS_MAX):
        if attempt:
            await asyncio.sleep(RETRY_SECONDS * 2**attempt)
        failure = await asyncio.to_thread(_post, url, body)
        if not failure:
            return True
        log.warning("webhook_refuses", attempt=attempt + 1, error=failure)
    return False


def _post(url: str, body: bytes) -> str:
    """Post once; how it failed, empty when it did not."""
    request = urllib.request.Request(  # noqa: S310 - checked by the command
        url, data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=SEND_SECONDS):  # noqa: S310 - as above
            return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except OSError as error:
        return type(error).__name__


async def round_of(watch: Watch, endpoints: Mapping[str, str], url: str) -> int:
    """Look once and tell what is new, or was not taken before; how many alerts were told."""
    samples, down = await scrape(endpoints)
    alerts = watch.look(samples, down, datetime.now(UTC))
    if not alerts or not await send(url, alerts):
        return 0
    watch.note_told(alerts)
    return len(alerts)
