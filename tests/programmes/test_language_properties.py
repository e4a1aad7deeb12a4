"""Which pack holds for a county on a date: total, without overlap, and a pure function."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.errors import NotFound
from services.programmes.assemble import assemble
from services.programmes.loader import Catalogue, PackErrors, load, load_texts
from services.programmes.schema.deployment import AdoptionEntry
from services.programmes.schema.pack import split_ref
from services.programmes.yaml_text import parse
from tests.programmes.county_texts import INSTITUTIONS, OVERLAY, PACK

COUNTY, OTHER = "990101", "990102"
PARTIES = "parties: {county_fund: fin-1, bank: rcb-1, village_fund: fin-1}"
FIRST = date(2020, 1, 1)
SECOND_STARTS, SECOND_ENDS = date(2021, 1, 1), date(2022, 12, 31)

SECOND = f"""
programme:
  id: plain
  version: "2"
  extends: plain@1
  supersedes: plain@1
  effective_from: {SECOND_STARTS}
  effective_to: {SECOND_ENDS}
  title: {{zh: 示例二, en: Plain two}}
"""
# Another programme beside it: what is adopted of one never decides for the other.
BESIDE = PACK.replace("  id: plain\n", "  id: beside\n", 1)

PACKS = [
    parse(file, text)
    for file, text in {
        "plain@1.yaml": PACK,
        "plain@2.yaml": SECOND,
        "beside@1.yaml": BESIDE,
        "overlay.yaml": OVERLAY,
        "institutions.yaml": INSTITUTIONS,
    }.items()
]
EFFECTIVE = {
    "plain@1": (FIRST, date.max),
    "plain@1:own": (FIRST, date.max),
    "plain@2": (SECOND_STARTS, SECOND_ENDS),
    "beside@1": (FIRST, date.max),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an adoption file as somebody may write it."""

    ref: str
    start: date
    end: date | None

    @property
    def programme_id(self) -> str:
        return split_ref(self.ref)[0]

    @property
    def last(self) -> date:
        return self.end or date.max

    def holds(self, on: date) -> bool:
        return self.start <= on <= self.last


DAYS = st.dates(date(2019, 11, 1), date(2023, 2, 28))
NEAR = st.sampled_from(
    [
        edge + timedelta(days=step)
        for edge in (FIRST, SECOND_STARTS, SECOND_ENDS)
        for step in (-1, 0, 1)
    ]
)
EDGES = st.one_of(DAYS, NEAR)
ENTRIES = st.lists(
    st.builds(Entry, st.sampled_from(sorted(EFFECTIVE)), EDGES, st.none() | EDGES), max_size=4
)


@st.composite
def chains(draw: st.DrawFn) -> list[Entry]:
    """Entries of one programme that follow each other, some with gaps between them."""
    cuts = sorted(draw(st.lists(DAYS, min_size=1, max_size=5, unique=True)))
    made = []
    for start, after in itertools.zip_longest(cuts, cuts[1:]):
        end = after - timedelta(days=draw(st.sampled_from([1, 1, 9]))) if after else None
        if start >= FIRST and (end is None or end >= start):
            made.append(Entry(draw(st.sampled_from(["plain@1", "plain@1:own"])), start, end))
    return made


def adoption_text(entries: Sequence[Entry], county: str = COUNTY) -> str:
    lines = []
    for each in entries:
        end = f", to: {each.end}" if each.end else ""
        lines.append(f"    - {{programme: {each.ref}, from: {each.start}{end}, {PARTIES}}}")
    said = "\n".join(["  entries:", *lines]) if lines else "  entries: []"
    return f'adoption:\n  county: "{county}"\n{said}\n'


def catalogue(entries: Sequence[Entry]) -> Catalogue:
    """The county's catalogue, or the refusal of its file."""
    made = assemble([*PACKS, parse("adoption.yaml", adoption_text(entries))], [])
    return Catalogue(
        packs=made.packs,
        conditioned=made.conditioned,
        overlaid=made.overlaid,
        adopted=made.adopted,
        institutions=made.institutions,
        calendar=made.calendar,
        origins=made.origins,
    )


def is_sound(entries: Sequence[Entry]) -> bool:
    """What a county may write, said again in other words."""
    for each in entries:
        first, last = EFFECTIVE[each.ref]
        if each.last < each.start or each.start < first or each.last > last:
            return False
    for one, other in itertools.combinations(entries, 2):
        both = max(one.start, other.start) <= min(one.last, other.last)
        if one.programme_id == other.programme_id and both:
            return False
    return True


