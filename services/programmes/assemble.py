"""Programmes: parsed files to packs, overlays and adoptions, with every error at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePath

from pydantic import BaseModel

from services.kernel.values import replace
from services.programmes.calendars import Calendar
from services.programmes.hints import hinted, nearest
from services.programmes.merge import INHERIT, Origin, Origins, Said, is_open, merge, stamp
from services.programmes.schema.deployment import (
    Adoption,
    AdoptionEntry,
    AdoptionFile,
    CalendarFile,
    Institution,
    InstitutionsFile,
    OverlayHeader,
)
from services.programmes.schema.insurance import HOUSEHOLD, groups_of
from services.programmes.schema.pack import CONDITION_KEYS, Header, Pack, split_ref
from services.programmes.schema.values import Open, Organ
from services.programmes.typed import Locate, Model, shown, to_model
from services.programmes.yaml_text import Problem, Text, child_path, item_path, parent_of

EXTENDS_MAX = 8
UNKNOWN_PACK = "no such pack, condition or overlay, or it has errors"
KINDS = ("programme", "overlay", "adoption", "institutions", "calendar")

# These belong to one loan, not to the county: the loan's lender, the borrower's own margin.
PARTIES_OF_THE_LOAN = frozenset({HOUSEHOLD, "defaulter_margin"})
ORGANS = frozenset(organ.value for organ in Organ)


class PackErrors(Exception):
    """Everything that is wrong with the files, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(slots=True)
class Assembled:
    """What the files say, typed."""

    packs: dict[str, Pack] = field(default_factory=dict)
    conditioned: dict[str, Pack] = field(default_factory=dict)
    overlaid: dict[tuple[str, str], Pack] = field(default_factory=dict)
    adopted: dict[str, Adoption] = field(default_factory=dict)
    institutions: dict[str, Institution] = field(default_factory=dict)
    calendar: Calendar = field(default_factory=Calendar)
    origins: dict[str, Mapping[str, Origin]] = field(default_factory=dict)


def assemble(texts: Sequence[Text], problems: Sequence[Problem]) -> Assembled:
    """Build everything, or raise `PackErrors` with all that is wrong."""
    assembly = _Assembly(texts, list(problems))
    assembly.build()
    if assembly.problems:
        hints = {hinted(problem) for problem in assembly.problems}
        raise PackErrors(sorted(hints, key=lambda p: (p.file, p.line, p.path, p.rule)))
    return assembly.result


