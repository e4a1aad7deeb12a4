"""Every row of the sources is somewhere, and the tests that name a row are found."""

from collections import Counter
from pathlib import Path

import pytest

from services.programmes.loader import PACKAGED
from tests.programmes import coverage, row_index


def test_the_rows_of_the_sources_are_all_there() -> None:
    rows = coverage.rows()
    marks = Counter(row.mark for row in rows)

    assert len({row.id for row in rows}) == len(rows) == 402
    assert marks == {"MUST-HAVE": 271, "RECORD": 123, "CONTEXT": 8}
    assert all(row_index.ROW.fullmatch(row.id) and row.title for row in rows)


def test_every_row_that_must_be_computable_is_somewhere() -> None:
    assert coverage.nowhere() == []


def test_a_pack_names_only_rows_that_exist() -> None:
    known = {row.id for row in coverage.rows()}

    named = {row for row in coverage.places() if row_index.ROW.fullmatch(row)}

    assert named - known == set()


def test_the_document_is_what_the_packs_say() -> None:
    written = coverage.DOCUMENT.read_text(encoding="utf-8")

    assert written == coverage.document(), "stale: run make programmes"
    assert sum(line.startswith("| ") for line in written.splitlines()) == 1 + 402


def test_a_row_of_a_condition_counts_as_a_clause() -> None:
    assert [path for path, row in coverage._named(CONDITIONED, "") if row == "SC.fun.2"] == [
        "conditions.deep_poverty.fund.models[split]"
    ]


CONDITIONED = {
    "conditions": {"deep_poverty": {"fund": {"models": [{"id": "split", "source": ["SC.fun.2"]}]}}}
}


def test_a_comment_names_rows_for_the_test_it_stands_in_or_above(tmp_path: Path) -> None:
    file = tmp_path / "tests" / "test_any.py"
    file.parent.mkdir()
    file.write_text(
        "# LS18.fun.2, HN-PO.loa.1: above\n"
        "@decorated\n"
        "def test_one() -> None:\n"
        "    # SC.fun.2\n"
        "    pass\n"
        "\n"
        "text = 'YY.ins.1 is no comment'\n"
        "def test_two() -> None: ...\n"
        "# WC.mon.2: below all tests\n",
        encoding="utf-8",
    )

    named = row_index.naming(file.parent)

    one = ("tests/test_any.py::test_one",)
    assert named == {"LS18.fun.2": one, "HN-PO.loa.1": one, "SC.fun.2": one}


def test_the_index_finds_this_repository_s_tests(capsys: pytest.CaptureFixture[str]) -> None:
    row_index.main()

    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 271
    assert last.startswith("rows=271 untested=")
    assert any(line.startswith("SC.reg.3: tests/programmes/test_conditions.py") for line in lines)


def test_every_released_pack_is_there() -> None:
    lines = (PACKAGED[0] / "released.sha256").read_text(encoding="utf-8").splitlines()

    assert all((PACKAGED[0] / line.split(maxsplit=1)[1]).is_file() for line in lines)
