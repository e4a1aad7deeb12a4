"""Registration and import: what makes a household of lines. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from stdnum.cn import ric

from services.households.model import (
    Area,
    AreaLevel,
    Draft,
    Entry,
    Honour,
    Kin,
    Known,
    Labour,
    LeaveReason,
    Line,
    Person,
    Refusal,
    RegistrationStatus,
    Relation,
)
from services.households.rules import people
from services.kernel.errors import Violation
from services.kernel.values import replace

PEOPLE_MAX: Final = 30
HOUSEHOLD_NUMBER_MAX: Final = 40
NAME_MAX: Final = 60
FIRST_YEAR: Final = 1900
NEEDED: Final = (
    "household_number",
    "village_code",
    "relation",
    "name",
    "identity_number",
    "registration_status",
    "registered_on",
)
"""Columns that no line may leave empty (a member's status is its head's when it does)."""
AREA_LEVELS: Final = MappingProxyType(
    {
        6: AreaLevel.COUNTY,
        9: AreaLevel.TOWNSHIP,
        12: AreaLevel.VILLAGE,
        14: AreaLevel.VILLAGER_GROUP,
    }
)
PARENT_DIGITS: Final = MappingProxyType({9: 6, 12: 9, 14: 12})

# The registry's words. A file may also give the code itself.
RELATION_WORDS: Final = MappingProxyType(
    {
        "户主": Relation.HEAD,
        "配偶": Relation.SPOUSE,
        "子": Relation.SON,
        "女": Relation.DAUGHTER,
        "父": Relation.FATHER,
        "母": Relation.MOTHER,
        "孙子": Relation.GRANDSON,
        "孙女": Relation.GRANDDAUGHTER,
    }
)
LABOUR_WORDS: Final = MappingProxyType(
    {
        "普通劳动力": Labour.ABLE,
        "技能劳动力": Labour.SKILLED,
        "弱劳动力或半劳动力": Labour.WEAK,
        "丧失劳动力": Labour.LOST,
        "无劳动力": Labour.NONE,
    }
)
STATUS_WORDS: Final = MappingProxyType(
    {
        "建档立卡贫困户": RegistrationStatus.REGISTERED_POOR,
        "临界困难户": RegistrationStatus.NEAR_POOR,
        "非贫困户": RegistrationStatus.NON_POOR,
        "五保户": RegistrationStatus.FIVE_GUARANTEE,
    }
)
STANDING_WORDS: Final = MappingProxyType(
    {
        **STATUS_WORDS,
        "清退户": RegistrationStatus.DELISTED,
        "标注户": RegistrationStatus.FLAGGED,
        "死亡户": RegistrationStatus.DECEASED,
        "脱贫户": RegistrationStatus.EXITED,
    }
)
"""Every status that a household can have; one is registered only with those of `STATUS_WORDS`."""
LEAVE_WORDS: Final = MappingProxyType(
    {
        "迁出": LeaveReason.MOVED,
        "婚出": LeaveReason.MARRIED_OUT,
        "死亡": LeaveReason.DIED,
        "登记有误": LeaveReason.CORRECTION,
    }
)
HONOUR_WORDS: Final = MappingProxyType(
    {
        "守法户": Honour.LAW_ABIDING,
        "诚信户": Honour.HONEST,
        "文明户": Honour.CIVILISED,
        "标兵户": Honour.MODEL,
    }
)


class Rule(NamedTuple):
    """What a line must keep to, for people."""

    en: str
    zh: str


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "LINE_UNREADABLE": Rule("the line could not be read", "该行无法读取"),
        "HOUSEHOLD_NUMBER_MALFORMED": Rule(
            f"must be 1 to {HOUSEHOLD_NUMBER_MAX} printable characters", "户编号缺失或格式不正确"
        ),
        "HOUSEHOLD_NUMBER_IS_IDENTITY": Rule(
            "must not be a person's identity number", "户编号不得使用身份证号码"
        ),
        "HOUSEHOLD_EXISTS": Rule("the household is registered already", "该户已登记"),
        "HOUSEHOLD_TOO_LARGE": Rule(
            f"a household has at most {PEOPLE_MAX} people", f"一户不得超过{PEOPLE_MAX}人"
        ),
        "HEAD_MISSING": Rule("the household has no valid head", "该户没有有效的户主"),
        "SECOND_HEAD": Rule("the household has a head already", "该户已有户主"),
        "VILLAGE_UNKNOWN": Rule("must be a registered village or villager group", "村代码未登记"),
        "AREA_NOT_YOURS": Rule("the area is not the caller's", "超出本机构辖区"),
        "VILLAGE_DIFFERS": Rule("must be the head's village", "与户主的村代码不一致"),
        "NAME_MISSING": Rule("must not be empty", "姓名不得为空"),
        "NAME_MALFORMED": Rule(
            f"must be at most {NAME_MAX} printable characters", "姓名含有无效字符或过长"
        ),
        "IDENTITY_MISSING": Rule("must not be empty", "证件号码不得为空"),
        "IDENTITY_MALFORMED": Rule(
            "must be 17 digits and a digit or capital X", "证件号码应为17位数字加1位数字或大写X"
        ),
        "IDENTITY_BIRTH_DATE": Rule(
            f"must hold a birth date from {FIRST_YEAR} to the business date",
            "证件号码中的出生日期无效",
        ),
        "IDENTITY_CHECKSUM": Rule("the check digit is wrong", "证件号码校验位错误"),
        "DUPLICATE_LINE": Rule("the person is in this household already", "同一人在本户中重复"),
        "MEMBER_ELSEWHERE": Rule("the person is in another household", "该人已登记在其他户"),
        "PERSON_DIED": Rule("the person is recorded as dead", "该人已登记为死亡"),
        "FAMILY_IMPOSSIBLE": Rule(
            "the relation does not fit the head's and the person's age or sex, or is taken",
            "与户主关系和年龄、性别或其他成员矛盾",
        ),
        "RELATION_UNKNOWN": Rule(
            "must be one of " + " ".join(RELATION_WORDS), "与户主关系不在规定用语之内"
        ),
        "DATE_MALFORMED": Rule(
            f"must be a calendar day such as 2016-03-01, from {FIRST_YEAR} on",
            "日期应为有效的年-月-日",
        ),
        "DATE_IN_FUTURE": Rule("must not be after the business date", "日期晚于营业日"),
        "STATUS_UNKNOWN": Rule(
            "must be one of " + " ".join(STATUS_WORDS), "登记状态不在规定用语之内"
        ),
        "STATUS_DIFFERS": Rule("must be the head's", "与户主的登记状态不一致"),
        "HONOUR_UNKNOWN": Rule(
            "must be empty or one of " + " ".join(HONOUR_WORDS), "荣誉不在规定用语之内"
        ),
        "HONOUR_DIFFERS": Rule("must be the head's", "与户主的荣誉不一致"),
        "LABOUR_UNKNOWN": Rule(
            "must be empty or one of " + " ".join(LABOUR_WORDS), "劳动能力不在规定用语之内"
        ),
        "PHONE_MALFORMED": Rule("must be empty or a phone number", "电话格式不正确"),
        "LEAVE_REASON_UNKNOWN": Rule(
            "must be one of " + " ".join(LEAVE_WORDS), "离户原因不在规定用语之内"
        ),
        "NOT_A_MEMBER": Rule("nobody leaves who was no member", "该人不是本户成员"),
        "LAST_MEMBER": Rule("only a death empties a household", "户内最后一名成员不得迁出"),
        "DATE_TOO_EARLY": Rule("must not be before the joining", "早于入户日期"),
        "DATE_DIFFERS": Rule(
            "the day of joining does not change by file", "入户日期不得通过文件变更"
        ),
        "STATUS_NOT_YOURS": Rule(
            "only the poverty office changes a status", "登记状态只能由扶贫办变更"
        ),
        "STATUS_STEP_FORBIDDEN": Rule(
            "does not follow the household's status", "登记状态不能这样变更"
        ),
        "HOUSEHOLD_IS_ALIAS": Rule(
            "the record is an alias; change the one that stands for it", "该户已并入其他户"
        ),
    }
)

_IDENTITY = re.compile(r"[0-9]{17}[0-9X]")
_IDENTITY_INSIDE = re.compile(r"[0-9]{17}[0-9Xx]|[0-9]{15}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PHONE = re.compile(r"\+?[0-9][0-9 -]{4,19}")
_AREA_OF_PEOPLE = re.compile(r"[0-9]{12}(?:[0-9]{2})?")


# --- one column ---------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def calendar_day(text: str) -> date | None:
    """The day that `YYYY-MM-DD` names, and no other form; None when there is none."""
    if _DAY.fullmatch(text) is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.year >= FIRST_YEAR else None


def identity_fault(value: str, today: date) -> str:
    """Why a value is no identity number, as a reason; empty when it is one."""
    if _IDENTITY.fullmatch(value) is None:
        return "IDENTITY_MALFORMED" if value.strip() else "IDENTITY_MISSING"
    born = people.born_on(value)
    if born is None or born.year < FIRST_YEAR or born > today:
        return "IDENTITY_BIRTH_DATE"
    if ric.calc_check_digit(value) != value[17]:
        return "IDENTITY_CHECKSUM"
    return ""


def relation_of(word: str) -> Relation | None:
    """A relation by the registry's word or by its code; None when it is neither."""
    return _RELATIONS.get(word)


