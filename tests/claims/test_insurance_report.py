"""The report of the county's insurance: its figures are the sums over the rows, whoever asks."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import fields
from datetime import date, timedelta
from typing import Any

import pytest
from liandong.claims.v1 import records_pb2 as pb

from services.claims.rules import insurance_report as rules
from services.claims.rules.insurance_report import Key, Result, Sums
from services.claims.servicer import ClaimsServicer
from services.claims.servicer.records import RecordsServicer
from services.kernel import business_day, wire
from services.kernel.bus import Consumer
from services.kernel.caller import Caller
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.money import Fen
from services.kernel.walls import EVERY_COUNTY
from services.programmes.schema.pools import InsurerStabilisation
from tests.claims.county import (
    ADJUSTER,
    AUDITOR,
    CENTRE,
    COUNTY,
    INSURER,
    LENDER,
    OPENED,
    OTHER_ADJUSTER,
    OTHER_INSURER,
    OTHER_VILLAGE,
    PACK,
    VILLAGE,
    VILLAGE_DEPARTMENT,
    House,
    Loan,
    a_catalogue,
    allocated,
    calling,
)
from tests.claims.steps import (
    a_confirmation,
    a_decision,
    a_policy,
    a_report,
    confirm,
    decide,
    instructions,
    issue,
    report,
    rows,
    take,
)

SEEDS = range(3)
POOL = """
fund:
  multiple: {open: not stated}
  custody: {open: not stated}
  models: []
  insurer_stabilisation: {initial_fen: 100, compensates_pct: 50}
