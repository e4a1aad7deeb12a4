"""Joining: which statements may go as one, and how."""

import pytest

from services.kernel.joining import are_apart, joined

BIN = "INSERT INTO bin SELECT * FROM unnest($1::text[], $2::bigint[])"
EFFECT = "\nUPDATE effect SET what = $2 WHERE aggregate_id = $1 OR what = $1"
MOVED = "DELETE FROM sack WHERE bin_id IN (SELECT bin_id FROM bin WHERE sacks = $1)"


def test_each_statement_keeps_its_own_parameters() -> None:
    assert joined((BIN,)) == BIN
    assert joined((EFFECT, BIN)) == (
        "WITH joined_0 AS (\nUPDATE effect SET what = $2 WHERE aggregate_id = $1 OR what = $1) "
        "INSERT INTO bin SELECT * FROM unnest($3::text[], $4::bigint[])"
    )
    many = "UPDATE sack SET " + ", ".join(f"c{number} = ${number}" for number in range(1, 12))
    assert joined((many, BIN)).endswith("unnest($12::text[], $13::bigint[])")
    assert joined(("UPDATE sack SET full = true", BIN)).endswith(BIN)


def test_statements_are_apart_when_neither_names_what_the_other_writes() -> None:
    assert are_apart(BIN, EFFECT)
    assert are_apart(EFFECT, BIN)
    assert not are_apart(BIN, BIN), "rows of one table keep their order"
    assert not are_apart(BIN, MOVED), "it would not see the rows"
    assert not are_apart(MOVED, BIN)
    assert are_apart("INSERT INTO bin_old SELECT $1", BIN), "a name is a whole word"


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "WITH a AS (SELECT 1) INSERT INTO bin SELECT * FROM a", "COMMIT"]
)
def test_what_is_no_plain_write_is_refused(sql: str) -> None:
    with pytest.raises(AssertionError, match="plain"):
        are_apart(sql, BIN)
    with pytest.raises(AssertionError, match="plain"):
        joined((sql,))