def number_fault(number: str, today: date) -> str:
    if not number or len(number) > HOUSEHOLD_NUMBER_MAX or not number.isprintable():
        return "HOUSEHOLD_NUMBER_MALFORMED"
    # Events carry the household's number, and no event may carry an identity number.
    if len(number) == 18 and not identity_fault(number.upper(), today):
        return "HOUSEHOLD_NUMBER_IS_IDENTITY"
    return ""


def name_fault(name: str) -> str:
    if not name:
        return "NAME_MISSING"
    return "" if len(name) <= NAME_MAX and name.isprintable() else "NAME_MALFORMED"


def phone_fault(phone: str) -> str:
    """Why a value is no phone, as a reason; none at all is right too."""
    return "PHONE_MALFORMED" if phone and _PHONE.fullmatch(phone) is None else ""


# --- one line -----------------------------------------------------------------------------------


def read_line(line: Line, today: date) -> Entry | Refusal:
    """Hold a line against what can be said of it alone; the first wrong column counts."""
    if line.unreadable:
        return Refusal(line.line_number, lacking(line), "", "LINE_UNREADABLE")
    number = line.household_number.strip()
    if reason := number_fault(number, today):
        return refuse(line, "household_number", reason)
    if _AREA_OF_PEOPLE.fullmatch(line.village_code) is None:
        return refuse(line, "village_code", "VILLAGE_UNKNOWN")
    name = line.name.strip()
    if reason := name_fault(name):
        return refuse(line, "name", reason)
    if reason := identity_fault(line.identity_number, today):
        return refuse(line, "identity_number", reason)
    relation = _RELATIONS.get(line.relation)
    if relation is None:
        return refuse(line, "relation", "RELATION_UNKNOWN")
    registered_on = calendar_day(line.registered_on)
    if registered_on is None:
        return refuse(line, "registered_on", "DATE_MALFORMED")
    if registered_on > today:
        return refuse(line, "registered_on", "DATE_IN_FUTURE")
    status = _STATUSES.get(line.registration_status)
    if status is None and (line.registration_status or relation is Relation.HEAD):
        return refuse(line, "registration_status", "STATUS_UNKNOWN")
    honour = _HONOURS.get(line.honour)
    if line.honour and honour is None:
        return refuse(line, "honour", "HONOUR_UNKNOWN")
    labour = _LABOURS.get(line.labour)
    if line.labour and labour is None:
        return refuse(line, "labour", "LABOUR_UNKNOWN")
    if reason := phone_fault(line.phone):
        return refuse(line, "phone", reason)
    if line.left_on or line.leave_reason:
        return refuse(line, "leave_reason", "NOT_A_MEMBER")
    return Entry(line, number, name, relation, status, honour, labour, registered_on)


