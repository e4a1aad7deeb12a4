"""A checker of the JSON Schema words that our schemas use, told apart from the models."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

KINDS: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "object": dict,
    "string": str,
}
SILENT = frozenset({"$schema", "$defs", "title", "description", "format"})


def faults(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value; empty when the schema accepts it."""
    return list(_faults(schema, value, schema["$defs"], ""))


def _faults(
    schema: Mapping[str, Any], value: Any, defs: Mapping[str, Any], path: str
) -> Iterator[str]:
    for word, said in schema.items():
        if word == "$ref":
            yield from _faults(defs[said.removeprefix("#/$defs/")], value, defs, path)
        elif word == "anyOf":
            tried = [list(_faults(each, value, defs, path)) for each in said]
            if all(tried):
                yield f"{path}: none of {len(said)}; the nearest: {min(tried, key=len)[0]}"
        elif word in IN_MAPPINGS or word in IN_LISTS:
            yield from _faults_below(schema, word, value, defs, path)
        elif word not in SILENT and not _holds(word, said, value):
            yield f"{path}: {value!r} is against {word} {said!r}"


IN_MAPPINGS = frozenset({"properties", "patternProperties", "additionalProperties", "required"})
IN_LISTS = frozenset({"items", "prefixItems"})


def _faults_below(
    schema: Mapping[str, Any], word: str, value: Any, defs: Mapping[str, Any], path: str
) -> Iterator[str]:
    said = schema[word]
    if word == "items" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(said, item, defs, f"{path}[{index}]")
    if word not in IN_MAPPINGS or not isinstance(value, dict):
        return
    if word == "required":
        yield from (f"{path}: {key} is missing" for key in said if key not in value)
        return
    for key, below in value.items():
        patterns = schema.get("patternProperties", {})
        met = [each for pattern, each in patterns.items() if re.search(pattern, key)]
        if word == "properties" and key in said:
            yield from _faults(said[key], below, defs, f"{path}.{key}")
        elif word == "patternProperties":
            for each in met:
                yield from _faults(each, below, defs, f"{path}.{key}")
        elif word == "additionalProperties" and key not in schema.get("properties", {}) and not met:
            assert said is False
            yield f"{path}: {key} is unknown"


def _holds(word: str, said: Any, value: Any) -> bool:
    match word:
        case "type":
            names = said if isinstance(said, list) else [said]
            return any(
                isinstance(value, KINDS[name])
                and (name == "boolean" or not isinstance(value, bool))
                for name in names
            )
        case "const":
            return bool(value == said and type(value) is type(said))
        case "enum":
            return value in said
        case "pattern":
            return not isinstance(value, str) or bool(re.search(said, value))
        case "minimum":
            return not isinstance(value, int) or value >= said
        case "maximum":
            return not isinstance(value, int) or value <= said
        case "minLength":
            return not isinstance(value, str) or len(value) >= said
        case "maxLength":
            return not isinstance(value, str) or len(value) <= said
        case "minItems":
            return not isinstance(value, list) or len(value) >= said
        case "maxItems":
            return not isinstance(value, list) or len(value) <= said
    raise AssertionError(f"the schemas use a word the checker does not know: {word}")
