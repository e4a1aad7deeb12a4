"""Files of lines, CSV and XLSX: read and written a row at a time, whatever their size."""

import csv
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from zipfile import BadZipFile

import yaml
from openpyxl.cell.text import Text
from openpyxl.reader.excel import ExcelReader
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.xml.constants import SHEET_MAIN_NS
from openpyxl.xml.functions import iterparse

from gateway.documents.sheets import CSV_ENCODING, Sheet

CELL_CHARACTERS_MAX: Final = 200
XLSX: Final = frozenset({".xlsx", ".xlsm"})
_UNREADABLE_CHARACTER = "�"
_RECENT_MAX = 4_096


class FileError(ValueError):
    """The file as a whole cannot be read: no header, a column unknown or missing."""


class Row(NamedTuple):
    """One row: where it begins, its cells by field, and why it cannot be read, if so."""

    number: int
    cells: Mapping[str, str]
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which titles a file may have, and the field of each."""

    titles: Mapping[str, str]
    """Title to field; a field's own name is a title too, and an empty field is left out."""
    needed: tuple[str, ...] = ()

    def with_titles(self, own: Mapping[str, str]) -> "Columns":
        """The same with titles of somebody's own."""
        known = set(self.titles.values())
        for title, name in own.items():
            if name and name not in known:
                raise FileError(f"{title}={name}: there is no field {name}")
        return Columns({**self.titles, **own}, self.needed)

    def fields(self, header: Sequence[str], where: object) -> list[str]:
        """The field of each column of a header."""
        own = set(self.titles.values())
        names = []
        unknown = []
        for title in (each.strip() for each in header):
            name = self.titles.get(title, title if title in own else None)
            names.append(name or "")
            if name is None and title:
                unknown.append(title)
        if unknown:
            raise FileError(f"{where}: unknown columns {', '.join(unknown)}")
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise FileError(f"{where}: more than one column for {', '.join(twice)}")
        for needed in self.needed:
            if needed not in names:
                raise FileError(f"{where}: the column {needed} is missing")
        return names


def read_mapping(path: Path | None, pairs: Sequence[str] = ()) -> dict[str, str]:
    """Titles to fields, from a YAML file `columns: {title: field}` and from `title=field`."""
    found: dict[str, str] = {}
    if path is not None:
        try:
            held = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise FileError(f"{path}: {error}") from error
        columns = held.get("columns") if isinstance(held, dict) else None
        if not isinstance(columns, dict):
            raise FileError(f"{path}: needs `columns:`, a title and a field a line")
        found = {str(title).strip(): str(name or "").strip() for title, name in columns.items()}
    for pair in pairs:
        title, equals, name = pair.partition("=")
        if not equals or not title.strip():
            raise FileError(f"{pair}: a mapping is TITLE=FIELD, or TITLE= to leave a column out")
        found[title.strip()] = name.strip()
    return found


# --- reading --------------------------------------------------------------------------------------


def read_rows(path: Path, columns: Columns, *, encoding: str = "utf-8-sig") -> Iterator[Row]:
    """The rows of a file under its header, each as it stands; one that cannot be read says why."""
    cells = _xlsx_rows(path) if path.suffix.lower() in XLSX else _csv_rows(path, encoding)
    first = next(cells, None)
    if first is None or not any(cell.strip() for cell in first[1]):
        raise FileError(f"{path}: the file has no header line")
    names = columns.fields(first[1], path)
    for number, row, fault in cells:
        yield _row(number, names, row, fault)


def _row(number: int, names: Sequence[str], cells: Sequence[str], fault: str) -> Row:
    given = dict(zip(names, cells, strict=False))
    given.pop("", None)
    if not fault and len(cells) != len(names):
        fault = f"{len(cells)} columns where the header has {len(names)}"
    # Nearly every row is short and sound as a whole; then no cell need be looked at.
    whole = "".join(given.values())
    if len(whole) <= CELL_CHARACTERS_MAX and _UNREADABLE_CHARACTER not in whole:
        return Row(number, given, fault)
    for name, cell in given.items():
        if len(cell) > CELL_CHARACTERS_MAX:
            fault = fault or f"a cell of more than {CELL_CHARACTERS_MAX} characters"
            given[name] = ""
        elif _UNREADABLE_CHARACTER in cell:
            fault = fault or "not in the encoding that was named"
    return Row(number, given, fault)


