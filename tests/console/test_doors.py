"""The console's doors without a platform: links, sessions, words, headers, forms."""

import re
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from gateway.console import links
from gateway.console.guard import POLICY, Guard
from gateway.console.links import Link
from gateway.console.pages.overview import band_of, month_ends
from gateway.console.sessions import Sessions
from gateway.console.wording import language_of, large_yuan, per_cent, yuan

TEMPLATES = Path(links.__file__).parent / "templates"
KEY = b"k" * 32


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def a_link(number: int = 1, until: int = 2_000) -> Link:
    return Link(f"link-{number}", "rcb-0001", "rcb-0001-p1", until)


def sessions(clock: Clock, *, most: int = 10) -> Sessions:
    return Sessions(most=most, lifetime=100, idle=50, clock=clock)


def test_a_link_names_an_institution_and_a_person() -> None:
    token = links.make(KEY, "rcb-0001", "rcb-0001-p1", now=100, seconds=60)

    link = links.read(KEY, token, now=160)

    assert link is not None
    assert (link.institution_id, link.person_id, link.until) == ("rcb-0001", "rcb-0001-p1", 160)


@pytest.mark.parametrize("spoiled", ["", "x", "a.b.c", "x" * 5_000])
def test_what_is_no_link_of_ours_opens_nothing(spoiled: str) -> None:
    assert links.read(KEY, spoiled, now=0) is None


def test_a_link_that_is_too_old_or_of_another_key_opens_nothing() -> None:
    token = links.make(KEY, "rcb-0001", "rcb-0001-p1", now=100, seconds=60)

    assert links.read(KEY, token, now=161) is None
    assert links.read(b"l" * 32, token, now=101) is None


def test_a_link_is_not_made_for_what_is_no_id() -> None:
    for institution, person in (("../x", "p1"), ("rcb-0001", "a b"), ("", "p1")):
        with pytest.raises(ValueError, match="not an id"):
            links.make(KEY, institution, person, now=0, seconds=60)


def test_the_key_is_made_once_and_readable_to_nobody_else(tmp_path: Path) -> None:
    first = links.key_at(tmp_path / "keys" / "link.key")

    assert links.key_at(tmp_path / "keys" / "link.key") == first
    assert (tmp_path / "keys" / "link.key").stat().st_mode & 0o077 == 0


def test_a_link_opens_once() -> None:
    here = sessions(Clock())

    assert here.begin(a_link()) is not None
    assert here.begin(a_link()) is None


def test_a_session_ends_when_it_is_old_or_idle() -> None:
    clock = Clock()
    here = sessions(clock)
    session = here.begin(a_link())
    assert session is not None
    for _ in range(2):
        clock.now += 45
        assert here.find(session.session_id) is session
    clock.now += 20

    assert here.find(session.session_id) is None

    idle = here.begin(a_link(2))
    assert idle is not None
    clock.now += 51
    assert here.find(idle.session_id) is None


def test_there_are_so_many_sessions_and_the_one_used_longest_ago_gives_way() -> None:
    clock = Clock()
    here = sessions(clock, most=2)
    made = []
    for number in range(3):
        clock.now += 1
        session = here.begin(a_link(number))
        assert session is not None
        made.append(session.session_id)

    assert [here.find(each) is not None for each in made] == [False, True, True]


def test_a_form_of_another_session_is_not_ours() -> None:
    here = sessions(Clock())
    first, second = here.begin(a_link(1)), here.begin(a_link(2))
    assert first is not None
    assert second is not None

    assert first.owns(first.csrf)
    assert not first.owns(second.csrf)
    assert not first.owns("")


def test_money_ratios_and_languages_as_people_read_them() -> None:
    assert yuan(-123_456_789) == "−1,234,567.89"
    assert large_yuan(4_997_168_717, "zh") == "4,997.17 万元"
    assert large_yuan(12_345_678_900_000, "zh") == "1,234.57 亿元"
    assert large_yuan(4_997_168_717, "en") == "¥49.97 m"
    assert per_cent(1, 3) == "33.33%"
    assert per_cent(1, 0) == "—"
    assert language_of(None, "en-GB,en;q=0.9") == "en"
    assert language_of(None, "") == "zh"
    assert language_of("zh", "en") == "zh"


def test_a_village_is_coloured_by_its_ratio() -> None:
    bands = [band_of(bad, 1_000_000) for bad in (0, 1, 10_000, 10_001, 50_000, 50_001)]

    assert bands == [0, 1, 1, 2, 3, 4]
    assert band_of(0, 0) == -1


def test_the_year_on_the_charts_ends_today() -> None:
    from datetime import date

    found = month_ends(date(2018, 3, 15), 3)

    assert found == [date(2018, 1, 31), date(2018, 2, 28), date(2018, 3, 15)]


async def asked(method: str, **headers: str) -> tuple[int, dict[str, str]]:
    """What the guard answers before a page that takes everything: status and headers."""
    told: list[Message] = []

    async def send(message: Message) -> None:
        told.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/enter", "headers": sent}
    await Guard(PlainTextResponse("taken"), secure=True)(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], found


async def test_a_form_that_is_too_long_or_says_no_length_is_not_read() -> None:
    statuses = [
        (await asked("POST", content_length="65536"))[0],
        (await asked("POST", content_length="65537"))[0],
        (await asked("POST", content_length="-1"))[0],
        (await asked("POST"))[0],
    ]

    assert statuses == [200, 413, 413, 413]


async def test_every_answer_carries_the_headers_and_nobody_keeps_it() -> None:
    _, headers = await asked("GET")

    assert headers["content-security-policy"] == POLICY
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" in headers


def test_no_page_carries_a_script_or_a_style_of_its_own() -> None:
    assert "unsafe" not in POLICY
    for template in sorted(TEMPLATES.glob("*.html")):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), template.name
        for script in re.findall(r"<script([^>]*)>", text):
            assert "src=" in script, template.name
        assert "|safe" not in text, template.name
        for form in re.findall(r"<form[^>]*method=\"post\"[^>]*>.*?</form>", text, re.DOTALL):
            free = 'action="/prefer"' in form or 'action="/enter"' in form
            assert free or 'name="csrf"' in form, (template.name, form)
