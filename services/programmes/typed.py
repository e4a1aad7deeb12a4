"""Programmes: plain values to schema models, every error with its file, line and key path."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from services.programmes.hints import nearest
from services.programmes.merge import is_open
from services.programmes.yaml_text import Problem, child_path, item_name, item_path

Model = TypeVar("Model", bound=BaseModel)
Locate = Callable[[str], tuple[str, int]]
"""A key path's file and line."""

VALUE_SHOWN_MAX = 80
SPEAKS_OF = {
    "factors": ("the weights make",),
    "grades": ("a better grade",),
    "claim_tiers": ("the last claim tier", "only the last claim tier", "claim tiers"),
    "layers": ("a sharing model needs", "a ratio takes all", "pot "),
    "ratio": ("the shares make",),
}
"""Rules that begin with another word than the key they are about."""


def to_model(model: type[Model], value: object, locate: Locate) -> Model | list[Problem]:
    """Validate strictly, as JSON: no text becomes a number and no number a date."""
    try:
        return model.model_validate_json(json.dumps(with_open_paths(value, "")))
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems = [_problem(model, value, detail, locate) for detail in details]
        return list(dict.fromkeys(problems))


def with_open_paths(value: object, path: str) -> object:
    """Tell every open value its own key path, so that a refusal can name it."""
    if isinstance(value, dict):
        if is_open(value):
            if "path" in value:
                return {**value, "path is not written": None}
            return {**value, "path": path}
        return {key: with_open_paths(below, child_path(path, key)) for key, below in value.items()}
    if isinstance(value, list):
        return [
            with_open_paths(item, item_path(path, index, item)) for index, item in enumerate(value)
        ]
    return value


def _problem(
    model: type[BaseModel], value: object, detail: ErrorDetails, locate: Locate
) -> Problem:
    path, found = _follow(value, detail["loc"], missing=detail["type"] == "missing")
    rule, hint = detail["msg"].removeprefix("Value error, "), ""
    if detail["type"] == "value_error" and isinstance(found, dict):
        key = next((key for key in found if _is_about(rule, key)), None)
        path, found = (child_path(path, key), found[key]) if key else (path, found)
    file, line = locate(path)
    if detail["type"] == "extra_forbidden":
        rule = "unknown key"
        hint = nearest(str(detail["loc"][-1]), keys_at(model, detail["loc"][:-1]))
    elif detail["type"] in ("enum", "literal_error", "union_tag_invalid"):
        words = detail["ctx"].get("expected") or detail["ctx"].get("expected_tags", "")
        said = found.get("type", "") if isinstance(found, dict) else found
        hint = nearest(str(said), re.findall(r"'([^']+)'", words))
    return Problem(file, line, path, shown(found), rule, hint)


def _is_about(rule: str, key: str) -> bool:
    """Whether a rule on a whole mapping speaks of one key of it."""
    return rule.startswith((f"{key} ", f"{key}.")) or any(
        rule.startswith(words) for words in SPEAKS_OF.get(key, ())
    )


def keys_at(model: type[BaseModel], loc: Sequence[int | str]) -> frozenset[str]:
    """The keys that a schema knows at a place of a value."""
    here = list(_parts(model))
    for step in loc:
        if isinstance(step, int):
            continue
        # A step that is no key is the name of one kind of several.
        here = [part for kind in here for part in _below(kind, step)] or here
    return frozenset(
        name for kind in here if isinstance(kind, type) for name in _fields(kind) if name != "path"
    )


def _parts(annotation: object) -> Iterator[object]:
    """An annotation without what is wrapped around it: options, tuples, mappings."""
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments[:1] if get_origin(annotation) is Annotated else arguments:
        yield from _parts(argument)


def _below(kind: object, key: str) -> list[object]:
    field = _fields(kind).get(key) if isinstance(kind, type) else None
    return list(_parts(field.annotation)) if field else []


def _fields(kind: type) -> dict[str, FieldInfo]:
    if not issubclass(kind, BaseModel):
        return {}
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def _follow(value: object, loc: tuple[int | str, ...], *, missing: bool) -> tuple[str, object]:
    path, here = "", value
    for place, step in enumerate(loc):
        if isinstance(here, dict) and isinstance(step, str) and step in here:
            path, here = child_path(path, step), here[step]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            path, here = f"{path}[{item_name(step, here[step])}]", here[step]
        elif missing and place == len(loc) - 1:
            return child_path(path, str(step)), None
    return path, here


def shown(value: object) -> str:
    """A value as a problem shows it: JSON, cut where it gets long."""
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_SHOWN_MAX else text[: VALUE_SHOWN_MAX - 1] + "…"
