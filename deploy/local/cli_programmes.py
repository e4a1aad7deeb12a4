"""The `liandong programmes` commands: what an author of packs and a reader of decisions needs."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from deploy.local import case_files, explaining
from deploy.local.case_files import CaseFileError
from deploy.local.explaining import Explanation, leaves, pack_of, plain
from services.kernel.errors import LiandongError
from services.programmes import json_schema
from services.programmes.assemble import open_values
from services.programmes.loader import PACKAGED, Catalogue, PackErrors, check, load
from services.programmes.merge import Origin
from services.programmes.yaml_text import child_path, item_path

RELEASED = "released.sha256"
ORIGIN_COLUMN = 72
VALUE_SHOWN_MAX = 400

programmes = typer.Typer(no_args_is_help=True, help="Programmes: packs, and decisions explained.")
console = Console(highlight=False, markup=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

Beside = Annotated[
    list[Path] | None,
    typer.Option("--with", help="Files' folders beside the packaged ones: a county's, new packs."),
]
Ref = Annotated[str, typer.Argument(help="ID@VERSION, maybe :CONDITION or :OVERLAY.")]


@contextmanager
def _said_plainly() -> Iterator[None]:
    """What is expected to go wrong is said in its own words, without a trace."""
    try:
        yield
    except PackErrors as error:
        errors.print(str(error))
        raise typer.Exit(2) from None
    except LiandongError as error:
        errors.print(error.message)
        raise typer.Exit(2) from None
    except (CaseFileError, CannotReleaseError, ValueError) as error:
        errors.print(str(error))
        raise typer.Exit(2) from None


class CannotReleaseError(Exception):
    """The pack must not be released, or not again."""


@programmes.command(name="check")
def check_command(
    paths: Annotated[list[Path], typer.Argument(help="Packs and county files, or their folders.")],
) -> None:
    """Say all that is wrong with packs and county files at once."""
    checked = [check(path) for path in paths]
    problems = list(dict.fromkeys(each for one in checked for each in one.problems))
    for problem in problems:
        console.print(str(problem))
    files = sum(one.files for one in checked)
    console.print(f"{files} files, {len(problems)} problems")
    raise typer.Exit(1 if problems else 0)


@programmes.command()
def show(ref: Ref, *, beside: Beside = None) -> None:
    """Print a pack with all it inherits, and where each value was written."""
    with _said_plainly():
        pack, origins = pack_of(_catalogue(beside), ref)
        for line, path in _yaml_lines(plain(pack), "", 0):
            where = origins.get(path)
            told = f"{line:<{ORIGIN_COLUMN}} # {_where(where)}" if where and path else line
            console.print(told)


@programmes.command()
def diff(
    old: Ref,
    new: Ref,
    *,
    sources: Annotated[bool, typer.Option(help="Differences of source rows too.")] = False,
    beside: Beside = None,
) -> None:
    """Print what two packs say differently, each with all it inherits."""
    with _said_plainly():
        catalogue = _catalogue(beside)
        packs = [plain(pack_of(catalogue, ref)[0]) for ref in (old, new)]
        before, after = (dict(leaves(pack if sources else _without_rows(pack))) for pack in packs)
        count = 0
        for path in {**before, **after}:
            if before.get(path) != after.get(path) or (path in before) != (path in after):
                count += 1
                console.print(_difference(path, before, after))
        console.print(f"{count} differences")


@programmes.command(name="list")
def list_command(*, beside: Beside = None) -> None:
    """Print every programme and version, and who follows it."""
    with _said_plainly():
        catalogue = _catalogue(beside)
        released = _released()
        table = Table(box=None, pad_edge=False)
        for column in ("programme", "from", "to", "extends", "open", "released", "title"):
            table.add_column(column, no_wrap=column != "title")
        for ref, pack in sorted(catalogue.packs.items()):
            header = pack.programme
            row = (str(header.effective_from), str(header.effective_to or ""))
            is_released = "yes" if f"{ref}.yaml" in released else ""
            count = str(len(open_values(pack)))
            table.add_row(ref, *row, header.extends or "", count, is_released, header.title.zh)
            for name, condition in pack.conditions.items():
                below = catalogue.conditioned[f"{ref}:{name}"]
                title = condition.title.zh if condition.title else ""
                table.add_row(f"  :{name}", "", "", "", str(len(open_values(below))), "", title)
        Console(highlight=False, width=max(console.width, 132)).print(table)
        for county in catalogue.counties():
            for entry in catalogue.adopted[county].entries:
                until = f" to {entry.valid_to}" if entry.valid_to else ""
                console.print(f"{county} follows {entry.programme} from {entry.valid_from}{until}")


@programmes.command()
def explain(
    file: Annotated[Path, typer.Argument(help="A case, or a file of cases, as JSON.")],
    *,
    case: Annotated[
        str, typer.Option("--case", help="The case's id, where there are several.")
    ] = "",
    beside: Beside = None,
) -> None:
    """Explain one decision: its inputs, the clauses it stands on, the working, the result."""
    with _said_plainly():
        found = [each for each in case_files.read_cases(file) if not case or each.get("id") == case]
        if len(found) != 1:
            raise CaseFileError(f"{file}: {len(found)} cases; name one with --case ID")
        explanation = explaining.explain(found[0], _catalogue(beside))
        for line in explained(explanation):
            console.print(line)
        expected = found[0].get("expected", explanation.result)
        agrees = explanation.result is not None and explanation.result == expected
    raise typer.Exit(0 if agrees else 1)


@programmes.command()
def cases(
    file: Annotated[Path, typer.Argument(help="A file of cases, as JSON.")],
) -> None:
    """Decide every case of a file, and say which are decided otherwise than expected."""
    with _said_plainly():
        verdicts = case_files.run(case_files.read_cases(file))
        for verdict in verdicts:
            if not verdict.passed:
                console.print(f"{verdict.case_id} {verdict.rule}: {verdict.wrong}")
        failed = sum(not verdict.passed for verdict in verdicts)
        console.print(f"{len(verdicts) - failed} passed, {failed} failed")
    raise typer.Exit(1 if failed else 0)


@programmes.command()
def schema(
    kind: Annotated[str, typer.Argument(help="pack or county.")] = "pack",
) -> None:
    """Print the JSON Schema of packs or of a county's files, for an editor."""
    kinds = {"pack": json_schema.pack_schema, "county": json_schema.county_schema}
    if kind not in kinds:
        raise typer.BadParameter("pack or county")
    print(json.dumps(kinds[kind](), ensure_ascii=False, indent=2))


