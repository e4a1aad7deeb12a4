"""Two counties with two lenders and two insurers each, on one platform: whom tests attack."""

import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import yaml

from deploy.local import places, processes
from deploy.local.stack import Shape, Stack
from deploy.nats import topology
from services.programmes.loader import Catalogue, load
from services.programmes.schema.deployment import InstitutionRole as Role
from tests import platforms
from tests.attack import leftovers
from tests.live import folder
from tests.live.county import SHORT_OF_ORGAN, County, Wish
from tests.live.folder import Place, institutions_path
from tests.live.paths.settlement import cover, covered_by
from tests.live.platform import Platform
from tests.live.setup import Setup

PROGRAMME = "hubei-yunyang-troika@2017"
STARTS_ON = date(2017, 2, 1)
YUAN = 100
COVER = "mishap"
PRINCIPAL_FEN = 10_000 * YUAN
LOSS_FEN = 4_000 * YUAN
SUM_INSURED_FEN = 100_000 * YUAN
NEXT_TOWN = 102
MIB = 1024 * 1024
FOLDER = "attack"
TRACE_PPM = 100_000

SECOND = {
    "insurer2": Role.INSURER,
    "village2": Role.VILLAGE_DEPARTMENT,
    "station2": Role.TOWNSHIP_STATION,
}
"""Beside those of the live rig: who shares a county with one of the same role."""
FAR = {"lender": "bank2", "village_department": "village2", "township_station": "station2"}
"""Who decides in the other town."""
ONE_OF_EACH = {
    role: role.value.replace("_", "-")
    for role in Role
    if role not in {Role.OPERATOR, *(Role(each) for each in folder.ROLES.values())}
}
"""Short names of the roles that no driver asks; every role has somebody in every county."""


def short_of(role: str) -> str:
    """The short name of the institution that plays a role in every county."""
    named = next((short for short, own in folder.ROLES.items() if own == role), "")
    return named or ONE_OF_EACH[Role(role)]


@dataclass
class World:
    """A platform, two counties on it, and what was made there."""

    platform: Platform
    first: County
    other: County
    spans: Path
    """Every span, as it was sent."""
    made: dict[str, dict[str, str]] = field(default_factory=dict)
    """By county what drivers may need again: loans, claims, payouts by a name."""
    said: list[bytes] = field(default_factory=list)
    """Every refusal that a test received: words and details as they came."""

    @property
    def stack(self) -> Stack:
        """The servers and processes below."""
        return self.platform.stack

    def counties(self) -> tuple[County, County]:
        """Both."""
        return self.first, self.other

    def heard(self, error: grpc.aio.AioRpcError) -> bytes:
        """A refusal on the wire, kept for the canaries' scan."""
        trailers = b"\n".join(
            value if isinstance(value, bytes) else value.encode()
            for _, value in error.trailing_metadata() or ()
        )
        said = f"{error.code().name} {error.details()}".encode() + b"\n" + trailers
        self.said.append(said)
        return said


