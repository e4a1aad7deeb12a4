"""Families: which can be, and what an identity number says of a person. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Final

from services.households.model import Kin, Relation

PARENT_YEARS_MIN: Final = 12
"""A parent is at least so much older than a child."""
GRANDPARENT_YEARS_MIN: Final = 24
ADULT_YEARS: Final = 18
PARENTS_MAX: Final = 2
"""Of each sex: a head's own and the spouse's."""

_YOUNGER: Final = {
    Relation.SON: PARENT_YEARS_MIN,
    Relation.DAUGHTER: PARENT_YEARS_MIN,
    Relation.GRANDSON: GRANDPARENT_YEARS_MIN,
    Relation.GRANDDAUGHTER: GRANDPARENT_YEARS_MIN,
}
_OLDER: Final = {Relation.FATHER: PARENT_YEARS_MIN, Relation.MOTHER: PARENT_YEARS_MIN}
_MALE: Final = {
    Relation.SON: True,
    Relation.FATHER: True,
    Relation.GRANDSON: True,
    Relation.DAUGHTER: False,
    Relation.MOTHER: False,
    Relation.GRANDDAUGHTER: False,
}
_AT_MOST: Final = {
    Relation.HEAD: 1,
    Relation.SPOUSE: 1,
    Relation.FATHER: PARENTS_MAX,
    Relation.MOTHER: PARENTS_MAX,
}
BOUND: Final = frozenset({*_YOUNGER, *_OLDER, *_MALE})
"""Relations that say something of the age or sex beside the head's."""
_MEN: Final = frozenset("13579")
_PLAIN = re.compile("[\u4e00-\u9fff]+")
"""Of these characters each has one form only."""
_NAME_JOINTS = re.compile(r"[\s·•‧・.．]+")


def kin(relation: Relation, identity_number: str) -> Kin:
    """A person as the family rules see it; the number was checked before."""
    born = born_on(identity_number)
    assert born is not None, "a number is checked before it is anybody's"
    return Kin(relation, born, identity_number[16] in _MEN)


def born_on(identity_number: str) -> date | None:
    """The day in an identity number of 18 characters; None where there is no such day."""
    return _day(identity_number[6:14])


@lru_cache(maxsize=65_536)
def _day(digits: str) -> date | None:
    try:
        return date.fromisoformat(digits)
    except ValueError:
        return None


def crowded(relations: Sequence[Relation]) -> bool:
    """Whether people, the head among them, are more of a relation than a household can have."""
    return any(relations.count(relation) > most for relation, most in _AT_MOST.items())


def years_between(first: date, second: date) -> int:
    """Full years from one day to another."""
    return second.year - first.year - ((second.month, second.day) < (first.month, first.day))


def is_adult(born_on: date, today: date) -> bool:
    """Whether somebody is of full age."""
    return years_between(born_on, today) >= ADULT_YEARS


def relation_full(relation: Relation, others: Sequence[Relation]) -> bool:
    """Whether a household has as many of a relation as it can."""
    most = _AT_MOST.get(relation)
    return most is not None and others.count(relation) >= most


def kin_fault(person: Kin, head: Kin) -> str:
    """Why a person cannot have this relation to this head; empty when it can."""
    relation = person.relation
    younger = _YOUNGER.get(relation)
    if younger is not None and years_between(head.born_on, person.born_on) < younger:
        return f"a {relation} is at least {younger} years younger than the head"
    older = _OLDER.get(relation)
    if older is not None and years_between(person.born_on, head.born_on) < older:
        return f"a {relation} is at least {older} years older than the head"
    male = _MALE.get(relation)
    if male is not None and person.male is not male:
        return f"the identity number of a {relation} is a {'man' if male else 'woman'}'s"
    return ""


def family_fault(people: Sequence[Kin]) -> str:
    """Why people cannot be one family; empty when they can, or when there is nobody."""
    if not people:
        return ""
    heads = [person for person in people if person.relation is Relation.HEAD]
    if not heads:
        return "a household has a head"
    for relation, most in _AT_MOST.items():
        if sum(person.relation is relation for person in people) > most:
            return f"a household has at most {most} {relation}"
    for person in people:
        if fault := kin_fault(person, heads[0]):
            return fault
    return ""


def plain_name(name: str) -> str:
    """A name as two are compared: one form of each character, no joints between its parts."""
    if _PLAIN.fullmatch(name):
        return name
    if name.isalpha() and unicodedata.is_normalized("NFKC", name):
        return name.casefold()
    return _NAME_JOINTS.sub("", unicodedata.normalize("NFKC", name)).casefold()


def likeness(name: str, born: str) -> str:
    """What two records of one person have alike though the number was mistyped; born YYYYMMDD."""
    return f"likeness:{plain_name(name)}:{born}"
