"""Bounds: what in the code holds things back or keeps them, found by its shape."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.contract.places import ROOT

PAGE = ROOT / "docs" / "reference" / "bounds.md"
FOLDERS = ("services", "gateway", "deploy/local")
KEEPING = frozenset(
    {
        *("deque", "Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "JoinableQueue"),
        *("Semaphore", "BoundedSemaphore", "ThreadPoolExecutor", "ProcessPoolExecutor"),
        *("create_async_engine", "create_pool", "BatchSpanProcessor", "lru_cache", "cache"),
        "OrderedDict",
    }
)
"""Calls that make a queue, a pool or a memory."""
BOUNDING = frozenset(
    {"batch_size_max", "maximum_concurrent_rpcs", "pending_msgs_limit", "pending_size"}
)
"""Arguments that bound one that something else makes."""
SCHEMAS = "services/kernel/migrations/"
"""A step that ends, with connections of its own."""

Place = tuple[str, str]
"""Path of a file, and what is called there."""

_ROW = re.compile(r"^\| `(?P<path>[^`]+)` (?P<call>\w+) \|(?P<rest>.*)\|$", re.MULTILINE)


def in_code() -> set[Place]:
    """Every place where something is queued, pooled, batched or remembered."""
    return {place for folder in FOLDERS for path in _files(folder) for place in _in_file(path)}


def _files(folder: str) -> Iterator[Path]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        if not str(path.relative_to(ROOT)).startswith(SCHEMAS):
            yield path


def _in_file(path: Path) -> Iterator[Place]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            bounded = any(each.arg in BOUNDING for each in node.keywords)
            if _called(node) in KEEPING or bounded:
                yield str(path.relative_to(ROOT)), _called(node)


def _called(node: ast.Call) -> str:
    called = node.func
    if isinstance(called, ast.Call):
        # As in `lru_cache(None)(work)`.
        return _called(called)
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def in_page() -> dict[Place, list[str]]:
    """Every row of the page: what, at most, metric, what happens then."""
    text = PAGE.read_text(encoding="utf-8")
    return {
        (row["path"], row["call"]): [cell.strip() for cell in row["rest"].split("|")]
        for row in _ROW.finditer(text)
    }


def told() -> set[str]:
    """The names of bounds that processes tell of."""
    names = set()
    for folder in FOLDERS:
        for path in _files(folder):
            text = path.read_text(encoding="utf-8")
            names |= set(re.findall(r'telemetry\.bound\(\s*f?"(\w+)', text))
    return names
