"""A county with very many loans: every page comes within a bound, whatever it still adds up."""

import os
import time

import pytest

from tests.console import many_loans
from tests.console.house import FIGURES, WAIT_MS, House
from tests.lengths import LONG

COUNTY = "411224"
ASKED = os.environ.get("LIANDONG_CONSOLE_LOANS", "")
LOANS = int(ASKED or "20000")
pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not LONG and not ASKED, reason="two minutes: make console-long"),
]
PAGES = {
    "cfc-0001": (
        *("/overview", "/money", "/loans", "/loans?within=411224101", "/loans?state=settled"),
        *("/duties/tasks", "/duties/issues", "/duties/notices", "/duties/claims", "/programmes"),
        "/status",
    ),
    "psb-0001": ("/overview", "/loans", "/money", "/duties/tasks", "/status"),
    "ins-0001": ("/money", "/duties/claims", "/status"),
    "opr-0001": ("/overview", "/parked", "/hands", "/traces"),
    "aud-0001": ("/overview", "/loans", "/log", "/parked"),
}


async def test_every_page_renders_and_the_figures_come_by_themselves(house: House) -> None:
    written = await many_loans.write(house.stack.postgres.superuser_dsn(), COUNTY, LOANS)
    assert written >= LOANS
    slowest = 0.0
    for institution, paths in PAGES.items():
        look = await house.come_in(institution)
        for path in paths:
            began = time.monotonic()
            await look.open(path)
            slowest = max(slowest, time.monotonic() - began)
    FIGURES.update(loans=written, slowest_page_ms=round(slowest * 1_000))

    look = await house.come_in("cfc-0001")
    began = time.monotonic()
    await look.open("/overview")
    # Worked out behind the page, which asks again by itself.
    await look.page.wait_for_selector(".tiles", timeout=4 * WAIT_MS)
    FIGURES["figures_ms"] = round((time.monotonic() - began) * 1_000)
    assert await look.page.locator(".township li a").count() > 0
