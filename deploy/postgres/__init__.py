"""What PostgreSQL is told: its settings, and a role and a schema per noun."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SERVER_CONF = FOLDER / "server.conf"
HBA_TLS_CONF = FOLDER / "hba-tls.conf"
DATABASE_SQL = FOLDER / "sql" / "database.sql"
NOUN_SQL = FOLDER / "sql" / "noun.sql"