def _csv_rows(path: Path, encoding: str) -> Iterator[tuple[int, list[str], str]]:
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        reader = csv.reader(file)
        begins = 1
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield begins, [], str(error)
            else:
                yield begins, row, ""
            begins = reader.line_num + 1


def _xlsx_rows(path: Path) -> Iterator[tuple[int, list[str], str]]:
    with ExitStack() as stack:
        try:
            reader = _Reader(path, stack)
            reader.read()
        except (BadZipFile, InvalidFileException, KeyError, ValueError) as error:
            raise FileError(f"{path}: is no workbook that can be read") from error
        stack.callback(reader.wb.close)
        if not reader.wb.worksheets:
            raise FileError(f"{path}: has no sheet")
        width = 0
        for number, row in enumerate(reader.wb.worksheets[0].iter_rows(values_only=True), 1):
            cells = [_text(cell) for cell in row]
            if width == 0:
                while cells and not cells[-1].strip():
                    cells.pop()
                width = len(cells)
            # A sheet pads short rows, and formatted cells right of the table are nobody's.
            cells = cells[:width] + [""] * (width - len(cells))
            if number == 1 or any(cells):
                yield number, cells, ""


def _text(cell: object) -> str:
    """A cell as the same file in CSV would have it."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case float():
            return str(int(cell)) if cell.is_integer() else repr(cell)
        case datetime() if cell.time() == time():
            return cell.date().isoformat()
        case date():
            return cell.isoformat()
    return str(cell)


class _Reader(ExcelReader):
    """Reads a workbook row by row; its shared strings wait on the disk, not in memory."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        super().__init__(str(path), read_only=True, data_only=True, keep_links=False)
        self._stack = stack

    def read_strings(self) -> None:
        """Put the table of strings beside the file."""
        content_type = (
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
        )
        part = self.package.find(content_type)  # type: ignore[no-untyped-call]
        strings = self._stack.enter_context(_Strings())
        if part is not None:
            with self.archive.open(part.PartName[1:]) as source:
                strings.fill(source)
        self.shared_strings = strings  # type: ignore[assignment]


class _Strings:
    """The strings of a workbook by their number: in a file, with those of late in memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._places = array("Q", [0])
        self._recent: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def fill(self, source: Any) -> None:
        """Take the strings of a shared strings part, one after the other."""
        item = f"{{{SHEET_MAIN_NS}}}si"
        root: Any = None
        for event, node in iterparse(source, events=("start", "end")):
            if event == "start":
                root = node if root is None else root
            elif node.tag == item:
                found = Text.from_tree(node)
                text = found.content if found is not None else ""
                written = self._file.write(text.encode())
                self._places.append(self._places[-1] + written)
                # The parent would keep every element that was read.
                root.clear()

    def __getitem__(self, number: int) -> str:
        if number not in self._recent:
            begin, end = self._places[number], self._places[number + 1]
            self._file.seek(begin)
            if len(self._recent) >= _RECENT_MAX:
                self._recent.clear()
            self._recent[number] = self._file.read(end - begin).decode()
        return self._recent[number]


# --- writing --------------------------------------------------------------------------------------


@dataclass(slots=True)
class LineWriter:
    """Writes rows into a file beside its place, which it takes when all is written."""

    path: Path
    titles: Sequence[str]
    encoding: str = CSV_ENCODING
    _stack: ExitStack = field(default_factory=ExitStack)
    _sheet: Sheet | None = None

    def __enter__(self) -> Self:
        file = self._stack.enter_context(self._half.open("wb"))
        workbook = self.path.suffix.lower() in XLSX
        self._sheet = Sheet(file, workbook=workbook, encoding=self.encoding)
        self.write(self.titles)
        return self

    @property
    def _half(self) -> Path:
        return self.path.with_name(f".{self.path.name}.half")

    def write(self, cells: Sequence[str]) -> None:
        """Add a row."""
        assert self._sheet is not None, "written to before it was opened"
        self._sheet.write(cells)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if self._sheet is not None:
                self._sheet.finish()
        if kind is None:
            self._half.replace(self.path)
        else:
            self._half.unlink(missing_ok=True)
