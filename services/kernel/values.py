"""
Values: `replace` of `dataclasses`, at a quarter of its price.

An aggregate has some fifty fields and a decision replaces a few of them three or four times; the
library's `replace` reads and sets each field by name, and was two fifths of a day close. Copying
slot by slot costs as much as reading them. What has no slots, or looks at itself when it is made,
goes to the library.
"""

from collections.abc import Callable
from dataclasses import fields
from dataclasses import replace as _slow
from functools import cache
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

__all__ = ["replace"]

if TYPE_CHECKING:
    # The type checker knows the library's by name, and checks the fields that are given.
    from dataclasses import replace
else:

    def replace(value, /, **changes):
        """The value with other values of some fields; a field that it lacks is a TypeError."""
        copy_and_setters = _plan(type(value))
        if copy_and_setters is None:
            return _slow(value, **changes)
        copy, setters = copy_and_setters
        made = copy(value)
        try:
            for name, now in changes.items():
                setters[name](made, now)
        except KeyError:
            return _slow(value, **changes)
        return made


@cache
def _plan(
    kind: type,
) -> tuple[Callable[[Any], Any], dict[str, Callable[[Any, Any], None]]] | None:
    """How a class is copied, and the setters of its fields; None when it must be made anew."""
    found = fields(kind)
    slots: dict[str, Any] = {field.name: getattr(kind, field.name, None) for field in found}
    if not all(isinstance(slot, MemberDescriptorType) for slot in slots.values()):
        return None
    if hasattr(kind, "__post_init__") or not all(field.init for field in found):
        return None
    given: dict[str, Any] = {f"set_{name}": slot.__set__ for name, slot in slots.items()}
    given |= {"new": object.__new__, "kind": kind}
    lines = [f"    set_{name}(made, value.{name})" for name in slots]
    text = "\n".join(["def copy(value):", "    made = new(kind)", *lines, "    return made"])
    exec(text, given)  # noqa: S102 - as dataclasses does it; the names are identifiers
    return given["copy"], {name: slot.__set__ for name, slot in slots.items()}
