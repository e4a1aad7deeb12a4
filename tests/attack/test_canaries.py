"""Ten thousand people who do not exist (two in CI): nothing of them is left but sealed."""

import base64
import hashlib
import logging
import os
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from deploy.local.household_file import import_file
from tests.attack import canaries, leftovers
from tests.attack.canaries import Person, Search
from tests.attack.world import World
from tests.live.county import BATCH_ITEMS, County
from tests.live.platform import must

log = logging.getLogger(__name__)
PERSON = next(canaries.people(1))
NUMBER = PERSON.identity_number


@pytest.mark.parametrize(
    "left",
    [
        f"no person {NUMBER} here",
        " ".join(NUMBER),
        f"{NUMBER[:6]} {NUMBER[6:14]} {NUMBER[14:]}",
        base64.b64encode(f"x{NUMBER}".encode()).decode(),
        base64.urlsafe_b64encode(f"xy{NUMBER}z".encode()).decode(),
        NUMBER.encode().hex(),
        hashlib.sha256(NUMBER.encode()).hexdigest(),
        hashlib.md5(PERSON.phone.encode(), usedforsecurity=False).hexdigest().upper(),
        base64.b64encode(hashlib.sha256(PERSON.account_number.encode()).digest()).decode(),
        f"tel:{PERSON.phone}",
        PERSON.account_number,
        f"户主 {PERSON.name} 已登记",
        PERSON.name.encode().hex(),
    ],
)
def test_the_search_finds_what_is_left(left: str) -> None:
    search = Search.of([PERSON])
    search.look("here", f"before {left} after".encode())
    assert search.hits


def test_the_search_finds_nobody_in_what_holds_nobody() -> None:
    search = Search.of([PERSON])
    text = f"{uuid4()} {hashlib.sha256(b'x').hexdigest()} 110105194912310021 王芳"
    search.look("here", text.encode())
    assert search.hits == []


async def refused(county: County, name: str, short: str, world: World, **values: Any) -> None:
    """A call that is not taken; what it says is kept for the search."""
    try:
        await county.ask(name, short, **values)
    except grpc.aio.AioRpcError as error:
        world.heard(error)
    else:
        raise AssertionError(f"{name} was taken")


async def accounts(county: County, everybody: list[Person], ids: dict[str, str]) -> None:
    """An account of each household's head."""
    heads = [each for each in everybody if each.relation == "户主"]
    for start in range(0, len(heads), BATCH_ITEMS):
        items = [
            {
                "household_id": ids[each.household_number],
                "bank_id": county.institution("bank"),
                "account_number": each.account_number,
                "account_name": each.name,
            }
            for each in heads[start : start + BATCH_ITEMS]
        ]
        paper = {"kind": 1, "reference": "archive/accounts"}
        answer = await county.ask(
            "households.BatchRegisterPayeeAccounts", "centre", items=items, evidence=paper
        )
        must(all(each.accepted for each in answer.verdicts), "accounts refused")


async def go_wrong(world: World, county: County, one: Person, two: Person) -> None:
    """Everything that may be refused about a person, in the fields where people stand."""
    village = county.village()

    def member(**changes: str) -> list[dict[str, str]]:
        whole = {"name": one.name, "identity_number": one.identity_number, "relation": "户主"}
        return [{**whole, **changes}]

    def household(members: list[dict[str, str]], **changes: object) -> dict[str, object]:
        number = f"W-{uuid4().hex[:8]}"
        return {
            "household_number": number,
            "area_code": village,
            "status": 1,
            "members": members,
            **changes,
        }

    wrong = (
        household(member()),
        household(member(identity_number=one.identity_number[:-1] + "?")),
        household(member(identity_number=" ".join(one.identity_number))),
        household(member(identity_number=one.identity_number + "\n")),
        household(member(identity_number=one.identity_number[:-1])),
        household(member(phone=one.phone * 4)),
        household(member(phone=f"+{one.phone}")),
        household(member(name=one.name * 40)),
        household(member(name=one.name + "\x00", identity_number=two.identity_number)),
        household(member(), area_code=f"{county.code}999999"),
        household(member() + member(identity_number=two.identity_number)),
    )
    for each in wrong:
        await refused(county, "households.RegisterHousehold", "centre", world, **each)
    queries = [
        {"identity_number": one.identity_number, "name": two.name},
        {"identity_number": one.identity_number[:-1] + "0", "name": one.name},
    ]
    for short in ("bank", "court"):
        await county.ask("households.ResolvePersons", short, queries=queries)
    await refused(
        county, "households.ResolvePersons", "auditor", world, queries=[*queries, *queries]
    )
    number = one.account_number
    for changes in (
        {"account_number": number * 3},
        {"account_number": number, "bank_id": "x" * 50},
    ):
        item = {"household_id": str(uuid4()), "bank_id": "b", "account_name": one.name, **changes}
        await refused(
            county,
            "households.BatchRegisterPayeeAccounts",
            "centre",
            world,
            items=[item],
            evidence={"kind": 1, "reference": "archive"},
        )


@pytest.mark.stack
@pytest.mark.timeout(600)
async def test_nothing_is_left_of_thousands_of_people(world: World, tmp_path: Path) -> None:
    county = world.first
    everybody = list(canaries.people())
    first, second = tmp_path / "people.csv", tmp_path / "again.csv"
    canaries.write(first, everybody, county.village(), county.today)
    client = world.platform.client(county.institution("centre"))
    report = await import_file(client, first, county.code, file_id=uuid4())
    must(len(report.household_ids) == len(everybody) // canaries.A_HOUSEHOLD, "lines are refused")
    await accounts(county, everybody, dict(report.household_ids))

    # Everybody once more, in other households: every line is refused.
    canaries.write(
        second,
        [_elsewhere(each, number) for number, each in enumerate(everybody[: len(everybody) // 5])],
        county.village(),
        county.today,
    )
    again = await import_file(client, second, county.code, file_id=uuid4())
    must(again.refused, "everybody may be in two households")
    await go_wrong(world, county, everybody[0], everybody[4])
    pid = world.stack.supervisor.pid("platform")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await county.ask("households.ListHouseholds", "centre", page_size=10)
    await county.settle()

    search = Search.of(everybody)
    for said in world.said:
        search.look("a refusal", said)
    async for place, piece in leftovers.of(world.stack, metrics=True, more=(world.spans,)):
        search.look(place, piece)
    log.info(
        "people=%d searched=%d hits=%d", len(everybody), search.bytes_searched, len(search.hits)
    )
    assert search.bytes_searched > 500 * len(everybody)
    assert search.hits == [], "\n".join(str(hit) for hit in search.hits[:20])


def _elsewhere(person: Person, number: int) -> Person:
    return Person(
        name=person.name,
        identity_number=person.identity_number,
        phone=person.phone,
        account_number=person.account_number,
        household_number=f"D-{number}",
        relation="户主",
    )
