"""A platform with a county's year on it, its console, and a browser to look with."""

import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Response, async_playwright

from deploy.demo.run import COUNTY_FOLDER, SEED
from deploy.demo.year import Year
from deploy.local import console as consoles
from deploy.local import places
from deploy.local.client import Institution
from deploy.local.places import DataFolder
from deploy.local.processes import remove_folder
from deploy.local.remote import Remote
from deploy.local.stack import Shape, Stack
from deploy.nats import topology
from services.programmes.loader import load
from tests import platforms

FOLDER = "console-test"
SCALE = 0.02
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
SHOTS = Path(__file__).parents[2] / "docs" / "guides" / "operators"
WIDTH, HEIGHT = 1440, 900
WAIT_MS = 60_000
BUSY = 503
BUSY_TIMES_MAX = 5

WHOLE = os.environ.get("LIANDONG_CONSOLE_TEST") == "1"
"""Under `make console-test`: Chromium must be there, and pictures are taken."""


def chromium() -> str:
    """The browser of this machine; empty for none."""
    return next((found for each in CHROMIUM if (found := shutil.which(each))), "")


def require_chromium() -> str:
    """The browser; without one the test is skipped by name, and `make console-test` fails."""
    found = chromium()
    if not found:
        what = f"Chromium is not on this machine: none of {', '.join(CHROMIUM)}"
        if WHOLE:
            pytest.fail(what)
        pytest.skip(what)
    return found


FIGURES: dict[str, int] = {}
"""What the last line says."""


@dataclass(slots=True)
class Look:
    """A person's browser window, and what went wrong in it."""

    page: Page
    own: str
    problems: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    bytes: int = 0
    allowed: tuple[int, ...] = ()
    """Statuses that the test expects; the browser writes a line about each."""

    def watch(self) -> None:
        """Note console errors, page errors, and requests to anywhere else."""
        # The browser says of which address it writes, not in the text but beside it.
        self.page.on(
            "console", lambda each: self._said(each.type, f"{each.text} {each.location['url']}")
        )
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, kind: str, text: str) -> None:
        expected = any(f"status of {code}" in text for code in self.allowed)
        if kind == "error" and not expected:
            self.problems.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.own, "data:", "blob:")):
            self.outside.append(url)

    async def open(self, path: str, *, status: int = 200) -> str:
        """Go to a page, expect its status, give its text."""
        # The browser writes its line a little later: what was expected once stays so.
        self.allowed = (*self.allowed, status, BUSY)
        FIGURES["pages"] = FIGURES.get("pages", 0) + 1
        answer = await self.patiently(
            await self.page.goto(self.own + path, wait_until="load", timeout=WAIT_MS)
        )
        assert answer.status == status, (path, answer.status, await self.text())
        return await self.text()

    async def patiently(self, answer: Response | None) -> Response:
        """A page that says that the platform is busy is asked for again, as a person would."""
        assert answer is not None
        for _ in range(BUSY_TIMES_MAX):
            if answer.status != BUSY:
                break
            again = await self.page.reload(wait_until="load", timeout=WAIT_MS)
            assert again is not None
            answer = again
        return answer

    async def text(self) -> str:
        """What a person reads on the page."""
        return await self.page.inner_text("main")

    async def shot(self, name: str) -> None:
        """A picture for the guide, under `make console-test`."""
        if WHOLE:
            SHOTS.mkdir(parents=True, exist_ok=True)
            await self.page.screenshot(path=SHOTS / f"{name}.png", full_page=False)


@dataclass(slots=True)
class House:
    """What the tests share."""

    stack: Stack
    folder: DataFolder
    remote: Remote
    browser: Browser
    year: Year
    empty: dict[str, str] = field(default_factory=dict)
    """What pages said before the county opened, by path."""
    looks: list[Look] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def link(self, institution: str, person: str = "", *, url: str = "") -> str:
        """A link to come in by."""
        return consoles.link(
            url or self.stack.console_url,
            consoles.key_path(self.folder),
            institution,
            person or f"{institution}-p1",
        )

    async def window(self, *, url: str = "", locale: str = "zh-CN") -> Look:
        """A new browser window that nobody is signed in at."""
        context = await self.browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, locale=locale
        )
        self.contexts.append(context)
        look = Look(await context.new_page(), url or self.stack.console_url)
        look.watch()
        self.looks.append(look)
        return look

    async def come_in(
        self, institution: str, person: str = "", *, url: str = "", locale: str = "zh-CN"
    ) -> Look:
        """A window at which a person is signed in."""
        look = await self.window(url=url, locale=locale)
        await look.page.goto(self.link(institution, person, url=url), timeout=WAIT_MS)
        # The browser may write of a busy platform before its answer is here.
        look.allowed = (*look.allowed, BUSY)
        async with look.page.expect_navigation(
            url=lambda at: urlparse(at).path != "/enter", timeout=WAIT_MS
        ) as landing:
            await look.page.click("button.primary")
        await look.patiently(await landing.value)
        return look

    async def client(self, institution: str) -> Institution:
        """An institution's own system."""
        return self.remote.institution(institution)

    async def shut(self) -> None:
        """Close all windows: an open one goes on asking, though nobody looks."""
        while self.contexts:
            await self.contexts.pop().close()

    def clean(self) -> None:
        """No window wrote an error or asked anybody else."""
        FIGURES["windows"] = len(self.looks)
        FIGURES["errors"] = sum(len(look.problems) for look in self.looks)
        FIGURES["outside_requests"] = sum(len(look.outside) for look in self.looks)
        problems = [(look.page.url, each) for look in self.looks for each in look.problems]
        outside = [each for look in self.looks for each in look.outside]
        assert not problems, problems
        assert not outside, outside


EMPTY_PATHS = (
    "/overview", "/overview/history", "/money", "/loans", "/duties/tasks", "/duties/issues",
    "/duties/notices", "/duties/claims", "/live", "/programmes", "/status",
)  # fmt: skip


async def look_around(house: House) -> None:
    """Every page of a county that has nothing yet."""
    look = await house.come_in("cfc-0001")
    for path in EMPTY_PATHS:
        if path == "/overview/history":
            answer = await look.page.goto(look.own + path, timeout=WAIT_MS)
            assert answer is not None
            house.empty[path] = str(answer.status)
        else:
            house.empty[path] = await look.open(path)
    operator = await house.come_in("opr-0001")
    for path in ("/overview", "/parked", "/hands"):
        house.empty[f"operator {path}"] = await operator.open(path)


@asynccontextmanager
async def a_house(work: Path) -> AsyncIterator[House]:
    """Start everything, live the year, stop everything."""
    browser_path = require_chromium()
    found = places.find()
    await remove_folder(found.folder(FOLDER))
    folder = found.folder(FOLDER)
    shape = Shape(
        programme_folders=(COUNTY_FOLDER,),
        institutions_path=COUNTY_FOLDER / "institutions.yaml",
        # Every trace is kept: a test cannot wait for the one in five hundred.
        trace_ratio_ppm=1_000_000,
        console=True,
    )
    async with platforms.running(folder, shape) as stack, async_playwright() as playwright:
        remote = Remote.read(folder)
        year = Year(
            remote.institution,
            load([COUNTY_FOLDER]),
            topology.load(),
            folder=work,
            seed=SEED,
            scale=SCALE,
            say=lambda _: None,
        )
        browser = await playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox"]
        )
        house = House(stack, folder, remote, browser, year)
        try:
            await look_around(house)
            began = time.monotonic()
            await year.live()
            FIGURES["year_seconds"] = round(time.monotonic() - began)
            yield house
        finally:
            await browser.close()
            await year.close()
