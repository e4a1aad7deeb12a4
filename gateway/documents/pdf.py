"""
PDF: a paper of headings, pairs, tables and text, with who asked on top and page numbers below.

The font is a part of WenQuanYi Micro Hei (`fonts/LICENSE.txt`) and embedded, so that a paper looks
the same everywhere. A character that it lacks, in a rare name, stands as its number, never as a
blank.
"""

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color, black  # type: ignore[import-untyped]
from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped]
from reportlab.lib.units import mm  # type: ignore[import-untyped]
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]
from reportlab.pdfbase.pdfmetrics import stringWidth  # type: ignore[import-untyped]
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]
from reportlab.platypus import (  # type: ignore[import-untyped]
    LongTable,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    TableStyle,
)

from gateway.documents.words import Language, label
from gateway.identity import CHINA
from services.kernel.errors import Refused

FONT: Final = "Liandong"
FONT_PATH: Final = Path(__file__).parent / "fonts" / "wqy-microhei-gb2312.ttf"
PAGES_MAX: Final = 60
ROWS_MAX: Final = 1_500
"""Of all tables of a paper: more is an export, or a shorter period."""
TEXT_CHARACTERS_MAX: Final = 600
"""Of one cell or line; what is longer is cut and says so."""
GREY: Final = Color(0.45, 0.45, 0.45)
WIDTH: Final = A4[0] - 40 * mm

# The library keeps what it embeds of a font beside the font itself.
_one_at_a_time = threading.Lock()


def too_long(what: str, most: int) -> Refused:
    """A paper that nobody would read."""
    return Refused(
        "DOCUMENT_TOO_LONG",
        f"the document would have more than {most} {what}: ask for a shorter period, or export it",
        message_zh="文件过长，请缩短期间或改用导出",
        facts={"most": str(most), "of": what},
    )


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a paper came about; it stands on top of it."""

    institution: str
    """Name and id of who asked."""
    person: str
    purpose: str
    made_at: datetime
    county_code: str
    as_of: str
    data_sha256: str
    on_behalf: str = ""
    """For whom somebody else asked; empty otherwise."""


@lru_cache(1)
def _font() -> TTFont:
    font = TTFont(FONT, str(FONT_PATH))
    pdfmetrics.registerFont(font)
    pdfmetrics.registerFontFamily(FONT, normal=FONT, bold=FONT, italic=FONT, boldItalic=FONT)
    return font


def printable(text: str) -> str:
    """A text with what the font lacks as its number, within bounds and on one line."""
    known = _font().face.charToGlyph
    cut = text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"
    return "".join(
        sign if ord(sign) in known else " " if sign.isspace() else f"[U+{ord(sign):04X}]"
        for sign in cut
    )


def _style(name: str, size: float, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(
        name, fontName=FONT, fontSize=size, leading=size * 1.4, wordWrap="CJK", **more
    )


TITLE: Final = _style("title", 17, alignment=1, spaceAfter=4 * mm)
HEADING: Final = _style("heading", 12, spaceBefore=5 * mm, spaceAfter=2 * mm)
PLAIN: Final = _style("plain", 9)
SMALL: Final = _style("small", 7.5)
NUMBER: Final = _style("number", 7.5, alignment=2)


@dataclass(slots=True)
class Paper:
    """A paper while it is being written; it is laid out when it is made."""

    title: str
    language: Language
    _flow: list[Callable[[], Any]] = field(default_factory=list)
    _rows: int = 0

    def heading(self, name: str) -> None:
        """A heading, by its label."""
        self._flow.append(lambda: Paragraph(escape(label(name, self.language)), HEADING))

    def text(self, text: str) -> None:
        """A line of text."""
        self._count(1)
        self._flow.append(lambda: Paragraph(escape(printable(text)), PLAIN))

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Labels and what they are; one without a value is left out."""
        rows = [(label(name, self.language), value) for name, value in pairs if value]
        self._count(len(rows))
        if rows:
            self._flow.append(lambda: _pairs(rows))

    def table(
        self, titles: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: str = ""
    ) -> None:
        """A table by the labels of its columns; those whose title is in `numbers` to the right."""
        if not rows:
            self.text(label("nothing", self.language))
            return
        self._count(len(rows))
        right = [name in numbers.split() for name in titles]
        shown = [label(name, self.language) for name in titles]
        self._flow.append(lambda: _table(shown, rows, right))

    def _count(self, rows: int) -> None:
        self._rows += rows
        if self._rows > ROWS_MAX:
            raise too_long("rows", ROWS_MAX)

    def made(self, how: Provenance) -> tuple[bytes, int]:
        """The file, and how many pages it has."""
        language = self.language
        told = [(label(name, language), value) for name, value in _told(how, language) if value]
        file = io.BytesIO()
        with _one_at_a_time:
            _font()
            flow = [
                Paragraph(escape(printable(self.title)), TITLE),
                _pairs(told),
                Spacer(1, 3 * mm),
                *(each() for each in self._flow),
                Spacer(1, 6 * mm),
                Paragraph(escape(label("masked", language)), SMALL),
            ]
            below = f"{how.institution}　{self.title}"
            pages = _write(file, flow, title=self.title, below=below, language=language)
        return file.getvalue(), pages


