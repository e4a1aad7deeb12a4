"""Sealing: what is stored cannot be read, moved or changed, and equal values are found."""

import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.sealing import Finder, SealBroken, Sealer, read_key

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
PLACE = b"households.person.sealed.1"


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_what_is_sealed_opens_in_its_place(value: bytes, place: bytes) -> None:
    sealer = Sealer([KEY])

    assert sealer.open(sealer.seal(value, place), place) == value


def test_the_same_value_never_looks_the_same() -> None:
    sealer = Sealer([KEY])

    sealed = {sealer.seal("王芳".encode(), PLACE) for _ in range(100)}

    assert len(sealed) == 100
    assert not any("王芳".encode() in each for each in sealed)


@given(st.integers(min_value=0, max_value=39), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_noticed(at: int, flip: int) -> None:
    sealed = bytearray(Sealer([KEY]).seal(b"seven by", PLACE))
    sealed[at % len(sealed)] ^= flip

    with pytest.raises(SealBroken):
        Sealer([KEY]).open(bytes(sealed), PLACE)


@pytest.mark.parametrize("kept", [0, 1, 5, 16, 17, 20])
def test_a_cut_value_is_noticed(kept: int) -> None:
    with pytest.raises(SealBroken):
        Sealer([KEY]).open(Sealer([KEY]).seal(b"value", PLACE)[:kept], PLACE)


def test_a_value_moved_to_another_row_does_not_open() -> None:
    sealer = Sealer([KEY])

    with pytest.raises(SealBroken):
        sealer.open(sealer.seal(b"value", PLACE), PLACE + b"2")


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    old = Sealer([KEY]).seal(b"value", PLACE)
    rotated = Sealer([OTHER, KEY])

    assert rotated.open(old, PLACE) == b"value"
    with pytest.raises(SealBroken):
        Sealer([KEY]).open(rotated.seal(b"value", PLACE), PLACE)


@given(st.binary(min_size=32, max_size=32), st.text(max_size=8), st.text(max_size=100))
def test_the_keyed_hash_is_hmac_sha_256(key: bytes, scope: str, value: str) -> None:
    expected = hmac.digest(key, f"{scope}:{value}".encode(), "sha256")

    assert Finder(key).find_key(scope, value) == expected


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=9))
def test_many_are_sealed_as_one_is_and_no_nonce_serves_twice(
    pairs: list[tuple[bytes, bytes]],
) -> None:
    sealer = Sealer([KEY])
    values, places = [each[0] for each in pairs], [each[1] for each in pairs]

    sealed = sealer.seal_many(values, places)

    assert list(map(sealer.open, sealed, places)) == values
    assert len({each[5:17] for each in sealed}) == len(pairs)


@given(st.text(max_size=8), st.lists(st.text(max_size=40), max_size=9))
def test_many_are_found_as_one_is(scope: str, values: list[str]) -> None:
    finder = Finder(KEY)

    assert finder.find_keys(scope, values) == [finder.find_key(scope, each) for each in values]


def test_two_counties_cannot_be_joined() -> None:
    finder = Finder(KEY)

    assert finder.find_key("411224", "x") != finder.find_key("411281", "x")


def test_a_key_of_another_length_ends_the_process_with_its_path(tmp_path: Path) -> None:
    good, short = tmp_path / "good", tmp_path / "short"
    good.write_bytes(KEY)
    short.write_bytes(KEY[:31])

    assert read_key(good) == KEY
    with pytest.raises(SystemExit, match="short holds 31 bytes"):
        read_key(short)
