"""Programmes: read packs and a deployment's files; say what holds for a county on a day."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path

from services.kernel.errors import NotFound
from services.programmes.assemble import Assembled, PackErrors, assemble
from services.programmes.calendars import Calendar
from services.programmes.merge import Origin
from services.programmes.schema.deployment import Adoption, AdoptionEntry, Institution
from services.programmes.schema.pack import Pack, split_ref
from services.programmes.terms import Terms
from services.programmes.yaml_text import Problem, Text, parse

HERE = Path(__file__).parent
PACKAGED = (HERE / "packs", HERE / "calendars")
FILES_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything a deployment knows about programmes; a value, read once at start."""

    packs: Mapping[str, Pack]
    overlaid: Mapping[tuple[str, str], Pack]
    adopted: Mapping[str, Adoption]
    institutions: Mapping[str, Institution]
    calendar: Calendar
    origins: Mapping[str, Mapping[str, Origin]] = field(default_factory=dict)
    conditioned: Mapping[str, Pack] = field(default_factory=dict)

    def programme(self, ref: str) -> Pack:
        """A pack with all that it inherits, under a condition, without any county's overlay."""
        programme_id, version, _ = split_ref(ref)
        pack = self.conditioned.get(ref) or self.packs.get(f"{programme_id}@{version}")
        if pack is None:
            raise NotFound("PROGRAMME_UNKNOWN", f"no programme {ref}", message_zh=f"无此方案 {ref}")
        return pack

    def terms(self, county_code: str, programme_ref: str) -> Terms:
        """What a county lives under: the pack and what the ref names, a condition or an overlay."""
        _, _, name = split_ref(programme_ref)
        pack = self.programme(programme_ref)
        if name is not None and programme_ref not in self.conditioned:
            overlaid = self.overlaid.get((county_code, programme_ref))
            if overlaid is None:
                raise NotFound(
                    "PROGRAMME_UNKNOWN",
                    f"{programme_ref} is neither a condition nor an overlay of {county_code}",
                    message_zh=f"方案无此条件，该县亦无此补充规定：{programme_ref}",
                )
            pack = overlaid
        return Terms(county_code, programme_ref, pack, self.calendar)

    def adoptions(self, county_code: str, on: date) -> tuple[AdoptionEntry, ...]:
        """Every programme a county follows on a day."""
        return tuple(entry for entry in self.entries(county_code) if entry.holds_on(on))

    def entries(self, county_code: str) -> tuple[AdoptionEntry, ...]:
        """Every programme a county ever followed, with its days; none for a county without any."""
        adoption = self.adopted.get(county_code)
        return tuple(adoption.entries) if adoption else ()

    def ever_adopted(self, county_code: str) -> tuple[str, ...]:
        """Every ref that a county ever followed, each once: loans keep theirs for life."""
        return tuple(dict.fromkeys(entry.programme for entry in self.entries(county_code)))

    def adoption(self, county_code: str, programme_id: str, on: date) -> AdoptionEntry:
        """How a county follows one programme on a day; never more than one version."""
        for entry in self.adoptions(county_code, on):
            if split_ref(entry.programme)[0] == programme_id:
                return entry
        raise NotFound(
            "PROGRAMME_NOT_ADOPTED",
            f"county {county_code} does not follow {programme_id} on {on}",
            message_zh=f"该县在{on}未采用方案 {programme_id}",
        )

    def in_force(self, county_code: str, programme_id: str, on: date) -> str:
        """The ref (`id@version`, maybe `:condition` or `:overlay`) that holds on a day."""
        return self.adoption(county_code, programme_id, on).programme

    def parties(self, county_code: str, programme_ref: str) -> Mapping[str, tuple[str, ...]]:
        """Role → institutions, as the county's adoption of exactly this ref names them."""
        for entry in reversed(self.entries(county_code)):
            if entry.programme == programme_ref:
                return {party: entry.institutions(party) for party in entry.parties}
        raise NotFound(
            "PROGRAMME_NOT_ADOPTED", f"county {county_code} never adopted {programme_ref}"
        )

    def counties(self) -> tuple[str, ...]:
        """Every county that has adopted anything."""
        return tuple(self.adopted)


@dataclass(frozen=True, slots=True)
class Checked:
    """How many files were looked at, and what is wrong with them."""

    files: int
    problems: tuple[Problem, ...]


