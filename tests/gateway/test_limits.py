"""Limits: buckets, days and running calls, what a refusal tells, and what a restart keeps."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2, status_pb2

from gateway import usage
from gateway.forward import DETAILS_KEY, Failure, reason_in, refusal
from gateway.identity import CHINA, Directory, Institution, OwnLimit, day_begins
from gateway.limits import (
    BULK,
    CLASSES,
    COMMAND,
    EVERYBODYS,
    METHOD_CLASSES,
    OTHER_REASONS,
    READ,
    REASONS_MAX,
    STREAM,
    Limit,
    Limiter,
    LimitReached,
    LimitRules,
)
from gateway.routes import ROUTES
from services.kernel import status
from services.kernel.errors import Refused
from tests.conftest import MakeSchema
from tests.gateway.logs import nowhere

GET = "liandong.loans.v1.LoansService/GetLoan"
LIST = "liandong.loans.v1.LoansService/ListLoans"
REPAY = "liandong.loans.v1.LoansService/RepayLoan"
DAY = date(2030, 5, 6)


class Time:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    def now(self) -> float:
        return day_begins(DAY) + 3_600 + self.seconds


def rules(scope: str = READ, **changes: int) -> LimitRules:
    values = {"calls_per_second": 10, "burst": 3, "calls_per_day": 1_000, "running_max": 100}
    return LimitRules(everybody={scope: Limit(**(values | changes))})


def a_limiter(time: Time, given: LimitRules) -> Limiter:
    return Limiter(given, clock=time.clock, now=time.now)


def an_institution(institution_id: str = "bank-1", **changes: Any) -> Institution:
    values: dict[str, Any] = {
        "name": "",
        "name_zh": "",
        "role": "bank",
        "county_code": "123456",
        "areas": (),
        "active": True,
        "version": 1,
        "persons": {},
    }
    return Institution(institution_id=institution_id, **(values | changes))


def refused(limiter: Limiter, institution: Institution, method: str = GET) -> LimitReached:
    with pytest.raises(LimitReached) as refusal:
        limiter.enter(institution, method)
    return refusal.value


def test_every_method_is_of_a_class_and_every_class_has_a_limit() -> None:
    assert set(METHOD_CLASSES) == {route.method for route in ROUTES}
    assert set(METHOD_CLASSES.values()) == set(CLASSES) == set(EVERYBODYS)
    assert METHOD_CLASSES[GET] == READ
    assert METHOD_CLASSES[REPAY] == COMMAND
    assert METHOD_CLASSES["liandong.loans.v1.LoansService/BatchRepayLoans"] == BULK
    assert METHOD_CLASSES["liandong.households.v1.HouseholdsService/ImportHouseholds"] == STREAM


def test_a_bucket_lets_a_burst_through_then_its_rate_and_says_when() -> None:
    time, bank = Time(), an_institution()
    limiter = a_limiter(time, rules())
    for method in (GET, LIST, GET):
        limiter.leave(limiter.enter(bank, method))

    error = refused(limiter, bank)

    assert error.reason == "RATE_REACHED"
    assert error.retry_seconds == pytest.approx(0.1)
    time.seconds += 0.1
    limiter.enter(bank, GET)
    assert refused(limiter, bank).reason == "RATE_REACHED"
    limiter.enter(an_institution("bank-2"), GET)
    limiter.enter(bank, REPAY)


def test_a_refusal_whose_details_cannot_be_read_counts_without_a_reason() -> None:
    broken = Failure(grpc.StatusCode.ABORTED, "", ((DETAILS_KEY, b"\xff no status"),))
    foreign = Failure(
        grpc.StatusCode.ABORTED, "", ((DETAILS_KEY, status_pb2.Status().SerializeToString()),)
    )

    assert reason_in(broken) == reason_in(foreign) == ""
    assert reason_in(refusal(Refused("SOME_REASON", "no"))) == "SOME_REASON"


def test_a_refusal_tells_when_to_come_back_and_which_limit_it_was() -> None:
    limiter = a_limiter(Time(), rules(burst=1))
    limiter.enter(an_institution(), GET)

    details = status.to_status(refused(limiter, an_institution())).details

    retry, quota = error_details_pb2.RetryInfo(), error_details_pb2.QuotaFailure()
    assert any(each.Unpack(retry) for each in details)
    assert any(each.Unpack(quota) for each in details)
    assert retry.retry_delay.ToMilliseconds() == 100
    found = quota.violations[0]
    assert (found.subject, found.quota_metric) == ("institution:bank-1", "liandong.gateway/read")
    assert (found.quota_id, found.quota_value) == ("RATE_REACHED", 1)


def test_the_days_calls_end_at_midnight_in_china_and_begin_anew() -> None:
    time, bank = Time(), an_institution()
    limiter = a_limiter(time, rules(calls_per_day=2))
    for _ in range(2):
        limiter.enter(bank, GET)

    error = refused(limiter, bank)

    assert error.reason == "DAILY_QUOTA_REACHED"
    assert error.retry_seconds == 23 * 3_600
    # Whoever is out of quota may still ask why.
    limiter.enter(bank, "liandong.gateway.v1.GatewayService/GetStatus")
    time.seconds += 23 * 3_600
    limiter.enter(bank, GET)
    assert limiter.day == DAY + timedelta(days=1)


def test_calls_that_run_are_bounded_until_they_end() -> None:
    time, bank = Time(), an_institution()
    limiter = a_limiter(time, rules(running_max=2))
    running = [limiter.enter(bank, GET) for _ in range(2)]

    assert refused(limiter, bank).reason == "TOO_MANY_RUNNING"
    limiter.leave(running.pop())
    limiter.enter(bank, GET)


def test_an_institutions_own_limit_wins_and_what_runs_and_was_used_stays() -> None:
    time, bank = Time(), an_institution()
    limiter = a_limiter(time, rules(running_max=1))
    running = limiter.enter(bank, GET)
    own = replace(bank, limits={READ: OwnLimit(10, 3, 1_000, 2), GET: OwnLimit(1, 1, 10, 5)})

    second = limiter.enter(own, GET)

    assert [gate.scope for gate in second] == [READ, GET]
    assert refused(limiter, own, LIST).reason == "TOO_MANY_RUNNING"
    for gates in (running, second):
        limiter.leave(gates)
    assert refused(limiter, own, GET).reason == "RATE_REACHED"
    third = limiter.enter(own, LIST)
    found = {one.scope: (one.used, one.running) for one in limiter.usage(own)}
    assert (found[READ], found[GET]) == ((3, 1), (1, 0))
    limiter.leave(third)
    time.seconds += 1.0
    limiter.enter(bank, GET)


def test_a_role_has_its_own_limits_and_all_can_be_had_so_many_times() -> None:
    limit = Limit(calls_per_second=1, burst=1, calls_per_day=1, running_max=1)
    given = LimitRules(roles={"bank": {REPAY: limit}}, times=3)

    found = given.of("bank", REPAY)
    assert found is not None
    assert found.burst == 3
    assert given.of("insurer", REPAY) is None
    household, everybody = given.of("household", READ), given.of("bank", READ)
    assert household is not None
    assert everybody is not None
    assert household.calls_per_day < everybody.calls_per_day


def test_nobody_known_is_refused_when_he_comes_too_often_and_told_of_once_a_second() -> None:
    time = Time()
    limiter = a_limiter(time, rules())
    told = []
    for _ in range(200):
        try:
            limiter.stranger()
        except LimitReached as error:
            told.append(error.told)
    assert told == [False] + [True] * 99
    time.seconds += 1.0
    for _ in range(50):
        limiter.stranger()
    with pytest.raises(LimitReached) as refusal:
        limiter.stranger()
    assert not refusal.value.told


def test_reasons_are_counted_within_bounds() -> None:
    limiter = a_limiter(Time(), rules())
    limiter.begin()
    for number in range(REASONS_MAX + 50):
        limiter.note("bank-1", f"REASON_{number}")

    assert len(limiter.refused) == REASONS_MAX + 1
    assert limiter.refused[DAY, "bank-1", OTHER_REASONS] == 50


async def test_a_stop_while_the_database_is_away_ends_in_order_and_says_so() -> None:
    limiter = a_limiter(Time(), rules())
    limiter.enter(an_institution(), GET)
    directory = Directory(env="local", clock=lambda: 0.0)
    with structlog.testing.capture_logs() as said:
        keeping = asyncio.create_task(usage.keep(nowhere(), limiter, directory))
        await asyncio.wait({keeping}, timeout=0)
        keeping.cancel()
        (ended,) = await asyncio.gather(keeping, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
    assert [each["event"] for each in said] == ["usage_cut"]
    assert limiter.unsaved.total() > 0


@pytest.mark.postgres
async def test_what_was_used_survives_a_restart_and_is_seen_by_other_gateways(
    schema: MakeSchema,
) -> None:
    db = (await schema("gateway", package="gateway")).db
    time, bank = Time(), an_institution()
    one, other = a_limiter(time, rules(burst=100)), a_limiter(time, rules(burst=100))
    for _ in range(7):
        one.enter(bank, GET)
    one.note("bank-1", "ROLE_NOT_ALLOWED")
    other.enter(bank, GET)

    for limiter in (one, other, one, one):
        await usage.save(db, limiter)
    after = a_limiter(time, rules(burst=100))
    await usage.save(db, after)
    after.enter(bank, GET)

    def read(limiter: Limiter) -> int:
        return next(each.used for each in limiter.usage(bank) if each.scope == READ)

    assert (read(one), read(other), read(after)) == (8, 8, 9)
    assert not one.unsaved
    async with db.transaction() as session:
        assert await usage.refusals(session, "bank-1", DAY) == {"ROLE_NOT_ALLOWED": 1}
    await usage.forget_old(db, DAY + timedelta(days=usage.KEPT_DAYS + 1))
    async with db.transaction() as session:
        assert await usage.totals(session, DAY) == {}
    assert CHINA.utcoffset(None) == timedelta(hours=8)
