"""Feed document: AsyncAPI of a role's feed, with JSON Schema of every payload, from the protos."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway import feed_rules
from gateway.event_types import noun_of
from gateway.feed_channel import SUBJECT
from gateway.rules import EVENTS, TOLD, category_of

VERSION = "1.0.0"
Schema = dict[str, Any]

_WHOLE = {"type": "string", "pattern": "^-?[0-9]+$", "description": "64 bits, as ProtoJSON has it"}
_KINDS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.TYPE_INT64: _WHOLE,
    FieldDescriptor.TYPE_UINT64: _WHOLE,
}
_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}
_TEXT = {"type": "string"}
HEADERS: Mapping[str, Schema] = {
    "ce-specversion": {"type": "string", "const": "1.0"},
    "ce-id": {"type": "string", "format": "uuid"},
    "ce-type": _TEXT,
    "ce-source": {"type": "string", "format": "uri-reference"},
    "ce-subject": _TEXT,
    "ce-time": {"type": "string", "format": "date-time"},
    "ce-datacontenttype": {"type": "string", "const": "application/json"},
    "aggregatetype": _TEXT,
    "sequence": {"type": "string", "pattern": "^[0-9]+$"},
    "countycode": {"type": "string", "pattern": "^[0-9]{6}$"},
    "businessdate": {"type": "string", "format": "date"},
    "programme": _TEXT,
    "masked": {"type": "string", "description": "fields left out, with commas between"},
}
"""The CloudEvents attributes in binary mode; the same are fields of `FeedEvent` over gRPC."""
REQUIRED = [name for name in HEADERS if name not in {"businessdate", "programme", "masked"}]


def document(role: str) -> dict[str, Any]:
    """Everything that a role may be told, as AsyncAPI 3.0."""
    types = sorted(feed_rules.told_types(role))
    schemas: dict[str, Schema] = {
        "headers": {"type": "object", "properties": dict(HEADERS), "required": REQUIRED}
    }
    for event_type in types:
        _add(EVENTS[event_type], schemas)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Liandong: the feed of a {role}",
            "version": VERSION,
            "description": (
                "Events as CloudEvents with ProtoJSON: a field that is absent has its default, or"
                " was left out and stands in `masked`. The same feed comes over gRPC"
                " (`liandong.gateway.v1.FeedsService/Subscribe`) and, for systems of the"
                " government, over NATS JetStream. Events of one aggregate come in the order of"
                " `sequence`; a gap in it is an event for others. An event that comes twice has"
                " the same id."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {each: _channel(each) for each in types},
        "operations": {
            f"tell.{each}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{each}"},
                "messages": [{"$ref": f"#/channels/{each}/messages/{each}"}],
            }
            for each in types
        },
        "components": {
            "messages": {each: _message(each) for each in types},
            "schemas": schemas,
        },
    }


def _channel(event_type: str) -> Schema:
    event = event_type.rpartition(".")[2]
    return {
        "address": f"{SUBJECT}.{{institution}}.{noun_of(event_type)}.{event}.{{county}}",
        "parameters": {
            "institution": {"description": "whose feed it is"},
            "county": {"description": "six digits; `000000` above counties"},
        },
        "messages": {event_type: {"$ref": f"#/components/messages/{event_type}"}},
    }


def _message(event_type: str) -> Schema:
    descriptor = EVENTS[event_type]
    told = TOLD[event_type]
    return {
        "name": event_type,
        "title": descriptor.name,
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {"$ref": f"#/components/schemas/{descriptor.full_name}"},
        "x-resource": told.resource,
        "x-ownership": told.ownership,
    }


def _add(message: Descriptor, schemas: dict[str, Schema]) -> None:
    """Put a message's schema and those of its parts with the others."""
    if message.full_name in schemas:
        return
    properties: dict[str, Schema] = {}
    schemas[message.full_name] = {"type": "object", "properties": properties}
    for field in message.fields:
        found = _one(field, schemas)
        if field.is_repeated and not _is_map(field):
            found = {"type": "array", "items": found}
        category = category_of(field)
        properties[field.json_name] = {**found, "x-data": category} if category else found


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _one(field: FieldDescriptor, schemas: dict[str, Schema]) -> Schema:
    """The schema of one value of a field."""
    if field.message_type is not None:
        if _is_map(field):
            values = field.message_type.fields_by_name["value"]
            return {"type": "object", "additionalProperties": _one(values, schemas)}
        if field.message_type.full_name in _KNOWN:
            return dict(_KNOWN[field.message_type.full_name])
        _add(field.message_type, schemas)
        return {"$ref": f"#/components/schemas/{field.message_type.full_name}"}
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    return dict(_KINDS[field.type])
