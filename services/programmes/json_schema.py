"""Programmes: JSON Schemas of the files people write, from the models that check them."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from services.programmes.merge import INHERIT
from services.programmes.schema.deployment import (
    AdoptionFile,
    CalendarFile,
    InstitutionsFile,
    OverlayHeader,
)
from services.programmes.schema.pack import Condition, Pack

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WHOLE = frozenset({"Header", "Open", "Title"})
"""What a child pack never says in parts."""


def pack_schema() -> Schema:
    """A pack's file: a child says only what differs, so little is required and much inherited."""
    sections, defs = _sections()
    return {
        "$schema": DIALECT,
        "title": "A programme of Liandong",
        **_mapping({"programme": {"$ref": "#/$defs/Header"}, **sections}, required=["programme"]),
        "$defs": defs,
    }


def county_schema() -> Schema:
    """A county's files: overlay, adoption, institutions; and the calendar."""
    sections, defs = _sections()
    files = (OverlayHeader, AdoptionFile, InstitutionsFile, CalendarFile)
    _, top = models_json_schema([(file, "validation") for file in files], by_alias=True)
    own = {name: _plain(each) for name, each in top["$defs"].items() if name not in WHOLE}
    overlay = {
        "overlay": {"$ref": "#/$defs/OverlayHeader"},
        "values": _mapping({"programme": _own_header(defs), **sections}),
    }
    kinds = [{"$ref": f"#/$defs/{file.__name__}"} for file in files[1:]]
    return {
        "$schema": DIALECT,
        "title": "A county's files of Liandong",
        "anyOf": [_mapping(overlay, required=["overlay", "values"]), *kinds],
        "$defs": {**defs, **own},
    }


def _own_header(defs: Mapping[str, Schema]) -> Schema:
    """A header of which an overlay says only what its county may set."""
    return {**defs["Header"], "required": []}


def _sections() -> tuple[Schema, dict[str, Schema]]:
    """Every section of a pack by name, and the definitions they use."""
    whole = Pack.model_json_schema(by_alias=True)
    defs = {
        name: _plain(each) if name in WHOLE else _partial(_plain(each))
        for name, each in whole["$defs"].items()
    }
    del defs["Open"]["properties"]["path"]
    defs["Header"]["properties"]["version"]["type"] = ["string", "integer"]
    plain = _plain({"properties": whole["properties"]})["properties"]
    sections = {
        name: _or_inherited(each)
        for name, each in plain.items()
        if name not in ("programme", "conditions", "source")
    }
    defs[Condition.__name__]["properties"].update(sections)
    return {"source": plain["source"], "conditions": plain["conditions"], **sections}, defs


def _mapping(properties: Schema, *, required: list[str] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


def _plain(schema: Any) -> Any:
    """Without what misleads an editor: invented titles, defaults, and kinds told by a key."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            plain[key] = {name: _plain(each) for name, each in value.items()}
        elif key == "oneOf":
            plain["anyOf"] = _plain(value)
        elif key == "description":
            plain[key] = " ".join(value.split())
        elif key not in ("default", "discriminator", "title"):
            plain[key] = _plain(value)
    if "patternProperties" in plain:
        plain["additionalProperties"] = False
    return plain


def _partial(schema: Schema) -> Schema:
    """A definition of which a child may say a part, named by its id where it has one."""
    properties = schema.get("properties")
    if properties is None:
        return schema
    kept = {"id", "source"}
    return {
        **schema,
        "properties": {
            name: each if name in kept else _or_inherited(each) for name, each in properties.items()
        },
        "required": ["id"] if "id" in properties else [],
    }


def _or_inherited(schema: Schema) -> Schema:
    choices = schema["anyOf"] if list(schema) == ["anyOf"] else [schema]
    return {"anyOf": [*choices, {"const": INHERIT}]}
