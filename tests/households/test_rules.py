"""The registry's rules: identity numbers, families, masks."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo import generator
from deploy.demo.people import LABOUR, RELATIONS
from services.households.model import (
    Area,
    AreaLevel,
    Entry,
    Honour,
    Known,
    Line,
    Person,
    Refusal,
    RegistrationStatus,
    Relation,
)
from services.households.rules import registration as rules
from services.kernel.ids import new_id
from tests.households.builders import (
    COUNTY,
    SCALE,
    SEED,
    TODAY,
    VILLAGE,
    a_family,
    a_line,
    an_identity,
)

NOTHING = Known(
    areas=frozenset({VILLAGE, "411224101202"}),
    areas_of_caller=frozenset({VILLAGE}),
    household_numbers=frozenset(),
    identity_numbers=frozenset(),
)
births = st.dates(date(1900, 1, 1), TODAY).map(lambda day: f"{day:%Y%m%d}")


def entries_of(lines: list[Line]) -> list[Entry]:
    read = [rules.read_line(line, TODAY) for line in lines]
    entries = [entry for entry in read if isinstance(entry, Entry)]
    assert len(entries) == len(lines), read
    return entries


def reasons(refusals: list[Refusal]) -> list[tuple[int, str, str]]:
    return [(each.line_number, each.column, each.reason) for each in refusals]


# --- identity numbers ---------------------------------------------------------------------------


@given(births, st.integers(min_value=0, max_value=999))
def test_a_right_identity_number_passes(born: str, sequence: int) -> None:
    assert rules.identity_fault(an_identity(sequence, born), TODAY) == ""


@given(births, st.integers(0, 999), st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_never_passes(born: str, sequence: int, at: int, more: int) -> None:
    right = an_identity(sequence, born)
    digit = str((int(right[at]) + more) % 10)

    assert rules.identity_fault(right[:at] + digit + right[at + 1 :], TODAY) != ""


@given(st.text(max_size=40))
def test_any_text_gets_a_verdict_and_only_ascii_can_pass(text: str) -> None:
    fault = rules.identity_fault(text, TODAY)

    assert fault or (text.isascii() and len(text) == 18)
    assert fault == "" or fault in rules.RULES


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "IDENTITY_MISSING"),
        ("  ", "IDENTITY_MISSING"),
        (an_identity()[:17], "IDENTITY_MALFORMED"),
        (an_identity() + "\n", "IDENTITY_MALFORMED"),
        (" " + an_identity(), "IDENTITY_MALFORMED"),
        (an_identity().translate(generator.FULL_WIDTH), "IDENTITY_MALFORMED"),
        ("١" * 18, "IDENTITY_MALFORMED"),
        (an_identity() + "\x00", "IDENTITY_MALFORMED"),
        ("11010519491231002X", ""),
        ("11010519491231002x", "IDENTITY_MALFORMED"),
        ("11010519491231002Х", "IDENTITY_MALFORMED"),
        (an_identity(900, "19830230"), "IDENTITY_BIRTH_DATE"),
        (an_identity(900, "18991231"), "IDENTITY_BIRTH_DATE"),
        (an_identity(900, "20180102"), "IDENTITY_BIRTH_DATE"),
        (an_identity(900, "20180101"), ""),
    ],
)
def test_what_is_no_identity_number_says_why(value: str, reason: str) -> None:
    assert rules.identity_fault(value, TODAY) == reason


# --- lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("household_number", " ", "HOUSEHOLD_NUMBER_MALFORMED"),
        ("household_number", "a\x00b", "HOUSEHOLD_NUMBER_MALFORMED"),
        ("household_number", "1" * 41, "HOUSEHOLD_NUMBER_MALFORMED"),
        ("household_number", an_identity(), "HOUSEHOLD_NUMBER_IS_IDENTITY"),
        ("village_code", "41122410120", "VILLAGE_UNKNOWN"),
        ("village_code", VILLAGE + "\n", "VILLAGE_UNKNOWN"),
        ("name", "  ", "NAME_MISSING"),
        ("name", "王\x1f芳", "NAME_MALFORMED"),
        ("name", "王" * 61, "NAME_MALFORMED"),
        ("relation", "长子", "RELATION_UNKNOWN"),
        ("registered_on", "2015-02-30", "DATE_MALFORMED"),
        ("registered_on", "20160931", "DATE_MALFORMED"),
        ("registered_on", "2016-W01-1", "DATE_MALFORMED"),
        ("registered_on", "1899-12-31", "DATE_MALFORMED"),
        ("registered_on", "", "DATE_MALFORMED"),
        ("registered_on", "2018-01-02", "DATE_IN_FUTURE"),
        ("registration_status", "", "STATUS_UNKNOWN"),
        ("registration_status", "清退户", "STATUS_UNKNOWN"),
        ("registration_status", "delisted", "STATUS_UNKNOWN"),
        ("honour", "劳模", "HONOUR_UNKNOWN"),
        ("labour", "劳动力", "LABOUR_UNKNOWN"),
        ("phone", "无", "PHONE_MALFORMED"),
    ],
)
def test_a_wrong_column_is_named(column: str, value: str, reason: str) -> None:
    refusal = rules.read_line(a_line(2, **{column: value}), TODAY)

    assert isinstance(refusal, Refusal)
    assert (refusal.line_number, refusal.column, refusal.reason) == (2, column, reason)


def test_a_line_that_could_not_be_read_is_refused_without_its_text() -> None:
    refusal = rules.read_line(a_line(unreadable="王芳 has nine fields"), TODAY)
    short = a_line(identity_number="", registered_on="", unreadable="4 columns")

    assert refusal == Refusal(2, "", "", "LINE_UNREADABLE")
    assert rules.read_line(short, TODAY) == Refusal(2, "identity_number", "", "LINE_UNREADABLE")


def test_every_word_of_the_registry_is_read() -> None:
    for relation in RELATIONS:
        assert isinstance(rules.read_line(a_line(relation=relation), TODAY), Entry)
    for labour in (*LABOUR, ""):
        assert isinstance(rules.read_line(a_line(labour=labour), TODAY), Entry)
    for word, status in rules.STATUS_WORDS.items():
        (entry,) = entries_of([a_line(registration_status=word)])
        assert entry.status is status
    for word, honour in rules.HONOUR_WORDS.items():
        (entry,) = entries_of([a_line(honour=word)])
        assert entry.honour is honour


def test_every_reason_has_its_rule_in_both_languages() -> None:
    assert all(rule.en and not rule.zh.isascii() for rule in rules.RULES.values())


# --- families -----------------------------------------------------------------------------------


def test_a_family_lands_head_first() -> None:
    head, *sons = a_family(3)

    drafts, refusals = rules.decide(entries_of([*sons, head]), NOTHING)

    assert refusals == []
    assert [entry.line for entry in drafts[0].entries] == [head, *sons]


def test_a_wrong_member_does_not_sink_its_household() -> None:
    lines = a_family(4)
    lines[2] = lines[2]._replace(identity_number=lines[0].identity_number)

    drafts, refusals = rules.decide(entries_of(lines), NOTHING)

    assert len(drafts[0].entries) == 3
    assert reasons(refusals) == [(4, "identity_number", "DUPLICATE_LINE")]


def test_without_a_head_every_line_is_refused() -> None:
    lines = a_family(3)[1:]

    drafts, refusals = rules.decide(entries_of(lines), NOTHING)

    assert drafts == []
    assert reasons(refusals) == [
        (3, "household_number", "HEAD_MISSING"),
        (4, "household_number", "HEAD_MISSING"),
    ]


def test_a_refused_household_claims_nobody() -> None:
    headless = [a_line(9, household_number="A", relation="子")]
    later = a_family(1, number="B")

    drafts, refusals = rules.decide(entries_of([*headless, *later]), NOTHING)

    assert [draft.household_number for draft in drafts] == ["B"]
    assert reasons(refusals) == [(9, "household_number", "HEAD_MISSING")]


def test_of_two_heads_and_of_two_households_the_first_stands() -> None:
    lines = a_family(2)
    lines += [a_line(7, identity_number=an_identity(950))]
    lines += [
        a_line(8, household_number="B", identity_number=an_identity(960)),
        a_line(9, household_number="B", relation="女", identity_number=lines[1].identity_number),
    ]

    drafts, refusals = rules.decide(entries_of(lines), NOTHING)

    assert [len(draft.entries) for draft in drafts] == [2, 1]
    assert reasons(refusals) == [
        (7, "relation", "SECOND_HEAD"),
        (9, "identity_number", "MEMBER_ELSEWHERE"),
    ]


def test_what_the_registry_knows_is_refused() -> None:
    known = Known(
        areas=NOTHING.areas,
        areas_of_caller=NOTHING.areas_of_caller,
        household_numbers=frozenset({"A"}),
        identity_numbers=frozenset({an_identity(950)}),
    )
    lines = [
        a_line(2, household_number="A"),
        a_line(3, household_number="B", identity_number=an_identity(950)),
        a_line(4, household_number="C", village_code="411224101202"),
        a_line(5, household_number="D", village_code="411224101999"),
    ]

    drafts, refusals = rules.decide(entries_of(lines), known)

    assert drafts == []
    assert reasons(refusals) == [
        (2, "household_number", "HOUSEHOLD_EXISTS"),
        (3, "identity_number", "MEMBER_ELSEWHERE"),
        (4, "village_code", "AREA_NOT_YOURS"),
        (5, "village_code", "VILLAGE_UNKNOWN"),
    ]


def test_members_follow_their_head() -> None:
    lines = a_family(5)
    known = Known(NOTHING.areas, NOTHING.areas, frozenset(), frozenset())
    lines[1] = lines[1]._replace(village_code="411224101202")
    lines[2] = lines[2]._replace(registration_status="非贫困户")
    lines[3] = lines[3]._replace(honour="诚信户")
    lines[4] = lines[4]._replace(registration_status="", registered_on="2017-01-01")

    drafts, refusals = rules.decide(entries_of(lines), known)

    assert len(drafts[0].entries) == 2
    assert drafts[0].head.status is RegistrationStatus.REGISTERED_POOR
    assert reasons(refusals) == [
        (3, "village_code", "VILLAGE_DIFFERS"),
        (4, "registration_status", "STATUS_DIFFERS"),
        (5, "honour", "HONOUR_DIFFERS"),
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ABC"),
            st.sampled_from(("配偶", "子", "女", "父", "孙子")),
            st.integers(900, 912),
            st.sampled_from(("19300101", "19780101", "20050101")),
            st.sampled_from(("", "非贫困户", "建档立卡贫困户")),
            st.sampled_from((VILLAGE, VILLAGE, VILLAGE, "411224101202")),
        ),
        max_size=14,
    )
)
def test_where_the_head_stands_in_its_household_changes_no_verdict(
    rows: list[tuple[str, str, int, str, str, str]],
) -> None:
    # A household that is right and begins with its head is taken at a look, any other by the rule.
    heads = [a_line(100 + at, household_number=n) for at, n in enumerate("ABC")]
    heads = [
        head._replace(identity_number=an_identity(950 + 2 * at)) for at, head in enumerate(heads)
    ]
    others = [
        a_line(
            2 + at,
            household_number=number,
            relation=relation,
            identity_number=an_identity(person, born),
            registration_status=status,
            village_code=village,
        )
        for at, (number, relation, person, born, status, village) in enumerate(rows)
    ]
    others.sort(key=lambda line: line.household_number)
    groups = [[each for each in others if each.household_number == n] for n in "ABC"]
    first = [line for head, group in zip(heads, groups, strict=True) for line in (head, *group)]
    last = [line for head, group in zip(heads, groups, strict=True) for line in (*group, head)]

    looked, refused = rules.decide(entries_of(first), NOTHING)
    ruled, as_well = rules.decide(entries_of(last), NOTHING)

    assert looked == ruled
    assert sorted(reasons(refused)) == sorted(reasons(as_well))


def test_a_household_has_a_bound() -> None:
    drafts, refusals = rules.decide(entries_of(a_family(rules.PEOPLE_MAX + 2)), NOTHING)

    assert len(drafts[0].entries) == rules.PEOPLE_MAX
    assert [each.reason for each in refusals] == ["HOUSEHOLD_TOO_LARGE"] * 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ABC"), st.sampled_from(("户主", "子", "女")), st.integers(900, 906)
        ),
        max_size=25,
    )
)
def test_every_line_lands_once_or_is_refused_once(rows: list[tuple[str, str, int]]) -> None:
    lines = [
        a_line(2 + i, household_number=n, relation=relation, identity_number=an_identity(person))
        for i, (n, relation, person) in enumerate(rows)
    ]

    drafts, refusals = rules.decide(entries_of(lines), NOTHING)

    landed = [entry for draft in drafts for entry in draft.entries]
    numbers = [entry.line.line_number for entry in landed] + [r.line_number for r in refusals]
    assert sorted(numbers) == [line.line_number for line in lines]
    people = [entry.line.identity_number for entry in landed]
    assert len(set(people)) == len(people)
    for draft in drafts:
        assert [e.relation for e in draft.entries].count(Relation.HEAD) == 1
        assert draft.head.relation is Relation.HEAD


def test_the_demo_s_mess_is_refused_and_nothing_else() -> None:
    villages = frozenset(
        area.code for area in generator.areas(SEED, SCALE) if area.level == "village"
    )
    refused: list[Refusal] = []
    entries: list[Entry] = []
    number = 2
    for row in generator.generate_households(SEED, SCALE):
        read = rules.read_line(a_line(number, **_EMPTY | row), TODAY)
        entries += [read] if isinstance(read, Entry) else []
        refused += [read] if isinstance(read, Refusal) else []
        number += 1 + sum(value.count("\n") for value in row.values())

    drafts, more = rules.decide(entries, Known(villages, villages, frozenset(), frozenset()))

    found = sorted((each.line_number, each.column) for each in refused + more)
    assert found == [(each.line, each.column) for each in generator.refusals(SEED, SCALE)]
    assert len(drafts) == generator.expected(SEED, SCALE).households


_EMPTY = dict.fromkeys(generator.COLUMNS, "")


# --- masks --------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(set(Line._fields) - {"line_number", "unreadable"})))
def test_no_column_shows_a_name_or_a_number_that_slipped_into_it(column: str) -> None:
    for secret in (
        an_identity(),
        an_identity()[:6] + an_identity()[8:17],
        "欧阳建国",
        "１５４１２３４",
    ):
        shown = rules.shown(column, secret)
        assert shown.count("*") >= len(secret) - 4


def test_masks_show_a_beginning() -> None:
    assert rules.mask_identity(an_identity()) == "4112" + "*" * 14
    assert rules.mask_name("欧阳建国") == "欧***"
    assert rules.mask_name("王") == "*"
    assert rules.mask_phone("15412345678") == "154********"
    assert rules.shown("relation", "长子") == "*子"
    assert rules.shown("registered_on", "二〇一六年三月") == "二〇一六年三月"
    assert rules.shown("village_code", "411224101999") == "411224101999"


def test_a_masked_person_keeps_what_is_nobody_s() -> None:
    person = Person(new_id(), "王芳", an_identity(), "", Relation.HEAD, None)

    hidden = rules.masked(person)

    assert (hidden.name, hidden.identity_number, hidden.phone) == ("王*", "4112" + "*" * 14, "")
    assert (hidden.person_id, hidden.relation) == (person.person_id, Relation.HEAD)


# --- areas --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "level", "reason"),
    [
        ("411225101", AreaLevel.TOWNSHIP, "AREA_OF_ANOTHER_COUNTY"),
        ("411224101", AreaLevel.VILLAGE, "AREA_LEVEL_WRONG"),
        ("41122410120101", AreaLevel.VILLAGER_GROUP, ""),
    ],
)
def test_an_area_must_fit_its_code(code: str, level: AreaLevel, reason: str) -> None:
    wrong = rules.area_violation(Area(code, "某地", level), COUNTY)

    assert (wrong[0] if wrong else "") == reason


def test_parents_are_prefixes() -> None:
    codes = ["411224", "411224101", "411224101201", "41122410120101"]

    assert [rules.parent_code(code) for code in codes] == ["", *codes[:-1]]


def test_a_look_is_limited_to_the_caller_s_areas() -> None:
    assert rules.prefixes_seen("411224", ()) == ["411224"]
    assert rules.prefixes_seen("411224", ("411224101", "411224102")) == ["411224101", "411224102"]
    assert rules.prefixes_seen("411224101201", ("411224101",)) == ["411224101201"]
    assert rules.prefixes_seen("411224102", ("411224101",)) == []
    assert rules.prefixes_seen("411224", ("411224101", "411224101201")) == ["411224101"]


def test_honours_have_their_codes() -> None:
    assert {h.value for h in Honour} == {"law_abiding", "honest", "civilised", "model"}
