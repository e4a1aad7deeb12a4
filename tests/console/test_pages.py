"""The pages in a browser: what each role sees, charts, the search, traces, forms, live events."""

import json
import re
import uuid
from datetime import UTC, date, datetime

import asyncpg
import pytest
from google.type.date_pb2 import Date
from liandong.claims.v1 import claims_pb2, payouts_pb2, payouts_pb2_grpc
from liandong.households.v1 import (
    areas_pb2,
    areas_pb2_grpc,
    evidence_pb2,
    households_pb2,
    households_pb2_grpc,
)
from playwright.async_api import expect

from deploy.demo.counter import COUNTY
from services.kernel import cloudevents
from services.kernel.cloudevents import Envelope
from tests.console.house import FIGURES, WAIT_MS, House, Look
from tests.faults.links import Link

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

CENTRE, BANK, OPERATOR, AUDITOR, INSURER = (
    "cfc-0001",
    "psb-0001",
    "opr-0001",
    "aud-0001",
    "ins-0001",
)


async def a_payout(house: House) -> claims_pb2.Payout:
    async with await house.client(CENTRE) as client:
        listed = await client.call(
            payouts_pb2_grpc.PayoutsServiceStub,
            "ListPayouts",
            payouts_pb2.ListPayoutsRequest(
                county_code=COUNTY, state=claims_pb2.PAYOUT_STATE_SETTLED, page_size=1
            ),
        )
    payout: claims_pb2.Payout = listed.payouts[0]
    return payout


async def weight_and_paint(look: Look) -> tuple[int, int]:
    """Bytes over the wire of the page that is open, and milliseconds to its first paint."""
    found = await look.page.evaluate(
        """() => ({
            bytes: performance.getEntriesByType('resource')
                .concat(performance.getEntriesByType('navigation'))
                .reduce((sum, each) => sum + each.transferSize, 0),
            paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1,
        })"""
    )
    return round(found["bytes"]), round(found["paint"])


