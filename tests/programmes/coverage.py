"""Writes docs/programmes-coverage.md: every row of the sources, and where it is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from services.programmes.loader import PACKAGED
from services.programmes.yaml_text import child_path, item_path, parse

ROOT = Path(__file__).resolve().parents[2]
ROWS = Path(__file__).with_name("rows.yaml")
DOCUMENT = ROOT / "docs" / "programmes-coverage.md"
PLACES_SHOWN_MAX = 4
MUST_HAVE = "MUST-HAVE"

HEAD = """# Programmes: where every row is

Written by `make programmes`, from the `source:` of the packs' clauses and from
`tests/programmes/rows.yaml`; a test fails when it is stale, and when a MUST-HAVE row is nowhere.

- **MUST-HAVE**: a rule to compute: a clause of a pack, or a part of the platform that takes it.
- **RECORD**: to be held or reported; no decision depends on it. It may be part of a clause.
- **CONTEXT**: not software.

"""


class Row(NamedTuple):
    """A row of the sources; `by` names the part of the platform that takes it."""

    id: str
    mark: str
    title: str
    by: str = ""


def rows() -> tuple[Row, ...]:
    """All rows, in the order of the sources."""
    read = yaml.safe_load(ROWS.read_text(encoding="utf-8"))
    return tuple(Row(**row) for row in read["rows"])


def places() -> Mapping[str, tuple[str, ...]]:
    """Row → the clauses that name it, as `pack key.path`, in the packs as they are written."""
    found: dict[str, list[str]] = {}
    for file in sorted(PACKAGED[0].glob("*.yaml")):
        text = parse(file.name, file.read_text(encoding="utf-8"))
        for path, row in _named(text.value, ""):
            # A header says what a file is about, and decides nothing.
            if path in ("", "programme"):
                continue
            found.setdefault(row, []).append(f"{file.stem} `{path}`")
    return {row: tuple(dict.fromkeys(where)) for row, where in found.items()}


def _named(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "source" and isinstance(below, list):
                yield from ((path, row) for row in below if isinstance(row, str))
            yield from _named(below, child_path(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _named(item, item_path(path, index, item))


def nowhere() -> list[str]:
    """The MUST-HAVE rows that neither a pack nor the platform takes."""
    taken = places()
    return [
        row.id for row in rows() if row.mark == MUST_HAVE and not row.by and row.id not in taken
    ]


def document() -> str:
    """The whole text."""
    everything, taken = rows(), places()
    marks = {mark: sum(row.mark == mark for row in everything) for mark in _marks(everything)}
    counts = ", ".join(f"{count} {mark}" for mark, count in marks.items())
    lines = [
        f"{len(everything)} rows: {counts}.",
        "",
        "| row | mark | what | where |",
        "|---|---|---|---|",
    ]
    for row in everything:
        cells = (row.id, row.mark, row.title.replace("|", "/"), _where(row, taken.get(row.id, ())))
        lines.append(f"| {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"


def _marks(everything: tuple[Row, ...]) -> list[str]:
    return list(dict.fromkeys(row.mark for row in everything))


def _where(row: Row, taken: tuple[str, ...]) -> str:
    shown = [*taken[:PLACES_SHOWN_MAX], *([row.by] if row.by else [])]
    more = len(taken) - PLACES_SHOWN_MAX
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "") if shown else "-"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
