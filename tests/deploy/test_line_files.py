"""Files of lines: both forms read alike, mapped, with every wrong line named."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from deploy.local import fact_file, insurance_file, insured_file, list_file
from deploy.local.ca import LocalCA
from deploy.local.client import Institution
from deploy.local.household_file import (
    EXPORT_TITLES,
    UPDATE_FILE,
    Order,
    VerdictFile,
    chunks,
    read_lines,
)
from deploy.local.line_files import Columns, FileError, LineWriter, read_mapping, read_rows
from tests.lengths import LONG

HEADER = ["户编号", "村代码", "与户主关系", "姓名", "证件号码", "登记日期"]
FIRST = ["H-1", "411224101201", "户主", "王芳", "411224198001019018", "2016-03-01"]
SECOND = ["H-1", "411224101201", "子", "王小明", "411224200501019015", "2016-03-01"]
ANY = Columns({"甲": "first", "乙": "second"})
LINES_SMALL = 2_000
MEMORY_RATIO_MAX = 1.25


def write_csv(path: Path, rows: Iterable[Sequence[str]], *, encoding: str = "utf-8-sig") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_xlsx(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """As an office program writes it: strings shared, in a table of their own."""
    book = Workbook()
    sheet: Any = book.active
    for row in rows:
        sheet.append(row)
    book.save(path)
    return path


def test_csv_and_xlsx_say_the_same(tmp_path: Path) -> None:
    rows = [HEADER, FIRST, SECOND]
    dated: list[list[object]] = [list(row) for row in rows]
    dated[2][5] = date(2016, 3, 1)

    texts = list(read_lines(write_csv(tmp_path / "a.csv", rows)))
    sheet = list(read_lines(write_xlsx(tmp_path / "a.xlsx", dated)))

    assert texts == sheet
    assert [line.line_number for line in texts] == [2, 3]
    assert texts[1].registered_on == "2016-03-01"


def test_a_number_of_a_sheet_is_read_as_its_digits(tmp_path: Path) -> None:
    path = write_xlsx(
        tmp_path / "a.xlsx", [["甲", "乙"], [411224101201.0, 15412345678], [1.5, True]]
    )

    assert [dict(row.cells) for row in read_rows(path, ANY)] == [
        {"first": "411224101201", "second": "15412345678"},
        {"first": "1.5", "second": "true"},
    ]


def test_empty_rows_and_cells_beside_the_table_are_nobodys(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "a.xlsx", [["甲", "乙", None], ["x", "y", " "], [], ["z"]])

    rows = list(read_rows(path, ANY))

    assert [(row.number, dict(row.cells), row.unreadable) for row in rows] == [
        (2, {"first": "x", "second": "y"}, ""),
        (4, {"first": "z", "second": ""}, ""),
    ]


def test_titles_of_ones_own_are_mapped_and_columns_left_out(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("columns:\n  身份证号: identity_number\n  备注:\n", encoding="utf-8")
    path = write_csv(tmp_path / "a.csv", [["户号", "身份证号", "备注"], ["H-1", "123", "很好"]])
    titles = read_mapping(mapping, ["户号=household_number"])

    (line,) = read_lines(path, Order(update=True, titles=titles))

    assert (line.household_number, line.identity_number) == ("H-1", "123")
    assert not line.name


@pytest.mark.parametrize(
    ("header", "word"),
    [
        (["户编号", "证件号码", "血型"], "unknown columns 血型"),
        (["户编号"], "identity_number is missing"),
        (["户编号", "证件号码", "identity_number"], "more than one column for identity_number"),
        ([""], "no header line"),
    ],
)
def test_a_header_that_cannot_be_read_says_what_is_wrong(
    tmp_path: Path, header: list[str], word: str
) -> None:
    path = write_csv(tmp_path / "a.csv", [header, ["x"] * len(header)])

    with pytest.raises(FileError, match=word):
        list(read_rows(path, UPDATE_FILE))


@pytest.mark.parametrize("text", ["- a", "columns: [", "columns: 3"])
def test_a_mapping_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(FileError):
        read_mapping(path)


def test_a_mapping_to_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(FileError, match="no field blood"):
        UPDATE_FILE.with_titles(read_mapping(None, ["血型=blood"]))
    with pytest.raises(FileError, match="TITLE=FIELD"):
        read_mapping(None, ["血型"])


def test_a_line_that_cannot_be_read_is_one_wrong_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    good, short, long = "x,y", "x", f"x,{'y' * 300}"
    huge = f'x,"{"y" * 200_000}"'
    other = "x,王".encode("gb18030")
    text = [line.encode() for line in ("甲,乙", good, short, long, huge)]
    path.write_bytes(b"\n".join([*text, other, good.encode(), b""]))

    rows = list(read_rows(path, ANY))

    assert [bool(row.unreadable) for row in rows] == [False, True, True, True, True, False]
    assert [row.number for row in rows] == [2, 3, 4, 5, 6, 7]
    assert all(len(cell) <= 200 for row in rows for cell in row.cells.values())


def test_another_encoding_is_read_when_it_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [["甲", "乙"], ["王", "芳"]], encoding="gb18030")

    (row,) = read_rows(path, ANY, encoding="gb18030")

    assert dict(row.cells) == {"first": "王", "second": "芳"}


@pytest.mark.parametrize("content", [b"not a workbook", b"PK\x03\x04 neither"])
def test_a_workbook_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)

    with pytest.raises(FileError, match="no workbook"):
        list(read_rows(path, ANY))


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_what_is_written_is_read_again_and_a_broken_one_leaves_nothing(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    with LineWriter(path, ["甲", "乙"]) as writer:
        writer.write(["=1+1", "0001"])

    assert [dict(row.cells) for row in read_rows(path, ANY)] == [
        {"first": "=1+1", "second": "0001"}
    ]
    before = path.read_bytes()
    with pytest.raises(RuntimeError), LineWriter(path, ["甲", "乙"]):
        raise RuntimeError("the platform is away")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_chunk_never_parts_a_household_and_never_grows_too_heavy(tmp_path: Path) -> None:
    rows = [HEADER]
    for number in range(40):
        rows += [[f"H-{number}", *FIRST[1:]], [f"H-{number}", *SECOND[1:]]]
    light = list(chunks(read_lines(write_csv(tmp_path / "a.csv", rows)), 7))
    heavy = write_csv(tmp_path / "b.csv", [HEADER, *([["王" * 199] * 6] * 1_400)])

    parted = list(chunks(read_lines(heavy)))

    assert sum(len(chunk) for chunk in light) == 80
    for one, next_one in pairwise(light):
        assert one[-1].household_number != next_one[0].household_number
    assert len(parted) > 1
    assert all(sum(line.ByteSize() for line in chunk) <= 1_000_000 for chunk in parted)


# --- cells that are not what their column says ----------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cell", "rule"),
    [
        ("evidence_sha256", "0123456789abcdeg", "must be hexadecimal digits"),
        ("valid_from", "2018-02-30", "must be a calendar day such as 2018-03-01"),
    ],
)
def test_a_fact_that_cannot_be_read_names_its_column(
    tmp_path: Path, column: str, cell: str, rule: str
) -> None:
    cells = {"valid_from": "2018-03-01", "evidence_reference": "court-7"} | {column: cell}
    path = write_csv(tmp_path / "a.csv", [["kind", *cells], ["court", *cells.values()]])

    (row,) = read_rows(path, fact_file.COLUMNS)
    with pytest.raises(fact_file.LineWrong) as wrong:
        fact_file.read_fact(row)

    assert (wrong.value.column, wrong.value.rule) == (column, rule)


@pytest.mark.parametrize(
    ("column", "cell", "rule"),
    [
        ("出生日期", "1980-02-30", "must be a calendar day such as 2018-03-01"),
        ("保额(元)", "六万", "must be an amount"),
        ("姓名", "王" * 61, "must be at most 60 characters"),
    ],
    ids=["day", "sum", "name"],
)
def test_a_line_of_insured_that_cannot_be_read_names_its_column(
    tmp_path: Path, column: str, cell: str, rule: str
) -> None:
    header = ["证件号码", column]
    path = write_csv(tmp_path / "a.csv", [header, ["411224198001019018", cell]])

    (row,) = read_rows(path, insured_file.COLUMNS)
    with pytest.raises(insured_file.LineWrong) as wrong:
        insured_file.read_line(row, "natural_disaster")

    field = insured_file.COLUMNS.titles[column]
    assert (wrong.value.column, wrong.value.rule) == (field, rule)


LOANS = ["编号", "余额(分)", "对账日期", "发放日"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["B-2", "12.50", "", ""], "invalid literal .*12.50"),
        (["B-2", "1250", "", "2018-02-30"], "day"),
        (["B-2", "1250", "31/12/2018", ""], "31/12/2018"),
    ],
)
async def test_a_list_with_a_line_that_cannot_be_read_begins_nothing(
    tmp_path: Path, certificates: LocalCA, cells: list[str], said: str
) -> None:
    path = write_csv(tmp_path / "a.csv", [LOANS, ["B-1", "700", "2018-12-31", ""], cells])
    heading = list_file.Heading("411224", "rcb-0001", "2018-12", date(2018, 12, 31))

    async with nobody_at(certificates) as institution:
        with pytest.raises(FileError, match=f"line 3: .*{said}"):
            await list_file.reconcile(
                institution,
                path,
                list_file.KINDS["loans"],
                heading,
                differences=tmp_path / "differences.csv",
                dry_run=False,
            )

    assert institution.calls == 0


async def test_a_statement_with_a_line_that_cannot_be_read_begins_nothing(
    tmp_path: Path, certificates: LocalCA
) -> None:
    header = ["record_id", "amount_fen", "value_date"]
    rows = [header, ["P-1", "700", "2018-12-31"], ["P-2", "7.00", "2018-12-31"]]
    path = write_csv(tmp_path / "a.csv", rows)
    last = date(2018, 12, 31)
    heading = insurance_file.Heading("411224", "ins-0001", "payouts", "2018-12", last, last)

    async with nobody_at(certificates) as institution:
        with pytest.raises(FileError, match=r"line 3: .*7\.00"):
            await insurance_file.reconcile(
                institution,
                path,
                heading,
                differences=tmp_path / "differences.csv",
                dry_run=False,
            )

    assert institution.calls == 0


def nobody_at(certificates: LocalCA) -> Institution:
    """An institution whose calls would reach nobody."""
    return Institution("127.0.0.1:1", certificates.institution("rcb-0001"), "rcb-0001")


# --- how far an import has come -------------------------------------------------------------------


def test_an_import_goes_on_after_its_last_answer_and_cuts_off_what_came_later(
    tmp_path: Path,
) -> None:
    path = tmp_path / "verdicts.csv"
    what = {"file": "a"}
    with VerdictFile(path, what=what) as first:
        first.take([("2", "registered")], {"lines": 1})
    with path.open("a", encoding="utf-8") as torn:
        torn.write("3,regis")

    with VerdictFile(path, what=what) as second:
        assert (second.resumed, second.file_id, second.chunks) == (True, first.file_id, 1)
        assert second.counts == {"lines": 1}
        second.take([("3", "refused")], {"lines": 2})
        second.complete()

    assert [row[0] for row in csv.reader(path.open(encoding="utf-8"))][1:] == ["2", "3"]
    third = VerdictFile(path, what=what)
    assert not third.resumed
    assert third.file_id != first.file_id


@pytest.mark.parametrize("damage", ["other", "anew", "torn", "gone"])
def test_an_import_that_is_another_or_lost_begins_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "verdicts.csv"
    with VerdictFile(path, what={"file": "a"}) as first:
        first.take([("2", "registered")], {"lines": 1})
    if damage == "torn":
        (tmp_path / "verdicts.csv.progress.json").write_text("{")
    if damage == "gone":
        path.unlink()

    again = VerdictFile(
        path, what={"file": "b" if damage == "other" else "a"}, anew=damage == "anew"
    )

    assert (again.resumed, again.chunks) == (False, 0)


# --- memory ---------------------------------------------------------------------------------------

_READER = """
import json, sys
from pathlib import Path
from deploy.local.household_file import VerdictFile, chunks, read_lines
lines = 0
with VerdictFile(Path(sys.argv[1] + ".verdicts.csv"), what={}) as verdicts:
    for chunk in chunks(read_lines(Path(sys.argv[1]))):
        lines += len(chunk)
        verdicts.take([(str(line.line_number), "read") for line in chunk], {"lines": lines})
