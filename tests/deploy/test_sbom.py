"""The bill of materials: everything that is pinned, nothing else, and the same every time."""

import json
import re
import uuid
from pathlib import Path

import pytest

from deploy import sbom

ROOT = Path(__file__).resolve().parents[2]


def test_every_pinned_package_is_in_it_once_with_its_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, flags=re.MULTILINE)
    found = sbom.bill(ROOT, licences={})["components"]
    libraries = [one for one in found if one["type"] == "library"]

    assert [(one["name"], one["version"]) for one in libraries] == pinned
    assert sum(len(one["hashes"]) for one in libraries) == lock.count("--hash=sha256:")
    assert all(one["hashes"] for one in libraries)
    assert [one["name"] for one in found if one["type"] == "container"] == ["python"]


def test_it_has_the_shape_of_cyclonedx() -> None:
    made = sbom.bill(ROOT, licences={"alembic": "MIT", "asyncpg": "Apache Software License; X"})
    refs = [one["bom-ref"] for one in made["components"]]
    said = {one["name"]: one.get("licenses") for one in made["components"]}

    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.6", 1)
    assert uuid.UUID(made["serialNumber"]).version == 5
    assert len(set(refs)) == len(refs)
    assert {one["ref"] for one in made["dependencies"]} == {
        *refs,
        made["metadata"]["component"]["bom-ref"],
    }
    assert said["alembic"] == [{"expression": "MIT"}]
    assert said["asyncpg"] == [{"license": {"name": "Apache Software License; X"}}]


def test_the_same_lock_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "folder" / "two.json"

    sbom.main([str(one)])
    sbom.main([str(two)])

    assert one.read_bytes() == two.read_bytes()
    assert json.loads(one.read_text())["components"]


def test_what_is_for_some_machines_only_says_so() -> None:
    (one,) = sbom.read_lock(
        "a_b.c==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "0" * 64 + "\n"
    )

    assert (one.purl, one.marker) == ("pkg:pypi/a-b-c@1.0", "sys_platform == 'win32'")


def test_a_line_that_pins_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="not a line of a lock file"):
        sbom.read_lock("alembic>=1\n")
