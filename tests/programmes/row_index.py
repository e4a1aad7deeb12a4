"""Prints, for each row that must be computable, the tests that name it in a comment."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.programmes.coverage import MUST_HAVE, ROOT, rows

TESTS = ROOT / "tests"
ROW = re.compile(r"\b[A-Z][A-Z0-9]*(?:-[A-Z]+)?\.[a-z]{3}\.[1-9][0-9]?\b")


def naming(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Row → the tests whose comments name it: inside a function, or above the next one."""
    found: dict[str, dict[str, None]] = {}
    for file in sorted(folder.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if not ROW.search(source):
            continue
        spans = sorted(_functions(ast.parse(source)))
        for line, row in _named(source):
            name = _function_at(line, spans)
            where = f"{file.relative_to(folder.parent)}::{name}" if name else ""
            if where:
                found.setdefault(row, {})[where] = None
    return {row: tuple(tests) for row, tests in found.items()}


def _named(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from ((token.start[0], row) for row in ROW.findall(token.string))


def _functions(tree: ast.Module) -> Iterator[tuple[int, int, str]]:
    """First line (with decorators), last line and name of every test."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if node.name.startswith("test_"):
                yield first, node.end_lineno or node.lineno, node.name


def _function_at(line: int, spans: list[tuple[int, int, str]]) -> str:
    """The test a comment stands in, else the next one below it; a comment never looks up."""
    inside = [name for first, last, name in spans if first <= line <= last]
    below = [name for first, _, name in spans if first > line]
    return next(iter([*inside, *below]), "")


def main() -> None:
    """Print the index; the last line counts."""
    named = naming(TESTS)
    wanted = [row.id for row in rows() if row.mark == MUST_HAVE]
    for row in wanted:
        sys.stdout.write(f"{row}: {', '.join(named.get(row, ())) or '-'}\n")
    untested = sum(row not in named for row in wanted)
    sys.stdout.write(f"rows={len(wanted)} untested={untested}\n")


if __name__ == "__main__":
    main()
