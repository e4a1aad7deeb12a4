"""After the loan, asked of running services through the gateway: relending, warnings, grants."""

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.live import folder
from tests.live.county import County, Wish
from tests.live.paths.loans import chosen_ratio
from tests.live.platform import running
from tests.live.setup import Case, Setup

pytestmark = pytest.mark.stack

STARTS_ON = date(2018, 3, 5)
YUAN = 100
RELENT = 10_000 * YUAN
RELENDS = "hunan-rcu-poverty-microcredit@2"
GRANTS = "anhui-maanshan@1"


def a_case(programme: str) -> Case:
    return {"id": programme, "rule": "after_loan", "programme": programme, "inputs": {}}


SMS, DISASTER, COMPENSATIONS, DELIVERED = 1, 2, 3, 1
"""As on the wire."""


async def test_what_follows_a_loan_goes_through_the_gateway() -> None:
    chosen = chosen_ratio({"bank": 2, "fund": 8})
    asked = [
        (a_case(RELENDS), Setup(STARTS_ON, chosen)),
        (a_case(GRANTS), Setup(STARTS_ON)),
    ]
    wanted = folder.places(asked)
    with tempfile.TemporaryDirectory(prefix="liandong-after-loan-") as made:
        where = Path(made) / "counties"
        catalogue, wrong = folder.write(where, wanted)
        assert wrong == {}
        async with running(where, catalogue) as platform:
            relends, grants = (County(platform, place) for place in wanted)
            await relends.open()
            await warn(relends, await relend(relends))
            await publish(relends)
            await grants.open()
            await grant(grants)


async def relend(county: County) -> str:
    """A bank draws on its line and lends on; the line knows."""
    opening: dict[str, Any] = {
        "lender_id": county.institution("bank"),
        "programme_id": county.programme_id,
        "source": "poverty_relending",
        "limit_fen": 5 * RELENT,
        "rate_ppm": 17_500,
        "granted_on": county.today,
        "validity_months": 12,
        "reference": "line-1",
    }
    line = (await county.ask("loans.OpenRelendingFacility", "centre", **opening)).facility
    draw: dict[str, Any] = {
        "facility_id": line.facility_id,
        "draw": True,
        "amount_fen": RELENT,
        "value_date": county.today,
        "reference": "draw-1",
    }
    await county.ask("loans.MoveRelending", "bank", **draw)
    over: dict[str, Any] = {**draw, "amount_fen": 5 * RELENT, "reference": "draw-2"}
    assert await county.refusal("loans.MoveRelending", "bank", **over) == "DRAW_ABOVE_QUOTA"
    assert await county.refusal("loans.MoveRelending", "centre", **draw) == "ROLE_NOT_ALLOWED"
    household_id = await county.borrower()
    stated = {"funding": "poverty_relending"}
    await county.lend(Wish(household_id, RELENT, stated=stated))
    answer = await county.ask("loans.ListRelendingFacilities", "bank")
    assert [(f.lent_fen, f.free_fen) for f in answer.facilities] == [(RELENT, 4 * RELENT)]
    return household_id


async def warn(county: County, household_id: str) -> None:
    """The county passes a weather warning on; the bank's sender takes it and reports."""
    warning: dict[str, Any] = {
        "kind": DISASTER,
        "risk": "frost",
        "department": "weather_bureau",
        "area_codes": [county.code],
        "advice": "请及时覆盖大棚,做好防冻。",
        "starts_on": county.today,
        "ends_on": county.today,
        "channels": [SMS],
    }
    reached = (await county.ask("loans.ReceiveWarning", "centre", **warning)).warning
    assert (reached.loans, reached.households) == (1, 1)
    taking: dict[str, Any] = {"channels": [SMS], "count_max": 10, "lease_seconds": 60}
    [notice] = (await county.ask("loans.TakeNotices", "bank", **taking)).notices
    assert notice.household_id == household_id
    assert "请及时覆盖大棚" in notice.text
    said: dict[str, Any] = {"notice_id": notice.notice_id, "attempt": 1, "result": DELIVERED}
    [verdict] = (await county.ask("loans.ReportNotices", "bank", items=[said])).verdicts
    assert verdict.accepted
    unsent = await county.ask("loans.ListNotices", "centre", unsent_only=True)
    assert {each.sender_id for each in unsent.notices} == {county.institution("bank")}


async def grant(county: County) -> None:
    """A grant is due, approved and paid by three persons."""
    item: dict[str, Any] = {
        "household_id": await county.household(),
        "rule_id": "industry_grant",
        "met": ["self_development"],
        "evidence": "sha256:ab",
        "due_on": county.today,
    }
    await county.settle()
    due: dict[str, Any] = {"programme_id": county.programme_id}
    bad = await county.ask("loans.RecordEntitlements", "centre", items=[{**item, "met": []}], **due)
    assert bad.verdicts[0].reason == "CONDITIONS_NOT_MET"
    recorded = await county.ask("loans.RecordEntitlements", "centre", items=[item], **due)
    entitlement_id = recorded.verdicts[0].id
    await county.ask("loans.ApproveEntitlements", "finance", entitlement_ids=[entitlement_id])
    paying: dict[str, Any] = {
        "entitlement_id": entitlement_id,
        "reference": "p-1",
        "paid_on": county.today,
    }
    answer = await county.ask("loans.PayEntitlements", "finance", post=2, items=[paying])
    assert answer.verdicts[0].accepted
    file = await county.ask("loans.GetEntitlement", "centre", entitlement_id=entitlement_id)
    assert (file.entitlement.amount_fen, len(file.steps)) == (300_000, 3)


async def publish(county: County) -> None:
    """What the programme asks for is public for its days; what it does not ask for is refused."""
    first = county.today
    await county.advance(first + timedelta(days=1))
    making: dict[str, Any] = {
        "kind": COMPENSATIONS,
        "programme_id": county.programme_id,
        "area_code": county.code,
        "first": first,
        "last": first,
    }
    made = (await county.ask("loans.MakePublication", "centre", **making)).publication
    about: dict[str, Any] = {"publication_id": made.publication_id}
    await county.ask("loans.PublishPublication", "centre", post=2, **about)
    found = await county.ask("loans.GetPublication", "bank", **about)
    assert (found.publication.kind, list(found.lines)) == (COMPENSATIONS, [])
    totals: dict[str, Any] = {**making, "kind": 4}
    refusal = await county.refusal("loans.MakePublication", "centre", **totals)
    assert refusal == "PUBLICATION_NOT_ASKED"