def write(where: Path) -> tuple[Catalogue, list[Place]]:
    """The folder of two counties: the live rig's own, and one institution of every role."""
    values = covered_by([cover(COVER, ["bank", "household"], SUM_INSURED_FEN)], 43_500)
    more = (
        Setup(STARTS_ON, values, lenders=("bank", "bank2"), others=tuple(folder.ROLES)),
        Setup(STARTS_ON, values, lenders=("bank", "bank2"), others=tuple(folder.ROLES)),
    )
    case = {"id": "attack", "rule": "attack", "programme": PROGRAMME, "inputs": {}}
    wanted = folder.places((case, setup) for setup in more)
    _, wrong = folder.write(where, wanted)
    assert wrong == {}, wrong
    path = institutions_path(where)
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    for place in wanted:
        found["institutions"] += _others(place.county_code)
    path.write_text(yaml.safe_dump(found, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return load([where]), wanted


def _others(county: str) -> list[dict[str, Any]]:
    shorts = {**{short: role for role, short in ONE_OF_EACH.items()}, **SECOND}
    return [
        folder._institution(
            f"{short}-{county}",
            role.value,
            county,
            [f"{county}{NEXT_TOWN}"] if short in ("village2", "station2") else [county],
        )
        for short, role in shorts.items()
    ]


@asynccontextmanager
async def a_world(spans: Path) -> AsyncIterator[World]:
    """Build it once; its data are gone when all is over."""
    machine = places.find()
    with tempfile.TemporaryDirectory(prefix="liandong-attack-") as made:
        where = Path(made) / "counties"
        catalogue, wanted = write(where)
        data = machine.folder(f"{FOLDER}-{uuid4().hex[:12]}")
        shape = Shape(
            programme_folders=(where,),
            institutions_path=institutions_path(where),
            trace_ratio_ppm=TRACE_PPM,
            streams=topology.load(events_bytes_max=64 * MIB),
        )
        try:
            with leftovers.spans_whole(spans):
                async with platforms.running(data, shape) as stack:
                    platform = Platform(stack, catalogue)
                    first, other = (County(platform, place) for place in wanted)
                    world = World(platform, first, other, spans)
                    await build(world)
                    yield world
                    await platform.close()
        finally:
            await processes.remove_folder(data)


async def build(world: World) -> None:
    """Live a little in both counties, so that of every kind there is one to be stolen."""
    for county in world.counties():
        await county.open(villages=2, townships=(101, NEXT_TOWN), covers=())
        for short, town in (("insurer", 101), ("insurer2", NEXT_TOWN)):
            await _insure(county, short, f"{county.code}{town}")
        world.made[county.code] = await _live(county)


async def _insure(county: County, short: str, area: str) -> None:
    await county.ask(
        "claims.IssueMasterPolicy",
        short,
        insurer_id=county.institution(short),
        programme_id=county.programme_id,
        cover_id=COVER,
        area_code=area,
        from_date=county.today,
        until_date=county.today + timedelta(days=364),
    )


async def _live(county: County) -> dict[str, str]:
    """Loans of two banks in two towns, claims at two insurers, a loss at each bank."""
    near = [await county.household() for _ in range(5)]
    far = await county.household(county.village(township=NEXT_TOWN))
    await county.rate()
    made = {f"household_{number}": each for number, each in enumerate(near)}
    for number, lender in enumerate(("bank", "bank2", "bank", "bank2")):
        months = 12 if number < 2 else 1
        loan = await county.lend(Wish(near[number], PRINCIPAL_FEN, lender, months=months))
        made[f"loan_{lender}_{number}"] = loan.loan_id
    made["application_bank2"] = (await county.apply(Wish(near[4], PRINCIPAL_FEN, "bank2"))).loan_id
    made |= {"household_far": far, "loan_far": await _lend_far(county, far)}
    made |= await _lose(county, near, far)
    return made


async def _lend_far(county: County, household_id: str) -> str:
    """A loan in the other town, where another village department and another insurer are."""
    wish = Wish(household_id, PRINCIPAL_FEN, "bank2")
    asked = {**county.application(wish), "used_in_area": county.village(township=NEXT_TOWN)}
    loan_id = (await county.ask("loans.ApplyForLoan", "village2", **asked)).loan.loan_id
    posts: Counter[str] = Counter()
    for step in county.chain(wish.product_id):
        await county.settle()
        organ = str(step.organ)
        short = FAR.get(organ) or SHORT_OF_ORGAN[organ]
        posts[short] += 1
        item = {"loan_id": loan_id, "step": step.step, "approve": True, "evidence": uuid4().hex}
        await county._batch("loans.BatchDecideApplications", short, [item], post=posts[short])
    await county.settle()
    await county._batch("loans.BatchDisburseLoans", "bank2", [{"loan_id": loan_id}], post=3)
    await county.settle()
    return str(loan_id)


async def _lose(county: County, near: list[str], far: str) -> dict[str, str]:
    """Claims: paid, approved, open; and loans that are long overdue, compensated or not."""
    made: dict[str, str] = {}
    for name, household_id in (("approved", near[0]), ("open", near[1])):
        claim = await county.report_claim(household_id, COVER, LOSS_FEN)
        made[f"claim_{name}"] = claim.claim_id
    made["payout"] = (await county.approve_claim(made["claim_approved"])).payout_id
    await county._register_account(far)
    made["claim_far"] = (
        await county.ask(
            "claims.ReportClaim",
            "village2",
            household_id=far,
            cover_id=COVER,
            loss_date=county.today,
            cause="accident",
            assessed_fen=LOSS_FEN,
            documents=[uuid4().hex],
        )
    ).claim.claim_id
    await county.settle()
    return made
