"""Breakers: villages whose loans went bad, and the township that stops with them."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from services.programmes.calendars import add_months
from services.programmes.schema.loans import OverdueNpl
from services.programmes.schema.values import known
from tests.live.county import County, Wish
from tests.live.paths.path import Answer, Path
from tests.live.platform import must
from tests.live.setup import Case, Setup

STARTS_ON = date(2018, 3, 5)
LOAN_FEN_MAX = 5_000_000
GOOD_MONTHS = 12


def setup(_: Case) -> Setup:
    """The programme states its own thresholds."""
    return Setup(STARTS_ON)


def parts(whole_fen: int) -> list[int]:
    """An amount in loans that the product allows."""
    full, rest = divmod(whole_fen, LOAN_FEN_MAX)
    return [LOAN_FEN_MAX] * full + ([rest] if rest else [])


async def lend_in(county: County, wanted: Sequence[tuple[str, int, int]]) -> None:
    """A household and a loan for each village, amount and term; one household where there is 0."""
    villages = [village for village, _, _ in wanted]
    households = await county.households(villages)
    await county.rate()
    wishes = [
        Wish(household, amount_fen, months=months, used_in_area=village)
        for household, (village, amount_fen, months) in zip(households, wanted, strict=True)
        if amount_fen
    ]
    await county.lend_all(wishes)


async def until_bad(county: County, months: int) -> None:
    """Close the day on which the loans of so many months become non-performing."""
    npl = known(county.terms.loans.npl)
    must(isinstance(npl, OverdueNpl), "the programme does not count overdue days")
    assert isinstance(npl, OverdueNpl)
    due = add_months(STARTS_ON, months)
    await county.advance(due + timedelta(days=npl.more_than_days + 2))


async def tripped(county: County, scope: str) -> set[str]:
    """The areas of a scope where lending has stopped."""
    answer = await county.ask("loans.ListBreakers", "centre", page_size=500)
    return {each.scope_id for each in answer.breakers if each.scope == scope}


async def circuit(county: County, case: Case) -> Answer:
    """The case's balances; then village after village goes bad until the township stops."""
    given: Sequence[Mapping[str, Any]] = case["inputs"]["villages"]
    await county.open(villages=len(given))
    codes = {each["id"]: county.village(place) for place, each in enumerate(given)}
    # A village that has lent and has nothing bad goes bad next, a month later.
    next_bad = next(e["id"] for e in given if e["outstanding_fen"] and not e["npl_fen"])
    wanted: list[tuple[str, int, int]] = []
    for each in given:
        village, good = codes[each["id"]], each["outstanding_fen"] - each["npl_fen"]
        months = 2 if each["id"] == next_bad else GOOD_MONTHS
        wanted += [(village, amount_fen, 1) for amount_fen in parts(each["npl_fen"])]
        wanted += [(village, amount_fen, months) for amount_fen in parts(good)]
        if not each["outstanding_fen"]:
            wanted.append((village, 0, 0))
    await lend_in(county, wanted)
    await until_bad(county, 1)
    villages, townships = await tripped(county, "village"), await tripped(county, "township")
    await until_bad(county, 2)
    must(await tripped(county, "township"), "the township does not stop with one village more")
    return {
        "tripped_villages": [name for name, code in codes.items() if code in villages],
        "township_tripped": bool(townships),
        "villages_needed": len(await tripped(county, "village")),
    }


async def township(county: County, case: Case) -> Answer:
    """As many villages go bad as the township bears, then one more."""
    given, needed = case["inputs"], case["expected"]["villages_needed"]
    await county.open(villages=given["total_villages"])
    wanted = [
        (county.village(place), 1_000_000 if place < needed else 0, 1 if place < needed - 1 else 2)
        for place in range(given["total_villages"])
    ]
    await lend_in(county, wanted)
    seen: dict[int, bool] = {}
    for months in (1, 2):
        await until_bad(county, months)
        seen[len(await tripped(county, "village"))] = bool(await tripped(county, "township"))
    must(given["tripped_villages"] in seen, f"villages tripped: {list(seen)}")
    stopped = [count for count, stops in seen.items() if stops]
    return {
        "tripped": seen[given["tripped_villages"]],
        "villages_needed": min(stopped) if stopped else None,
    }


PATHS: Mapping[str, Path] = {
    "monitoring.circuit_breaker": Path(setup, circuit),
    "monitoring.township_breaker": Path(setup, township),
}
