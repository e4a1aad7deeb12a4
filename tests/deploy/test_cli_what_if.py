"""`liandong what-if`: what it asks, and the table that it prints."""

from io import StringIO
from pathlib import Path

import pytest
from liandong.funds.v1 import watch_pb2
from rich.console import Console

from deploy.local import cli_what_if


def test_a_ref_or_a_file_is_asked_about(tmp_path: Path) -> None:
    by_ref = cli_what_if.question("plain@1:county", "")
    assert (by_ref.pack_ref, by_ref.programme_id) == ("plain@1:county", "plain")
    file = tmp_path / "other@2.yaml"
    file.write_text("programme: {}\n", encoding="utf-8")
    by_text = cli_what_if.question(str(file), "plain")
    assert (by_text.pack_text.file, by_text.programme_id) == ("other@2.yaml", "plain")
    assert by_text.pack_text.yaml == "programme: {}\n"
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("overlay:\n  programme: plain@1\n", encoding="utf-8")
    assert cli_what_if.question(str(overlay), "").programme_id == "plain"
    with pytest.raises(LookupError, match="no file"):
        cli_what_if.question(str(tmp_path / "none@1.yaml"), "")


def test_the_table_shows_books_beside_what_was_tried() -> None:
    answer = watch_pb2.RunWhatIfResponse(
        pack_ref="other@2",
        rows=[
            watch_pb2.WhatIfRow(
                year=2021,
                institution_id="fin-1",
                books=watch_pb2.Burden(borne_fen=1_200_000, paid_fen=600_000, owed_fen=600_000),
                tried=watch_pb2.Burden(borne_fen=1_400_000),
            )
        ],
        cases=3,
        cases_same=1,
        cases_not_accepted=[watch_pb2.ReasonCount(reason="LOAN_NOT_COVERED", count=2)],
        covers_granted=4,
    )
    out = StringIO()

    cli_what_if.tell(answer, Console(file=out, width=200))

    said = out.getvalue()
    assert "fin-1" in said
    assert "1,200,000" in said
    assert "1,400,000" in said
    assert "3 cases were paid, 1 come out the same" in said
    assert "2 cases would not have been accepted: LOAN_NOT_COVERED" in said
    assert "4 covers that were refused would have been given" in said