def edges(entries: Sequence[Entry]) -> list[date]:
    """The days around every change, where a slip would show."""
    days = [day for each in entries for day in (each.start, each.end) if day is not None]
    return [day + timedelta(days=step) for day in days for step in (-1, 0, 1)]


def held(found: Catalogue, programme_id: str, on: date) -> str | None:
    try:
        return found.in_force(COUNTY, programme_id, on)
    except NotFound as refused:
        if refused.reason != "PROGRAMME_NOT_ADOPTED":
            raise
        return None


def check(found: Catalogue, entries: Sequence[Entry], days: Sequence[date]) -> None:
    """On every day at most one version of a programme holds, and it is the one written down."""
    for on, programme_id in itertools.product(days, ("plain", "beside")):
        written = [e.ref for e in entries if e.programme_id == programme_id and e.holds(on)]
        assert len(written) <= 1
        assert held(found, programme_id, on) == next(iter(written), None)
        own = [
            entry.programme
            for entry in found.adoptions(COUNTY, on)
            if split_ref(entry.programme)[0] == programme_id
        ]
        assert own == written
        for ref in written:
            assert found.terms(COUNTY, ref).ref == ref
            assert found.parties(COUNTY, ref)["bank"] == ("rcb-1",)


@given(ENTRIES, st.lists(EDGES, max_size=5))
def test_an_adoption_is_refused_or_resolves_every_day_to_the_one_version_it_names(
    entries: list[Entry], days: list[date]
) -> None:
    if not is_sound(entries):
        with pytest.raises(PackErrors) as refused:
            catalogue(entries)
        for problem in refused.value.problems:
            assert problem.path.startswith("adoption.entries[")
            assert problem.rule
        return

    check(catalogue(entries), entries, [*days, *edges(entries)])


@settings(max_examples=50, deadline=None)
@given(chains(), st.lists(EDGES, max_size=5))
def test_versions_that_follow_each_other_are_accepted_and_leave_no_day_out(
    entries: list[Entry], days: list[date]
) -> None:
    assert is_sound(entries)

    check(catalogue(entries), entries, [*days, *edges(entries)])


@settings(max_examples=50, deadline=None)
@given(chains(), st.lists(EDGES, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_what_holds_depends_on_nothing_but_county_programme_and_date(
    entries: list[Entry], days: list[date], order: random.Random
) -> None:
    shuffled = list(entries)
    order.shuffle(shuffled)
    one, other = catalogue(entries), catalogue(shuffled)
    asked = [*days, *edges(entries)]
    answers = [held(one, "plain", on) for on in asked]

    # Neither the order of the lines nor what was asked before, nor how often, says anything.
    order.shuffle(asked_again := list(zip(asked, answers, strict=True)))
    for on, answer in asked_again:
        assert held(one, "plain", on) == held(other, "plain", on) == answer
        assert one.adoptions(OTHER, on) == ()


@given(st.permutations(PACKS))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_files_says_nothing(files: Sequence[object]) -> None:
    text = parse("adoption.yaml", adoption_text([Entry("plain@1:own", FIRST, None)]))
    ordered = [text, *(each for each in files if isinstance(each, type(text)))]

    made = assemble(ordered, [])
    plain = assemble([*PACKS, text], [])

    assert made.packs == plain.packs
    assert made.overlaid == plain.overlaid
    assert made.adopted == plain.adopted


def test_another_countys_adoption_says_nothing_of_this_one() -> None:
    texts = {
        "plain@1.yaml": PACK,
        "institutions.yaml": INSTITUTIONS,
        "one.yaml": adoption_text([Entry("plain@1", FIRST, None)]),
        "two.yaml": adoption_text([Entry("plain@1", SECOND_STARTS, None)], OTHER),
    }

    found = load_texts(texts)

    assert found.in_force(COUNTY, "plain", FIRST) == "plain@1"
    assert found.adoptions(OTHER, FIRST) == ()
    assert isinstance(found.adoption(OTHER, "plain", SECOND_STARTS), AdoptionEntry)


def test_the_versions_of_every_packaged_programme_leave_no_day_out() -> None:
    """From the first version of a programme in an area on, every day has exactly one."""
    packs = load().packs.values()
    followed: dict[tuple[str, str | None], list[tuple[date, date]]] = {}
    for pack in packs:
        header = pack.programme
        span = (header.effective_from, header.effective_to or date.max)
        followed.setdefault((header.id, header.area), []).append(span)

    for spans in followed.values():
        spans.sort()
        assert spans[-1][1] == date.max
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert end + timedelta(days=1) == start
