"""Checking a pack never crashes, and what it accepts can be evaluated."""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from services.programmes import yaml_text
from services.programmes.assemble import PackErrors, assemble
from services.programmes.loader import PACKAGED
from services.programmes.schema.pack import Pack
from services.programmes.yaml_text import Problem, Text, parse
from tests.programmes.county_texts import ADOPTION, INSTITUTIONS, OVERLAY, PACK, texts
from tests.programmes.evaluators import EVALUATORS, ONLY_DATA, evaluate

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**19), 10**19),
    st.integers(-2, 101),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(["inherit", "open", "household", "A", "2020-02-30", "yes", "0123"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(st.sampled_from(["id", "open", "source", "mode", "x"]), below, max_size=3),
    ),
    max_leaves=6,
)

# Every packaged pack, so that a section is tried with all that any programme says in it.
FILES: Mapping[str, str] = {
    file.name: file.read_text(encoding="utf-8") for file in sorted(PACKAGED[0].glob("*.yaml"))
}
PARSED: Mapping[str, dict[str, Any]] = {file: yaml.safe_load(text) for file, text in FILES.items()}
SECTIONS = sorted({section for whole in PARSED.values() for section in whole})

Path = tuple[Any, ...]


def places(node: Any, path: Path = ()) -> list[Path]:
    """Every key and item of a parsed pack."""
    steps = node.items() if isinstance(node, dict) else enumerate(node)
    found = []
    for step, below in steps:
        found.append((*path, step))
        if isinstance(below, dict | list):
            found += places(below, (*path, step))
    return found


@cache
def places_in(section: str) -> Sequence[tuple[str, Path]]:
    """Every place of a section, in every pack that has it."""
    return [
        (file, place)
        for file, whole in PARSED.items()
        if section in whole
        for place in places({section: whole[section]})
    ]


def with_change(whole: Mapping[str, Any], path: Path, value: Any, *, remove: bool) -> str:
    """A pack's text with one place replaced or left out."""
    # Typed again by YAML, as an officer's editor would leave it.
    whole = copy.deepcopy(whole)
    here: Any = whole
    for step in path[:-1]:
        here = here[step]
    if remove:
        del here[path[-1]]
    else:
        here[path[-1]] = copy.deepcopy(value)
    text: str = yaml.dump(whole, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False)
    return text


@cache
def parsed(file: str) -> Text:
    """A packaged pack, read once: only what is changed is read again."""
    return parse(file, FILES[file])


def with_parents(file: str, text: Text) -> list[Text]:
    """A pack's file with all that it is built on."""
    files, here = [text], file
    while parent := PARSED[here]["programme"].get("extends"):
        here = f"{parent}.yaml"
        files.append(parsed(here))
    return files


Results = Sequence[Pack] | Sequence[Problem]


def assembled(files: Sequence[Text]) -> Results:
    """The first file's pack, as it is and under its conditions, or all that is wrong."""
    # Anything else that is raised is a crash.
    try:
        made = assemble(files, [])
    except PackErrors as refused:
        return refused.problems
    ref = next(iter(made.packs))
    conditioned = [pack for name, pack in made.conditioned.items() if name.startswith(f"{ref}:")]
    overlaid = [pack for (_, name), pack in made.overlaid.items() if name.startswith(f"{ref}:")]
    return [made.packs[ref], *conditioned, *overlaid]


def loaded(files: Mapping[str, str]) -> Results:
    return assembled([parse(file, text) for file, text in files.items()])


def judge(results: Iterable[Pack | Problem]) -> None:
    """Refused with problems that say something, or accepted and evaluated."""
    for result in results:
        if isinstance(result, Problem):
            assert result.rule
            assert result.line >= 1
        else:
            evaluate(result)


def test_every_section_of_a_pack_is_evaluated_or_known_to_be_data() -> None:
    assert set(Pack.model_fields) - {"source"} <= set(EVALUATORS) | ONLY_DATA
    assert set(EVALUATORS) <= set(SECTIONS)


@pytest.mark.parametrize("file", FILES)
def test_every_packaged_pack_can_be_evaluated(file: str) -> None:
    judge(assembled(with_parents(file, parsed(file))))


@st.composite
def changes(draw: st.DrawFn, section: str) -> tuple[str, str]:
    """A pack's file and its text with one place of a section changed."""
    file, path = draw(st.sampled_from(places_in(section)))
    kind = draw(st.sampled_from(["removed", "any", "from elsewhere"]))
    value: Any = draw(VALUES) if kind == "any" else None
    if kind == "from elsewhere":
        # Such a value is well formed, so that it often passes the types and meets the rules.
        other, there = draw(st.sampled_from(places_in(section)))
        value = PARSED[other]
        for step in there:
            value = value[step]
    return file, with_change(PARSED[file], path, value, remove=kind == "removed")


@pytest.mark.parametrize("section", SECTIONS)
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_section_changed_anywhere_is_refused_or_can_be_evaluated(
    section: str, data: st.DataObject
) -> None:
    file, text = data.draw(changes(section))

    judge(assembled(with_parents(file, parse(file, text))))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(places(yaml.safe_load(PACK))), VALUES, st.booleans())
def test_a_pack_changed_anywhere_is_refused_or_can_be_evaluated(
    path: Path, value: Any, remove: bool
) -> None:
    text = with_change(yaml.safe_load(PACK), path, value, remove=remove)

    judge(loaded(texts(pack=text, overlay="", adoption="", institutions="")))


@given(st.text(max_size=200))
def test_any_text_is_refused_and_never_crashes(text: str) -> None:
    results = loaded({"any@1.yaml": text})

    assert results
    assert all(isinstance(result, Problem) for result in results)


@given(st.integers(0, len(PACK) - 1), st.text(max_size=3), st.integers(0, 6))
def test_a_slip_of_the_keyboard_is_refused_or_can_be_evaluated(
    at: int, typed: str, deleted: int
) -> None:
    slipped = PACK[:at] + typed + PACK[at + deleted :]

    judge(loaded(texts(pack=slipped, overlay="", adoption="", institutions="")))


@given(
    st.sampled_from(sorted(FILES)), st.integers(0, 10_000), st.text(max_size=3), st.integers(0, 6)
)
def test_libyaml_reads_and_refuses_what_pyyaml_does(
    file: str, at: int, typed: str, deleted: int
) -> None:
    # One clause and its surroundings, in which a slip is soon reached.
    lines = FILES[file].splitlines()
    first = at % len(lines)
    text = "\n".join(lines[first : first + 3])
    slip = at % (len(text) + 1)
    text = text[:slip] + typed + text[slip + deleted :]

    fast = parse(file, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_text, "READ_OTHERWISE", re.compile(""))
        assert parse(file, text) == fast


@given(
    st.sampled_from(["overlay", "adoption", "institutions"]),
    st.integers(0, 400),
    st.text(max_size=3),
    st.integers(0, 6),
)
def test_a_slip_in_a_countys_own_files_never_crashes(
    kind: str, at: int, typed: str, deleted: int
) -> None:
    whole = {"overlay": OVERLAY, "adoption": ADOPTION, "institutions": INSTITUTIONS}[kind]

    judge(loaded(texts(**{kind: whole[:at] + typed + whole[at + deleted :]})))
