"""Resources: what a request names, `household:<id>` and so on, read by its descriptor."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

RESOURCES_MAX = 500
"""Of one call; what a batch names is within it."""

HOUSEHOLD_KINDS = (
    *("household", "survivor", "alias", "member", "user", "repayer", "record", "subject"),
)
"""As what a household may stand in a request."""

_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DEPTH_MAX = 8
# The call's own id stands before the resources (`reader`), and a cursor is what was read before.
_NOT = re.compile("request_id|after_.*")
REQUEST = "request"
# A word before these says in which part: the lead household is a household.
_LAST_WORD = re.compile(".*_(household|loan|cover|instruction|person)")

Read = Callable[[bytes], tuple[str, ...]]
Naming = Callable[[Message], Iterator[str]]
Fields = Mapping[str, "str | Fields"]
"""Field to the kind of what stands in it, or to the fields of its message."""


def reader(request: Descriptor) -> Read | None:
    """How to read what a request names, its own id before all; None when it can name nothing."""
    fields = fields_of(request, _kind)
    has_id = "request_id" in request.fields_by_name
    if not fields and not has_id:
        return None
    request_type: Any = message_factory.GetMessageClass(request)

    def read(body: bytes) -> tuple[str, ...]:
        try:
            message = request_type.FromString(body)
        except DecodeError:
            return ()
        own = name_of(REQUEST, message.request_id.lower()) if has_id else ""
        return (own, *bounded(_named(message, fields))) if own else bounded(_named(message, fields))

    return read


def naming(message: Descriptor) -> Naming | None:
    """How to read what a message names; None when it can name nothing."""
    fields = fields_of(message, _kind)
    return (lambda found: _named(found, fields)) if fields else None


def bounded(named: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    """Each once, in the order named; beyond the bound only how many more there were."""
    found = tuple(dict.fromkeys(named))
    if len(found) <= RESOURCES_MAX:
        return found
    return (*found[:RESOURCES_MAX], f"more:{len(found) - RESOURCES_MAX}")


def name_of(kind: str, one: str) -> str:
    """How the log names a thing; empty where that is no id of ours."""
    return f"{kind}:{one}" if _UUID.fullmatch(one) else ""


def kind_of(field_name: str) -> str:
    """What the ids of a field are of; empty when they are of nothing that is kept."""
    for ending in ("_id", "_ids"):
        if field_name.endswith(ending) and not _NOT.fullmatch(field_name):
            name = field_name.removesuffix(ending)
            found = _LAST_WORD.fullmatch(name)
            return found[1] if found else name
    return ""


def _kind(field: FieldDescriptor) -> str | None:
    return (field.type == FieldDescriptor.TYPE_STRING and kind_of(field.name)) or None


def fields_of(
    message: Descriptor,
    kind: Callable[[FieldDescriptor], str | None],
    above: tuple[str, ...] = (),
) -> Fields:
    """The fields of a type of message that are of a kind, and those of the messages in it."""
    if message.full_name in above or len(above) > _DEPTH_MAX:
        return {}
    found: dict[str, str | Fields] = {}
    for field in message.fields:
        if field.message_type is not None:
            inner = fields_of(field.message_type, kind, (*above, message.full_name))
            if inner and not field.message_type.GetOptions().map_entry:
                found[field.name] = inner
        elif (own := kind(field)) is not None:
            found[field.name] = own
    return found


def texts(message: Message, fields: Fields) -> Iterator[tuple[str, str]]:
    """What stands in such fields of a message, each with its kind."""
    for name, kind in fields.items():
        value = getattr(message, name)
        if isinstance(kind, str):
            for one in (value,) if isinstance(value, str) else value:
                yield kind, one
        elif isinstance(value, Message):
            if message.HasField(name):
                yield from texts(value, kind)
        else:
            for one in value:
                yield from texts(one, kind)


def _named(message: Message, fields: Fields) -> Iterator[str]:
    for kind, one in texts(message, fields):
        # Ids of ours, and never what somebody wrote in their place: the log keeps it.
        if one and _UUID.fullmatch(plain := one.lower()):
            yield f"{kind}:{plain}"