class _Assembly:
    """One run over all files; each step adds to the result or to the problems."""

    def __init__(self, texts: Sequence[Text], problems: list[Problem]) -> None:
        self.result = Assembled()
        self.problems = problems
        self._by_kind: dict[str, list[Text]] = {kind: [] for kind in KINDS}
        self._lines = {text.file: text for text in texts}
        self._headers: dict[str, tuple[Text, Header]] = {}
        self._merged: dict[str, dict[str, object]] = {}
        self._partial: dict[str, Mapping[str, object]] = {}
        for text in texts:
            self._sort_in(text)

    def build(self) -> None:
        """All steps in order: what comes later stands on what came before."""
        for text in self._by_kind["programme"]:
            self._read_header(text)
        for ref in list(self._headers):
            self._build_pack(ref)
        for text in self._by_kind["overlay"]:
            self._build_overlay(text)
        for text in self._by_kind["institutions"]:
            self._read_institutions(text)
        for text in self._by_kind["adoption"]:
            self._read_adoption(text)
        self._read_calendars()

    def _sort_in(self, text: Text) -> None:
        self.problems.extend(text.problems)
        if text.problems:
            return
        if not isinstance(text.value, dict):
            self._say(text.file, 1, "", "", "a file is a mapping")
            return
        kinds = [kind for kind in KINDS if kind in text.value]
        if len(kinds) != 1:
            self._say(text.file, 1, "", "", f"a file has exactly one key of {', '.join(KINDS)}")
            return
        self._by_kind[kinds[0]].append(text)

    def _read_header(self, text: Text) -> None:
        whole = _mapping(text)
        header = self._typed(Header, whole["programme"], text, "programme")
        if header is None:
            return
        if PurePath(text.file).stem != header.ref:
            rule = f"the file of this pack is called {header.ref}.yaml"
            self._say_at(text, "programme.id", header.ref, rule)
        elif header.ref in self._headers:
            other = self._headers[header.ref][0].file
            self._say_at(text, "programme.id", header.ref, f"also in {other}")
        else:
            self._headers[header.ref] = (text, header)

    def _build_pack(self, ref: str) -> None:
        line = self._line_of_descent(ref)
        if line is None:
            return
        origins: Origins = {}
        merged: object = None
        for ancestor in line:
            text, _ = self._headers[ancestor]
            said = _mapping(text)
            if merged is None:
                stamp(said, origins=origins, said=_said(text))
                merged = said
            else:
                merged = merge(
                    {**_as_mapping(merged), "programme": {}},
                    said,
                    origins=origins,
                    said=_said(text),
                )
        whole = dict(_as_mapping(merged))
        conditions = whole.pop("conditions", {})
        text = self._headers[ref][0]
        if not self._nothing_to_inherit(_said(text), whole):
            return
        described = {"conditions": _described(conditions)} if conditions else {}
        pack = self._typed_merged(Pack, {**whole, **described}, origins, _said(text))
        if pack is not None:
            self.result.packs[ref] = pack
            self.result.origins[ref] = origins
            self._merged[ref] = whole
            for name in pack.conditions:
                self._build_condition(ref, name, _as_mapping(_as_mapping(conditions)[name]))

    def _build_condition(self, ref: str, name: str, condition: Mapping[str, object]) -> None:
        text, base = self._headers[ref][0], self.result.origins[ref]
        said = _said_in(base, child_path("conditions", name))
        partial = {key: value for key, value in condition.items() if key not in CONDITION_KEYS}
        for key in sorted(partial.keys() & {"programme", "conditions"}):
            rule = "a condition changes the sections of a pack, not its header nor its conditions"
            self._say_at(text, f"conditions.{name}.{key}", "", rule)
            del partial[key]
        origins: Origins = dict(base)
        merged = _as_mapping(merge(self._merged[ref], partial, origins=origins, said=said))
        if not self._nothing_to_inherit(said, merged):
            return
        pack = self._typed_merged(Pack, merged, origins, said, f"conditions.{name}")
        if pack is not None:
            self.result.conditioned[f"{ref}:{name}"] = pack
            self.result.origins[f"{ref}:{name}"] = origins
            self._partial[f"{ref}:{name}"] = partial

    def _nothing_to_inherit(self, said: Said, whole: Mapping[str, object]) -> bool:
        path = _first_inherit(whole, "")
        if path is not None:
            where, rule = said(path), "there is nothing to inherit here"
            self._say(where.file, where.line, path, INHERIT, rule)
        return path is None

    def _line_of_descent(self, ref: str) -> list[str] | None:
        line, here = [ref], ref
        while (parent := self._headers[here][1].extends) is not None:
            text = self._headers[here][0]
            if parent in line:
                self._say_at(text, "programme.extends", parent, f"a cycle: {' → '.join(line)}")
                return None
            if parent not in self._headers:
                self._say_unknown(text, "programme.extends", parent, self._headers)
                return None
            if len(line) > EXTENDS_MAX:
                self._say_at(text, "programme.extends", parent, f"over {EXTENDS_MAX} ancestors")
                return None
            line.append(parent)
            here = parent
        return line[::-1]

    def _build_overlay(self, text: Text) -> None:
        whole = dict(_mapping(text))
        header = self._typed(OverlayHeader, whole.pop("overlay"), text, "overlay")
        if header is None:
            return None
        ref, key = header.programme, (header.county, f"{header.programme}:{header.name}")
        values = whole.pop("values", None)
        if not isinstance(values, dict) or whole:
            rule = "an overlay file has the keys overlay and values, and no other"
            odd = next(iter(whole), "values")
            return self._say_at(text, odd, shown(whole.get(odd, values)), rule)
        if ref not in self._merged:
            return self._say_unknown(text, "overlay.programme", ref, self._merged)
        if key in self.result.overlaid:
            rule = "this county has an overlay of this name already"
            return self._say_at(text, "overlay.name", header.name, rule)
        if header.name in self.result.packs[ref].conditions:
            rule = "a condition of the pack has this name; an overlay must have another name"
            return self._say_at(text, "overlay.name", header.name, rule)
        origins: Origins = dict(self.result.origins[ref])
        base = self._with_conditions(text, header, origins)
        if base is None:
            return None
        may_set = self.result.packs[ref].programme.county_may_set
        forbidden = dict(_forbidden(base, values, "", frozenset(may_set)))
        for path, value in forbidden.items():
            rule = "the pack has a value here and does not let a county set it"
            line = text.line_of(child_path("values", path))
            self._say(text.file, line, path, shown(value), rule)
        if forbidden:
            return None
        said = _said(text, "values")
        merged = _as_mapping(merge(base, values, origins=origins, said=said))
        if not self._nothing_to_inherit(said, merged):
            return None
        pack = self._typed_merged(Pack, merged, origins, said)
        if pack is not None:
            self.result.overlaid[key] = pack
            self.result.origins[f"{key[0]}/{key[1]}"] = origins
        return None

    def _with_conditions(
        self, text: Text, header: OverlayHeader, origins: Origins
    ) -> dict[str, object] | None:
        """The pack below an overlay, with the conditions the overlay names; None if one is not."""
        base, whole = self._merged[header.programme], True
        known = self.result.packs[header.programme].conditions
        for index, name in enumerate(header.conditions):
            ref = f"{header.programme}:{name}"
            if ref not in self._partial:
                path, rule = f"overlay.conditions[{index}]", "the pack has no such condition"
                self._say_unknown(text, path, name, known, rule=rule)
                whole = False
                continue
            said = _said_in(self.result.origins[header.programme], f"conditions.{name}")
            base = _as_mapping(merge(base, self._partial[ref], origins=origins, said=said))
        return base if whole else None

    def _read_institutions(self, text: Text) -> None:
        read = self._typed(InstitutionsFile, text.value, text, "")
        for index, institution in enumerate(read.institutions if read else ()):
            path = f"institutions[{index}].institution_id"
            if institution.institution_id in self.result.institutions:
                self._say_at(text, path, institution.institution_id, "declared twice")
            county = institution.county_code
            outside = [area for area in institution.areas if not area.startswith(county)]
            if outside and county != "000000":
                self._say_at(text, path, outside[0], "an area outside the institution's county")
            self.result.institutions[institution.institution_id] = institution

    def _read_adoption(self, text: Text) -> None:
        read = self._typed(AdoptionFile, text.value, text, "")
        if read is None:
            return None
        adoption = read.adoption
        if adoption.county in self.result.adopted:
            rule = "this county has an adoption file already"
            return self._say_at(text, "adoption.county", adoption.county, rule)
        for index, entry in enumerate(adoption.entries):
            path = f"adoption.entries[{index}]"
            self._check_entry(text, path, adoption.county, entry)
            for other in adoption.entries[:index]:
                if _overlap(entry, other):
                    rule = f"overlaps the adoption of {other.programme} from {other.valid_from}"
                    self._say_at(text, f"{path}.from", str(entry.valid_from), rule)
        self.result.adopted[adoption.county] = adoption
        return None

    def _check_entry(self, text: Text, path: str, county: str, entry: AdoptionEntry) -> None:
        name = split_ref(entry.programme)[2]
        if name is None:
            pack = self.result.packs.get(entry.programme)
        else:
            pack = self.result.conditioned.get(entry.programme) or self.result.overlaid.get(
                (county, entry.programme)
            )
        if pack is None:
            return self._say_unknown(
                text, f"{path}.programme", entry.programme, self._refs_for(county)
            )
        header = pack.programme
        if entry.valid_from < header.effective_from:
            rule = f"before the pack takes effect on {header.effective_from}"
            self._say_at(text, f"{path}.from", str(entry.valid_from), rule)
        if header.effective_to and (entry.valid_to is None or entry.valid_to > header.effective_to):
            rule = f"the pack holds only until {header.effective_to}"
            self._say_at(text, f"{path}.to", str(entry.valid_to), rule)
        for party in sorted(parties_named(pack) - set(entry.parties)):
            rule = "the programme names this party; say which institution it is"
            self._say_at(text, f"{path}.parties", party, rule)
        for party in sorted(set(entry.parties) - self._parties()):
            at, rule = f"{path}.parties.{party}", "no pack and no chain names this party"
            self._say_unknown(text, at, party, self._parties(), rule=rule)
        for party in entry.parties:
            for institution in entry.institutions(party):
                if self.result.institutions and institution not in self.result.institutions:
                    at, rule = f"{path}.parties.{party}", "no such institution"
                    self._say_unknown(text, at, institution, self.result.institutions, rule=rule)
        return None

    def _parties(self) -> frozenset[str]:
        """Every party of any pack: a county may name one that only another version needs."""
        result = self.result
        packs = (*result.packs.values(), *result.conditioned.values(), *result.overlaid.values())
        return ORGANS.union(*map(parties_named, packs))

    def _refs_for(self, county: str) -> list[str]:
        own = [ref for code, ref in self.result.overlaid if code == county]
        return [*self.result.packs, *self.result.conditioned, *own]

    def _read_calendars(self) -> None:
        holidays: set[date] = set()
        extra: set[date] = set()
        years: set[int] = set()
        for text in self._by_kind["calendar"]:
            read = self._typed(CalendarFile, text.value, text, "")
            for index, year in enumerate(read.calendar if read else ()):
                if year.year in years:
                    self._say_at(text, f"calendar[{index}].year", str(year.year), "given twice")
                years.add(year.year)
                holidays.update(year.holidays)
                extra.update(year.extra_workdays)
        self.result.calendar = Calendar(frozenset(holidays), frozenset(extra), frozenset(years))

    def _typed(self, model: type[Model], value: object, text: Text, prefix: str) -> Model | None:
        def locate(path: str) -> tuple[str, int]:
            return text.file, text.line_of(_joined(prefix, path))

        return self._kept(model, value, locate, prefix)

    def _typed_merged(
        self, model: type[Model], value: object, origins: Origins, newest: Said, prefix: str = ""
    ) -> Model | None:
        file = newest("").file

        def locate(path: str) -> tuple[str, int]:
            # What the newest file touched is most likely what broke.
            touched = any(
                where.file == file and key.startswith((path + ".", path + "["))
                for key, where in origins.items()
            )
            here = path
            while here not in origins and here:
                here = parent_of(here)
            own = touched or not path or origins[here].file == file
            where = newest(path) if own else origins[here]
            return where.file, where.line

        return self._kept(model, value, locate, prefix)

    def _kept(self, model: type[Model], value: object, locate: Locate, prefix: str) -> Model | None:
        made = to_model(model, value, locate)
        if isinstance(made, BaseModel):
            return made
        for problem in made:
            self.problems.append(replace(problem, path=_joined(prefix, problem.path)))
        return None

    def _say_at(self, text: Text, path: str, value: str, rule: str) -> None:
        self._say(text.file, text.line_of(path), path, value, rule)

    def _say_unknown(
        self, text: Text, path: str, word: str, known: Iterable[str], *, rule: str = UNKNOWN_PACK
    ) -> None:
        line, hint = text.line_of(path), nearest(word, known)
        self.problems.append(Problem(text.file, line, path, word, rule, hint))

    def _say(self, file: str, line: int, path: str, value: str, rule: str) -> None:
        self.problems.append(Problem(file, line, path, value, rule))


