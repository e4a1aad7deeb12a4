"""Tracing: modules of the platform are compiled so that each `except` says once that it ran."""

import ast
import builtins
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("services", "gateway", "deploy")
KEPT = ROOT / ".liandong" / "make" / "excepts"
"""A file a process: the clauses that ran in it."""
SITE = Path(__file__).with_name("site")
VARIABLE = "PYTHONPATH"

_SAY = "_liandong_except_ran"


def clauses(path: Path) -> Iterator[tuple[int, str]]:
    """Every clause of a file: its line, and what it catches."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            yield node.lineno, ast.unparse(node.type) if node.type is not None else "everything"


class _Marker(ast.NodeTransformer):
    def __init__(self, path: str) -> None:
        self._path = path

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.generic_visit(node)
        word = ast.parse(f"{_SAY}({self._path!r}, {node.lineno})").body[0]
        node.body.insert(0, ast.copy_location(word, node))
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Compile it anew, whatever is cached."""
        path = Path(self.get_filename(fullname))
        tree = _Marker(str(path.relative_to(ROOT))).visit(ast.parse(path.read_bytes()))
        code: CodeType = compile(ast.fix_missing_locations(tree), str(path), "exec")
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Ours are loaded by our loader; all else as ever."""
        if fullname.split(".", 1)[0] not in FOLDERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            spec.loader = _Loader(fullname, spec.origin)
        return spec


def start() -> None:
    """Trace this process, and those that it starts; before any module of ours is imported."""
    KEPT.mkdir(parents=True, exist_ok=True)
    file = os.open(KEPT / f"{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    seen: set[tuple[str, int]] = set()

    def say(path: str, line: int) -> None:
        # At once, for the process may be killed.
        if (path, line) not in seen:
            seen.add((path, line))
            os.write(file, f"{path}:{line}\n".encode())

    setattr(builtins, _SAY, say)
    sys.meta_path.insert(0, _Finder())
    paths = [str(SITE), *filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))]
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*paths, str(ROOT)]))


def ran() -> set[tuple[str, int]]:
    """Every clause that ran in any process since the folder was emptied."""
    found = set()
    for file in KEPT.glob("*.txt"):
        for line in file.read_text(encoding="utf-8").splitlines():
            path, _, number = line.rpartition(":")
            found.add((path, int(number)))
    return found
