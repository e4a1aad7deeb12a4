"""What each durable workflow does in three steps: post a settlement, mark the claim, say it."""

import psycopg

AT_ONCE = 16
TABLES = """
CREATE TABLE IF NOT EXISTS peer_claim (claim_id bigint PRIMARY KEY, state text NOT NULL);
CREATE TABLE IF NOT EXISTS peer_entry (
    claim_id bigint, line int, account text NOT NULL, amount_fen bigint NOT NULL,
    PRIMARY KEY (claim_id, line)
);
CREATE TABLE IF NOT EXISTS peer_event (claim_id bigint PRIMARY KEY, payload jsonb NOT NULL);
TRUNCATE peer_claim, peer_entry, peer_event;
"""
CLAIMS = "INSERT INTO peer_claim SELECT n, 'approved' FROM generate_series(1, %s) AS n"
STEPS = {
    "post": """
        INSERT INTO peer_entry
        SELECT %s, line, account, amount_fen
        FROM (VALUES (0, 'insurer', -1000), (1, 'loan', 700), (2, 'household', 300))
             AS e (line, account, amount_fen)
        ON CONFLICT DO NOTHING
    """,
    "mark": "UPDATE peer_claim SET state = 'settled' WHERE claim_id = %s",
    "say": "INSERT INTO peer_event VALUES (%s, '{\"said\": true}') ON CONFLICT DO NOTHING",
}
_LEFT = """
SELECT (SELECT count(*) FROM peer_claim)
     - (SELECT count(*) FROM peer_claim AS c JOIN peer_event USING (claim_id)
        WHERE state = 'settled' AND 0 = (SELECT sum(amount_fen) FROM peer_entry AS e
                                         WHERE e.claim_id = c.claim_id HAVING count(*) = 3))
"""


def begin(dsn: str, count: int) -> None:
    """So many approved claims, and nothing else."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLES)
        connection.execute(CLAIMS, (count,))


async def connected(dsn: str) -> psycopg.AsyncConnection:
    """A connection on which each statement commits."""
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


def left(dsn: str) -> int:
    """How many claims are not settled, posted in balance and said."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(_LEFT).fetchone()
    assert found is not None
    return int(found[0])


def end(dsn: str, count: int, seconds: float) -> None:
    """Print the pace, unless something is missing."""
    missing = left(dsn)
    assert missing == 0, f"{missing} of {count} are not settled"
    print(count / seconds)  # noqa: T201 - what this program is asked for