_RELATIONS: Final = {**RELATION_WORDS, **{word.value: word for word in Relation}}
_LABOURS: Final = {**LABOUR_WORDS, **{word.value: word for word in Labour}}
_HONOURS: Final = {**HONOUR_WORDS, **{word.value: word for word in Honour}}
_STATUSES: Final = {**STATUS_WORDS, **{word.value: word for word in STATUS_WORDS.values()}}


def lacking(line: Line) -> str:
    """The column to blame: a line cut short lacks its last, one with too many has none."""
    return next((column for column in NEEDED if not getattr(line, column)), "")


def refuse(line: Line, column: str, reason: str) -> Refusal:
    """The refusal of a line for one of its columns."""
    return Refusal(line.line_number, column, shown(column, getattr(line, column)), reason)


# --- households of a chunk ------------------------------------------------------------------------


def decide(entries: Sequence[Entry], known: Known) -> tuple[list[Draft], list[Refusal]]:
    """
    Make households of lines, in the order of their first lines.

    The first valid head of a household stands; a wrong line does not sink its household, but
    without a head all its lines are refused. Of two claims to a person the first stands.
    """
    by_number: dict[str, list[Entry]] = {}
    for entry in entries:
        by_number.setdefault(entry.household_number, []).append(entry)
    drafts: list[Draft] = []
    refusals: list[Refusal] = []
    taken: set[str] = set()
    for number, group in by_number.items():
        if number in known.household_numbers:
            refusals += [refuse(e.line, "household_number", "HOUSEHOLD_EXISTS") for e in group]
            continue
        draft = _at_a_look(number, group, known, taken)
        if draft is None:
            draft, refused = _household(number, group, known, taken)
            refusals += refused
        if draft is not None:
            drafts.append(draft)
            taken.update(entry.line.identity_number for entry in draft.entries)
    return drafts, refusals


