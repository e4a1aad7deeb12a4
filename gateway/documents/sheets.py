"""Tables: rows of text as CSV or XLSX, written one after the other; nothing is a formula."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final

CSV_ENCODING: Final = "utf-8-sig"
CELL_MAX: Final = 32_767
"""Characters of a workbook's cell."""
_BEGINS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Sheet:
    """One table on its way into a file."""

    def __init__(self, file: IO[bytes], *, workbook: bool, encoding: str = CSV_ENCODING) -> None:
        self._file = file
        self._book: Any = None
        self._text: Any = None
        if workbook:
            # Here, and what it brings with it: a gateway that was killed is to serve soon.
            from openpyxl import Workbook

            self._book = Workbook(write_only=True)
            self._sheet: Any = self._book.create_sheet()
        else:
            self._text = io.TextIOWrapper(file, encoding=encoding, newline="")
            self._csv = csv.writer(self._text)

    def write(self, cells: Sequence[str]) -> None:
        """Add a row."""
        if self._book is None:
            self._csv.writerow(cells)
        else:
            self._sheet.append([self._plain(cell) for cell in cells])

    def _plain(self, text: str) -> Any:
        """Text as text: one that begins with `=` is nobody's formula."""
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

        cell: Any = WriteOnlyCell(self._sheet, ILLEGAL_CHARACTERS_RE.sub("�", text)[:CELL_MAX])
        cell.data_type = "s"
        return cell

    def finish(self) -> None:
        """Write what is left; the file stays open."""
        if self._book is None:
            self._text.flush()
            self._text.detach()
        else:
            self._book.save(self._file)


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula when it opens a CSV; numbers stay numbers."""
    if not cell.startswith(_BEGINS_FORMULA) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(cell: str) -> bool:
    return cell[:1] in "+-" and cell[1:].replace(".", "", 1).isdecimal()


def file_of(titles: Sequence[str], rows: Iterable[Sequence[str]], *, workbook: bool) -> bytes:
    """A whole file in memory; who calls bounds the rows."""
    file = io.BytesIO()
    sheet = Sheet(file, workbook=workbook)
    sheet.write(titles)
    for row in rows:
        sheet.write(row if workbook else [harmless(cell) for cell in row])
    sheet.finish()
    return file.getvalue()
