"""What stands in the databases: every id by its kind, its county and whose it is."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from deploy.local.stack import NOUNS, Stack
from gateway.resources import kind_of

UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOISE = frozenset({"idempotency", "request", "outbox_position", "alembic_version"})
_OURS = ("lender_id", "insurer_id")
_ABOUT = ("loan_id", "policy_id", "claim_id", "case_id")
"""Whose a row is when it does not say so itself: whose that is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of one table, as text."""

    noun: str
    table: str
    values: Mapping[str, Any]

    @property
    def county(self) -> str:
        """Six digits, empty for a row above counties."""
        return str(self.values.get("county_code") or "")

    def text(self) -> str:
        """All of it, for a comparison."""
        return repr(sorted((key, _plain(value)) for key, value in self.values.items()))


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes | memoryview) else str(value)


@dataclass(slots=True)
class Owner:
    """Whose an id is within its county; empty where nothing says so."""

    county: str = ""
    institutions: set[str] = field(default_factory=set)
    areas: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Registry:
    """Every id that was found, by noun and kind."""

    by_kind: dict[tuple[str, str], dict[str, Owner]]
    request_ids: list[str]
    _of_all: dict[str, dict[str, Owner]] = field(default_factory=dict)
    """By kind the ids of every noun."""

    def ids(self, noun: str, kind: str) -> Mapping[str, Owner]:
        """The ids of a kind as a noun knows them; another noun's where it has none."""
        own = self.by_kind.get((noun, kind))
        if own:
            return own
        if kind not in self._of_all:
            self._of_all[kind] = {
                each: owner
                for (_, named), ids in self.by_kind.items()
                if named == kind
                for each, owner in ids.items()
            }
        return self._of_all[kind]

    def everywhere(self) -> Mapping[str, Owner]:
        """Every id with its owner."""
        found: dict[str, Owner] = {}
        for ids in self.by_kind.values():
            for each, owner in ids.items():
                into = found.setdefault(each, Owner(owner.county))
                into.institutions |= owner.institutions
                into.areas |= owner.areas
        return found


async def rows(stack: Stack, nouns: tuple[str, ...] = NOUNS) -> list[Row]:
    """Every row of every table, as the superuser sees them."""
    connection = await asyncpg.connect(stack.postgres.superuser_dsn())
    try:
        found: list[Row] = []
        for noun in nouns:
            tables = await connection.fetch(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
                noun,
            )
            for (table,) in tables:
                held = await connection.fetch(f'SELECT * FROM "{noun}"."{table}"')
                found += [Row(noun, table, dict(each)) for each in held]
        return found
    finally:
        await connection.close()


def registry(found: list[Row]) -> Registry:
    """Ids by kind, each with its county, its institutions and its areas."""
    by_kind: dict[tuple[str, str], dict[str, Owner]] = defaultdict(dict)
    own = [row for row in found if row.noun != "gateway" and row.county not in ("", "000000")]
    about = _owners_of(own)
    for row in own:
        whose = _whose(row, about)
        for column, value in _ids(row):
            kind = kind_of(column)
            if not kind:
                continue
            owner = by_kind[row.noun, kind].setdefault(value, Owner(row.county))
            owner.institutions |= whose
            area = str(row.values.get("area_code") or "")
            if len(area) >= 6:
                owner.areas.add(area)
    requests = [
        str(row.values["request_id"])
        for row in found
        if row.values.get("request_id") and row.noun != "gateway"
    ]
    return Registry(dict(by_kind), requests)


def _owners_of(found: list[Row]) -> dict[str, set[str]]:
    owners: dict[str, set[str]] = defaultdict(set)
    for row in found:
        said = {str(row.values[each]) for each in _OURS if row.values.get(each)}
        for column in _ABOUT:
            if said and row.values.get(column):
                owners[str(row.values[column])] |= said
    return owners


def _whose(row: Row, about: Mapping[str, set[str]]) -> set[str]:
    said = {str(row.values[each]) for each in _OURS if row.values.get(each)}
    if said:
        return said
    for column in _ABOUT:
        if row.values.get(column):
            return set(about.get(str(row.values[column]), ()))
    return set()


def _ids(row: Row) -> Iterator[tuple[str, str]]:
    for column, value in row.values.items():
        if isinstance(value, list | tuple):
            for each in value:
                if UUID.fullmatch(str(each)):
                    yield column, str(each)
        elif value is not None and UUID.fullmatch(str(value)):
            yield column, str(value)


def mentioning(found: list[Row], ids: frozenset[str]) -> dict[str, set[str]]:
    """The rows that name any of some ids, by table; what a forger must not have changed."""
    wanted = {each: each.encode().hex() for each in ids}
    kept: dict[str, set[str]] = defaultdict(set)
    for row in found:
        if row.noun == "gateway" or row.table.startswith(("idempotency", "inbox", "outbox_")):
            continue
        text = row.text()
        if any(each in text for each in UUID.findall(text) if each in wanted):
            kept[f"{row.noun}.{row.table}"].add(text)
    return kept
