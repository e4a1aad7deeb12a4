"""The JSON Schemas are those of the models, and accept what the loader accepts."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.programmes.json_schema import county_schema, pack_schema
from services.programmes.loader import HERE, PACKAGED, PackErrors, load_texts
from services.programmes.yaml_text import parse
from tests.programmes.county_texts import ADOPTION, INSTITUTIONS, OVERLAY, PACK, changed, texts
from tests.programmes.schema_checker import faults
from tests.programmes.test_conditions import CHILD, WITH_CONDITIONS
from tests.programmes.test_fuzz import VALUES, places

PACK_SCHEMA, COUNTY_SCHEMA = pack_schema(), county_schema()
DEMO = HERE.parents[1] / "deploy" / "demo" / "county"


def plain(text: str) -> Any:
    parsed = parse("any.yaml", text)
    assert not parsed.problems
    return parsed.value


@pytest.mark.parametrize(
    ("name", "schema"), [("pack", PACK_SCHEMA), ("county", COUNTY_SCHEMA)], ids=["pack", "county"]
)
def test_the_committed_schemas_are_those_of_the_models(name: str, schema: Any) -> None:
    committed = (HERE / f"{name}.schema.json").read_text(encoding="utf-8")

    # Not compared in the assert: pytest would print both in full.
    stale = json.loads(committed) != schema
    assert not stale, "run make programmes"


@pytest.mark.parametrize("file", sorted(PACKAGED[0].glob("*.yaml")), ids=lambda file: file.stem)
def test_every_pack_is_as_its_schema_says(file: Path) -> None:
    assert faults(PACK_SCHEMA, plain(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text", [PACK, WITH_CONDITIONS, CHILD], ids=["plain", "conditions", "child"]
)
def test_a_pack_may_say_conditions_and_only_what_differs(text: str) -> None:
    assert faults(PACK_SCHEMA, plain(text)) == []


def test_a_county_s_files_are_as_their_schema_says() -> None:
    files = [*DEMO.glob("*.yaml"), *PACKAGED[1].glob("*.yaml")]
    written = [OVERLAY, ADOPTION, INSTITUTIONS, *(file.read_text("utf-8") for file in files)]

    assert len(written) == 7
    assert [fault for text in written for fault in faults(COUNTY_SCHEMA, plain(text))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  scheme: plain", "  schema: plain"),
        ("organ: lender", "organ: lendr"),
        ("multiple: 10", 'multiple: "10"'),
        ("multiple: 10", "multiple: 1000"),
        ("multiple: 10", "multiple: {open: x}"),
        ("- {id: tidy, points_centi: 500}", "- {points_centi: 500}"),
        ("  effective_from: 2020-01-01\n", ""),
        ("five_tier: {open: not decided}", "five_tier: {open: not decided, path: x}"),
        ("bank: 30", "Bank: 30"),
        ("NAT.reg.1", "somewhere"),
    ],
)
def test_what_an_editor_can_see_to_be_wrong_is_refused(old: str, new: str) -> None:
    assert faults(PACK_SCHEMA, plain(changed(PACK, old, new)))


def test_inherit_and_open_may_stand_where_a_value_may() -> None:
    inherits = changed(CHILD, "fund: {multiple: 5}", "fund: {multiple: inherit, models: inherit}")
    leaves_open = changed(CHILD, "fund: {multiple: 5}", "fund: {multiple: {open: not decided}}")

    assert faults(PACK_SCHEMA, plain(inherits)) == []
    assert faults(PACK_SCHEMA, plain(leaves_open)) == []


WHOLE = plain(PACK)


def with_change(path: tuple[Any, ...], value: Any, *, remove: bool) -> str:
    whole = copy.deepcopy(WHOLE)
    here = whole
    for step in path[:-1]:
        here = here[step]
    if remove:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return yaml.safe_dump(whole, allow_unicode=True)


@given(st.sampled_from(places(WHOLE)), VALUES, st.booleans())
def test_the_schema_never_refuses_what_the_loader_accepts(
    path: tuple[Any, ...], value: Any, remove: bool
) -> None:
    text = with_change(path, value, remove=remove)

    try:
        load_texts(texts(pack=text, overlay="", adoption="", institutions=""))
    except PackErrors:
        return
    assert faults(PACK_SCHEMA, plain(text)) == []
