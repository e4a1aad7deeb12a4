"""Our `replace` and what is made lightly do what the library does."""

import pickle
from copy import copy
from dataclasses import FrozenInstanceError, astuple, dataclass, field
from dataclasses import replace as of_library
from inspect import signature

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.values import light, replace


@dataclass(frozen=True, slots=True)
class Parent:
    first: int
    second: str = ""


@dataclass(frozen=True, slots=True)
class Child(Parent):
    third: tuple[int, ...] = ()


@dataclass(frozen=True)
class Open:
    """It has no slots."""

    first: int


@dataclass(frozen=True, slots=True)
class Checked:
    """It looks at itself."""

    first: int

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError(self.first)


@dataclass(frozen=True, slots=True)
class Counted:
    """One of its fields is not given."""

    first: int
    count: int = field(init=False, default=7)


@given(
    st.builds(Child, st.integers(), st.text(), st.lists(st.integers()).map(tuple)),
    st.fixed_dictionaries(
        {}, optional={"first": st.integers(), "second": st.text(), "third": st.just((1,))}
    ),
)
def test_it_replaces_as_the_library_does(value: Child, changes: dict[str, object]) -> None:
    before = of_library(value)

    assert replace(value, **changes) == of_library(value, **changes)  # type: ignore[arg-type]
    assert value == before


def test_what_it_makes_is_frozen() -> None:
    made = replace(Child(1), first=2)

    with pytest.raises(FrozenInstanceError):
        made.first = 3  # type: ignore[misc]


@pytest.mark.parametrize("value", [Parent(1), Open(1), Checked(1)])
def test_a_field_that_is_not_there_is_refused(value: Parent | Open | Checked) -> None:
    with pytest.raises(TypeError, match="fourth"):
        replace(value, fourth=1)  # type: ignore[call-arg]


def test_what_it_cannot_copy_is_made_anew() -> None:
    assert replace(Open(1), first=2) == Open(2)
    assert replace(Counted(1), first=2) == Counted(2)
    with pytest.raises(ValueError, match="-1"):
        replace(Checked(1), first=-1)


@dataclass(frozen=True, slots=True)
class Slow:
    """As the library makes it."""

    first: int
    second: str = ""
    kind: tuple[int, ...] = (1,)


@light
@dataclass(frozen=True, slots=True)
class Light:
    """The same, and made lightly; its fields are named like what it is made with."""

    first: int
    second: str = ""
    kind: tuple[int, ...] = (1,)


@light
@dataclass(frozen=True, slots=True)
class LightChild(Parent):
    third: tuple[int, ...] = ()


@given(st.integers(), st.text(), st.lists(st.integers()).map(tuple))
def test_what_is_made_lightly_is_what_the_library_makes(
    first: int, second: str, kind: tuple[int, ...]
) -> None:
    made, slow = Light(first, second, kind=kind), Slow(first, second, kind)

    assert type(made) is Light
    assert astuple(made) == astuple(slow)
    assert made == Light(first, second, kind)
    assert hash(made) == hash(slow)
    assert replace(made, first=1) == of_library(made, first=1)
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own
    assert copy(made) == made


def test_what_is_made_lightly_has_the_librarys_defaults_and_signature() -> None:
    assert (Light(1).second, Light(1).kind) == ("", (1,))
    assert LightChild(1) == LightChild(1, "", ())
    assert signature(Light) == signature(Slow)
    for wrong in ({}, {"first": 1, "fourth": 2}):
        with pytest.raises(TypeError):
            Light(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [Light(1), LightChild(1), replace(Light(1), first=2)])
def test_what_is_made_lightly_is_frozen(made: Light | LightChild) -> None:
    with pytest.raises(FrozenInstanceError):
        made.first = 3  # type: ignore[misc]


@pytest.mark.parametrize("kind", [Open, Checked, Counted])
def test_what_must_be_made_by_its_class_is_not_made_lightly(kind: type) -> None:
    with pytest.raises(AssertionError):
        light(kind)