def _at_a_look(number: str, group: Sequence[Entry], known: Known, taken: set[str]) -> Draft | None:
    """The household of lines that are all right, head first, as nearly all are; else None."""
    head, *others = group
    village_code, relations = head.line.village_code, [entry.relation for entry in group]
    if relations[0] is not Relation.HEAD or village_code not in known.areas_of_caller:
        return None
    if len(group) > PEOPLE_MAX or people.crowded(relations):
        return None
    here = {entry.line.identity_number for entry in group}
    elsewhere = (taken, known.identity_numbers, known.dead_numbers)
    if len(here) < len(group) or not all(map(here.isdisjoint, elsewhere)):
        return None
    chief = people.kin(Relation.HEAD, head.line.identity_number)
    for entry in others:
        if (
            entry.line.village_code != village_code
            or entry.status not in (None, head.status)
            or entry.honour not in (None, head.honour)
        ):
            return None
        if entry.relation in people.BOUND:
            person = people.kin(entry.relation, entry.line.identity_number)
            if people.kin_fault(person, chief):
                return None
    return Draft(number, head, tuple(others))


def _household(
    number: str, group: Sequence[Entry], known: Known, taken: set[str]
) -> tuple[Draft | None, list[Refusal]]:
    head: Entry | None = None
    for entry in group:
        if entry.relation is Relation.HEAD and not _outer_fault(entry, known, taken)[1]:
            head = entry
            break
    others: list[Entry] = []
    refused: list[Refusal] = []
    chief = people.kin(Relation.HEAD, head.line.identity_number) if head else None
    here = {head.line.identity_number} if head else set()
    for entry in group:
        if entry is head:
            continue
        column, reason = _outer_fault(entry, known, taken)
        if not reason:
            column, reason = _inner_fault(entry, head, here)
        if not reason and chief is not None and _out_of_family(entry, chief, others):
            column, reason = "relation", "FAMILY_IMPOSSIBLE"
        if not reason and len(others) + 1 == PEOPLE_MAX:
            column, reason = "household_number", "HOUSEHOLD_TOO_LARGE"
        if reason:
            refused.append(refuse(entry.line, column, reason))
        else:
            here.add(entry.line.identity_number)
            others.append(entry)
    return (Draft(number, head, tuple(others)) if head else None), refused


def _outer_fault(entry: Entry, known: Known, taken: set[str]) -> tuple[str, str]:
    """What is wrong with an entry beside what else there is; column and reason."""
    village_code = entry.line.village_code
    if village_code not in known.areas_of_caller:
        known_area = village_code in known.areas
        return "village_code", "AREA_NOT_YOURS" if known_area else "VILLAGE_UNKNOWN"
    identity_number = entry.line.identity_number
    if identity_number in known.identity_numbers or identity_number in taken:
        return "identity_number", "MEMBER_ELSEWHERE"
    if identity_number in known.dead_numbers:
        return "identity_number", "PERSON_DIED"
    return "", ""


def _inner_fault(entry: Entry, head: Entry | None, here: set[str]) -> tuple[str, str]:
    """What is wrong with an entry within its household; column and reason."""
    if head is None:
        return "household_number", "HEAD_MISSING"
    if entry.line.identity_number in here:
        return "identity_number", "DUPLICATE_LINE"
    if entry.relation is Relation.HEAD:
        return "relation", "SECOND_HEAD"
    if entry.line.village_code != head.line.village_code:
        return "village_code", "VILLAGE_DIFFERS"
    if entry.status is not None and entry.status is not head.status:
        return "registration_status", "STATUS_DIFFERS"
    if entry.honour is not None and entry.honour is not head.honour:
        return "honour", "HONOUR_DIFFERS"
    return "", ""


