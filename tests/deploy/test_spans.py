"""The span store: bounded, with attributes and links, asked by trace, by time and by failure."""

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import spans as store
from deploy.local.spans import SpanLink, SpanStore, StoredSpan, tree, walk

ROOT = StoredSpan("t1", "a", "", "gateway", "call", 2, 0, 9_000_000, failed=False)


def test_a_trace_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    kept = SpanStore(tmp_path / "spans.sqlite")
    child = replace(
        ROOT,
        span_id="b",
        parent_id="a",
        service="loans",
        start_ns=2_000_000,
        failed=True,
        attributes={"rpc.system": "grpc", "liandong.county_code": "123456", "n": 3},
        links=(SpanLink("t2", "c"),),
    )

    kept.add([child, ROOT])
    looking = SpanStore(tmp_path / "spans.sqlite", reading=True)

    assert looking.trace("t1") == [ROOT, child]
    assert looking.trace("nobody's") == []
    assert [(depth, each.span_id) for depth, each in walk(looking.trace("t1"))] == [
        (0, "a"),
        (1, "b"),
    ]
    assert tree(looking.trace("t1"))[1] == "  loans: call  +2 ms, 7 ms  !"
    looking.close()


def test_the_newest_and_those_that_failed_come_in_one_line_each(tmp_path: Path) -> None:
    kept = SpanStore(tmp_path / "spans.sqlite")
    for n in range(5):
        failed = n == 1
        attributes = {"liandong.institution_id": f"i{n}"}
        kept.add([replace(ROOT, trace_id=f"t{n}", failed=failed, attributes=attributes)])

    assert [each.trace_id for each in kept.newest(3)] == ["t4", "t3", "t2"]
    (found,) = kept.failed()
    assert (found.trace_id, found.institution_id, found.services) == ("t1", "i1", ("gateway",))


def test_the_oldest_spans_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SPANS_MAX", 3)
    kept = SpanStore(tmp_path / "spans.sqlite")

    kept.add([replace(ROOT, trace_id=f"t{n}") for n in range(5)])

    assert [each.trace_id for each in kept.newest()] == ["t4", "t3", "t2"]
