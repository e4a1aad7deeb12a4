"""Ready-made lines and chunks of household files."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from uuid import UUID, uuid5

from liandong.households.v1 import households_pb2 as pb

from deploy.demo import generator
from services.households.model import Area, AreaLevel, Line

COUNTY = "411224"
VILLAGE = "411224101201"
TODAY = date(2018, 1, 1)
SEED = 20180305
SCALE = 0.02

_SPACE = UUID("0188c1e0-0000-7000-8000-000000000000")


def an_identity(sequence: int = 901, born: str = "19800101") -> str:
    """A right identity number; each sequence is another person's."""
    return generator.identity_number(born, sequence)


def a_line(number: int = 2, /, **columns: str) -> Line:
    """A right line of a head; name the columns that differ."""
    right = Line(
        line_number=number,
        household_number="4112241012010001",
        village_code=VILLAGE,
        relation="户主",
        name="王芳",
        identity_number=an_identity(),
        phone="15412345678",
        registration_status="建档立卡贫困户",
        honour="",
        labour="普通劳动力",
        registered_on="2016-03-01",
        unreadable="",
    )
    return Line(**{**right._asdict(), **columns})


def a_family(count: int, *, number: str = "4112241012010001", first: int = 901) -> list[Line]:
    """A head and sons."""
    return [
        a_line(
            2 + place,
            household_number=number,
            relation="子" if place else "户主",
            identity_number=an_identity(first + 2 * place, "20050101" if place else "19800101"),
        )
        for place in range(count)
    ]


def to_proto(line: Line) -> pb.HouseholdLine:
    return pb.HouseholdLine(**line._asdict())


def file_lines(seed: int = SEED, scale: float = SCALE) -> Iterator[pb.HouseholdLine]:
    """The demo's file as its reader sends it; a line that is cut short says so."""
    number = 2
    for row in generator.generate_households(seed, scale):
        cut = "" if len(row) == len(generator.COLUMNS) else f"{len(row)} columns"
        yield pb.HouseholdLine(line_number=number, unreadable=cut, **row)
        number += 1 + sum(value.count("\n") for value in row.values())


def chunks(
    lines: Iterable[pb.HouseholdLine], *, size: int, dry_run: bool = False
) -> list[pb.ImportHouseholdsRequest]:
    """Cut a file between households; each chunk's id follows from its place."""
    groups: list[list[pb.HouseholdLine]] = [[]]
    for line in lines:
        last = groups[-1]
        if len(last) >= size and line.household_number != last[-1].household_number:
            groups.append([])
        groups[-1].append(line)
    return [a_chunk(group, place, dry_run=dry_run) for place, group in enumerate(groups)]


def a_chunk(
    lines: Sequence[pb.HouseholdLine], place: int = 0, *, dry_run: bool = False
) -> pb.ImportHouseholdsRequest:
    return pb.ImportHouseholdsRequest(
        request_id=str(uuid5(_SPACE, str(place))), county_code=COUNTY, lines=lines, dry_run=dry_run
    )


def demo_areas(seed: int = SEED, scale: float = SCALE) -> list[Area]:
    return [
        Area(area.code, area.name, AreaLevel(area.level)) for area in generator.areas(seed, scale)
    ]
