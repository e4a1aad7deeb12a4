"""The manifests: bounded, least-privileged, wired to what the code and the compose file say."""

import base64
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from cryptography import x509
from pydantic_settings import BaseSettings

from deploy import containers
from deploy.kubernetes import secrets
from deploy.local.places import DataFolder, Places
from deploy.local.postgres import Postgres
from deploy.nats import topology
from deploy.postgres import ARCHIVE_SECONDS
from gateway.settings import GatewaySettings
from services.claims.settings import ClaimsSettings
from services.credit.settings import CreditSettings
from services.funds.settings import FundsSettings
from services.households.settings import HouseholdsSettings
from services.kernel.rpc import STOP_SECONDS
from services.kernel.settings import PlatformSettings, ServiceSettings
from services.loans.settings import LoansSettings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
BIN = Path(sys.executable).parent
OVERLAYS = ("small", "county")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SETTINGS: dict[str, type[BaseSettings]] = {
    "households": HouseholdsSettings,
    "credit": CreditSettings,
    "loans": LoansSettings,
    "claims": ClaimsSettings,
    "funds": FundsSettings,
    "gateway": GatewaySettings,
}

TLS_TO_POSTGRES = {"PGSSLMODE", "PGSSLROOTCERT"}
NOT_OF_COMPOSE = {*TLS_TO_POSTGRES, "LIANDONG_STREAM_REPLICAS"}
LEFT_TO_THE_CLUSTER = {
    *("postgres", "certificates"),
    *("jaeger", "prometheus", "alertmanager", "grafana"),
    "console",
}
"""Of compose: an operator and `deploy.kubernetes.secrets`; what a cluster has already; a client
that stands where the credentials of its institutions are."""
DATABASE = "liandong-db"
DNS, PEERS, OPERATOR_PORT, POSTGRES_METRICS = 53, 6222, 8000, 9187