def parties_named(pack: Pack) -> frozenset[str]:
    """Every party that a pack's priorities, pots and shares name, and a county must fill."""
    named: set[str] = set()
    if pack.fund and pack.fund.custodian:
        named.add(pack.fund.custodian)
    for model in pack.fund.models if pack.fund else ():
        named.update(model.parties)
        named.update(model.pots)
        named.add(model.otherwise_borne_by)
    for cover in pack.insurance.covers if pack.insurance else ():
        if not isinstance(cover.payees, Open):
            named.update(name for group in groups_of(cover.payees) for name in group)
        index = cover.price_index
        if index and not isinstance(index, Open) and not isinstance(index.price_source, Open):
            named.add(index.price_source)
    for product in pack.loan_products:
        named.update(product.security.guarantor_parties)
        keepers = (getattr(pledge, "keeper", None) for pledge in product.security.pledges)
        named.update(keeper for keeper in keepers if keeper is not None)
        if product.backing is not None:
            named.add(product.backing.fund)
    return frozenset(named - PARTIES_OF_THE_LOAN)


def open_values(pack: BaseModel) -> tuple[Open, ...]:
    """Every value of a pack that is still open."""
    found: list[Open] = []
    _collect_open(pack, found)
    return tuple(found)


def _collect_open(value: object, found: list[Open]) -> None:
    if isinstance(value, Open):
        found.append(value)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            _collect_open(getattr(value, name), found)
    elif isinstance(value, tuple):
        for item in value:
            _collect_open(item, found)


