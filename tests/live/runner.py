"""A run: cases to counties, counties to answers, answers held against what is expected."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from deploy.local.case_files import difference, read_cases
from tests.live import folder
from tests.live.county import County, said_by
from tests.live.folder import Place
from tests.live.paths import KNOWN_FAULTS, PATHS, WITHOUT
from tests.live.platform import Mismatch, Platform, running
from tests.live.setup import Case, Setup

GOLDEN = Path(__file__).parents[1] / "programmes" / "cases" / "golden.json"
AT_ONCE = 6
CASE_SECONDS_MAX = 600.0
"""Years of day closes take their time where others work on the machine too."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case: no path and why, or what is wrong with the services' answer."""

    case: Case
    without: str = ""
    wrong: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the services answered as the case says."""
        return not self.without and not self.wrong

    @property
    def known_fault(self) -> str:
        """Why it was expected to fail; empty for most."""
        return KNOWN_FAULTS.get(self.case["id"], "")

    def line(self) -> str:
        """For a reader."""
        name = f"{self.case['id']} {self.case['rule']}"
        if self.without:
            return f"  -   {name}: no RPC path: {self.without}"
        if self.wrong:
            fault = f" (known: {self.known_fault})" if self.known_fault else ""
            return f"FAIL  {name}: {self.wrong}{fault}"
        unsaid = [key for key in PATHS[self.case["rule"]].unsaid if key in self.case["expected"]]
        beside = f" (not said: {', '.join(unsaid)})" if unsaid else ""
        return f"ok    {name}{beside}, {self.seconds:.1f} s"


def reason_without(case: Case) -> str:
    """Why a case cannot be asked of the running services; empty when it can."""
    rule = case["rule"]
    path = PATHS.get(rule)
    if path is None:
        return WITHOUT.get(rule, "nobody has written a path for this rule")
    return path.reason_without(case)


def few(cases: Iterable[Case], each: int) -> list[Case]:
    """The short form: so many cases of each rule that has a path, and none that is heavy."""
    count: Counter[str] = Counter()
    chosen = []
    for case in cases:
        if reason_without(case) or PATHS[case["rule"]].heavy(case):
            continue
        count[case["rule"]] += 1
        if count[case["rule"]] <= each:
            chosen.append(case)
    return chosen


async def run(cases: Sequence[Case], say: Say = print) -> list[Outcome]:
    """Ask every case that has a path of one platform of its own."""
    without = {case["id"]: reason_without(case) for case in cases}
    asked = [case for case in cases if not without[case["id"]]]
    outcomes = [Outcome(case, without=without[case["id"]]) for case in cases if case not in asked]
    wanted = folder.places((case, _setup(case)) for case in asked)
    if wanted:
        with tempfile.TemporaryDirectory(prefix="liandong-cases-live-") as made:
            outcomes += await _ask(Path(made) / "counties", wanted, say)
    return sorted(outcomes, key=lambda outcome: str(outcome.case["id"]))


def _setup(case: Case) -> Setup:
    return PATHS[case["rule"]].setup(case)


async def _ask(where: Path, wanted: Sequence[Place], say: Say) -> list[Outcome]:
    began = time.monotonic()
    catalogue, wrong = folder.write(where, wanted)
    outcomes = [
        Outcome(place.case, wrong=wrong[place.county_code])
        for place in wanted
        if place.county_code in wrong
    ]
    places = [place for place in wanted if place.county_code not in wrong]
    gate = asyncio.Semaphore(AT_ONCE)
    async with running(where, catalogue) as platform:
        say(f"{len(places)} counties on one platform, up after {time.monotonic() - began:.0f} s")

        async def one(place: Place) -> Outcome:
            async with gate:
                outcome = await _drive(platform, place)
            say(outcome.line())
            return outcome

        # The golden cases go from small to large: the long ones begin first.
        outcomes += await asyncio.gather(*(one(place) for place in reversed(places)))
    return outcomes


async def _drive(platform: Platform, place: Place) -> Outcome:
    began = time.monotonic()
    try:
        async with asyncio.timeout(CASE_SECONDS_MAX):
            wrong = await _wrong(County(platform, place), place.case)
    except grpc.aio.AioRpcError as error:
        wrong = said_by(error)
    except (Mismatch, AssertionError, LookupError, TimeoutError) as error:
        wrong = f"{type(error).__name__}: {error}"
    finally:
        await platform.leave(place.county_code)
    return Outcome(place.case, wrong=wrong, seconds=time.monotonic() - began)


async def _wrong(county: County, case: Case) -> str:
    path = PATHS[case["rule"]]
    answer = dict(await path.drive(county, case))
    expected = {key: value for key, value in case["expected"].items() if key not in path.unsaid}
    return difference(answer, expected)


def golden() -> list[Case]:
    """The golden cases."""
    return read_cases(GOLDEN)


def summary(outcomes: Sequence[Outcome]) -> str:
    """The last line, read by machines."""
    passed = sum(outcome.passed for outcome in outcomes)
    without = sum(bool(outcome.without) for outcome in outcomes)
    failed = len(outcomes) - passed - without
    return f"{passed} passed, {failed} failed, {without} without an RPC path"