Manifest = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    """What `kubectl apply -k` would send."""
    done = subprocess.run(
        [BIN / "kubectl", "kustomize", str(FOLDER / "overlays" / overlay)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


@dataclass(frozen=True, slots=True)
class Rendered:
    """One overlay."""

    overlay: str
    all: tuple[Manifest, ...] = field(repr=False)

    def of(self, kind: str) -> dict[str, Manifest]:
        return {one["metadata"]["name"]: one for one in self.all if one["kind"] == kind}

    def deployments(self) -> dict[str, Manifest]:
        return self.of("Deployment")

    def templates(self) -> dict[str, Manifest]:
        """Pod templates of what we run, by name."""
        kinds = ("Deployment", "StatefulSet", "Job")
        return {
            name: one["spec"]["template"] for kind in kinds for name, one in self.of(kind).items()
        }

    def pods(self) -> dict[str, dict[str, str]]:
        """The labels of every pod there will be, also of those that the operator makes."""
        found = {name: one["metadata"]["labels"] for name, one in self.templates().items()}
        made = self.of("Cluster")[DATABASE]["spec"]["inheritedMetadata"]["labels"]
        return {**found, DATABASE: {**made, "cnpg.io/cluster": DATABASE}}

    def environment(self, name: str) -> dict[str, str]:
        """What a container is told; where it comes from a Secret or the pod, that."""
        (container,) = self.templates()[name]["spec"]["containers"]
        told: dict[str, str] = {}
        for source in container.get("envFrom", []):
            told |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        for one in container.get("env", []):
            told[one["name"]] = one["value"] if "value" in one else json.dumps(one["valueFrom"])
        return told


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> Rendered:
    return Rendered(request.param, rendered(request.param))


@pytest.fixture
def county() -> Rendered:
    return Rendered("county", rendered("county"))


def containers_of(manifests: Rendered) -> Iterator[tuple[str, Manifest]]:
    for name, template in manifests.templates().items():
        spec = template["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield name, container


def test_all_that_compose_runs_is_here_and_everything_is_in_the_one_namespace(
    manifests: Rendered,
) -> None:
    assert set(manifests.deployments()) == set(containers.NOUNS)
    assert set(manifests.templates()) == set(COMPOSE) - LEFT_TO_THE_CLUSTER
    assert set(manifests.of("Cluster")) == {DATABASE}
    assert (
        {one["metadata"]["namespace"] for one in manifests.all if one["kind"] != "Namespace"}
        == {secrets.NAMESPACE}
        == set(manifests.of("Namespace"))
    )


def test_a_process_runs_what_it_runs_in_compose(manifests: Rendered) -> None:
    for noun in (*containers.NOUNS, "prepare"):
        (container,) = manifests.templates()[noun]["spec"]["containers"]
        assert container["command"] == COMPOSE[noun]["command"]

    nats = manifests.templates()["nats"]["spec"]["containers"][0]
    assert nats["image"] == COMPOSE["nats"]["image"]
    assert nats["command"][:2] == COMPOSE["nats"]["command"][:2]


def test_the_image_is_of_this_release(manifests: Rendered) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for noun in (*containers.NOUNS, "prepare"):
        (container,) = manifests.templates()[noun]["spec"]["containers"]
        assert container["image"] == f"liandong:{version}"


def test_a_process_is_told_the_same_names_as_in_compose(manifests: Rendered) -> None:
    for name in (*containers.NOUNS, "prepare", "nats"):
        wanted = set(COMPOSE[name]["environment"])
        assert set(manifests.environment(name)) - NOT_OF_COMPOSE == wanted, name


def test_a_process_is_told_only_what_is_read(manifests: Rendered) -> None:
    """Settings ignore what they do not know, so a wrong name would go unnoticed."""
    for noun in containers.NOUNS:
        known = {f"LIANDONG_{name}".upper() for name in PlatformSettings.model_fields}
        known |= {f"{noun}_{name}".upper() for name in SETTINGS[noun].model_fields}
        assert set(manifests.environment(noun)) - known == TLS_TO_POSTGRES


def test_what_is_told_is_what_compose_says_but_for_names_and_production(
    manifests: Rendered,
) -> None:
    """Paths, ports and neighbours: a value that differs is one that must."""
    differing = {
        "LIANDONG_ENV",
        "LIANDONG_OTLP_ENDPOINT",
        "LIANDONG_DATABASE_ADDRESS",
        "LIANDONG_NATS_NAME",
        "LIANDONG_TRACE_RATIO_PPM",
        "LIANDONG_LOG_LEVEL",
        "GATEWAY_PUBLIC_ADDRESS",
        "GATEWAY_INSTITUTIONS_PATH",
        "GATEWAY_UNREGISTERED_CERTIFICATES",
        "GATEWAY_WITHOUT_CONTRACT",
        "GATEWAY_PERSON_METADATA",
        "GATEWAY_LIMITS",
    }
    for name in (*containers.NOUNS, "prepare", "nats"):
        told = manifests.environment(name)
        for variable, value in COMPOSE[name]["environment"].items():
            secret = variable.endswith(("_PASSWORD", "_DATABASE_URL"))
            if variable not in differing and not secret:
                assert told[variable] == value, f"{name}: {variable}"


def test_the_gateway_is_as_production_wants_it(manifests: Rendered) -> None:
    told = manifests.environment("gateway")

    assert told["GATEWAY_UNREGISTERED_CERTIFICATES"] == "false"
    assert told["GATEWAY_WITHOUT_CONTRACT"] == "false"
    assert told["GATEWAY_PERSON_METADATA"] == "false"
    assert told["GATEWAY_LIMITS"] == "{}"
    assert manifests.environment("loans")["LIANDONG_ENV"] != "local"


# --- what each container may do and take ----------------------------------------------------------


def test_every_container_is_bounded_and_may_do_little(manifests: Rendered) -> None:
    for name, container in containers_of(manifests):
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][bound]), name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_every_pod_is_nobody_in_particular(manifests: Rendered) -> None:
    for name, template in manifests.templates().items():
        spec = template["spec"]
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (10001,) * 3
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["serviceAccountName"] == name
        assert {"hostNetwork", "hostPID", "hostIPC"} & set(spec) == set()
        assert not any("hostPath" in volume for volume in spec["volumes"])


def test_an_upgrade_can_send_the_preparing_step_and_what_it_reads_alone(
    manifests: Rendered,
) -> None:
    alone = {
        (one["kind"], one["metadata"]["name"].rpartition("-")[0] or one["metadata"]["name"])
        for one in manifests.all
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "prepare"
    }

    assert alone == {("Job", "prepare"), ("ServiceAccount", "prepare"), ("ConfigMap", "preparing")}


def test_every_account_is_used_and_has_no_token(manifests: Rendered) -> None:
    accounts = manifests.of("ServiceAccount")

    assert set(accounts) == set(manifests.templates())
    assert all(one["automountServiceAccountToken"] is False for one in accounts.values())


def test_every_container_that_stays_is_probed_and_given_time_to_stop(
    manifests: Rendered,
) -> None:
    for name, container in containers_of(manifests):
        if name == "prepare":
            continue
        probes = {"startupProbe", "readinessProbe", "livenessProbe"}
        assert probes <= set(container), name
        for probe in probes:
            assert {"periodSeconds", "timeoutSeconds", "failureThreshold"} <= set(container[probe])
    for noun, deployment in manifests.deployments().items():
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        waited = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert spec["terminationGracePeriodSeconds"] > waited + STOP_SECONDS
        asked = COMPOSE[noun]["healthcheck"]["test"][1:]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["exec"]["command"] == asked


def test_every_volume_is_mounted_and_every_mount_has_a_volume(manifests: Rendered) -> None:
    for name, template in manifests.templates().items():
        spec = template["spec"]
        named = {volume["name"] for volume in spec["volumes"]}
        stored = manifests.of("StatefulSet").get(name, {}).get("spec", {})
        named |= {one["metadata"]["name"] for one in stored.get("volumeClaimTemplates", [])}
        (container,) = spec["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == named, name


def test_every_path_that_a_process_is_told_is_mounted(manifests: Rendered) -> None:
    for noun in containers.NOUNS:
        (container,) = manifests.templates()[noun]["spec"]["containers"]
        mounted = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
        told = manifests.environment(noun).values()
        for path in (Path(value) for value in told if value.startswith("/")):
            assert any(path.is_relative_to(place) for place in mounted), f"{noun}: {path}"


# --- how many there are ---------------------------------------------------------------------------


def test_every_process_is_scaled_and_never_taken_away_whole(manifests: Rendered) -> None:
    for noun, deployment in manifests.deployments().items():
        scaler = manifests.of("HorizontalPodAutoscaler")[noun]["spec"]
        assert "replicas" not in deployment["spec"], "an apply would undo the autoscaler"
        assert scaler["scaleTargetRef"]["name"] == noun
        assert scaler["minReplicas"] <= scaler["maxReplicas"]
        budget = manifests.of("PodDisruptionBudget")[noun]["spec"]
        assert budget["maxUnavailable"] == 1
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert budget["selector"]["matchLabels"].items() <= labels.items()
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_county_survives_the_loss_of_any_one(county: Rendered) -> None:
    scalers = county.of("HorizontalPodAutoscaler").values()
    postgres = county.of("Cluster")[DATABASE]["spec"]

    assert all(one["spec"]["minReplicas"] >= 2 for one in scalers)
    assert all(
        one["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        for one in county.deployments().values()
    )
    assert county.of("StatefulSet")["nats"]["spec"]["replicas"] == secrets.NATS_SERVERS == 3
    assert county.environment("prepare")["LIANDONG_STREAM_REPLICAS"] == "3"
    assert postgres["instances"] == 3
    assert postgres["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
    }
    assert postgres["postgresql"]["parameters"]["synchronous_commit"] == "on"


def test_a_volume_that_one_node_holds_is_never_wanted_by_two(manifests: Rendered) -> None:
    """A rolling gateway needs its volume twice; a claim of one node would hang."""
    gateway = manifests.deployments()["gateway"]["spec"]
    claims = manifests.of("PersistentVolumeClaim").values()
    of_one_node = any(one["spec"]["accessModes"] != ["ReadWriteMany"] for one in claims)
    most = manifests.of("HorizontalPodAutoscaler")["gateway"]["spec"]["maxReplicas"]

    assert len(list(claims)) == 2
    assert not of_one_node or (gateway["strategy"] == {"type": "Recreate"} and most == 1)


def test_the_database_lets_in_as_many_as_there_may_be(manifests: Rendered) -> None:
    roles = {
        role["name"]: role["connectionLimit"]
        for role in manifests.of("Cluster")[DATABASE]["spec"]["managed"]["roles"]
    }
    pool: int = ServiceSettings.model_fields["pool_size"].default
    parameters = manifests.of("Cluster")[DATABASE]["spec"]["postgresql"]["parameters"]
    for noun in containers.NOUNS:
        most = manifests.of("HorizontalPodAutoscaler")[noun]["spec"]["maxReplicas"]
        assert (most + 1) * pool <= roles[f"{noun}_app"]

    script = (ROOT / "deploy" / "postgres" / "sql" / "noun.sql").read_text()
    limits = [int(found) for found in re.findall(r"CONNECTION LIMIT (\d+)", script)]
    assert [roles["loans_owner"], roles["loans_app"]] == limits
    assert set(roles) == {
        f"{noun}_{role}" for noun in containers.NOUNS for role in containers.ROLES
    }
    assert sum(roles.values()) < int(parameters["max_connections"])


def test_the_broker_gives_the_stream_the_room_that_it_may_take(manifests: Rendered) -> None:
    room = int(manifests.environment("nats")["LIANDONG_NATS_FILE_BYTES_MAX"])
    (claim,) = manifests.of("StatefulSet")["nats"]["spec"]["volumeClaimTemplates"]
    disk = claim["spec"]["resources"]["requests"]["storage"]

    assert topology.load().stream.max_bytes < room < int(disk.removesuffix("Gi")) * 1024**3


def test_a_small_one_has_one_server_and_asks_no_other(manifests: Rendered) -> None:
    servers = manifests.of("StatefulSet")["nats"]["spec"]["replicas"]
    clustered = manifests.templates()["nats"]["spec"]["containers"][0]["command"][2].endswith(
        "nats-cluster.conf"
    )

    assert clustered == (servers > 1)
    assert manifests.environment("prepare")["LIANDONG_STREAM_REPLICAS"] == str(servers)


# --- who talks to whom ----------------------------------------------------------------------------

Edge = tuple[str, str, int]
OUTSIDE, NAMES, MONITORING, OPERATOR, API = "outside", "kube-dns", "monitoring", "cnpg", "api"


def selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return exact and all(labels.get(each["key"]) in each["values"] for each in expressions)


def peers_of(manifests: Rendered, rule: Mapping[str, Any], side: str) -> set[str]:
    found: set[str] = set()
    for peer in rule.get(side, [{}]):
        if "namespaceSelector" in peer:
            name = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            known = {"kube-system": NAMES, "monitoring": MONITORING, "cnpg-system": OPERATOR}
            found.add(known[name])
        elif "podSelector" in peer:
            pods = manifests.pods().items()
            found |= {name for name, labels in pods if selected(peer["podSelector"], labels)}
        else:
            found.add(OUTSIDE if side == "from" else API)
    return found


def allowed(manifests: Rendered, direction: str) -> set[Edge]:
    """Every edge that policies let through on one side, as (from, to, port)."""
    side = {"Ingress": "from", "Egress": "to"}[direction]
    found: set[Edge] = set()
    for policy in manifests.of("NetworkPolicy").values():
        spec = policy["spec"]
        rules = spec.get(direction.lower(), [])
        assert direction in spec["policyTypes"] or not rules
        own = {
            name
            for name, labels in manifests.pods().items()
            if selected(spec["podSelector"], labels)
        }
        for rule in rules:
            peers = peers_of(manifests, rule, side)
            ports = {port["port"] for port in rule["ports"]}
            found |= {
                (peer, one, port) if side == "from" else (one, peer, port)
                for one in own
                for peer in peers
                for port in ports
            }
    return found


def needed(manifests: Rendered) -> set[Edge]:
    """What each process is told to talk to, read from its environment."""
    pods = {**dict.fromkeys(manifests.templates()), f"{DATABASE}-rw": None}
    found: set[Edge] = set()
    for name in (*containers.NOUNS, "prepare"):
        for value in manifests.environment(name).values():
            for host, port in re.findall(r"(?:^|//)([a-z-]+):(\d+)", value):
                assert host in pods, f"{name} is told of {host}, which is not here"
                found.add((name, DATABASE if host == f"{DATABASE}-rw" else host, int(port)))
        found.add((name, DATABASE, 5432))
    found |= {("nats", "nats", PEERS)}
    found |= {(DATABASE, DATABASE, port) for port in (5432, OPERATOR_PORT)}
    return found


def test_nobody_may_talk_unless_it_is_said(manifests: Rendered) -> None:
    policy = manifests.of("NetworkPolicy")["default-deny"]["spec"]

    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_exactly_the_edges_that_are_used_are_let_in(manifests: Rendered) -> None:
    listening = manifests.environment("gateway")
    doors = {int(listening[f"GATEWAY_{door}_ADDRESS"].split(":")[1]) for door in ("GRPC", "PUBLIC")}
    metrics = int(listening["LIANDONG_METRICS_PORT"])
    outside = {(OUTSIDE, "gateway", door) for door in doors}
    outside |= {(MONITORING, noun, metrics) for noun in containers.NOUNS}
    outside |= {(MONITORING, DATABASE, POSTGRES_METRICS), (OPERATOR, DATABASE, OPERATOR_PORT)}
    if manifests.overlay == "county":
        outside.add((OUTSIDE, "nats", 4222))

    assert allowed(manifests, "Ingress") == needed(manifests) | outside


def test_exactly_the_edges_that_are_used_are_let_out(manifests: Rendered) -> None:
    outside = {(name, NAMES, DNS) for name in manifests.pods()}
    outside |= {(DATABASE, API, port) for port in (443, 6443)}

    assert allowed(manifests, "Egress") == needed(manifests) | outside


def test_only_the_gateway_and_the_feeds_have_an_address_outside(manifests: Rendered) -> None:
    outside = {
        name: [port["port"] for port in one["spec"]["ports"]]
        for name, one in manifests.of("Service").items()
        if one["spec"].get("type", "ClusterIP") != "ClusterIP"
    }
    feeds = {"feeds": [4222]} if manifests.overlay == "county" else {}

    assert outside == {"gateway": [7443, 7444], **feeds}
    assert manifests.of("Ingress") == {}


def test_nobody_reaches_the_feeds_until_somebody_is_named(county: Rendered) -> None:
    (rule,) = county.of("NetworkPolicy")["feeds"]["spec"]["ingress"]

    assert rule["from"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]


def test_every_service_has_pods_that_listen_on_its_ports(manifests: Rendered) -> None:
    for name, service in manifests.of("Service").items():
        spec = service["spec"]
        behind = [
            pod
            for pod, labels in manifests.pods().items()
            if spec["selector"].items() <= labels.items()
        ]
        assert len(behind) == 1, name
        (container,) = manifests.templates()[behind[0]]["spec"]["containers"]
        listening = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert all(listening[port["targetPort"]] == port["port"] for port in spec["ports"])
        if behind[0] in containers.SERVICES:
            # One address for each replica: the gateway balances calls, not connections.
            assert spec["clusterIP"] == "None"


def test_every_process_is_scraped_at_the_port_that_it_is_told(manifests: Rendered) -> None:
    for noun in containers.NOUNS:
        notes = manifests.templates()[noun]["metadata"]["annotations"]
        assert notes["prometheus.io/scrape"] == "true"
        assert notes["prometheus.io/port"] == manifests.environment(noun)["LIANDONG_METRICS_PORT"]


# --- keys and passwords ---------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Manifest]:
    return {
        one["metadata"]["name"]: one
        for one in secrets.make(
            tmp_path / "authority",
            env="production",
            institutions=["bank-0001"],
            gateway_name="gateway.example",
        )
    }


def named_secrets(one: object) -> Iterator[tuple[str, str | None]]:
    """Every Secret that a manifest names, with the key that it wants, if it says which."""
    if isinstance(one, dict):
        if "secretKeyRef" in one:
            yield one["secretKeyRef"]["name"], one["secretKeyRef"]["key"]
        if "passwordSecret" in one:
            yield one["passwordSecret"]["name"], "password"
        if isinstance(one.get("secret"), dict):
            yield one["secret"].get("secretName") or one["secret"]["name"], None
        for value in one.values():
            yield from named_secrets(value)
    elif isinstance(one, list):
        for value in one:
            yield from named_secrets(value)


def test_the_secrets_that_are_made_are_those_that_are_wanted(
    manifests: Rendered, made: dict[str, Manifest]
) -> None:
    wanted = set(named_secrets(list(manifests.all)))

    assert {name for name, _ in wanted} == set(made) | {f"{DATABASE}-ca"}
    for name, key in wanted:
        assert key is None or key in made[name]["data"], f"{name}: {key}"
    assert not manifests.of("Secret"), "no key lies in the repository"


def test_only_the_migrating_step_and_the_server_know_the_owners(manifests: Rendered) -> None:
    knowing = {
        one["metadata"]["name"]
        for one in manifests.all
        if any(name.endswith("-owner") for name, _ in named_secrets(one))
    }

    assert knowing == {"prepare", DATABASE}


def test_nobody_holds_the_keys_of_another(manifests: Rendered) -> None:
    for name, template in manifests.templates().items():
        own = "operator-keys" if name == "prepare" else f"{name}-keys"
        held = {secret for secret, _ in named_secrets(template) if secret.endswith("-keys")}
        assert held == {own}


def test_a_process_finds_in_its_secret_every_file_that_it_is_told(
    manifests: Rendered, made: dict[str, Manifest]
) -> None:
    for noun in containers.NOUNS:
        told = [
            Path(value).name
            for value in manifests.environment(noun).values()
            if value.startswith("/etc/liandong/")
        ]
        assert set(told) <= set(made[f"{noun}-keys"]["data"])


def decoded(secret: Manifest, key: str) -> bytes:
    return base64.b64decode(secret["data"][key])


def names_in(secret: Manifest) -> list[str]:
    cert = x509.load_pem_x509_certificate(decoded(secret, "cert.pem"))
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def test_certificates_name_what_is_dialled(made: dict[str, Manifest]) -> None:
    routes = re.findall(
        r"tls://([\w.-]+):6222", (FOLDER / "base" / "nats-cluster.conf").read_text()
    )

    assert len(routes) == secrets.NATS_SERVERS
    assert set(routes) < set(names_in(made["nats-keys"]))
    assert "gateway.example" in names_in(made["gateway-keys"])
    assert names_in(made["loans-keys"]) == ["loans", "localhost"]


def test_identities_are_of_the_environment_that_processes_are_told(manifests: Rendered) -> None:
    unless_told = inspect.signature(secrets.main).parameters["env"].default

    for name in (*containers.NOUNS, "prepare"):
        assert manifests.environment(name)["LIANDONG_ENV"] == unless_told


def test_an_app_is_told_its_own_role_and_password(made: dict[str, Manifest]) -> None:
    for noun in containers.NOUNS:
        user, password = (
            decoded(made[f"{noun}-app"], key).decode() for key in ("username", "password")
        )
        url = decoded(made[f"{noun}-app"], "url").decode()
        assert user == f"{noun}_app"
        assert url == f"postgresql://{user}:{password}@{secrets.DATABASE_ADDRESS}"
        assert "url" not in made[f"{noun}-owner"]["data"]


def test_the_same_again_changes_nothing_and_cuts_nobody_off(tmp_path: Path) -> None:
    authority, users = tmp_path / "authority", tmp_path / "users.json"
    told = {"user": "spiffe://liandong/production/inst/bureau-0001", "permissions": {}}
    users.write_text(json.dumps([told]), encoding="utf-8")
    first = secrets.make(authority, env="production", institutions=["bank-0001"], feeds=users)

    again = secrets.make(authority, env="production", institutions=["bank-0001"])

    assert again == first
    nats = next(one for one in again if one["metadata"]["name"] == "nats-keys")
    assert b"bureau-0001" in decoded(nats, "feeds.conf")
    assert (authority / "institutions" / "inst" / "bank-0001" / "key.pem").exists()


# --- what the operator of PostgreSQL is told ------------------------------------------------------


def test_the_cluster_is_set_as_the_server_of_one_machine(county: Rendered) -> None:
    """What it is not told is its operator's own, or a default that holds the same."""
    operators = {"fsync", "full_page_writes", "log_destination", "logging_collector"}
    sized = {"max_connections", "shared_buffers", "effective_cache_size"}
    text = (ROOT / "deploy" / "postgres" / "server.conf").read_text()
    said = dict(re.findall(r"^(\w+) = '?([^'\n]*)'?$", text, flags=re.MULTILINE))
    told = county.of("Cluster")[DATABASE]["spec"]["postgresql"]["parameters"]

    assert set(said) - set(told) == operators | {"log_line_prefix"}
    assert set(told) - set(said) == {"ssl_min_protocol_version"}
    same = set(told) & set(said) - sized
    assert {name: told[name] for name in same} == {name: said[name] for name in same}


def test_the_guide_and_the_release_notes_know_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    guide = (ROOT / "docs" / "guides" / "upgrading.md").read_text(encoding="utf-8")
    section = guide.partition(f"## {version}")[2].partition("\n## ")[0]

    assert "Upgrade" in section
    assert "Rollback" in section


def test_backups_are_a_component_that_an_overlay_of_ones_own_names(tmp_path: Path) -> None:
    overlay = tmp_path / "kubernetes" / "overlays" / "own"
    shutil.copytree(FOLDER, tmp_path / "kubernetes", ignore=shutil.ignore_patterns("*.py"))
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "resources: [../county]\ncomponents: [../../components/backup]\n"
    )
    done = subprocess.run(
        [BIN / "kubectl", "kustomize", str(overlay)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {
        (each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout)
    }

    cluster = found["Cluster", "liandong-db"]["spec"]
    (plugin,) = cluster["plugins"]
    store = found["ObjectStore", plugin["parameters"]["barmanObjectName"]]["spec"]
    nightly = found["ScheduledBackup", "liandong-nightly"]["spec"]
    assert plugin["isWALArchiver"] is True
    assert cluster["postgresql"]["parameters"]["archive_timeout"] == f"{ARCHIVE_SECONDS}s"
    assert nightly["cluster"]["name"] == "liandong-db"
    assert nightly["pluginConfiguration"]["name"] == plugin["name"]
    assert len(nightly["schedule"].split()) == 6
    assert store["retentionPolicy"] == "60d"
    egress = found["NetworkPolicy", "postgres-to-object-store"]["spec"]
    assert egress["podSelector"]["matchLabels"] == {"cnpg.io/cluster": "liandong-db"}


# What a role may and what it finds, without the log-in that the Cluster gives it.
RIGHTS = """
    SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
           has_database_privilege(rolname, current_database(), 'CONNECT') AS connects,
           has_database_privilege(rolname, current_database(), 'TEMPORARY') AS temporary,
           has_database_privilege(rolname, current_database(), 'CREATE') AS creates,
           has_schema_privilege(rolname, 'public', 'USAGE') AS public,
           array(SELECT nspname || ':' || has_schema_privilege(rolname, oid, 'CREATE')
                 FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'
                   AND has_schema_privilege(rolname, oid, 'USAGE') ORDER BY 1) AS schemas,
           (SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            WHERE d.datname = current_database() AND s.setrole = pg_roles.oid) AS settings
    FROM pg_roles WHERE rolname LIKE ANY ($1) ORDER BY rolname"""


@pytest.mark.postgres
async def test_the_cluster_makes_the_roles_that_the_server_of_one_machine_has(
    machine: Places, folder: DataFolder
) -> None:
    """The plain SQL for the operator, and the scripts for psql, on one server after the other."""
    server = Postgres(machine, folder)
    named = [f"{noun}\\_%" for noun in containers.NOUNS]
    await server.start()
    try:
        superuser = await asyncpg.connect(server.superuser_dsn("postgres"))
        await superuser.execute("CREATE DATABASE operated")
        operated = await asyncpg.connect(server.superuser_dsn("operated"))
        await operated.execute((FOLDER / "base" / "nouns.sql").read_text())
        found = [tuple(row) for row in await operated.fetch(RIGHTS, named)]
        await operated.close()
        # Roles are the server's, not a database's: out of the way for the others.
        await superuser.execute("DROP DATABASE operated")
        for noun in containers.NOUNS:
            await superuser.execute(f"DROP ROLE {noun}_app; DROP ROLE {noun}_owner")
        await superuser.close()

        await server.prepare(containers.NOUNS)
        scripted = await asyncpg.connect(server.superuser_dsn())
        wanted = [tuple(row) for row in await scripted.fetch(RIGHTS, named)]
        await scripted.close()
    finally:
        await server.stop()

    assert len(found) == 2 * len(containers.NOUNS)
    assert found == wanted


# --- what others say of the manifests -------------------------------------------------------------


def test_the_manifests_hold_to_the_schemas_of_kubernetes(
    manifests: Rendered, tmp_path: Path
) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(manifests.all), encoding="utf-8")
    done = subprocess.run(
        [BIN / "kubernetes-validate", "--strict", "--quiet", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    unknown = re.findall(r"schema for kind (\w+)", done.stdout + done.stderr)
    assert set(unknown) <= {"Cluster"}