def _overlap(one: AdoptionEntry, other: AdoptionEntry) -> bool:
    if split_ref(one.programme)[0] != split_ref(other.programme)[0]:
        return False
    return (one.valid_to is None or other.valid_from <= one.valid_to) and (
        other.valid_to is None or one.valid_from <= other.valid_to
    )


def _forbidden(
    base: object, said: object, path: str, may_set: frozenset[str]
) -> Iterable[tuple[str, object]]:
    """The keys of an overlay that the pack does not leave to a county, and what it says there."""
    if is_open(base) or (path and _matches(path, may_set)):
        return
    if isinstance(base, dict) and isinstance(said, dict):
        for key, value in said.items():
            yield from _forbidden(base.get(key), value, child_path(path, key), may_set)
    elif isinstance(said, list) and said and all(isinstance(i, dict) and "id" in i for i in said):
        held = base if isinstance(base, list) else []
        by_id = {item.get("id"): item for item in held if isinstance(item, dict)}
        for index, item in enumerate(said):
            below = item_path(path, index, item)
            yield from _forbidden(by_id.get(item["id"]), item, below, may_set)
    elif said not in (base, INHERIT):
        yield path, said


def _matches(path: str, may_set: frozenset[str]) -> bool:
    return path in may_set or _starred(path) in may_set