"""
DIMENSIONS = {
    "line": pb.REPORT_DIMENSION_LINE,
    "insurer_id": pb.REPORT_DIMENSION_INSURER,
    "area_code": pb.REPORT_DIMENSION_AREA,
    "year": pb.REPORT_DIMENSION_YEAR,
}
SETS: list[tuple[str, ...]] = [
    (),
    ("line",),
    ("insurer_id",),
    ("year",),
    ("area_code",),
    ("insurer_id", "year"),
    ("line", "insurer_id", "area_code", "year"),
]
ADDED = tuple(each.name for each in fields(Sums) if each.name not in ("policies", "persons"))


def asking(by: tuple[str, ...] = (), **more: Any) -> pb.GetInsuranceReportRequest:
    return pb.GetInsuranceReportRequest(
        county_code=COUNTY,
        as_of=wire.date_to_proto(more.pop("as_of", OPENED + timedelta(30))),
        by=[DIMENSIONS[each] for each in by],
        **more,
    )


async def ask(
    records: RecordsServicer, request: pb.GetInsuranceReportRequest, caller: Caller = AUDITOR
) -> list[pb.InsuranceReportRow]:
    """The whole report, a page at a time."""
    found: list[pb.InsuranceReportRow] = []
    while True:
        answer = await records.GetInsuranceReport(request, calling(caller, request))
        found += answer.rows
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def a_year_of_insurance(
    servicer: ClaimsServicer, consumer: Consumer, db: Database, chance: random.Random
) -> None:
    """Policies of two insurers in two years, and claims in every state on several days."""
    last, this = date(2020, 1, 1), date(2021, 1, 1)
    for cover, insurer in (
        ("accident", INSURER),
        ("disaster", OTHER_INSURER),
        ("medical", INSURER),
    ):
        for begins in (last, this):
            end = date(begins.year, 12, 31)
            policy = a_policy(cover, insurer_id=insurer, from_date=begins, until_date=end)
            await issue(servicer, policy)
    claims = []
    for _ in range(chance.randint(6, 10)):
        house = House(area_code=chance.choice([VILLAGE, OTHER_VILLAGE, f"{VILLAGE[:9]}002"]))
        covers = tuple(chance.sample(["accident", "disaster", "medical"], k=chance.randint(1, 3)))
        loan = Loan(house, principal_fen=chance.randrange(1_000, 9_000_000), covers=covers)
        approved_on = date(2020, 6, 1) if chance.random() < 0.5 else OPENED
        await take(consumer, house.registered(), loan.approved(on=approved_on))
        if chance.random() < 0.3:
            await take(consumer, house.moved(OTHER_VILLAGE))
        for cover in covers:
            if chance.random() < 0.7:
                asked = a_report(
                    house,
                    cover_id=cover,
                    loss_date=min(OPENED, approved_on + timedelta(chance.randint(0, 3))),
                    assessed_fen=chance.randrange(1, 5_000_000),
                )
                claims.append((loan, await report(servicer, asked, caller=CENTRE)))
    async with db.transaction(EVERY_COUNTY) as session:
        await business_day.open_day(session, COUNTY, OPENED + timedelta(3))
    for loan, claim in claims:
        turn = chance.random()
        adjuster = OTHER_ADJUSTER if claim.cover_id == "disaster" else ADJUSTER
        if turn < 0.3:
            continue
        if turn < 0.5:
            await decide(
                servicer, a_decision(claim, approve=False, reason="no loss"), caller=adjuster
            )
            continue
        payout_id = (await decide(servicer, a_decision(claim), caller=adjuster)).payout_id
        await take(
            consumer, allocated(payout_id, [(loan, 1)] if loan else [], await _rest(db, payout_id))
        )
    for instruction in await instructions(servicer, LENDER):
        if chance.random() < 0.7:
            on = OPENED + timedelta(3)
            await confirm(servicer, a_confirmation(instruction, on=on), caller=LENDER)


async def _rest(db: Database, payout_id: str) -> int:
    ((amount_fen,),) = await rows(
        db, "SELECT amount_fen FROM payout WHERE payout_id = $1::uuid", payout_id
    )
    return int(str(amount_fen)) - 1


Fact = Mapping[str, Any]


async def facts_of(db: Database, as_of: date) -> Sequence[Fact]:
    """The same county's rows, one by one, added up by nobody."""
    found: list[dict[str, Any]] = []
    names: tuple[str, ...] = ("policy", "line", "insurer_id", "day")
    for row in await rows(
        db,
        """SELECT policy_id, cover_id, insurer_id, from_date
           FROM master_policy JOIN policy_cover USING (policy_id)""",
    ):
        policy: dict[str, Any] = dict(zip(names, row, strict=True))
        if policy["day"] <= as_of:
            found.append({**policy, "area_code": None})
    insured = await rows(
        db,
        """SELECT i.policy_id, i.cover_id, p.insurer_id, i.from_date, h.area_code, i.household_id,
                  i.sum_insured_fen,
                  (SELECT sum(g.amount_fen) FROM premium_charge AS g
                   WHERE g.insured_id = i.insured_id)
           FROM insured AS i JOIN master_policy AS p USING (policy_id)
           JOIN household AS h USING (household_id)""",
    )
    for row in insured:
        names = ("policy", "line", "insurer_id", "day", "area_code", "person")
        fact: dict[str, Any] = dict(
            zip((*names, "sum_insured_fen", "premium_fen"), row, strict=True)
        )
        if fact["day"] <= as_of:
            found.append({**fact, "insured": 1})
    claims = await rows(
        db,
        """SELECT claim_id, cover_id, insurer_id, loss_date, area_code, assessed_fen, state,
                  decided_on, payable_fen, reported_on FROM claim""",
    )
    by_claim: dict[object, dict[str, Any]] = {}
    for claim_id, line, insurer, day, area, assessed, state, decided_on, payable, told_on in claims:
        where = {"line": line, "insurer_id": insurer, "day": day, "area_code": area}
        by_claim[claim_id] = where
        if told_on > as_of:  # type: ignore[operator]
            continue
        decided = decided_on is not None and decided_on <= as_of  # type: ignore[operator]
        outcome = state if decided else "pending"
        found.append(
            {
                **where,
                "claims": 1,
                "claimed_fen": assessed,
                "approved": int(outcome == "approved"),
                "payable_fen": payable if decided else 0,
                "refused": int(outcome == "refused"),
                "pending": int(outcome == "pending"),
                "pending_fen": 0 if decided else assessed,
            }
        )
    for claim_id, amount, paid_on in await rows(
        db,
        """SELECT p.claim_id, n.amount_fen, n.confirmed_value_date FROM instruction AS n
           JOIN payout AS p USING (payout_id) WHERE n.confirmed_value_date IS NOT NULL""",
    ):
        if paid_on <= as_of:  # type: ignore[operator]
            found.append({**by_claim[claim_id], "paid_fen": amount})
    return found


def added_up(
    facts: Sequence[Fact], by: tuple[str, ...], *, digits: int, seen: Callable[[Fact], bool]
) -> dict[tuple[object, ...], dict[str, int]]:
    """The report as anybody would add it up, row by row."""
    groups: dict[tuple[object, ...], list[Fact]] = defaultdict(list)
    for fact in facts:
        if not seen(fact) or (fact["area_code"] is None and "area_code" in by):
            continue
        key = {
            "line": fact["line"],
            "insurer_id": fact["insurer_id"],
            "area_code": (fact["area_code"] or "")[:digits],
            "year": fact["day"].year,
        }
        empty = {"line": "", "insurer_id": "", "area_code": "", "year": 0}
        groups[tuple(key[d] if d in by else empty[d] for d in DIMENSIONS)].append(fact)
    return {
        key: {
            **{name: sum(int(fact.get(name) or 0) for fact in group) for name in ADDED},
            "policies": len({fact["policy"] for fact in group if "policy" in fact}),
            "persons": len({fact["person"] for fact in group if "person" in fact}),
        }
        for key, group in groups.items()
    }


def told(found: list[pb.InsuranceReportRow]) -> dict[tuple[object, ...], dict[str, int]]:
    return {
        tuple(getattr(row, each) for each in DIMENSIONS): {
            name: getattr(row, name) for name in (*ADDED, "policies", "persons")
        }
        for row in found
    }