@programmes.command()
def release(
    ref: Annotated[str, typer.Argument(help="ID@VERSION.")],
    *,
    packs: Annotated[Path, typer.Option(help="The folder of the packs.")] = PACKAGED[0],
) -> None:
    """Seal a pack: from now on a test fails when its file changes."""
    with _said_plainly():
        console.print(seal(ref, packs))


def seal(ref: str, packs: Path) -> str:
    """Add a pack's digest to the released ones; refuse what changed, is wrong, or stands loose."""
    file, name = packs / f"{ref}.yaml", f"{ref}.yaml"
    if not file.is_file():
        raise CannotReleaseError(f"{file}: no such pack")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    released = _released(packs)
    if name in released:
        if released[name] != digest:
            raise CannotReleaseError(
                f"{ref} is released and has changed since: write a new version"
            )
        return f"{ref} is released already"
    if wrong := check(file).problems:
        raise CannotReleaseError("\n".join(str(problem) for problem in wrong))
    parent = load([packs, PACKAGED[1]], packaged=False).programme(ref).programme.extends
    if parent is not None and f"{parent}.yaml" not in released:
        raise CannotReleaseError(
            f"{ref} builds on {parent}, which may still change: release it first"
        )
    lines = [f"{hashed}  {each}\n" for each, hashed in sorted({**released, name: digest}.items())]
    (packs / RELEASED).write_text("".join(lines), encoding="utf-8")
    return f"{ref} is released: {digest}"


def explained(explanation: Explanation) -> Iterator[str]:
    """An explanation line by line."""
    case = explanation.case
    yield f"{case.get('id', 'case')}: {case.get('title', case['rule'])}"
    yield f"rule: {case['rule']}    programme: {case.get('programme', explaining.PLATFORM)}"
    yield ""
    yield "Inputs"
    yield from (f"  {path}: {_short(value)}" for path, value in leaves(case["inputs"]))
    yield ""
    yield "Clauses"
    for clause in explanation.clauses:
        rows = ", ".join(clause.rows) or "no row"
        where = f", {_where(clause.origin)}" if clause.origin else ""
        yield f"  {clause.path}  [{rows}{where}]"
        yield f"    {_short(_without_rows(clause.value))}"
    if not explanation.clauses:
        yield "  the case's programme says nothing of it: the rule is the same for all"
    yield ""
    yield "Working"
    yield from (f"  {line}" for step in explanation.working for line in step.splitlines())
    if not explanation.working:
        yield "  nothing was worked out"
    yield ""
    yield "Result"
    if explanation.result is None:
        yield f"  refused: {explanation.refusal}"
        return
    yield from (f"  {path}: {_short(value)}" for path, value in leaves(explanation.result))
    if "expected" in case:
        wrong = case_files.difference(explanation.result, case["expected"])
        yield f"  not as expected: {wrong}" if wrong else "  as the case expects"


def _without_rows(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_rows(below) for key, below in value.items() if key != "source"}
    return [_without_rows(each) for each in value] if isinstance(value, list) else value


def _short(value: object) -> str:
    text = _inline(value)
    return text if len(text) <= VALUE_SHOWN_MAX else f"{text[: VALUE_SHOWN_MAX - 1]}…"


def _inline(value: object) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _difference(path: str, before: dict[str, object], after: dict[str, object]) -> str:
    if path not in after:
        return f"- {path}: {_short(before[path])}"
    if path not in before:
        return f"+ {path}: {_short(after[path])}"
    return f"~ {path}: {_short(before[path])} → {_short(after[path])}"


def _yaml_lines(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """A mapping as lines of YAML, each with the key path it is about; empty without a value."""
    indent = "  " * depth
    for key, below in value.items():
        here = child_path(path, key)
        if isinstance(below, dict) and below and "open" not in below:
            yield f"{indent}{key}:", ""
            yield from _yaml_lines(below, here, depth + 1)
        elif isinstance(below, list) and any(isinstance(each, dict) for each in below):
            yield f"{indent}{key}:", ""
            yield from _yaml_items(below, here, depth + 1)
        else:
            yield f"{indent}{key}: {_inline(below)}", here


def _yaml_items(items: list[Any], path: str, depth: int) -> Iterator[tuple[str, str]]:
    for index, item in enumerate(items):
        here = item_path(path, index, item)
        if not isinstance(item, dict):
            yield f"{'  ' * depth}- {_inline(item)}", here
            continue
        for number, (line, about) in enumerate(_yaml_lines(item, here, depth + 1)):
            start = "  " * depth
            yield (f"{start}- {line[len(start) + 2 :]}" if number == 0 else line), about


def _where(origin: Origin) -> str:
    return f"{Path(origin.file).stem}:{origin.line}"


def _released(packs: Path = PACKAGED[0]) -> dict[str, str]:
    file = packs / RELEASED
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def _catalogue(beside: list[Path] | None) -> Catalogue:
    return load(beside or [])