def _starred(path: str) -> str:
    parts = []
    for part in path.split("["):
        name, bracket, rest = part.partition("]")
        parts.append(f"*]{rest}" if bracket else name)
    return "[".join(parts)


def _first_inherit(value: object, path: str) -> str | None:
    if value == "inherit":
        return path
    if isinstance(value, dict):
        below = ((child_path(path, key), item) for key, item in value.items())
    elif isinstance(value, list):
        below = ((item_path(path, index, item), item) for index, item in enumerate(value))
    else:
        return None
    return next((hit for sub, item in below if (hit := _first_inherit(item, sub))), None)


def _described(conditions: object) -> object:
    """What conditions say of themselves, without the sections they change."""
    if not isinstance(conditions, dict):
        return conditions
    return {
        name: {key: said for key, said in condition.items() if key in CONDITION_KEYS}
        if isinstance(condition, dict)
        else condition
        for name, condition in conditions.items()
    }


def _said(text: Text, prefix: str = "") -> Said:
    """Where a file says what stands at a key path of a pack."""

    def said(path: str) -> Origin:
        key = _joined(prefix, path)
        return Origin(text.file, text.line_of(key), key)

    return said


def _said_in(origins: Mapping[str, Origin], prefix: str) -> Said:
    """The same for a part of a pack, which several files may have said."""

    def said(path: str) -> Origin:
        key = _joined(prefix, path)
        while key not in origins and key:
            key = parent_of(key)
        return origins[key]

    return said


def _joined(prefix: str, path: str) -> str:
    if not prefix or not path:
        return prefix or path
    return f"{prefix}{path}" if path.startswith("[") else f"{prefix}.{path}"


def _mapping(text: Text) -> dict[str, object]:
    return _as_mapping(text.value)


def _as_mapping(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value
