"""Explanations: one decision with its inputs, the clauses it stands on, its working and result."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from types import FrameType
from typing import Any

from pydantic import BaseModel

from deploy.local.case_files import GOES_WRONG, RULES
from services.kernel.errors import LiandongError, NotFound
from services.programmes.cases.clauses import CLAUSES
from services.programmes.cases.values import Case
from services.programmes.loader import Catalogue
from services.programmes.merge import Origin, is_open
from services.programmes.schema.pack import Pack, split_ref
from services.programmes.yaml_text import child_path, item_path, parent_of

PLATFORM = "platform"
"""What a case names in a programme's place when its rule is the same for all."""

ANY_ITEM = re.compile(r"^(?P<list>[^\[]+)\[\*\](?:\.(?P<below>.+))?$")


@dataclass(frozen=True, slots=True)
class ClauseUsed:
    """One clause of the pack: where it stands, its rows, what it says."""

    path: str
    rows: tuple[str, ...]
    value: object
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision for people."""

    case: Case
    clauses: tuple[ClauseUsed, ...]
    working: tuple[str, ...]
    result: Case | None
    refusal: str = ""


def explain(case: Case, catalogue: Catalogue) -> Explanation:
    """Decide a case and say why."""
    clauses = tuple(clauses_used(case, catalogue))
    decide = RULES.get(case["rule"])
    if decide is None:
        return Explanation(case, clauses, (), None, f"no rule is called {case['rule']}")
    working: list[str] = []
    try:
        result = listening(decide, case["inputs"], working)
    except LiandongError as refused:
        facts = "; ".join(f"{name}: {fact}" for name, fact in refused.facts.items())
        said = f"{refused.reason}: {refused.message}" + (f" ({facts})" if facts else "")
        return Explanation(case, clauses, tuple(working), None, said)
    except GOES_WRONG as error:
        said = f"the inputs are not the rule's: {type(error).__name__}: {error}"
        return Explanation(case, clauses, tuple(working), None, said)
    return Explanation(case, clauses, tuple(working), result)


def listening(decide: Callable[[Case], Case], given: Case, working: list[str]) -> Case:
    """
    Decide, and note the working of every function that the case's words were handed to.

    A case's function answers in the case's words and drops the working of what it called; the
    profiler hears those results, so that no rule has to know that somebody listens.
    """

    def heard(frame: FrameType, event: str, value: Any) -> None:
        if event == "return" and value is not None and _is_a_clause_s(frame):
            working.append(f"{_name(frame)}: {_told(value)}")

    before = sys.getprofile()
    sys.setprofile(heard)
    try:
        return decide(given)
    finally:
        sys.setprofile(before)


def _is_a_clause_s(frame: FrameType) -> bool:
    """Whether a function of a clause returns to one that speaks the words of cases."""
    caller, code = frame.f_back, frame.f_code
    return (
        caller is not None
        and "." not in code.co_qualname
        and not code.co_name.startswith(("_", "<"))
        and _speaks_cases(caller)
        and not _speaks_cases(frame)
        and _module(frame).startswith(("services.", "gateway."))
    )


def _speaks_cases(frame: FrameType) -> bool:
    return "cases" in _module(frame).split(".")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _name(frame: FrameType) -> str:
    return f"{_module(frame).rpartition('.')[2]}.{frame.f_code.co_name}"


def _told(value: object) -> str:
    working = getattr(value, "working", None)
    if isinstance(working, str) and working:
        return working
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.dumps(plain, ensure_ascii=False, default=str)


def clauses_used(case: Case, catalogue: Catalogue) -> Iterator[ClauseUsed]:
    """The clauses of the case's pack that its rule stands on."""
    ref = case.get("programme", PLATFORM)
    if ref == PLATFORM:
        return
    pack, origins = pack_of(catalogue, ref)
    whole = plain(pack)
    for path in CLAUSES.get(case["rule"], (case["rule"].partition(".")[0],)):
        for place, value in _places(whole, path, case["inputs"]):
            yield ClauseUsed(place, tuple(_rows(whole, place)), value, _nearest(origins, place))


def pack_of(catalogue: Catalogue, ref: str) -> tuple[Pack, Mapping[str, Origin]]:
    """A pack by its ref, also below any county's overlay, and where its values were written."""
    if split_ref(ref)[2] is None or ref in catalogue.conditioned:
        return catalogue.programme(ref), catalogue.origins[ref]
    for (county, overlaid), pack in catalogue.overlaid.items():
        if overlaid == ref:
            return pack, catalogue.origins[f"{county}/{ref}"]
    raise NotFound("PROGRAMME_UNKNOWN", f"{ref} is neither a condition nor an overlay")


def plain(pack: BaseModel) -> dict[str, Any]:
    """A pack as it is written: what it or a parent says, and nothing that is only a default."""
    whole = pack.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {section: _as_written(value) for section, value in whole.items()}


def _as_written(value: Any) -> Any:
    """The name first and the rows last; and nobody wrote the key path of an open value."""
    if isinstance(value, dict):
        kept = {"open", "source"} if is_open(value) else value.keys()
        keys = sorted(kept & value.keys(), key=list(value).index)
        keys.sort(key=lambda key: (key == "source") - (key == "id"))
        return {key: _as_written(value[key]) for key in keys}
    return [_as_written(each) for each in value] if isinstance(value, list) else value


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a plain pack that holds no other, by its key path."""
    if isinstance(value, dict) and value and not is_open(value):
        for key, below in value.items():
            yield from leaves(below, child_path(path, key))
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for index, each in enumerate(value):
            yield from leaves(each, item_path(path, index, each))
    else:
        yield path, value


def _places(whole: object, path: str, inputs: Case) -> Iterator[tuple[str, object]]:
    match = ANY_ITEM.match(path)
    if match is None:
        value = _at(whole, path)
        if value is not None:
            yield path, value
        return
    items = _at(whole, match["list"])
    for index, item in _that_say_most(items if isinstance(items, list) else [], inputs):
        place = item_path(match["list"], index, item)
        value = _at(item, match["below"]) if match["below"] else item
        if value is not None:
            yield (child_path(place, match["below"]) if match["below"] else place), value


def _that_say_most(items: list[Any], inputs: Case) -> list[tuple[int, Any]]:
    """The items of a list that share the most words and numbers with a case's inputs."""
    wanted = _words(inputs)
    shared = [len(_words(item) & wanted) for item in items]
    return [(index, item) for index, item in enumerate(items) if shared[index] == max(shared)]


def _words(value: object) -> set[object]:
    if isinstance(value, dict):
        below = (_words(each) for each in value.values())
        return set(value).union(*below)
    if isinstance(value, list):
        return set[object]().union(*map(_words, value))
    return set() if value is None or isinstance(value, bool) else {value}


def _at(whole: object, path: str) -> Any:
    here = whole
    for key in path.split("."):
        here = here.get(key) if isinstance(here, dict) else None
    return here


def _rows(whole: object, path: str) -> list[str]:
    """The rows of a clause: those it and all below it name, else those of what it is part of."""
    here = path
    while here:
        found = [
            row for key, rows in leaves(whole) if _is_source_in(key, here) for row in _list(rows)
        ]
        if found:
            return list(dict.fromkeys(found))
        here = parent_of(here)
    return []


def _is_source_in(key: str, path: str) -> bool:
    return key.endswith(".source") and key.startswith((f"{path}.", f"{path}["))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _nearest(origins: Mapping[str, Origin], path: str) -> Origin | None:
    here = path
    while here and here not in origins:
        here = parent_of(here)
    return origins.get(here)
