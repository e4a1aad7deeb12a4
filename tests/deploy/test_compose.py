"""The compose file: bounded, least-privileged, wired to what the code reads; and run for real."""

import asyncio
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from cryptography import x509
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from pydantic_settings import BaseSettings
from rich.console import Console

from deploy import containers
from deploy.demo.run import Options, run
from deploy.local import places, processes
from deploy.nats import topology
from gateway.console.settings import ConsoleSettings
from gateway.settings import GatewaySettings
from services.claims.settings import ClaimsSettings
from services.credit.settings import CreditSettings
from services.funds.settings import FundsSettings
from services.households.settings import HouseholdsSettings
from services.kernel.settings import PlatformSettings
from services.loans.settings import LoansSettings
from tests.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS = ROOT / "deploy" / "prometheus"

ONCE = ("certificates", "prepare")
STAYING = tuple(name for name in SERVICES if name not in ONCE)
SETTINGS: dict[str, type[BaseSettings]] = {
    "households": HouseholdsSettings,
    "credit": CreditSettings,
    "loans": LoansSettings,
    "claims": ClaimsSettings,
    "funds": FundsSettings,
    "gateway": GatewaySettings,
}


def test_every_noun_is_a_process_of_the_one_image() -> None:
    for noun in containers.NOUNS:
        module = noun if noun == "gateway" else f"services.{noun}"
        assert SERVICES[noun]["command"] == ["python", "-m", module]
        assert SERVICES[noun]["image"] == SERVICES["prepare"]["image"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_bounded_and_may_do_little(name: str) -> None:
    service = SERVICES[name]

    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", STAYING)
def test_what_stays_is_probed_restarted_and_given_time_to_stop(name: str) -> None:
    service = SERVICES[name]

    assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
    assert service["restart"] == "unless-stopped"
    assert "stop_grace_period" in service


@pytest.mark.parametrize("name", ONCE)
def test_a_step_runs_once_and_is_waited_for(name: str) -> None:
    waiting = [
        other
        for other, service in SERVICES.items()
        if service.get("depends_on", {}).get(name)
        == {"condition": "service_completed_successfully"}
    ]

    assert SERVICES[name]["restart"] == "no"
    assert SERVICES[name]["command"] == ["python", "-m", "deploy.containers", name]
    assert waiting


def test_only_the_loopback_of_the_host_is_published_and_only_what_people_open() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert set(published) == {"console", "gateway", "jaeger", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert COMPOSE["networks"]["inner"] == {"internal": True}


def test_nobody_holds_the_keys_of_another() -> None:
    keys = {
        name: {volume.split(":")[0] for volume in service.get("volumes", []) if "-keys:" in volume}
        for name, service in SERVICES.items()
        if name != "certificates"
    }
    own = {name: {f"{name}-keys"} for name in (*containers.NOUNS, "nats")}
    seeing = [
        name
        for name, service in SERVICES.items()
        if any(volume.startswith("authority:") for volume in service.get("volumes", []))
    ]

    assert {name: held for name, held in keys.items() if held} == {
        **own,
        "prepare": {"operator-keys"},
        # It calls as the institutions that it serves; as nobody of the platform.
        "console": {"institutions-keys"},
    }
    assert seeing == ["certificates"]


def test_only_the_migrating_step_and_the_server_know_the_owners() -> None:
    knowing = {
        name
        for name, service in SERVICES.items()
        if "_OWNER_PASSWORD" in json.dumps(service.get("environment", {}))
    }

    assert knowing == {"postgres", "prepare"}


def test_every_password_may_be_set_and_says_when_it_is_not() -> None:
    used = re.findall(r"\$\{(\w+_PASSWORD):-([\w-]+)\}", (ROOT / "docker-compose.yml").read_text())
    offered = [line.split("=")[0] for line in containers.passwords()]

    assert {name for name, _ in used} == set(offered)
    assert {default for _, default in used} == {"development-only"}


@pytest.mark.parametrize("noun", containers.NOUNS)
def test_a_process_is_told_only_what_its_settings_read(noun: str) -> None:
    """Settings ignore what they do not know, so a wrong name would go unnoticed."""
    known = {f"LIANDONG_{field}".upper() for field in PlatformSettings.model_fields}
    known |= {f"{noun}_{field}".upper() for field in SETTINGS[noun].model_fields}

    assert set(SERVICES[noun]["environment"]) - known == set()


def test_the_console_is_told_only_what_its_settings_read_and_no_database() -> None:
    known = {f"LIANDONG_{field}".upper() for field in PlatformSettings.model_fields}
    known |= {f"CONSOLE_{field}".upper() for field in ConsoleSettings.model_fields}
    told = SERVICES["console"]["environment"]

    assert set(told) - known == set()
    assert "postgres" not in json.dumps(told)
    assert SERVICES["console"]["command"] == ["python", "-m", "gateway.console"]


def test_the_broker_gives_the_stream_the_room_that_it_may_take() -> None:
    room = int(SERVICES["nats"]["environment"]["LIANDONG_NATS_FILE_BYTES_MAX"])

    assert room > topology.load().stream.max_bytes


def test_the_servers_script_can_be_run() -> None:
    assert (ROOT / "deploy" / "postgres" / "10-nouns.sh").stat().st_mode & stat.S_IXOTH


def test_every_process_is_scraped_at_the_port_that_it_is_told() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    targets = [
        target
        for job in config["scrape_configs"]
        for part in job["static_configs"]
        for target in part["targets"]
    ]

    assert targets == [
        f"{noun}:{SERVICES[noun]['environment']['LIANDONG_METRICS_PORT']}"
        for noun in containers.NOUNS
    ]


def test_an_alert_asks_for_what_is_counted() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    asked = {
        name
        for group in rules["groups"]
        for rule in group["rules"]
        for name in re.findall(r"liandong_\w+_total", rule["expr"])
    }
    sources = [
        path.read_text(encoding="utf-8")
        for package in ("services", "gateway")
        for path in (ROOT / package).rglob("*.py")
    ]
    counted = {
        name.replace(".", "_") + "_total"
        for source in sources
        for name in re.findall(r'telemetry\.count\(\s*"([\w.]+)"', source)
    }

    assert asked
    assert asked - counted == set()


# --- what the one-shot step makes -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Issued:
    """The folders of the step `certificates`."""

    authority: Path
    receivers: Path

    def make(self) -> None:
        containers.certificates(
            self.authority, self.receivers, env="local", institutions=["bank-0001"]
        )

    def contents(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.receivers)): path.read_bytes()
            for path in sorted(self.receivers.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    for receiver in (*containers.NOUNS, "nats", "operator", "institutions"):
        (tmp_path / "issued" / receiver).mkdir(parents=True)
    made = Issued(tmp_path / "authority", tmp_path / "issued")
    made.make()
    return made


def test_each_receiver_gets_its_own_and_nothing_else(issued: Issued) -> None:
    own = {"ca.pem", "cert.pem", "key.pem"}
    process = own | {"caller-public.pem"}
    found: dict[str, set[str]] = {}
    for name in issued.contents():
        receiver, _, rest = name.partition("/")
        found.setdefault(receiver, set()).add(rest)

    assert found == {
        "households": process | {"data.key", "lookup.key"},
        "credit": process,
        "loans": process,
        "claims": process,
        "funds": process,
        "gateway": process
        | {"caller-private.pem", "log-private.pem", "feeds-cert.pem", "feeds-key.pem"},
        "nats": own | {"nats-server.conf", "users.conf", "feeds.conf"},
        "operator": own,
        "institutions": {
            *("ca.pem", "log-public.pem"),
            *("inst/bank-0001/cert.pem", "inst/bank-0001/key.pem"),
        },
    }
    assert not any(
        path.stat().st_mode & 0o077 for path in issued.receivers.rglob("*") if path.is_file()
    )


def test_a_certificate_names_the_container_and_one_identity(issued: Issued) -> None:
    cert = x509.load_pem_x509_certificate((issued.receivers / "loans/cert.pem").read_bytes())
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["loans", "localhost"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://liandong/local/svc/loans"
    ]


def test_the_step_again_changes_nothing(issued: Issued) -> None:
    before = issued.contents()

    issued.make()

    assert issued.contents() == before


def test_a_lost_copy_comes_back_the_same(issued: Issued) -> None:
    before = issued.contents()
    shutil.rmtree(issued.receivers / "households")
    (issued.receivers / "households").mkdir()

    issued.make()

    assert issued.contents() == before


def test_the_probe_tells_a_process_that_serves_from_one_that_does_not(issued: Issued) -> None:
    own = issued.receivers / "loans"
    server = grpc.server(futures.ThreadPoolExecutor(2))
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    credentials = grpc.ssl_server_credentials(
        [((own / "key.pem").read_bytes(), (own / "cert.pem").read_bytes())],
        (own / "ca.pem").read_bytes(),
        require_client_auth=True,
    )
    address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        assert containers.probe(address, own=own)

        state.set("", health_pb2.HealthCheckResponse.NOT_SERVING)

        assert not containers.probe(address, own=own)
    finally:
        server.stop(0).wait()
    assert not containers.probe(address, own=own)


# --- run for real ---------------------------------------------------------------------------------

SCALE = 0.02


@dataclass(frozen=True, slots=True)
class Project:
    """One run of the file beside whatever else runs, on ports of its own."""

    environment: dict[str, str]

    def compose(self, *arguments: str, seconds_max: float = 300) -> str:
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=seconds_max,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def containers(self) -> list[dict[str, Any]]:
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return [json.loads(line) for line in lines]

    def port(self, name: str) -> str:
        return self.environment[f"LIANDONG_{name}_PORT"]


def missing_for_compose() -> str:
    """Why the file cannot be run here; empty when it can."""
    if shutil.which("docker") is None:
        return "no docker command"
    wanted = {SERVICES[name]["image"] for name in ("postgres", "nats", "prometheus")}
    wanted |= {
        line.split()[1]
        for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
        if line.startswith("FROM ")
    }
    questions = [["docker", "image", "inspect", name] for name in sorted(wanted)]
    for command in (["docker", "compose", "version"], *questions):
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        if done.returncode != 0:
            return f"`{' '.join(command)}` fails"
    return ""


@pytest.fixture
def project() -> Iterator[Project]:
    if reason := missing_for_compose():
        pytest.skip(f"the compose file is not run here: {reason}")
    name = f"liandong-test-{secrets.token_hex(4)}"
    doors = ("GATEWAY", "JAEGER", "PROMETHEUS")
    ports = {f"LIANDONG_{door}_PORT": str(places.free_port()) for door in doors}
    passwords = dict(line.split("=") for line in containers.passwords())
    made = Project(
        {"COMPOSE_PROJECT_NAME": name, "LIANDONG_IMAGE": "liandong:test", **ports, **passwords}
    )
    try:
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "30")


def healths(port: str) -> list[str]:
    """How Prometheus finds each process."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/targets", timeout=5) as answer:
        found = json.load(answer)["data"]["activeTargets"]
    return [target["health"] for target in found]


@pytest.mark.stack
@pytest.mark.timeout(900)
async def test_a_year_is_lived_in_containers_and_they_stop_cleanly(
    project: Project, tmp_path: Path
) -> None:
    project.compose("build", "certificates", seconds_max=600)
    # Jaeger is not among what these need: without it the year is lived untraced.
    project.compose("up", "--detach", "--no-build", "--wait", "gateway", "prometheus")
    project.compose("cp", "certificates:/issued/institutions", str(tmp_path))
    folder = f"test-{secrets.token_hex(6)}"
    options = Options(
        scale=SCALE,
        gateway=f"127.0.0.1:{project.port('GATEWAY')}",
        certificates=tmp_path / "institutions",
        folder=folder,
    )
    try:
        assert await run(options, Console(quiet=True)) == 0
    finally:
        await processes.remove_folder(places.find().folder(f"{folder}-files"))

    async def scraped() -> list[str]:
        return await asyncio.to_thread(healths, project.port("PROMETHEUS"))

    await eventually(scraped, lambda found: found == ["up"] * len(containers.NOUNS), seconds_max=40)
    project.compose("stop")
    ended = {found["Service"]: found["ExitCode"] for found in project.containers()}
    assert {noun: ended[noun] for noun in containers.NOUNS} == dict.fromkeys(containers.NOUNS, 0)
