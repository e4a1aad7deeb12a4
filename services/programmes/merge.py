"""Programmes: a child's plain values laid over its parent's, remembering where each came from."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from services.programmes.yaml_text import child_path, item_path

INHERIT = "inherit"
KIND_KEYS = ("mode", "type", "measure", "of")


class Origin(NamedTuple):
    """Where a value is written: the file, its line, and the key path there."""

    file: str
    line: int
    key: str


Origins = dict[str, Origin]
"""Key path of the merged pack → where the value there was said."""

Said = Callable[[str], Origin]
"""Where the values laid over the others are written, by their key path in the merged pack."""


def merge(parent: object, child: object, *, origins: Origins, said: Said, path: str = "") -> object:
    """
    Lay a child over a parent.

    Mappings merge key by key; lists whose items all have an `id` merge by id; everything else is
    replaced, and so is a mapping of another kind, and anything that is or was open.
    """
    if child == INHERIT and parent is not None:
        return parent
    if isinstance(parent, dict) and isinstance(child, dict) and not _replaces(parent, child):
        merged = dict(parent)
        for key, value in child.items():
            below = child_path(path, key)
            merged[key] = merge(parent.get(key), value, origins=origins, said=said, path=below)
        return merged
    if _has_ids(parent) and _has_ids(child):
        assert isinstance(parent, list)
        assert isinstance(child, list)
        return _merge_lists(parent, child, origins=origins, said=said, path=path)
    if isinstance(parent, dict | list):
        _forget(origins, path)
    stamp(child, origins=origins, said=said, path=path)
    return child


def stamp(value: object, *, origins: Origins, said: Said, path: str = "") -> None:
    """Say of a value and everything below it where it was written."""
    origins[path] = said(path)
    if isinstance(value, dict):
        for key, below in value.items():
            stamp(below, origins=origins, said=said, path=child_path(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            stamp(item, origins=origins, said=said, path=item_path(path, index, item))


def is_open(value: object) -> bool:
    """Whether a plain value is `{open: reason}`."""
    return isinstance(value, dict) and "open" in value


def _merge_lists(
    parent: list[object], child: list[object], *, origins: Origins, said: Said, path: str
) -> list[object]:
    merged = {_id_of(item): item for item in parent}
    for index, item in enumerate(child):
        name = _id_of(item)
        below = item_path(path, index, item)
        merged[name] = merge(merged.get(name), item, origins=origins, said=said, path=below)
    return list(merged.values())


def _replaces(parent: Mapping[str, object], child: Mapping[str, object]) -> bool:
    if is_open(parent) or is_open(child):
        return True
    return any(
        key in parent and key in child and parent[key] != child[key] for key in KIND_KEYS
    ) and not ("id" in parent and "id" in child)


def _has_ids(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in value)
    )


def _id_of(item: object) -> str:
    assert isinstance(item, dict)
    return str(item["id"])


def _forget(origins: Origins, path: str) -> None:
    gone = [key for key in origins if key == path or key.startswith((f"{path}.", f"{path}["))]
    for key in gone:
        del origins[key]
