"""Programmes: plain values to schema models, every error with its file, line and key path."""

import json
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.programmes.merge import is_open
from services.programmes.yaml_text import Problem, child_path, item_name, item_path

Model = TypeVar("Model", bound=BaseModel)
Locate = Callable[[str], tuple[str, int]]
"""A key path's file and line."""

VALUE_SHOWN_MAX = 80


def to_model(model: type[Model], value: object, locate: Locate) -> Model | list[Problem]:
    """Validate strictly, as JSON: no text becomes a number and no number a date."""
    try:
        return model.model_validate_json(json.dumps(with_open_paths(value, "")))
    except ValidationError as error:
        problems = [_problem(value, detail, locate) for detail in error.errors(include_url=False)]
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


def _problem(value: object, detail: ErrorDetails, locate: Locate) -> Problem:
    path, found = _follow(value, detail["loc"], missing=detail["type"] == "missing")
    file, line = locate(path)
    message = detail["msg"].removeprefix("Value error, ")
    return Problem(file, line, path, _shown(found), message)


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


def _shown(value: object) -> str:
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_SHOWN_MAX else text[: VALUE_SHOWN_MAX - 1] + "…"
