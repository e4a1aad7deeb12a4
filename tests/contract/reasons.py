"""Every reason that a service or the gateway may answer, read out of the code itself."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeGuard

from tests.contract.places import ROOT

REASON = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
"""How a reason is written; one of a single word is known by standing in an error."""

CODES: Mapping[str, str] = {
    "Invalid": "INVALID_ARGUMENT",
    "invalid_field": "INVALID_ARGUMENT",
    "NotFound": "NOT_FOUND",
    "Refused": "FAILED_PRECONDITION",
    "Conflict": "ALREADY_EXISTS",
    "Denied": "PERMISSION_DENIED",
    "Unauthenticated": "UNAUTHENTICATED",
    "Exhausted": "RESOURCE_EXHAUSTED",
    "Unavailable": "UNAVAILABLE",
}
"""Class or maker of an error to the gRPC code that it leaves as."""

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_FIELD_MAKER = "invalid_field"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Reason:
    """One reason: as what it leaves, what is said with it, and in which rooms it stands."""

    name: str
    codes: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    rooms: set[str] = field(default_factory=set)

    def say(self, message: str) -> None:
        """Add what is said with it, once; what is said in Chinese has its own place in a status."""
        if message and message not in self.messages and not _CHINESE.search(message):
            self.messages.append(message)


@cache
def collect(root: Path = ROOT) -> Mapping[str, Reason]:
    """Every string in the code of services and gateway that is, or is written like, a reason."""
    found: dict[str, Reason] = {}
    for package in ("services", "gateway"):
        for path in sorted((root / package).rglob("*.py")):
            if "migrations" not in path.parts:
                _read(ast.parse(path.read_text(encoding="utf-8")), _room(path, root), found)
    return MappingProxyType(dict(sorted(found.items())))


def _room(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return parts[0] if parts[0] == "gateway" else parts[1]


def _read(module: ast.Module, room: str, found: dict[str, Reason]) -> None:
    helpers = _helpers(module)
    for scope in _scopes(module):
        texts: dict[str, str] = {}
        for node in _own(scope):
            # In the order of the lines: a name means what it was given last.
            _name_text(node, texts)
            if isinstance(node, ast.Constant) and _is_reason(node.value):
                found.setdefault(node.value, Reason(node.value)).rooms.add(room)
            elif isinstance(node, ast.Dict):
                _read_table(node, found)
            elif isinstance(node, ast.Call):
                _read_call(node, helpers, texts, room, found)


def _is_reason(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and REASON.fullmatch(value) is not None


def _read_table(table: ast.Dict, found: dict[str, Reason]) -> None:
    """A table of reasons, what each means standing first in its value."""
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and _is_reason(key.value) and isinstance(value, ast.Call):
            texts = [text for each in value.args if (text := _said(each, {}))]
            for text in texts[:1]:
                found.setdefault(key.value, Reason(key.value)).say(text)


def _read_call(
    call: ast.Call,
    helpers: Mapping[str, tuple[int, str]],
    texts: Mapping[str, str],
    room: str,
    found: dict[str, Reason],
) -> None:
    name = _name(call.func)
    at, maker = (0, name) if name in CODES else helpers.get(name, (0, ""))
    # One that is put together is named by what is known of it.
    value = _said(call.args[at], {}) if len(call.args) > at else ""
    # A single word is a reason only where an error is made of it.
    if not (_is_reason(value) or (maker and value.isupper())):
        return
    reason = found.setdefault(value, Reason(value))
    reason.rooms.add(room)
    if maker:
        reason.codes.add(CODES[maker])
    if name == _FIELD_MAKER:
        shown = [_said(each, texts) for each in call.args[1:4:2]]
        reason.say(
            ": ".join(f"`{each}`" if i == 0 else each for i, each in enumerate(shown) if each)
        )
    elif len(call.args) > at + 1 and name not in {"enum_to_proto", "enum_name"}:
        reason.say(_said(call.args[at + 1], texts))


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def _said(node: ast.expr, texts: Mapping[str, str]) -> str:
    """A text as it is said, with … for what is only known then; empty for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return f"{_said(node.left, texts)}…"
    return texts.get(node.id, "") if isinstance(node, ast.Name) else ""


def _name_text(node: ast.AST, texts: dict[str, str]) -> None:
    """Keep a text that a function gives a name before it says it."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        texts[node.targets[0].id] = _said(node.value, {})


def _helpers(module: ast.Module) -> dict[str, tuple[int, str]]:
    """Functions that make an error of a reason they are given: where it stands, and of which."""
    found = {}
    for function in ast.walk(module):
        if not isinstance(function, Function):
            continue
        names = [argument.arg for argument in function.args.args]
        for node in ast.walk(function):
            maker = _name(node.func) if isinstance(node, ast.Call) else ""
            if maker in CODES and isinstance(node, ast.Call) and node.args:
                first = node.args[0]
                if isinstance(first, ast.Name) and first.id in names:
                    found[function.name] = (names.index(first.id), maker)
    return found


def _scopes(module: ast.Module) -> Iterator[ast.AST]:
    yield module
    yield from (node for node in ast.walk(module) if isinstance(node, Function))


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope in the order of the text, without those of the functions in it."""
    waiting = [*ast.iter_child_nodes(scope)][::-1]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function):
            # What stands before the body is the scope's: decorators and defaults.
            waiting += [*node.decorator_list, *node.args.defaults][::-1]
            continue
        yield node
        waiting += [*ast.iter_child_nodes(node)][::-1]


# --- which RPC names it -----------------------------------------------------------------------

_BLOCK = re.compile(r"^(service|message) (\w+) \{")
_RPC = re.compile(r"^  rpc (\w+)\(")


def named_by(root: Path = ROOT) -> dict[str, list[str]]:
    """For each reason in a comment of the protos, the RPCs, services or messages it stands at."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "protos" / "liandong").rglob("*.proto")):
        for reason, where in _named(path.read_text(encoding="utf-8").splitlines()):
            if where not in (places := found.setdefault(reason, [])):
                places.append(where)
    return found


def _named(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    kind = name = ""
    comment: list[str] = []
    for line in lines:
        text = line.strip()
        if text.startswith("//"):
            comment.append(text)
            continue
        if block := _BLOCK.match(line):
            kind, name = block.groups()
            where = f"{name}/*" if kind == "service" else name
        elif rpc := _RPC.match(line):
            where = f"{name}/{rpc[1]}"
        else:
            where = name
        if kind == "service" or name.endswith("Request"):
            yield from ((reason, where) for reason in REASON.findall(" ".join(comment)))
        comment = []