def _out_of_family(entry: Entry, head: Kin, others: Sequence[Entry]) -> bool:
    """Whether a person cannot be what the line says beside the head and those before."""
    if people.relation_full(entry.relation, [other.relation for other in others]):
        return True
    person = people.kin(entry.relation, entry.line.identity_number)
    return bool(people.kin_fault(person, head))


# --- areas ----------------------------------------------------------------------------------------


def area_violation(area: Area, county_code: str) -> tuple[str, Violation] | None:
    """Why an area cannot be in a county: the reason and the field of it."""
    if not area.area_code.startswith(county_code):
        rule = f"must begin with the county's {county_code}"
        return "AREA_OF_ANOTHER_COUNTY", Violation("area_code", area.area_code, rule)
    level = AREA_LEVELS[len(area.area_code)]
    if level is not area.level:
        rule = f"a code of {len(area.area_code)} digits is a {level}"
        return "AREA_LEVEL_WRONG", Violation("level", area.level.value, rule)
    if not area.name.strip() or not area.name.isprintable():
        return "AREA_NAME_MALFORMED", Violation("name", "", "must be printable characters")
    return None


def parent_code(area_code: str) -> str:
    """The code of the area that an area lies in; empty for a county."""
    return area_code[: PARENT_DIGITS.get(len(area_code), 0)]


def prefixes_seen(within: str, areas: Iterable[str]) -> list[str]:
    """Where someone limited to `areas` (none: no limit) may look when asking for `within`."""
    limits = list(areas)
    found = {within} if not limits else set()
    for area in limits:
        if within.startswith(area):
            found.add(within)
        elif area.startswith(within):
            found.add(area)
    # What lies in another of them would be listed twice.
    return sorted(
        code for code in found if not any(code != o and code.startswith(o) for o in found)
    )


# --- masks ----------------------------------------------------------------------------------------

_WORDS_SHOWN: Final = frozenset(
    "".join((*RELATION_WORDS, *LABOUR_WORDS, *STANDING_WORDS, *HONOUR_WORDS, *LEAVE_WORDS))
    + " 　,.-/_()()"
)
_DAY_SHOWN: Final = frozenset("0123456789-/. 年月日〇零一二三四五六七八九十")
_DIGITS_MANY = re.compile(r"[0-9]{11,}")
_SHOWN_MAX: Final = 40


def mask_identity(value: str) -> str:
    """`4112**************`: where a number was issued, not whose it is."""
    return (
        value[:4] + "*" * (min(len(value), _SHOWN_MAX) - 4) if len(value) > 4 else "*" * len(value)
    )


def mask_name(value: str) -> str:
    """`王**`: the first character."""
    return (
        value[:1] + "*" * (min(len(value), _SHOWN_MAX) - 1) if len(value) > 1 else "*" * len(value)
    )


def mask_phone(value: str) -> str:
    """`154********`: the first three digits."""
    return (
        value[:3] + "*" * (min(len(value), _SHOWN_MAX) - 3) if len(value) > 3 else "*" * len(value)
    )


def shown(column: str, value: str) -> str:
    """
    A column's value as a refusal may show it.

    Columns of a real file slip: a name or number can stand anywhere, so every column shows only
    what its own values are made of.
    """
    if column == "identity_number":
        return mask_identity(value)
    if column == "name":
        return mask_name(value)
    if column == "phone":
        return mask_phone(value)
    if column in {"household_number", "village_code"}:
        if _IDENTITY_INSIDE.fullmatch(value.strip()):
            return mask_identity(value.strip())
        return "".join(c if c.isascii() and c.isprintable() else "*" for c in value[:_SHOWN_MAX])
    alphabet = _DAY_SHOWN if column in {"registered_on", "left_on"} else _WORDS_SHOWN
    text = "".join(c if c in alphabet else "*" for c in value[:_SHOWN_MAX])
    return _DIGITS_MANY.sub(lambda run: "*" * len(run[0]), text)


def masked(person: Person) -> Person:
    """A person as those see them who may not know who it is."""
    return replace(
        person,
        name=mask_name(person.name),
        identity_number=mask_identity(person.identity_number),
        phone=mask_phone(person.phone),
    )
