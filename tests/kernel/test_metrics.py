"""The endpoint that Prometheus scrapes: what was counted is told, and one process has one."""

import subprocess
import sys
import urllib.request

from deploy.local.places import free_port
from services.kernel import metrics, telemetry


def scraped(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text.splitlines()


COUNTING = """
import sys
from services.kernel import metrics, telemetry
from tests.kernel.test_metrics import scraped

port = int(sys.argv[1])
# A counter that was made before the endpoint, and the second service of one process.
telemetry.count("liandong.test.before", noun="loans")
metrics.start(port)
metrics.start(port)
telemetry.count("liandong.test.counted", 3, noun="loans")
telemetry.count("liandong.test.counted", noun="loans")
telemetry.count("liandong.test.before", 2, noun="loans")
print(*scraped(port), sep="\\n")
"""
"""In a process of its own: in this one another test may have begun to count."""


def test_what_is_counted_is_told() -> None:
    words = [sys.executable, "-c", COUNTING, str(free_port())]

    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()

    assert 'liandong_test_counted_total{noun="loans"} 4.0' in told
    assert 'liandong_test_before_total{noun="loans"} 2.0' in told
    assert any(line.startswith("process_resident_memory_bytes ") for line in told)


def test_how_full_a_queue_is_is_told_when_it_is_asked_for() -> None:
    port = free_port()
    metrics.start(port)
    rows = [1, 2, 3]
    telemetry.bound("test_rows", lambda: len(rows), 10, noun="loans")

    assert 'liandong_bound_used{bound="test_rows",noun="loans"} 3.0' in scraped(port)
    rows.pop()
    told = scraped(port)
    assert 'liandong_bound_used{bound="test_rows",noun="loans"} 2.0' in told
    assert 'liandong_bound_max{bound="test_rows",noun="loans"} 10.0' in told


def test_no_port_is_no_endpoint() -> None:
    metrics.start(0)
