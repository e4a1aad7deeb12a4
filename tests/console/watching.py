"""The real Prometheus and Alertmanager on our configuration and rules, and what they are asked."""

import asyncio
import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.local import places
from tests import webhook
from tests.eventually import eventually
from tests.webhook import Receiver

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "liandong.json"
BINARIES = ("prometheus", "prometheus-alertmanager")
ASK_SECONDS = 30
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "1m"}


def missing() -> list[str]:
    """Of the two servers, those that are not on this machine."""
    return [each for each in BINARIES if shutil.which(each) is None]


@dataclass(slots=True)
class Watch:
    """A running pair, and what its webhook was told."""

    url: str
    hook: Receiver

    async def ask(self, path: str, **query: str) -> Any:
        """One question to the API of Prometheus."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"

        def get() -> Any:
            with urllib.request.urlopen(url, timeout=ASK_SECONDS) as answer:  # noqa: S310 - our own
                return json.load(answer)["data"]

        return await asyncio.to_thread(get)

    async def targets(self) -> dict[str, str]:
        """The health of every target, by its address."""
        try:
            found = await self.ask("targets", state="active")
        except OSError:
            return {}
        return {each["labels"]["instance"]: each["health"] for each in found["activeTargets"]}

    async def rules(self) -> dict[str, tuple[str, str]]:
        """Health and last error of every rule."""
        groups = (await self.ask("rules"))["groups"]
        return {
            f"{group['name']}/{each['name']}/{each.get('labels', {}).get('slo', '')}": (
                each["health"],
                each.get("lastError", ""),
            )
            for group in groups
            for each in group["rules"]
        }

    async def rows(self, expression: str) -> list[Any]:
        """What an expression gives now."""
        found: list[Any] = (await self.ask("query", query=expression))["result"]
        return found

    async def names(self) -> set[str]:
        """Every metric that it has."""
        return set(await self.ask("label/__name__/values"))


def expressions_of_the_dashboard() -> list[str]:
    """Every query of the dashboard, with its variables filled in as Grafana would."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = VARIABLES | {
        f"${each['name']}": ".*" for each in board.get("templating", {}).get("list", [])
    }
    found = []
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = str(target["expr"])
            for name, value in variables.items():
                expression = expression.replace(name, value)
            found.append(expression)
    return found


def metrics_named() -> set[str]:
    """Every metric of ours or of gRPC that a rule or the dashboard names."""
    texts = [
        *expressions_of_the_dashboard(),
        *(path.read_text(encoding="utf-8") for path in (DEPLOY / "prometheus").glob("*.yml")),
    ]
    pattern = r"\b(?:liandong|rpc_server|messaging)_[a-z0-9_]+"
    return {name for text in texts for name in re.findall(pattern, text)}


def _configuration(folder: Path, endpoints: Sequence[str], alertmanager: str) -> Path:
    """Our own file with this machine's addresses in the place of the containers'."""
    made = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    made["global"] = {
        "scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "2s",
    }  # fmt: skip
    made["rule_files"] = [str(_at_once(folder, each)) for each in ("rules.yml", "slo.yml")]
    made["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    made["scrape_configs"][0]["static_configs"] = [{"targets": list(endpoints)}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(made), encoding="utf-8")
    return path


def _at_once(folder: Path, name: str) -> Path:
    """Our own rules, looked at as soon as there is something: a group waits for its minute."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / name).read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group.pop("interval", None)
    path = folder / name
    path.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return path


@asynccontextmanager
async def watched(folder: Path, endpoints: Sequence[str]) -> AsyncIterator[Watch]:
    """Both servers over some metrics endpoints, and a webhook that writes down what it is told."""
    prometheus, alertmanager = (f"127.0.0.1:{places.free_port()}" for _ in range(2))
    with webhook.listening() as hook:
        watch = Watch(f"http://{prometheus}", hook)
        sends = {
            "route": {"receiver": "ours", "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "ours", "webhook_configs": [{"url": hook.url}]}],
        }
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(sends), encoding="utf-8")
        config = _configuration(folder, endpoints, alertmanager)
        commands = (
            (
                *("prometheus", f"--config.file={config}"),
                *(f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={prometheus}"),
            ),
            (
                *("prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}"),
                *(f"--storage.path={folder / 'alerts'}", f"--web.listen-address={alertmanager}"),
                "--cluster.listen-address=",
            ),
        )
        with (folder / "servers.log").open("wb") as log:
            running = [
                await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
                for command in commands
            ]
            try:
                await eventually(watch.targets, bool, seconds_max=60)
                yield watch
            finally:
                for each in running:
                    if each.returncode is None:
                        each.terminate()
                        await each.wait()
