"""What PostgreSQL is told: its settings, and a role and a schema per noun."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SERVER_CONF = FOLDER / "server.conf"
HBA_TLS_CONF = FOLDER / "hba-tls.conf"
DATABASE_SQL = FOLDER / "sql" / "database.sql"
NOUN_SQL = FOLDER / "sql" / "noun.sql"

ARCHIVE_SECONDS = 60
"""A segment is kept at least so often: what a lost disk may cost."""
ARCHIVE_COMMAND = (
    "if test -e ARCHIVE/%f.gz; then gzip -dc ARCHIVE/%f.gz | cmp -s - %p;"
    " else gzip -1 -c %p > ARCHIVE/%f.gz.part && sync ARCHIVE/%f.gz.part"
    " && mv ARCHIVE/%f.gz.part ARCHIVE/%f.gz && sync ARCHIVE; fi"
)
"""Keep a segment whole or not at all; ARCHIVE is the folder. One that is there must be the same."""
