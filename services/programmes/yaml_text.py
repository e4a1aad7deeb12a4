"""Programmes: YAML text to plain values, strictly, with the line of every key."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.composer import Composer

CHARACTERS_MAX = 1_000_000
DEPTH_MAX = 20
PROBLEMS_MAX = 200

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17}(?:_[0-9]{3})*)")
_NUMBER_LIKE = re.compile(r"[-+]?\.?[0-9][0-9_.,:eExXoO+-]*")
_TEXT_THAT_LOOKS_LIKE_A_NUMBER = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BOOLS = {"true": True, "false": False}
READ_OTHERWISE = re.compile("[\t?\ufeff]")
_AMBIGUOUS = frozenset({"yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what was found, which rule it breaks, what to do."""

    file: str
    line: int
    path: str
    value: str
    rule: str
    hint: str = ""

    def __str__(self) -> str:
        shown = f" = {self.value}" if self.value else ""
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}: {self.path or '(file)'}{shown}: {self.rule}{hint}"


@dataclass(slots=True)
class Text:
    """A parsed file: its value, and the line of each key path."""

    file: str
    value: object = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: str) -> int:
        """The line of a key path, or of the nearest key above it."""
        while path and path not in self.lines:
            path = parent_of(path)
        return self.lines.get(path, 1)


def child_path(path: str, key: str) -> str:
    """The path of a mapping's key."""
    return f"{path}.{key}" if path else key


def item_path(path: str, index: int, item: object) -> str:
    """The path of a list's item: by its id where it has one."""
    return f"{path}[{item_name(index, item)}]"


def item_name(index: int, item: object) -> str:
    """What an item is called in a path: its id, else its place."""
    name = item.get("id") if isinstance(item, dict) else None
    return name if isinstance(name, str) and name else str(index)


def parent_of(path: str) -> str:
    """The path one step up."""
    cut = max(path.rfind("."), path.rfind("["))
    return path[:cut] if cut > 0 else ""


class _Loader(Composer, yaml.CSafeLoader):
    """Scans in C and composes in Python, where nesting too deep is an error and not a crash."""

    def __init__(self, stream: str) -> None:
        yaml.CSafeLoader.__init__(self, stream)
        Composer.__init__(self)


def _compose(text: str) -> yaml.Node | None:
    """
    The document's nodes, as `yaml.SafeLoader` makes them and, where it can, six times as fast.

    libyaml reads some characters otherwise than PyYAML, and words its refusals less well: such
    texts are read as if it did not exist.
    """
    if not READ_OTHERWISE.search(text):
        try:
            return yaml.compose(text, Loader=_Loader)
        except (yaml.YAMLError, ValueError):
            pass
    return yaml.compose(text, Loader=yaml.SafeLoader)


def parse(file: str, text: str) -> Text:
    """Read one YAML document; every trap of YAML 1.1 is a problem, never a guess."""
    parsed = Text(file)
    if len(text) > CHARACTERS_MAX:
        parsed.problems.append(Problem(file, 1, "", "", f"larger than {CHARACTERS_MAX} characters"))
        return parsed
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        parsed.problems.append(Problem(file, line, "", "", f"not YAML: {error.problem}"))
        return parsed
    except (yaml.YAMLError, ValueError) as error:
        parsed.problems.append(Problem(file, 1, "", "", f"not YAML: {error}".splitlines()[0]))
        return parsed
    except RecursionError:
        parsed.problems.append(Problem(file, 1, "", "", f"nested deeper than {DEPTH_MAX}"))
        return parsed
    if node is None:
        parsed.problems.append(Problem(file, 1, "", "", "the file is empty"))
        return parsed
    parsed.value = _Reader(parsed).read(node, "", 0)
    del parsed.problems[PROBLEMS_MAX:]
    return parsed


class _Reader:
    """Walks the nodes of one document."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._seen: set[int] = set()

    def read(self, node: yaml.Node, path: str, depth: int) -> object:
        self._text.lines[path] = node.start_mark.line + 1
        if depth > DEPTH_MAX:
            return self._problem(node, path, "", f"nested deeper than {DEPTH_MAX}")
        if id(node) in self._seen:
            return self._problem(node, path, "", "anchors and aliases are not used in packs")
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path, depth)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, value, line in self._keys(node, path):
            below = child_path(path, key)
            if key in result:
                self._problem(value, below, key, "the key is given twice")
                continue
            result[key] = self.read(value, below, depth + 1)
            self._text.lines[below] = line
        return result

    def _keys(self, node: yaml.MappingNode, path: str) -> Iterator[tuple[str, yaml.Node, int]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in ("", "<<"):
                self._problem(key, path, "", "a key is a plain word")
                continue
            yield key.value, value, key.start_mark.line + 1

    def _sequence(self, node: yaml.SequenceNode, path: str, depth: int) -> list[object]:
        result: list[object] = []
        names: set[str] = set()
        for index, item in enumerate(node.value):
            name = _peek_id(item)
            if name in names:
                self._problem(item, path, name or "", "the id is given twice in this list")
            names.update([name] if name else [])
            peeked = {"id": name}
            result.append(self.read(item, item_path(path, index, peeked), depth + 1))
        return result

    def _scalar(self, node: yaml.ScalarNode, path: str) -> object:
        text = node.value
        if node.tag not in _TAGS:
            return self._problem(node, path, text, f"the tag {node.tag} is not used in packs")
        if node.style in ("'", '"', "|", ">"):
            return text
        if text in ("", "~", "null"):
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if text.lower() in _AMBIGUOUS or text.lower() in ("true", "false", "null"):
            return self._problem(node, path, text, "write true, false or null, or quote the word")
        if _INT.fullmatch(text):
            return int(text)
        if _TEXT_THAT_LOOKS_LIKE_A_NUMBER.fullmatch(text):
            return text
        if _NUMBER_LIKE.fullmatch(text):
            rule = "not a whole number: use fen, ppm or centi-points, and quote codes"
            return self._problem(node, path, text, rule)
        return text

    def _problem(self, node: yaml.Node, path: str, value: str, rule: str) -> object:
        line = node.start_mark.line + 1
        self._text.problems.append(Problem(self._text.file, line, path, value[:80], rule))
        return None


_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "null", "float", "timestamp")
)


def _peek_id(node: yaml.Node) -> str | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == "id":
            return str(value.value) if isinstance(value, yaml.ScalarNode) else None
    return None
