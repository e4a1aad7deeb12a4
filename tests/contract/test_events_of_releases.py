"""Events of the released contract are read by this one, and this one's by the released."""

from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pool, message_factory, unknown_fields
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from deploy.local import cli_events
from gateway import event_types
from tests.contract import golden

POOL = golden.released_pool()
RELEASED = list(golden.released_events(POOL))
GOLDEN = golden.read()
LATER_FIELD = 18_999
"""A number that no field of ours has: what a later release might add."""


def now(name: str) -> type[Message]:
    """The message as our stubs have it."""
    for file in cli_events.FILES:
        if name.startswith(f"{file.DESCRIPTOR.package}."):
            found: type[Message] = getattr(file, name.rsplit(".", 1)[1])
            return found
    raise LookupError(name)


def then(descriptor: Descriptor) -> type[Message]:
    """The message as it was released."""
    return message_factory.GetMessageClass(descriptor)


def told(message: Message) -> dict[str, object]:
    """All that a message holds, by its fields' numbers and not by its class."""
    found: dict[str, object] = {}
    for field, value in message.ListFields():
        many = list(value) if field.is_repeated and not hasattr(value, "items") else [value]
        found[str(field.number)] = [
            told(each) if isinstance(each, Message) else str(each) for each in many
        ]
    return found


def unknown(message: Message) -> Iterator[int]:
    """Numbers of fields that a class does not know, at any depth."""
    here = unknown_fields.UnknownFieldSet(message)
    yield from (here[at].field_number for at in range(len(here)))
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else [value]:
            yield from unknown(each)


def test_there_is_a_golden_event_of_every_type_that_was_released() -> None:
    assert len(RELEASED) > 100
    assert [each.full_name for each in RELEASED] == list(GOLDEN)
    # They are what the released contract makes; who changes them changes what others have kept.
    for descriptor in RELEASED:
        body = golden.filled(descriptor).SerializeToString(deterministic=True)
        assert body == GOLDEN[descriptor.full_name], descriptor.full_name


@pytest.mark.parametrize("name", GOLDEN)
def test_this_release_reads_what_the_released_one_wrote(name: str) -> None:
    read = now(name).FromString(GOLDEN[name])

    assert not list(unknown(read)), "a released field is not known any more"
    assert told(read) == told(then(POOL.FindMessageTypeByName(name)).FromString(GOLDEN[name]))
    assert read.SerializeToString(deterministic=True) == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_released_one_reads_what_this_release_writes(name: str) -> None:
    """And the other way round: fields that came since are passed over and kept."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
    written = golden.filled(descriptor)
    body = written.SerializeToString(deterministic=True)
    old = then(POOL.FindMessageTypeByName(name)).FromString(body)

    released = told(then(POOL.FindMessageTypeByName(name)).FromString(GOLDEN[name]))
    assert set(released) <= set(told(old))
    # Fields of one that excludes the others may have moved on; all else is said as it was.
    groups = {f.number for f in POOL.FindMessageTypeByName(name).fields if f.containing_oneof}
    for number, value in released.items():
        if int(number) not in groups and not list(unknown(old)):
            assert told(old)[number] == value
    assert now(name).FromString(old.SerializeToString()) == written


@pytest.mark.parametrize("name", GOLDEN)
def test_what_a_later_release_adds_is_kept_by_this_one(name: str) -> None:
    later = bytes([*_tag(LATER_FIELD), 5]) + b"later"
    read = now(name).FromString(GOLDEN[name] + later)

    assert list(unknown(read)) == [LATER_FIELD]
    assert read.SerializeToString().endswith(later)
    assert now(name).FromString(read.SerializeToString()) == read


def _tag(number: int) -> list[int]:
    """The key of a field that holds bytes, as it is on the wire."""
    key, found = number << 3 | 2, []
    while key >= 0x80:
        found.append(key & 0x7F | 0x80)
        key >>= 7
    return [*found, key]


def test_every_event_that_was_released_has_a_type_that_feeds_and_tools_know() -> None:
    """Parts of events have none; a type that was said once is never forgotten."""
    known = {message.DESCRIPTOR.full_name for message in event_types.MESSAGES.values()}
    tools = {message.DESCRIPTOR.full_name for message in cli_events.message_types().values()}

    assert set(GOLDEN) <= tools
    assert known <= tools


def test_the_released_pool_is_not_the_stubs_own() -> None:
    """Else reading one with the other would show nothing."""
    assert POOL is not descriptor_pool.Default()
    for descriptor in RELEASED:
        assert descriptor is not now(descriptor.full_name).DESCRIPTOR
