"""
Golden events: every type of event that was released, filled from its descriptor, as its bytes.

`python -m tests.contract.golden` writes them again from the released image: once for a release, for
afterwards they are what others have in their logs.
"""

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from tests.contract.places import ROOT

RELEASED = ROOT / "protos" / "releases" / "v1.binpb.gz"
GOLDEN = Path(__file__).parent / "events-v1.gz"
DEPTH_MAX = 4


def released_pool() -> descriptor_pool.DescriptorPool:
    """The descriptors as they were released, apart from those of the stubs."""
    image = descriptor_pb2.FileDescriptorSet.FromString(gzip.decompress(RELEASED.read_bytes()))
    pool = descriptor_pool.DescriptorPool()
    for file in image.file:
        pool.Add(file)
    return pool


def released_events(pool: descriptor_pool.DescriptorPool) -> Iterator[Descriptor]:
    """Every message of a released file of events: events, and the parts they are made of."""
    image = descriptor_pb2.FileDescriptorSet.FromString(gzip.decompress(RELEASED.read_bytes()))
    for file in sorted(image.file, key=lambda each: each.name):
        if file.package.startswith("liandong.") and file.name.endswith("/events.proto"):
            found = pool.FindFileByName(file.name)
            yield from (found.message_types_by_name[each.name] for each in file.message_type)


def filled(descriptor: Descriptor, *, depth: int = 0) -> Message:
    """A message with every field set, to something that differs from field to field."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is not None and depth >= DEPTH_MAX:
            continue
        # Of several that exclude one another the last one stays.
        if field.is_repeated:
            _fill_list(message, field, depth)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(filled(field.message_type, depth=depth + 1))
        else:
            setattr(message, field.name, _scalar(field))
    return message


def _fill_list(message: Message, field: FieldDescriptor, depth: int) -> None:
    values = getattr(message, field.name)
    if field.message_type is None:
        values.extend([_scalar(field), _scalar(field, more=1)])
    elif field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        if value.message_type is None:
            values[_scalar(key)] = _scalar(value)
        else:
            values[_scalar(key)].CopyFrom(filled(value.message_type, depth=depth + 1))
    else:
        values.add().CopyFrom(filled(field.message_type, depth=depth + 1))
        values.add()


def _scalar(field: FieldDescriptor, *, more: int = 0) -> object:
    number = field.number * 7 + more + 1
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return f"{field.name}-{number}".encode()
        return f"{field.name}-{number}-联动"
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        assert isinstance(field.enum_type, EnumDescriptor)
        return field.enum_type.values[-1 - more].number
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return number / 4
    return number


def write() -> int:
    """Write the golden file: name, length, bytes of each; how many."""
    parts: list[bytes] = []
    events = list(released_events(released_pool()))
    for descriptor in events:
        body = filled(descriptor).SerializeToString(deterministic=True)
        both = (descriptor.full_name.encode(), body)
        parts.extend(len(part).to_bytes(4, "big") + part for part in both)
    GOLDEN.write_bytes(gzip.compress(b"".join(parts), mtime=0))
    return len(events)


def read() -> dict[str, bytes]:
    """Full name to bytes."""
    data = gzip.decompress(GOLDEN.read_bytes())
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at + 4 : end])
        at = end
    return {name.decode(): body for name, body in zip(parts[::2], parts[1::2], strict=True)}


if __name__ == "__main__":
    sys.stdout.write(f"golden: {write()} events in {GOLDEN.relative_to(ROOT)}\n")
