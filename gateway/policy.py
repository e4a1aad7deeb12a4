"""
Policy: the readable policies of `gateway/policies`, asked with facts. Pure.

A decision costs as much as a small call, and turns on few facts; equal questions are answered from
memory. Nothing about an institution or a household stands in the answer but what was asked with.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cedarpy

HERE = Path(__file__).parent / "policies"
REMEMBERED_MAX = 20_000
CONDITIONS = ("shared_grade", "grade_for_banks", "self_service", "approver", "same_person")
_ACTION = re.compile(r'^action "(\w+\.[\w.]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Thing:
    """What is asked for, as policies speak of it; what is unknown is empty."""

    in_area: bool = False
    lender: str = ""
    insurer: str = ""
    household: str = ""
    applied_to: frozenset[str] = frozenset()
    claimed_from: frozenset[str] = frozenset()
    insured_by: frozenset[str] = frozenset()
    consented: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Whether somebody may do something to a thing."""

    groups: frozenset[str]
    institution: str
    household: str
    action: str
    thing: Thing
    conditions: frozenset[str]
    """Those that hold."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it is allowed, and the policies that decided; none when none permits."""

    allow: bool
    because: tuple[str, ...]


class Policies:
    """All policies and what they may speak of; a wrong one ends the start with its place."""

    def __init__(self, text: str, schema: str) -> None:
        checked = cedarpy.validate_policies(text, schema)
        if not checked.validation_passed:
            raise SystemExit("; ".join(str(error) for error in checked.errors))
        self._schema = cedarpy.Schema.from_str(schema)
        self._set = cedarpy.PolicySet.from_str(text)
        written = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
        self._names = {each: policy["annotations"]["id"] for each, policy in written.items()}
        self.actions = tuple(_ACTION.findall(schema))
        self.decide = lru_cache(REMEMBERED_MAX)(self._decide)

    def _decide(self, question: Question) -> Verdict:
        if question.action not in self.actions:
            return Verdict(False, ())
        asked = {
            "principal": _SUBJECT,
            "action": {"type": "Action", "id": question.action},
            "resource": _THING,
            "context": {name: name in question.conditions for name in CONDITIONS},
        }
        found = cedarpy.is_authorized(asked, self._set, _entities(question), self._schema)
        if found.diagnostics.errors:
            raise AssertionError(f"a policy failed: {found.diagnostics.errors}")
        names = [self._names[each] for each in found.diagnostics.reasons]
        return Verdict(found.allowed, tuple(sorted(names)))


_SUBJECT: Mapping[str, str] = {"type": "Subject", "id": "who"}
_THING: Mapping[str, str] = {"type": "Thing", "id": "what"}


def _entities(question: Question) -> list[dict[str, Any]]:
    groups = [{"type": "Group", "id": name} for name in sorted(question.groups)]
    thing = question.thing
    return [
        *({"uid": group, "attrs": {}, "parents": []} for group in groups),
        {
            "uid": _SUBJECT,
            "attrs": {"institution": question.institution, "household": question.household},
            "parents": groups,
        },
        {
            "uid": _THING,
            "attrs": {
                "in_area": thing.in_area,
                "lender": thing.lender,
                "insurer": thing.insurer,
                "household": thing.household,
                "applied_to": sorted(thing.applied_to),
                "claimed_from": sorted(thing.claimed_from),
                "insured_by": sorted(thing.insured_by),
                "consented": thing.consented,
            },
            "parents": [],
        },
    ]


@lru_cache(1)
def policies() -> Policies:
    """The policies of this gateway, read once."""
    text = (HERE / "access.cedar").read_text(encoding="utf-8")
    return Policies(text, (HERE / "schema.cedarschema").read_text(encoding="utf-8"))
