"""Our `replace` does what the library's does."""

from dataclasses import FrozenInstanceError, dataclass, field
from dataclasses import replace as of_library

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.values import replace


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