def load(folders: Iterable[Path] = (), *, packaged: bool = True) -> Catalogue:
    """
    Read all folders, the packaged ones first; raise `PackErrors` with all that is wrong.

    Services of one process that read the same files share what they say.
    """
    paths = (*(PACKAGED if packaged else ()), *map(Path, folders))
    files = [file for path in paths if path.exists() for file in sorted(_files_of(path))]
    return _loaded(paths, tuple(map(_state, files)))


@lru_cache(maxsize=8)
def _loaded(paths: tuple[Path, ...], _states: tuple[tuple[int, ...], ...]) -> Catalogue:
    return _catalogue(assemble(*read(paths)))


def _state(file: Path) -> tuple[int, ...]:
    """What changes when a file does; what cannot be read is told by who reads it."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def load_texts(texts: Mapping[str, str]) -> Catalogue:
    """The same from texts in memory, file name → YAML; no packaged folder."""
    return _catalogue(assemble([parse(file, text) for file, text in texts.items()], []))


def try_terms(file: str, text: str, county_code: str) -> Terms:
    """
    A county's terms under a pack or an overlay of its own that came as a text.

    It stands beside the packaged packs, on which it may build; raise `PackErrors` with what is
    wrong with it.
    """
    own = parse(file, text)
    around = [each for each in read(PACKAGED)[0] if Path(each.file).name != Path(file).name]
    catalogue = _catalogue(assemble([*around, own], []))
    header = own.value if isinstance(own.value, dict) else {}
    match header:
        case {"programme": {"id": programme_id, "version": version}}:
            return catalogue.terms(county_code, f"{programme_id}@{version}")
        case {"overlay": {"programme": ref, "name": name, "county": county}}:
            if county == county_code:
                return catalogue.terms(county_code, f"{ref}:{name}")
            rule = f"must be an overlay of county {county_code}"
            line = own.line_of("overlay.county")
            raise PackErrors([Problem(file, line, "overlay.county", str(county), rule)])
    raise PackErrors([Problem(file, 1, "", "", "must be a pack or an overlay of the county")])


def check(path: Path) -> Checked:
    """
    What is wrong with a file or a folder, beside the packs it may build on.

    Those are the packaged ones and, of a file, its neighbours; a file in hand stands in for the
    packaged one of its name. What is wrong without it is not its fault.
    """
    given, unreadable = read([path])
    own = {Path(text.file).name for text in given}
    beside = [path.parent] if path.is_file() else []
    around = [text for text in read([*PACKAGED, *beside])[0] if Path(text.file).name not in own]
    without, together = (_problems_of(texts) for texts in (around, [*around, *given]))
    problems = [problem for problem in (*unreadable, *together) if problem not in without]
    return Checked(files=len(given), problems=tuple(problems))


def _problems_of(texts: Sequence[Text]) -> tuple[Problem, ...]:
    try:
        assemble(texts, [])
    except PackErrors as refused:
        return refused.problems
    return ()


def _catalogue(assembled: Assembled) -> Catalogue:
    return Catalogue(
        packs=assembled.packs,
        conditioned=assembled.conditioned,
        overlaid=assembled.overlaid,
        adopted=assembled.adopted,
        institutions=assembled.institutions,
        calendar=assembled.calendar,
        origins=assembled.origins,
    )


def read(paths: Sequence[Path]) -> tuple[list[Text], list[Problem]]:
    """Parse files, and all files of folders."""
    texts: list[Text] = []
    problems: list[Problem] = []
    for path in paths:
        if not path.exists():
            problems.append(Problem(str(path), 1, "", "", "no such folder", "mind the spelling"))
            continue
        files = sorted(_files_of(path))
        if len(files) > FILES_MAX:
            rule, hint = f"more than {FILES_MAX} files", "keep packs in a folder of their own"
            problems.append(Problem(str(path), 1, "", str(len(files)), rule, hint))
            continue
        for file in files:
            try:
                texts.append(parse(str(file), file.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                rule, hint = f"cannot be read: {error}", "save it as UTF-8 text"
                problems.append(Problem(str(file), 1, "", "", rule, hint))
    return texts, problems


def _files_of(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return (file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))


__all__ = ["Catalogue", "Checked", "PackErrors", "check", "load", "load_texts", "read", "try_terms"]