def _pairs(rows: Sequence[tuple[str, str]]) -> Any:
    cells = [
        [Paragraph(escape(name), SMALL), Paragraph(escape(printable(value)), PLAIN)]
        for name, value in rows
    ]
    table = LongTable(cells, colWidths=[38 * mm, WIDTH - 38 * mm])
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_TIGHT]))
    return table


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Any:
    cells: list[list[Any]] = [[Paragraph(escape(name), SMALL) for name in titles]]
    cells += [
        [
            Paragraph(escape(printable(cell)), NUMBER if to_right else SMALL)
            for cell, to_right in zip(row, right, strict=True)
        ]
        for row in rows
    ]
    table = LongTable(cells, colWidths=_widths(titles, rows), repeatRows=1)
    table.setStyle(TableStyle(_GRID))
    return table


def _told(how: Provenance, language: Language) -> list[tuple[str, str]]:
    moment = how.made_at.astimezone(CHINA)
    return [
        ("asked_by", how.institution),
        ("asked_for", how.on_behalf),
        ("person", how.person or label("not_said", language)),
        ("purpose", how.purpose or label("not_said", language)),
        ("made_at", f"{moment:%Y-%m-%d %H:%M:%S} (UTC+8)"),
        ("county", how.county_code),
        ("as_of", how.as_of),
        ("data", how.data_sha256),
    ]


_TIGHT: Final = [("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1)]
_GRID: Final = [
    ("LINEBELOW", (0, 0), (-1, 0), 0.6, black),
    ("LINEBELOW", (0, 1), (-1, -1), 0.2, GREY),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    *_TIGHT,
]
_SAMPLE: Final = 40


def _widths(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[float]:
    """Columns as wide as what stands in the first rows, made to fit the page."""
    wide = []
    for place, title in enumerate(titles):
        texts = [title, *(row[place][:40] for row in rows[:_SAMPLE])]
        longest = max(stringWidth(text, FONT, 7.5) for text in texts)
        wide.append(min(max(longest + 5, 12 * mm), 60 * mm))
    whole = sum(wide)
    return [WIDTH * width / whole for width in wide]


class _Numbered(Canvas):  # type: ignore[misc]
    """Writes page numbers when it knows how many there are."""

    language: Language
    below: str

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._held: list[dict[str, Any]] = []

    def showPage(self) -> None:
        """Keep the page; it is written at the end."""
        if len(self._held) >= PAGES_MAX:
            raise too_long("pages", PAGES_MAX)
        self._held.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write every page with its number."""
        pages = len(self._held)
        for number, held in enumerate(self._held, 1):
            self.__dict__.update(held)
            told = label("page", self.language).format(page=number, pages=pages)
            self.setFont(FONT, 7.5)
            self.setFillColor(GREY)
            self.drawString(20 * mm, 11 * mm, self.below)
            self.drawRightString(A4[0] - 20 * mm, 11 * mm, told)
            super().showPage()
        super().save()


def _write(file: io.BytesIO, flow: list[Any], *, title: str, below: str, language: Language) -> int:
    made: list[_Numbered] = []

    def canvas(*given: Any, **named: Any) -> _Numbered:
        one = _Numbered(*given, **named)
        one.language, one.below = language, printable(below)[:90]
        made.append(one)
        return one

    paper = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=20 * mm,
        rightMargin=20 * mm,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
        title=title,
        author="Liandong",
        lang="zh-CN" if language is Language.CHINESE else "en",
        invariant=1,
    )
    paper.build(flow, canvasmaker=canvas)
    return len(made[0]._held)  # noqa: SLF001 - our own
