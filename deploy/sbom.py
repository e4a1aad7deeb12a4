"""The bill of materials: CycloneDX JSON of what the lock file pins and the image stands on."""

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

SPEC_VERSION = "1.6"

_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?$"
)
_HASH = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")
_FROM = re.compile(r"^FROM (?P<name>[\w./-]+):(?P<tag>\S+)", re.MULTILINE)
_EXPRESSION = re.compile(r"^[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*$")

Component = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One line of the lock: a package, its version, where it is for, and what its files hash to."""

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]

    @property
    def purl(self) -> str:
        """The package's address in the terms of package URLs."""
        return f"pkg:pypi/{re.sub(r'[-_.]+', '-', self.name).lower()}@{self.version}"


def read_lock(text: str) -> list[Pinned]:
    """What a requirements file with hashes pins; a line that is neither is refused."""
    found: list[Pinned] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if match := _PINNED.match(line):
            name, version = match["name"], match["version"]
            found.append(
                Pinned(name=name, version=version, marker=match["marker"] or "", sha256=())
            )
        elif (match := _HASH.search(line)) and found:
            last = found[-1]
            found[-1] = Pinned(
                name=last.name,
                version=last.version,
                marker=last.marker,
                sha256=(*last.sha256, match["digest"]),
            )
        else:
            raise ValueError(f"not a line of a lock file: {line!r}")
    return found


def bill(root: Path, *, licences: Mapping[str, str]) -> dict[str, Any]:
    """The whole document; the same lock gives the same document."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    pinned = read_lock((root / "requirements.lock").read_text(encoding="utf-8"))
    dockerfile = (root / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    components = [_of_package(one, licences.get(one.name, "")) for one in pinned]
    components += sorted(_of_images(dockerfile), key=lambda one: str(one["bom-ref"]))
    own = f"pkg:generic/{name}@{version}"
    refs = [one["bom-ref"] for one in components]
    body: dict[str, Any] = {
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": name,
                "version": version,
                "description": project["description"],
                "licenses": [{"expression": project["license"]}],
            },
            "tools": {"components": [{"type": "application", "name": "deploy.sbom"}]},
        },
        "components": components,
        # The lock says what is there, not who asked for it.
        "dependencies": [{"ref": own, "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": serial.urn,
        "version": 1,
        **body,
    }


def _of_package(one: Pinned, licence: str) -> Component:
    made: Component = {
        "type": "library",
        "bom-ref": one.purl,
        "name": one.name,
        "version": one.version,
        "purl": one.purl,
        # One of each file that the index offers: an installation has one of them.
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in one.sha256],
        "scope": "required",
    }
    if one.marker:
        made["properties"] = [{"name": "liandong:marker", "value": one.marker}]
    if licence:
        said = (
            {"expression": licence}
            if _EXPRESSION.match(licence)
            else {"license": {"name": licence}}
        )
        made["licenses"] = [said]
    return made


def _of_images(dockerfile: str) -> Iterator[Component]:
    for name, tag in sorted(set(_FROM.findall(dockerfile))):
        purl = f"pkg:docker/{name}@{tag}"
        yield {"type": "container", "bom-ref": purl, "name": name, "version": tag, "purl": purl}


def installed_licences() -> dict[str, str]:
    """What the packages of this environment say of themselves, by their names in the lock."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        told = one.metadata
        said = next(iter(told.get_all("License-Expression") or ()), "")
        if not said:
            classifiers = told.get_all("Classifier") or []
            said = "; ".join(
                each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")
            )
        if said:
            found[re.sub(r"[-_.]+", "-", told["Name"]).lower()] = said
    return found


def main(arguments: Sequence[str]) -> None:
    """Write the document to the file that is named."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m deploy.sbom FILE")
    path = Path(arguments[0])
    made = bill(ROOT, licences=installed_licences())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"components={len(made['components'])} {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