# Not ru_maxrss: that of the parent counts in it.
(peak,) = [row for row in open("/proc/self/status") if row.startswith("VmHWM:")]
print(json.dumps([lines, int(peak.split()[1])]))
"""


def generated(lines: int) -> Iterator[list[str]]:
    yield list(EXPORT_TITLES)
    for number in range(lines):
        name = chr(0x4E00 + number % 5_000) + chr(0x4E00 + number // 50)
        own = [f"H-{number // 3:08d}", "411224101201", "户主", name, f"{number:018d}"]
        yield [*own, f"15{number:09d}", "建档立卡贫困户", "", "普通劳动力", "2016-03-01"]


@pytest.mark.parametrize(
    ("form", "lines"),
    [("csv", 200_000), ("xlsx", 20_000)] if LONG else [("csv", 50_000), ("xlsx", 10_000)],
)
def test_memory_is_the_same_however_long_the_file(tmp_path: Path, form: str, lines: int) -> None:
    used = {}
    for count in (LINES_SMALL, lines):
        path = tmp_path / f"{count}.{form}"
        write = write_csv if form == "csv" else write_xlsx
        write(path, generated(count))
        told = subprocess.run(
            [sys.executable, "-c", _READER, str(path)],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        read, used[count] = json.loads(told.stdout)
        assert read == count

    assert used[lines] / used[LINES_SMALL] < MEMORY_RATIO_MAX
