"""Requests of every type that the protos' rules let pass, with ids that somebody gives."""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.type.date_pb2 import Date

from gateway import resources

DEPTH_MAX = 6
NUMBERS = {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
}
_validator = protovalidate.Validator()

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One field of a request, however deep: `items.loan_id`."""

    path: Path
    kind: str
    """What its ids are of, in the words of `gateway.resources`; `cursor` for a page token."""

    @property
    def name(self) -> str:
        """For a reader."""
        return ".".join(self.path)


Give = Callable[[Place, FieldDescriptor], str]
"""The id that shall stand in a place."""


def places(descriptor: Descriptor) -> list[Place]:
    """Every place of a request where an id, a cursor or a field mask stands; nested ones too."""
    return list(_places(descriptor, (), ()))


def _places(descriptor: Descriptor, path: Path, above: tuple[str, ...]) -> Iterator[Place]:
    if descriptor.full_name in above or len(above) > DEPTH_MAX:
        return
    for each in descriptor.fields:
        here = (*path, each.name)
        if each.message_type is not None:
            if not each.message_type.GetOptions().map_entry:
                yield from _places(each.message_type, here, (*above, descriptor.full_name))
        elif each.type == FieldDescriptor.TYPE_STRING and (kind := kind_of(each)):
            yield Place(here, kind)


def kind_of(each: FieldDescriptor) -> str:
    """What the ids of a field are of; empty where none stand in it."""
    if each.name == "page_token" or each.name.startswith("after_"):
        return "cursor"
    if each.name == "request_id":
        return "request"
    owner = each.containing_type
    if owner is not None and owner.full_name == "google.protobuf.FieldMask":
        return "mask"
    return resources.kind_of(each.name)


@dataclass(slots=True)
class Writer:
    """Fills requests so that the protos' rules let them pass."""

    give: Give
    today: date
    texts: Mapping[str, str] = field(default_factory=dict)
    """Field name to what stands there, where it is no id."""
    optional: bool = True
    """Also what may be left out."""

    def request(self, descriptor: Descriptor) -> Any:
        """A request with something in every field."""
        made = self._message(descriptor, (), 0)
        _repair(made)
        return made

    def _message(self, descriptor: Descriptor, path: Path, depth: int) -> Message:
        message: Any = GetMessageClass(descriptor)()
        taken: set[str] = set()
        for each in descriptor.fields:
            one_of = each.containing_oneof
            if one_of is not None and len(one_of.fields) > 1:
                if one_of.name in taken:
                    continue
                taken.add(one_of.name)
            here = (*path, each.name)
            if each.message_type is not None and (
                depth >= DEPTH_MAX or each.message_type.GetOptions().map_entry
            ):
                continue
            if not self.optional and not _needed(each):
                continue
            value = self._value(each, here, depth)
            if value is None or value == "":
                continue
            if each.is_repeated:
                getattr(message, each.name).extend(_many(each, value))
            elif each.message_type is not None:
                getattr(message, each.name).CopyFrom(value)
            else:
                setattr(message, each.name, value)
        found: Message = message
        return found

    def _value(self, each: FieldDescriptor, here: Path, depth: int) -> Any:
        rules = each.GetOptions().Extensions[validate_pb2.field]
        if each.is_repeated:
            rules = rules.repeated.items
        if each.message_type is not None:
            return self._sub(each, here, depth)
        if each.enum_type is not None:
            return _enum(each.enum_type, rules.enum)
        if each.type == FieldDescriptor.TYPE_BOOL:
            return True
        if each.type == FieldDescriptor.TYPE_BYTES:
            return bytes(max(rules.bytes.len, rules.bytes.min_len, 32))
        if each.type in NUMBERS:
            return _number(each, rules)
        if each.type != FieldDescriptor.TYPE_STRING:
            return 1
        return self._text(each, here, rules.string)

    def _sub(self, each: FieldDescriptor, here: Path, depth: int) -> Message:
        inner = each.message_type
        assert inner is not None
        if inner.full_name == "google.type.Date":
            day = self.today
            return Date(year=day.year, month=day.month, day=day.day)
        return self._message(inner, here, depth + 1)

    def _text(self, each: FieldDescriptor, here: Path, rules: Any) -> str:
        if each.name == "request_id":
            return str(uuid.uuid4())
        if kind := kind_of(each):
            given = self.give(Place(here, kind), each)
            if given or kind in {"cursor", "mask"}:
                return given
        if each.name in self.texts:
            return self.texts[each.name]
        named = {one.name for one, _ in rules.ListFields()}
        if rules.uuid:
            return str(uuid.uuid4())
        if "in" in named:
            return str(getattr(rules, "in")[0])
        if "const" in named:
            return str(rules.const)
        if "pattern" in named:
            return _matching(rules.pattern)
        return "word" * (1 + rules.min_len // 4) if rules.max_len != 1 else "w"


def _many(each: FieldDescriptor, value: Any) -> list[Any]:
    """As many items as there must be; more than one of a text are told apart by a number."""
    least = each.GetOptions().Extensions[validate_pb2.field].repeated.min_items
    more = [f"{value}{number}" for number in range(1, least)] if isinstance(value, str) else []
    return [value, *more]


def _needed(each: FieldDescriptor) -> bool:
    rules = each.GetOptions().Extensions[validate_pb2.field]
    if rules.required or each.name in {"county_code", "request_id"} or kind_of(each):
        return True
    kind = rules.WhichOneof("type")
    if kind == "string":
        return bool(rules.string.min_len or rules.string.uuid or rules.string.pattern)
    if kind == "repeated":
        return bool(rules.repeated.min_items)
    return kind is not None


def _enum(descriptor: EnumDescriptor, rules: Any) -> int:
    allowed = [each.number for each in descriptor.values if each.number not in rules.not_in]
    if getattr(rules, "in"):
        return int(getattr(rules, "in")[0])
    return next((number for number in allowed if number), 0)


def _number(each: FieldDescriptor, rules: Any) -> int:
    kind = rules.WhichOneof("type")
    if kind is None:
        return 1
    own = getattr(rules, kind)
    least = own.gt + 1 if own.HasField("gt") else own.gte if own.HasField("gte") else 1
    most = own.lt - 1 if own.HasField("lt") else own.lte if own.HasField("lte") else least
    if each.name.endswith("_fen"):
        return int(min(max(least, 10_000), max(most, 10_000)))
    return int(max(least, 1) if most >= 1 else most)


_EXAMPLES = (
    *("411224", "411224101", "411224101201", "A", "a", "a1", "abc", "ABC", "2018-03-05"),
    *("110105194912310021", "6222000012345678", "13800000000", "ab.cd"),
    *("0" * 32, "0" * 36, "0" * 64),
)


def _matching(pattern: str) -> str:
    """Something that matches a rule's pattern, of what our rules ask for."""
    return next((example for example in _EXAMPLES if re.search(pattern, example)), "")


def _repair(message: Message) -> None:
    """Take out what the rules still refuse, where leaving it out is no worse."""
    for _ in range(8):
        found = _validator.collect_violations(message)
        if not found:
            return
        for violation in found:
            _clear(message, _path(violation))


def _path(violation: Any) -> list[str]:
    return [each.field_name for each in violation.proto.field.elements]


def _clear(message: Any, path: list[str]) -> None:
    for name in path[:-1]:
        value = getattr(message, name)
        message = value[0] if hasattr(value, "add") and value else value
        if not isinstance(message, Message):
            return
    if path and path[-1] in message.DESCRIPTOR.fields_by_name:
        message.ClearField(path[-1])


def faults(message: Message) -> list[str]:
    """The rules of the proto that a request breaks."""
    return [
        f"{'.'.join(_path(each))}: {each.proto.message}"
        for each in _validator.collect_violations(message)
    ]


def put(message: Any, place: Place, value: str) -> Any:
    """The same request with another id in one place, in the first of every list on the way."""
    changed = type(message)()
    changed.CopyFrom(message)
    at: Any = changed
    for name in place.path[:-1]:
        at = getattr(at, name)
        if hasattr(at, "add"):
            at = at[0] if at else at.add()
    last = place.path[-1]
    if at.DESCRIPTOR.fields_by_name[last].is_repeated:
        del getattr(at, last)[:]
        getattr(at, last).append(value)
    else:
        setattr(at, last, value)
    return changed