async def test_the_county_at_a_glance(house: House) -> None:
    look = await house.come_in(CENTRE)

    text = await look.text()
    assert "贷款余额" in text
    assert "不良率" in text
    villages = await look.page.locator(".township li a").count()
    assert villages == len([code for code in await areas(house) if len(code) == 12])
    await expect(look.page.locator("#history canvas")).to_have_count(3, timeout=WAIT_MS)
    size, paint = await weight_and_paint(look)
    FIGURES.update(first_paint_ms=paint, page_kib=size // 1024, villages=villages)
    assert 0 < size < 900_000
    assert await look.page.locator("figure[data-chart] table").count() == 3
    await look.shot("overview")


async def areas(house: House) -> list[str]:
    async with await house.client(CENTRE) as client:
        listed = await client.call(
            households_pb2_grpc.HouseholdsServiceStub,
            "ListAreas",
            households_pb2.ListAreasRequest(county_code=COUNTY, page_size=500),
        )
    return [each.area_code for each in listed.areas]


async def test_money_flows_and_work_lists(house: House) -> None:
    look = await house.come_in(CENTRE)

    text = await look.open("/money")
    assert "财产保险公司（示例）" in text
    await expect(look.page.locator("figure canvas")).to_have_count(1, timeout=WAIT_MS)
    await look.shot("money")
    for path, word in (
        ("/duties/tasks", "自查"),
        ("/duties/issues", "待办"),
        ("/duties/notices", "待办"),
    ):
        assert word in await look.open(path)
    await look.open("/duties/claims")
    assert "邮政储蓄银行（示例）" in await look.open("/loans?within=411224101")
    await look.open("/duties/tasks")
    await look.shot("work")


async def test_every_entry_of_the_menu_opens(house: House) -> None:
    for institution in (CENTRE, BANK, INSURER, OPERATOR, AUDITOR):
        look = await house.come_in(institution)
        entries = await look.page.locator("nav a[href^='/']").evaluate_all(
            "links => links.map(link => link.getAttribute('href'))"
        )
        assert len(entries) > 2, institution
        for entry in dict.fromkeys(entries):
            await look.open(entry)


async def test_from_a_claim_to_its_trace_in_two_clicks(house: House) -> None:
    payout = await a_payout(house)
    look = await house.come_in(AUDITOR)

    await look.page.fill("#q", payout.payout_id)
    await look.page.press("#q", "Enter")
    await look.page.wait_for_url(re.compile(r"/(stories|claims)/"), timeout=WAIT_MS)
    text = await look.open(f"/claims/{payout.claim_id}")
    assert payout.payout_id in text
    await look.shot("claim")
    await look.page.locator(".trace-link").last.click()
    await look.page.wait_for_url(re.compile(r"/traces/[0-9a-f]{32}$"), timeout=WAIT_MS)
    rows = await look.page.locator(".waterfall tbody tr").count()
    assert rows > 1
    await look.shot("trace")


async def test_each_step_leads_to_its_log_entry(house: House) -> None:
    payout = await a_payout(house)
    look = await house.come_in(AUDITOR)

    await look.open(f"/claims/{payout.claim_id}")
    await look.page.locator("a[href^='/log?at=']").first.click()
    await expect(look.page.locator("#marked")).to_have_count(1, timeout=WAIT_MS)


async def test_a_household_and_a_loan_have_their_story(house: House) -> None:
    payout = await a_payout(house)
    look = await house.come_in(CENTRE)

    assert "来龙去脉" in await look.open(f"/households/{payout.household_id}")
    await look.shot("household")
    loan_id = next(each.loan_id for each in payout.instructions if each.loan_id)
    assert "账目" in await look.open(f"/loans/{loan_id}")
    assert "UUID" in await look.open("/find?q=nonsense", status=400)
    await look.open(f"/find?q={uuid.uuid4()}", status=404)


async def test_who_has_no_right_sees_neither_data_nor_that_it_exists(house: House) -> None:
    payout = await a_payout(house)
    unknown = uuid.uuid4()
    insurer = await house.come_in(INSURER)
    other_bank = await house.come_in("rcb-0001")
    operator = await house.come_in(OPERATOR)
    loan_id = next(each.loan_id for each in payout.instructions if each.loan_id)

    hidden = await other_bank.open(f"/loans/{loan_id}", status=404)
    assert hidden == await other_bank.open(f"/loans/{unknown}", status=404)
    assert hidden == await other_bank.open(f"/claims/{payout.claim_id}", status=404)
    assert hidden == await insurer.open("/parked", status=404)
    assert hidden == await insurer.open("/no-such-page", status=404)
    assert hidden == await operator.open(f"/loans/{loan_id}", status=404)
    menu = await operator.page.inner_text("body")
    assert payout.household_id not in menu
    await operator.open("/overview")
    links = await operator.page.locator(".menu a").all_inner_texts()
    assert "贷款" not in links
    assert "停放事件" in links
    await operator.shot("platform")


async def test_without_a_session_there_is_only_the_door(house: House) -> None:
    look = await house.window()

    for path in ("/overview", "/money", "/live", "/parked", "/me", f"/loans/{uuid.uuid4()}"):
        assert "登录" in await look.open(path)
        assert look.page.url.endswith("/enter")
    link = house.link(BANK)
    await look.page.goto(link, timeout=WAIT_MS)
    await look.page.click("button.primary")
    await look.page.wait_for_url("**/overview", timeout=WAIT_MS)
    again = await house.window()
    again.allowed = (403,)
    await again.page.goto(link, timeout=WAIT_MS)
    await again.page.click("button.primary")
    await expect(again.page.locator("[role=alert]")).to_be_visible(timeout=WAIT_MS)
    await look.page.click("form[action='/leave'] button")
    await look.page.wait_for_url("**/enter", timeout=WAIT_MS)
    await look.open("/overview")
    assert look.page.url.endswith("/enter")


async def test_a_form_without_its_token_does_nothing(house: House) -> None:
    look = await house.come_in(OPERATOR)

    answer = await look.page.context.request.post(
        f"{look.own}/parked/act", form={"service": "loans", "do": "replay", "csrf": "wrong"}
    )
    assert answer.status == 403
    foreign = await look.page.context.request.post(
        f"{look.own}/prefer", form={"language": "en"}, headers={"Origin": "http://elsewhere.test"}
    )
    assert foreign.status == 403


async def test_in_english_and_by_keyboard(house: House) -> None:
    look = await house.come_in(CENTRE, locale="en-GB")

    assert "Villages by non-performing ratio" in await look.text()
    assert await look.page.get_attribute("html", "lang") == "en"
    await look.page.keyboard.press("Tab")
    assert await look.page.evaluate("document.activeElement.className") == "skip"
    await look.page.keyboard.press("Enter")
    assert await look.page.evaluate("document.activeElement.id") == "main"
    unnamed = await look.page.evaluate(
        """() => [...document.querySelectorAll('a,button,input:not([type=hidden]),select')]
            .filter(e => !(e.innerText.trim() || e.getAttribute('aria-label') || e.labels?.length))
            .map(e => e.outerHTML)"""
    )
    assert unnamed == []
    await look.shot("overview-en")


async def test_events_come_as_they_happen_and_nothing_is_missed_on_the_way(house: House) -> None:
    port = int(house.stack.console_url.rsplit(":", 1)[1])
    async with Link(lambda: port) as wire:
        look = await house.come_in(CENTRE, url=f"http://127.0.0.1:{wire.port}")
        await look.open("/live?from=now&noun=households")
        await look.page.wait_for_selector(".live-mark.on", state="attached", timeout=WAIT_MS)
        count = look.page.locator("#live-count")
        await flag(house, 1)
        await expect(count).to_have_text("1", timeout=WAIT_MS)

        wire.is_down = True
        wire.cut()
        await expect(look.page.locator("#banner")).to_be_visible(timeout=WAIT_MS)
        assert "连接已中断" in await look.page.inner_text("#banner")
        await flag(house, 2)
        wire.is_down = False

        # What was said meanwhile comes, and what was told before does not come again.
        await expect(count).to_have_text("2", timeout=WAIT_MS)
        await expect(look.page.locator(".feed li")).to_have_count(2)
        assert "连接已中断" not in await look.page.inner_text("body")
        # The browser itself writes of the connection that was cut.
        await look.page.close()
        look.problems.clear()

    shown = await house.come_in(CENTRE)
    await shown.open("/live?from=beginning&noun=claims")
    await shown.page.wait_for_selector(".feed li", timeout=WAIT_MS)
    await shown.shot("live")


async def flag(house: House, number: int) -> None:
    """Something that happens in the registry, of which the centre's feed tells."""
    async with await house.client(CENTRE) as client:
        await client.call(
            areas_pb2_grpc.AreasServiceStub,
            "SetAreaFlag",
            areas_pb2.SetAreaFlagRequest(
                request_id=str(uuid.uuid4()),
                county_code=COUNTY,
                area_code=f"{COUNTY}101",
                flag=f"tried_{'once' if number == 1 else 'twice'}",
                set=True,
                valid_from=Date(year=2018, month=12, day=1),
                evidence=evidence_pb2.Evidence(
                    kind=evidence_pb2.EVIDENCE_KIND_SYSTEM, reference=f"console-{number}"
                ),
            ),
        )


async def test_an_institution_sees_how_it_stands(house: House) -> None:
    look = await house.come_in(BANK)

    assert "贷款余额" in await look.text()
    # A fund's balance is not a bank's to know, so neither is the picture of it.
    await expect(look.page.locator("#history canvas")).to_have_count(2, timeout=WAIT_MS)
    await look.open("/status")
    await look.shot("status")
    assert "证书到期" in await look.text()


async def test_programmes_in_plain_words_with_their_sources(house: House) -> None:
    look = await house.come_in(CENTRE)

    await look.open("/programmes")
    await look.page.locator("main table a").first.click()
    await look.page.wait_for_url(re.compile("/programmes/."), timeout=WAIT_MS)
    text = await look.text()
    assert "贷款条件公开" in text
    assert "LS18" in text
    await look.shot("programme")


async def test_everybody_reads_the_public_page_and_nobody_is_named(house: House) -> None:
    look = await house.window()

    text = await look.open("/public")
    assert "正在公示" in text
    await look.shot("public")
    paper = await look.page.pdf(format="A4")
    assert paper.startswith(b"%PDF")


async def test_a_person_reads_the_own_file(house: House) -> None:
    payout = await a_payout(house)
    async with await house.client(CENTRE) as client:
        answer = await client.call(
            households_pb2_grpc.HouseholdsServiceStub,
            "GetHousehold",
            households_pb2.GetHouseholdRequest(
                county_code=COUNTY, household_id=payout.household_id
            ),
        )
    look = await house.come_in("portal-0001", answer.household.members[0].person_id)

    assert look.page.url.endswith("/me")
    assert await look.page.locator(".menu a").all_inner_texts() == ["我的档案"]
    hidden = await look.open("/status", status=404)
    assert hidden == await look.open("/live", status=404)
    text = await look.open("/me")
    assert "我家的信用与贷款档案" in text
    assert "谁看过我的档案" in text
    await look.shot("my-file")


async def test_two_persons_pause_and_resume(house: House) -> None:
    first, second = await house.come_in(OPERATOR), await house.come_in(OPERATOR, f"{OPERATOR}-p2")

    await first.open("/hands")
    await first.page.select_option("#kind", "institution")
    await first.page.fill("#subject", "grp-0001")
    await first.page.fill("#reason", "演练：暂停担保集团")
    await first.page.click("button[value=pause]")
    await expect(first.page.locator("button[value=confirm]")).to_be_visible(timeout=WAIT_MS)
    await second.open("/hands")
    await second.page.click("button[value=confirm]")
    await expect(second.page.locator("button[value=resume]")).to_be_visible(timeout=WAIT_MS)
    await second.shot("hands")
    await second.page.fill("td input[name=reason]", "演练结束")
    await second.page.fill("td input[name=reason]", "演练结束，恢复")
    await second.page.click("button[value=resume]")
    await expect(second.page.locator("button[value=confirm]")).to_be_visible(timeout=WAIT_MS)
    await first.open("/hands")
    await first.page.click("button[value=confirm]")
    await expect(first.page.locator("button[value=confirm]")).to_have_count(0, timeout=WAIT_MS)


async def test_an_empty_county_renders(house: House) -> None:
    assert "尚未开业" in house.empty["/overview"]
    assert house.empty["/overview/history"] == "200"
    assert "没有贷款" in house.empty["/loans"]
    assert "还没有赔付或代偿" in house.empty["/money"]
    assert "没有事件停放" in house.empty["operator /parked"]


async def test_everything_parked_renders_a_page_at_a_time(house: House) -> None:
    await park(house, 600)
    try:
        look = await house.come_in(OPERATOR)
        await look.open("/parked")
        assert await look.page.locator("main tbody tr").count() == 50
        await look.shot("parked")
        await look.page.click("a[rel=next]")
        await look.page.wait_for_url(re.compile("token="), timeout=WAIT_MS)
        assert await look.page.locator("main tbody tr").count() == 50
        auditor = await house.come_in(AUDITOR)
        await auditor.open("/parked")
        assert await auditor.page.locator("button[value=replay]").count() == 0
    finally:
        await unpark(house)


async def park(house: House, events: int) -> None:
    """Events of as many payouts that nobody could take, as a broken handler would leave them."""
    connection = await asyncpg.connect(house.stack.postgres.superuser_dsn())
    try:
        await connection.executemany(
            """INSERT INTO loans.parked_event (event_id, event_type, aggregate_type, aggregate_id,
                   sequence, county_code, headers, payload, reason, attempts)
               VALUES ($1, $2, $3, $4, $5, $6, $7, '', 'LOAN_NOT_FOUND', 5)""",
            [
                (
                    each.event_id,
                    each.event_type,
                    each.aggregate_type,
                    each.aggregate_id,
                    each.sequence,
                    each.county_code,
                    json.dumps(cloudevents.headers(each, source="claims")),
                )
                for each in (an_event() for _ in range(events))
            ],
        )
    finally:
        await connection.close()


def an_event() -> Envelope:
    return Envelope(
        event_id=uuid.uuid4(),
        event_type="liandong.claims.v1.payout_authorised",
        aggregate_type="claims.payout",
        aggregate_id=str(uuid.uuid4()),
        sequence=1,
        county_code=COUNTY,
        business_date=date(2018, 12, 25),
        programme="",
        traceparent="",
        recorded_at=datetime(2018, 12, 25, tzinfo=UTC),
    )


async def unpark(house: House) -> None:
    connection = await asyncpg.connect(house.stack.postgres.superuser_dsn())
    try:
        await connection.execute("DELETE FROM loans.parked_event")
    finally:
        await connection.close()


async def test_no_window_wrote_an_error_or_asked_anybody_else(house: House) -> None:
    house.clean()