@pytest.mark.postgres
@pytest.mark.parametrize("seed", SEEDS)
async def test_the_figures_are_the_sums_over_the_rows_whoever_asks_and_however_grouped(
    servicer: ClaimsServicer,
    records: RecordsServicer,
    consumer: Consumer,
    db: Database,
    seed: int,
) -> None:
    await a_year_of_insurance(servicer, consumer, db, random.Random(seed))
    whole: Callable[[Fact], bool] = lambda _: True  # noqa: E731 - named for the table below

    for as_of in (OPENED, OPENED + timedelta(2), OPENED + timedelta(3)):
        facts = await facts_of(db, as_of)
        for by in SETS:
            for digits in (9, 12):
                request = asking(by, as_of=as_of, area_digits=digits, page_size=2)
                expected = added_up(facts, by, digits=digits, seen=whole)
                assert told(await ask(records, request)) == expected
        by = ("line", "insurer_id", "year")
        own = added_up(facts, by, digits=9, seen=lambda fact: fact["insurer_id"] == OTHER_INSURER)
        assert told(await ask(records, asking(by, as_of=as_of), OTHER_ADJUSTER)) == own
        here = added_up(
            facts, by, digits=9, seen=lambda fact: (fact["area_code"] or "").startswith(VILLAGE)
        )
        assert told(await ask(records, asking(by, as_of=as_of), VILLAGE_DEPARTMENT)) == here
        assert told(await ask(records, asking(by, as_of=as_of, within=VILLAGE))) == here


@pytest.mark.postgres
async def test_loss_ratio_and_stabilisation_follow_the_pack_and_the_rows(
    servicer: ClaimsServicer, records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    await a_year_of_insurance(servicer, consumer, db, random.Random(7))
    pooled = RecordsServicer(db, a_catalogue(PACK + POOL))

    every = await ask(pooled, asking(("insurer_id", "year")))
    (whole,) = await ask(pooled, asking())
    none = await ask(records, asking(("insurer_id", "year")))

    for row in every:
        deficit = max(0, row.payable_fen - row.premium_fen)
        assert (row.deficit_fen, row.stabilisation_fen) == (deficit, (deficit + 1) // 2)
        ratio = row.payable_fen * 1_000_000 // row.premium_fen if row.premium_fen else 0
        assert row.loss_ratio_ppm == ratio
    # One insurer's surplus helps no other, so the whole is the sum.
    assert whole.deficit_fen == sum(row.deficit_fen for row in every) > 0
    assert whole.stabilisation_fen == sum(row.stabilisation_fen for row in every)
    assert {row.deficit_fen for row in none} == {0}


@pytest.mark.postgres
async def test_the_export_is_the_report_page_by_page(
    servicer: ClaimsServicer, records: RecordsServicer, consumer: Consumer, db: Database
) -> None:
    await a_year_of_insurance(servicer, consumer, db, random.Random(1))
    by = ("line", "insurer_id", "area_code", "year")
    first = pb.ExportInsuranceReportRequest(
        county_code=COUNTY,
        as_of=wire.date_to_proto(OPENED + timedelta(30)),
        by=[DIMENSIONS[each] for each in by],
        page_size=3,
    )
    found: list[pb.InsuranceReportRow] = []
    asked = [first]

    async def requests() -> AsyncIterator[pb.ExportInsuranceReportRequest]:
        while asked:
            yield asked.pop()

    async for page in records.ExportInsuranceReport(requests(), calling(AUDITOR, first)):
        found += page.rows
        if page.next_page_token:
            following = pb.ExportInsuranceReportRequest()
            following.CopyFrom(first)
            following.page_token = page.next_page_token
            asked.append(following)

    assert len(found) > 3
    assert found == await ask(records, asking(by))


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("request_made", "caller", "reason"),
    [
        (asking(insurer_id=OTHER_INSURER), ADJUSTER, "INSURER_NOT_YOU"),
        (asking(within=OTHER_VILLAGE), VILLAGE_DEPARTMENT, "AREA_NOT_YOURS"),
        (asking(page_token=wire.page_token("a|b")), AUDITOR, "MALFORMED_PAGE_TOKEN"),
        (asking(), LENDER, "ROLE_NOT_ALLOWED"),
    ],
)
async def test_who_may_not_see_what(
    records: RecordsServicer,
    request_made: pb.GetInsuranceReportRequest,
    caller: Caller,
    reason: str,
) -> None:
    with pytest.raises(LiandongError) as refusal:
        await ask(records, request_made, caller)

    assert refusal.value.reason == reason


def test_a_loss_ratio_without_premium_is_nothing_and_a_surplus_gets_nothing() -> None:
    pool = InsurerStabilisation(initial_fen=Fen(0), compensates_pct=100)
    results = [Result("a@1", Fen(9), Fen(4), pool), Result("b@1", Fen(0), Fen(3), pool)]

    row = rules.row_of(Key(), Sums(payable_fen=7), results)

    assert (row.loss_ratio_ppm, row.deficit_fen, row.stabilisation_fen) == (0, 3, 3)
