"""What the stores share: rows in by name, provenance out, and the end of time."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.households.model import Evidence, EvidenceKind, Provenance
from services.kernel import database

NOW: Final = date.max
"""As known now: after every business day."""

START: Final = UUID(int=0)
"""Before the first id of every list."""

Row = Mapping[str, object]


async def insert(
    session: AsyncSession, table: str, rows: Sequence[Row], *, again: bool = False
) -> None:
    """
    Add rows in one statement; PostgreSQL reads each value as the type of its column.

    With `again` a row that is there already is left as it is.
    """
    if not rows:
        return
    columns = ", ".join(rows[0])
    sql = f"""INSERT INTO {table} ({columns})
              SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)
              {"ON CONFLICT DO NOTHING" if again else ""}"""  # noqa: S608 - names are the stores' own
    await database.execute(session, sql, json.dumps([_plain(row) for row in rows]))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, UUID | date):
        return str(value)
    return value


def evidence_json(evidence: Evidence) -> dict[str, str]:
    """Evidence as its column keeps it."""
    return {
        "kind": evidence.kind,
        "reference": evidence.reference,
        "sha256": evidence.sha256.hex(),
    }


def parsed(value: Any) -> Any:
    """A jsonb column's objects and arrays: connections of the pool parse them, bare ones do not."""
    return json.loads(value) if isinstance(value, str) else value


def evidence_of(value: Any) -> Evidence | None:
    """Evidence again; None for what was registered without."""
    if value is None:
        return None
    held = parsed(value)
    kind = EvidenceKind(held["kind"])
    return Evidence(kind, held["reference"], bytes.fromhex(held["sha256"]))


def provenance_row(provenance: Provenance) -> dict[str, object]:
    """The columns that say where a record came from; the moment is the database's."""
    assert provenance.evidence is not None, "what is recorded by a person rests on something"
    return {
        "source_id": provenance.source_id,
        "acted_by": provenance.acted_by,
        "evidence": evidence_json(provenance.evidence),
        "business_date": provenance.business_date,
    }


def provenance_of(row: Any, prefix: str = "") -> Provenance:
    """Where a row came from."""
    return Provenance(
        source_id=row[f"{prefix}source_id"],
        acted_by=row[f"{prefix}acted_by"],
        evidence=evidence_of(row[f"{prefix}evidence"]),
        business_date=row[f"{prefix}business_date"],
        recorded_at=row[f"{prefix}recorded_at"],
    )
