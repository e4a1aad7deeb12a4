"""Gauges of tables: read from each service's own, told to whoever scrapes, never of people."""

import asyncio
import contextlib
import urllib.request
from collections.abc import Sequence
from uuid import uuid4

import pytest

from deploy.local.places import free_port
from gateway import readings as of_gateway
from services.claims.store import readings as of_claims
from services.funds.store import readings as of_funds
from services.kernel import database, metrics, readings
from services.kernel.readings import Read
from services.kernel.walls import EVERY_COUNTY
from services.loans.store import readings as of_loans
from tests.conftest import MakeSchema
from tests.eventually import eventually

pytestmark = pytest.mark.postgres

OWN: dict[str, Sequence[Read]] = {
    "households": (),
    "credit": (),
    "loans": (of_loans.read,),
    "claims": (of_claims.read,),
    "funds": (of_funds.read,),
    "gateway": (of_gateway.read,),
}
LABELS = {"county", "state", "scope", "programme", "kind"}


@pytest.mark.parametrize("noun", OWN)
async def test_every_service_reads_its_own_tables_by_its_own_role(
    schema: MakeSchema, noun: str
) -> None:
    made = await schema(noun)

    found = {each.name: each for each in await readings.read(made.db, OWN[noun])}

    assert found["liandong_outbox_waiting_events"].value == 0
    assert found["liandong_parked_events"].value == 0
    assert all(set(each.labels) <= LABELS for each in found.values())


@pytest.mark.parametrize(
    ("noun", "gauges"),
    [
        ("claims", ["liandong_payouts_open", "liandong_payouts_oldest_age_seconds",
                    "liandong_claims_deadline_at_risk", "liandong_claims_deadline_missed"]),
        ("funds", ["liandong_compensation_cases_open",
                   "liandong_compensation_cases_oldest_age_seconds"]),
        ("loans", ["liandong_breakers_tripped"]),
    ],
)  # fmt: skip
async def test_a_county_where_nothing_is_open_is_told_as_zero(
    schema: MakeSchema, noun: str, gauges: list[str]
) -> None:
    made = await schema(noun)
    async with made.db.transaction(EVERY_COUNTY) as session:
        await database.execute(
            session, "INSERT INTO business_day VALUES ('990101', '2018-03-01'::date)"
        )

    found = await readings.read(made.db, OWN[noun])

    told = {each.name: each.value for each in found if each.labels.get("county") == "990101"}
    assert told == dict.fromkeys(gauges, 0)
    kinds = {each.labels["kind"] for each in found if each.name == "liandong_pauses"}
    assert kinds == {"institution", "feed", "consumer", "product"}


async def test_funds_and_cases_are_told_by_county(schema: MakeSchema) -> None:
    made = await schema("funds")
    async with made.db.transaction(EVERY_COUNTY) as session:
        await database.execute(
            session,
            """INSERT INTO fund (county_code, fund_id, programme_id, kind, institution_id, state,
                                 balance_fen, covered_fen, owed_fen, leverage_reached, version)
               VALUES ('990101', $1, 'plain', 'county', 'fin-1', 'open', 100, 250, 0, true, 1)""",
            uuid4(),
        )

    found = {each.name: each for each in await readings.read(made.db, OWN["funds"])}

    assert found["liandong_fund_leverage_ratio"].value == 2.5
    assert found["liandong_fund_leverage_reached"].value == 1
    assert dict(found["liandong_fund_covered_fen"].labels) == {
        "county": "990101",
        "programme": "plain",
        "kind": "county",
    }


async def test_what_is_read_is_told_with_its_age(schema: MakeSchema) -> None:
    made = await schema("credit")
    port = free_port()
    metrics.start(port)
    task = asyncio.create_task(readings.keep(made.db, "credit", seconds=0.05))

    def told() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    async def asked() -> str:
        return await asyncio.to_thread(told)

    try:
        text = await eventually(
            asked, lambda found: 'liandong_parked_events{noun="credit"}' in found
        )
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert 'liandong_readings_age_seconds{noun="credit"}' in text
    assert 'liandong_outbox_oldest_age_seconds{noun="credit"} 0.0' in text


def test_a_call_costs_one_look_and_one_addition() -> None:
    calls = metrics.Calls("loans")
    for code in ("OK", "OK", "INTERNAL"):
        calls.ended("liandong.loans.v1.LoansService/GetLoan", code, 0.003, "read")

    told = {
        (sample.name, sample.labels.get("rpc_response_status_code", "")): sample.value
        for sample in next(iter(metrics.CALLS.collect())).samples
        if sample.labels["noun"] == "loans" and sample.labels["rpc_class"] == "read"
    }
    assert told["rpc_server_call_duration_seconds_count", "OK"] == 2
    assert told["rpc_server_call_duration_seconds_count", "INTERNAL"] == 1
