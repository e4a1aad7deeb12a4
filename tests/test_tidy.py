"""Properties of the code itself: same rooms, short functions, true indexes, no money in floats."""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("services", "gateway", "deploy", "tests")

FUNCTION_LINES_MAX = 70
DOORS = {
    "__init__.py",
    "__main__.py",
    "servicer",
    "events_in.py",
    "operations",
    "store",
    "events_out.py",
    "tables.py",
    "rules",
    "model.py",
    "settings.py",
    "migrations",
}
GROWING = {"rules.py", "operations.py", "store.py", "servicer.py"}
DOORS_OPTIONAL = {"jobs.py", "reports.py"}
# Letters in brackets, or this file would find itself.
UNFINISHED = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:w[o]rk|r[o]ot|h[o]me)/\w")
SUBJECT = re.compile(r"liandong\.[a-z]+\.v\d+\.[a-z][a-z_]*")
PACK_ID = re.compile(r"^(?P<id>.+)@(?P<version>[^@]+)\.yaml$")


def python_files(*packages: str) -> list[Path]:
    return sorted(
        path
        for package in packages or PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def own_text_files() -> list[Path]:
    """Every file that people of this project wrote."""
    suffixes = {".py", ".proto", ".md", ".toml", ".yaml", ".yml", ".sql", ".sh", ".mako", ".conf"}
    tops = [*PACKAGES, "docs", "protos", ".ci"]
    found = [path for top in tops for path in (ROOT / top).rglob("*") if path.is_file()]
    found += [path for path in ROOT.iterdir() if path.is_file()]
    not_ours = (ROOT / "protos" / "gen", ROOT / "protos" / "third_party")
    return sorted(
        path
        for path in found
        if (path.suffix in suffixes or path.name in {"Makefile", "Dockerfile", "run"})
        and not any(path.is_relative_to(folder) for folder in not_ours)
    )


def nouns() -> list[str]:
    """A service is a folder of protos that is none that all share, and not the gateway's."""
    folders = (path for path in (ROOT / "protos" / "liandong").iterdir() if path.is_dir())
    return sorted(path.name for path in folders if path.name not in {"access", "common", "gateway"})


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@dataclass
class Module:
    """What the tests ask of a module: it is read and walked through once for all of them."""

    docstring: str = ""
    functions: list[tuple[int, str, int]] = field(default_factory=list)
    """Line, name, and how many lines."""
    strings: list[tuple[int, str]] = field(default_factory=list)
    sleepers: list[tuple[int, str]] = field(default_factory=list)
    mocks: bool = False


@cache
def module(path: Path) -> Module:
    root = tree(path)
    found = Module((ast.get_docstring(root) or "").strip())
    for node in ast.walk(root):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            found.functions.append((node.lineno, node.name, lines))
            found.sleepers += sleepers(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.strings.append((node.lineno, node.value))
        elif isinstance(node, ast.ImportFrom):
            found.mocks |= (node.module or "").startswith("unittest.mock")
        elif isinstance(node, ast.Import):
            found.mocks |= any("mock" in alias.name for alias in node.names)
    return found


def sleepers(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[int, str]]:
    if function.name.startswith(("eventually", "wait_")):
        return
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            called = node.func
            name = getattr(called, "attr", getattr(called, "id", ""))
            if name.endswith("sleep"):
                yield node.lineno, function.name


@pytest.mark.parametrize("noun", nouns())
def test_every_room_has_the_same_doors(noun: str) -> None:
    room = ROOT / "services" / noun
    names = {path.name for path in room.iterdir() if path.name != "__pycache__"}
    # A door that outgrew one file is a folder of the same name, one file a subject.
    doors = {name.removesuffix(".py") if name in GROWING else name for name in names}

    assert doors - DOORS_OPTIONAL == DOORS
    assert (ROOT / "tests" / noun).is_dir(), f"tests/{noun} is missing"


def test_a_folder_with_a_main_is_a_process_and_every_process_is_known() -> None:
    processes = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")}

    assert processes == set(nouns())


@pytest.mark.parametrize("noun", nouns())
def test_a_room_says_what_it_owns_hears_and_says(noun: str) -> None:
    docstring = ast.get_docstring(tree(ROOT / "services" / noun / "__init__.py")) or ""

    for word in ("Owns:", "Hears:", "Says:"):
        assert word in docstring


def test_every_module_begins_with_what_it_is_for() -> None:
    silent = [
        shown(path)
        for path in python_files()
        if not module(path).docstring
        or not path.read_text(encoding="utf-8").startswith(('"""', "#!"))
    ]

    assert silent == []


def test_functions_are_short() -> None:
    long = [
        f"{shown(path)}:{line} {name} has {lines} lines"
        for path in python_files()
        for line, name, lines in module(path).functions
        if lines > FUNCTION_LINES_MAX
    ]

    assert long == []


def test_nothing_is_left_for_later_in_a_comment() -> None:
    left = [
        f"{shown(path)}:{number}"
        for path in own_text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]

    assert left == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    told = [
        f"{shown(path)}:{number}"
        for path in own_text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]

    assert told == []


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def event_subjects() -> set[str]:
    """Subject = proto package + the event's message in snake case."""
    subjects = set()
    for path in (ROOT / "protos" / "liandong").glob("*/v*/events.proto"):
        package = ".".join(path.relative_to(ROOT / "protos").parts[:-1])
        for name in re.findall(r"^message (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            subjects.add(f"{package}.{snake(name)}")
    return subjects


def test_every_subject_in_the_code_is_an_event_of_the_protos() -> None:
    known = event_subjects()

    unknown = [
        f"{shown(path)}:{line} {text}"
        for path in python_files("services", "gateway", "deploy")
        for line, text in module(path).strings
        if SUBJECT.fullmatch(text) and text not in known
    ]

    assert known
    assert unknown == []


@pytest.mark.parametrize("noun", nouns())
def test_a_service_says_only_its_own_events_and_hears_only_those_of_others(noun: str) -> None:
    room = ROOT / "services" / noun
    own = f"liandong.{noun}."
    said = {text for _, text in module(room / "events_out.py").strings if SUBJECT.fullmatch(text)}
    heard = {text for _, text in module(room / "events_in.py").strings if SUBJECT.fullmatch(text)}

    assert [subject for subject in said if not subject.startswith(own)] == []
    assert [subject for subject in heard if subject.startswith(own)] == []


def test_money_rates_and_scores_are_whole_numbers_on_the_wire() -> None:
    wrong = []
    for path in sorted((ROOT / "protos" / "liandong").rglob("*.proto")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            field = re.match(r"\s*(?:repeated |optional )?([\w.]+) (\w+) = \d+", line)
            if field is None:
                continue
            kind, name = field.groups()
            if kind in {"double", "float"} or (name.endswith(("_fen", "_ppm")) and kind != "int64"):
                wrong.append(f"{shown(path)}:{number} {kind} {name}")

    assert wrong == []


def deciding_files() -> list[Path]:
    """Where money and scores are decided or booked; a loader only joins paths."""
    services = ROOT / "services"
    found = {services / "kernel" / name for name in ("money.py", "journal.py")}
    found |= set((services / "programmes").rglob("*.py")) - set(
        (services / "programmes").glob("loader.py")
    )
    for noun in nouns():
        found |= {services / noun / "model.py", services / noun / "rules.py"}
        found |= set((services / noun / "rules").rglob("*.py"))
    return sorted(path for path in found if path.exists())


def test_no_decision_meets_a_float() -> None:
    met = []
    for path in deciding_files():
        for node in ast.walk(tree(path)):
            division = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
            name = isinstance(node, ast.Name) and node.id == "float"
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            if division or name or literal:
                met.append(f"{shown(path)}:{getattr(node, 'lineno', 0)}")

    assert met == []


def test_no_programme_and_no_county_stands_in_service_code() -> None:
    packs = (ROOT / "services" / "programmes" / "packs").glob("*.yaml")
    names = {match["id"] for path in packs if (match := PACK_ID.match(path.name))}
    county_code = re.compile(r"[1-8]\d{5}")

    named = [
        f"{shown(path)}:{line} {text}"
        for path in python_files("services", "gateway")
        for line, text in module(path).strings
        if text in names or county_code.fullmatch(text)
    ]

    assert named == []


def test_a_released_pack_never_changes() -> None:
    packs = ROOT / "services" / "programmes" / "packs"
    released = (packs / "released.sha256").read_text(encoding="utf-8").splitlines()

    for line in released:
        digest, name = line.split(maxsplit=1)
        assert hashlib.sha256((packs / name).read_bytes()).hexdigest() == digest, name


def test_tests_wait_for_a_truth_instead_of_sleeping() -> None:
    """
    A fault is injected at a random instant, so `tests/faults` may wait for the clock; peers of a
    bench are no tests, and have nothing of ours to wait with.
    """
    may_sleep = (ROOT / "tests" / "faults", ROOT / "tests" / "bench" / "outside")

    asleep = [
        f"{shown(path)}:{line} in {name}"
        for path in python_files("tests")
        if not any(path.is_relative_to(folder) for folder in may_sleep)
        for line, name in module(path).sleepers
    ]

    assert asleep == []


def test_nothing_of_ours_is_mocked() -> None:
    mocked = [shown(path) for path in python_files("tests") if module(path).mocks]

    assert mocked == []


def test_the_index_of_decisions_is_complete() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    numbers = [int(path.name[:4]) for path in pages]

    assert numbers == list(range(1, len(pages) + 1))
    for path in pages:
        text = path.read_text(encoding="utf-8")
        title = re.match(r"# (\d{4}) — (.+)\n", text)
        assert title is not None, f"{path.name} has no numbered title"
        assert title[1] == path.name[:4]
        assert f"[{title[1]}]({path.name}) | {title[2]} |" in index, path.name
        assert re.search(r"^Status: (?:proposed|accepted|superseded by \d{4})$", text, re.MULTILINE)
        assert re.search(r"^Date: \d{4}-\d{2}-\d{2}$", text, re.MULTILINE)
        for part in ("Context", "Decision", "Consequences", "Alternatives", "Held by"):
            assert f"\n## {part}\n" in text, f"{path.name} lacks {part}"
    assert index.count("](0") == len(pages)
