"""Ids: UUIDs of version 7, in the order of their making, each once."""

import time
from uuid import RFC_4122, UUID

import pytest

from services.kernel import ids
from services.kernel.errors import Invalid


def test_an_id_is_a_uuid_of_version_7() -> None:
    for _ in range(1000):
        made = ids.new_id()
        assert made.version == 7
        assert made.variant == RFC_4122


def test_an_id_tells_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = ids.new_id()
    after = time.time_ns() // 1_000_000

    assert before <= made.int >> 80 <= after


def test_every_bit_that_may_vary_varies_and_no_id_comes_twice() -> None:
    made = [ids.new_id().int for _ in range(10_000)]

    assert len(set(made)) == len(made)
    ever_set = ever_clear = 0
    for value in made:
        ever_set |= value
        ever_clear |= ~value
    noise = (2**62 - 1) | (0xFFF << 64)
    assert ever_set & noise == noise
    assert ever_clear & noise == noise


def test_an_id_from_the_wire_is_read_or_refused_by_its_field() -> None:
    made = ids.new_id()
    assert ids.parse_id("loan_id", str(made)) == made

    for text in ("", "x", f"{made}0", "00000000-0000-0000-0000-00000000000g"):
        with pytest.raises(Invalid) as refusal:
            ids.parse_id("loan_id", text)
        assert refusal.value.reason == "MALFORMED_ID"
        assert refusal.value.violations[0].field == "loan_id"
    assert ids.parse_id("loan_id", str(UUID(int=0))) == UUID(int=0)


def test_many_ids_are_made_at_once_in_order_and_are_as_the_others() -> None:
    made = ids.new_ids(2_000)

    assert len(set(made)) == 2_000
    assert made == sorted(made)
    assert all((each.version, each.variant) == (7, RFC_4122) for each in made)
    assert all(isinstance(each, UUID) and UUID(str(each)) == each for each in made)
    assert abs((made[0].int >> 80) - (ids.new_id().int >> 80)) < 60_000
    assert ids.new_ids(0) == []
