"""Facts: who may supply and correct which, and who answers when one is contested. Pure."""

from collections.abc import Mapping
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

from services.households.model import (
    DataCategory,
    Dispute,
    DisputeSide,
    DisputeSubject,
    Fact,
    FactKind,
    Honour,
    NewFact,
)
from services.households.rules.registration import LABOUR_WORDS
from services.kernel.errors import Denied, LiandongError, Refused, invalid_field

ANSWER_DAYS: Final = 20
"""Days to answer a dispute (the credit-reporting regulation's)."""

STATIONS: Final = frozenset({"village_department", "township_station"})
REGISTRARS: Final = frozenset({"county_centre", "poverty_office"})
_COUNTY: Final = STATIONS | REGISTRARS

_KIND = FactKind
SOURCES: Final[Mapping[FactKind, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(
            (_KIND.LABOUR, _KIND.SKILL, _KIND.INCOME, _KIND.ASSET, _KIND.PROJECT, _KIND.PLAN),
            _COUNTY | {"agriculture_bureau"},
        ),
        **dict.fromkeys((_KIND.SIGNATORY, _KIND.REMOTE_AUTHORITY), _COUNTY | {"bank"}),
        **dict.fromkeys((_KIND.HELPER, _KIND.HONOUR), _COUNTY),
        _KIND.COURT: frozenset({"court"}),
        _KIND.POLICE: frozenset({"police"}),
        _KIND.SOCIAL_INSURANCE: frozenset({"social_insurance"}),
        _KIND.MARKET: frozenset({"market_regulator"}),
        _KIND.TAX: frozenset({"tax_bureau"}),
        _KIND.CREDIT_BUREAU: frozenset({"credit_bureau"}),
        _KIND.AGRICULTURE: frozenset({"agriculture_bureau"}),
        _KIND.SOCIETY_RECORD: frozenset({"mutual_aid_society"}),
    }
)
"""Each department in its own name, and nobody in another's."""

CATEGORIES: Final[Mapping[FactKind, DataCategory]] = MappingProxyType(
    {
        **dict.fromkeys((_KIND.LABOUR, _KIND.SKILL), DataCategory.LABOUR),
        **dict.fromkeys((_KIND.INCOME, _KIND.PROJECT, _KIND.PLAN), DataCategory.INCOME),
        _KIND.ASSET: DataCategory.ASSETS,
        **dict.fromkeys(
            (_KIND.SIGNATORY, _KIND.REMOTE_AUTHORITY, _KIND.HELPER, _KIND.HONOUR),
            DataCategory.FAMILY,
        ),
        **dict.fromkeys(
            (
                _KIND.COURT,
                _KIND.POLICE,
                _KIND.SOCIAL_INSURANCE,
                _KIND.MARKET,
                _KIND.TAX,
                _KIND.AGRICULTURE,
            ),
            DataCategory.PUBLIC_RECORDS,
        ),
        **dict.fromkeys((_KIND.CREDIT_BUREAU, _KIND.SOCIETY_RECORD), DataCategory.CREDIT_RECORDS),
    }
)
OF_PEOPLE: Final = frozenset(
    {_KIND.LABOUR, _KIND.SKILL, _KIND.SIGNATORY, _KIND.REMOTE_AUTHORITY, _KIND.POLICE}
)
"""What can be said of a person only."""
HASHED: Final = frozenset({"signature", "thumb_print", "recorded_call", "letter"})
"""Evidence that is nothing without the hash of its scan or recording."""
_HONOURS: Final = tuple(Honour)


def source_fault(kind: FactKind, role: str) -> LiandongError | None:
    """Why an institution of a role may not supply a kind of fact; None when it may."""
    if role in SOURCES[kind]:
        return None
    return Denied(
        "FACT_SOURCE_NOT_ENTITLED",
        f"content = {kind}: may be supplied by {', '.join(sorted(SOURCES[kind]))}, not by {role}",
        message_zh="本机构无权提供此类信息",
    )


def fact_fault(fact: NewFact, today: date) -> LiandongError | None:
    """What is wrong with a fact by itself; None when nothing is."""
    if fact.valid_from > today:
        rule = f"must not be after the business date {today}"
        return invalid_field("FACT_DATES", "valid_from", fact.valid_from, rule, "日期晚于营业日")
    if fact.valid_to is not None and fact.valid_to < fact.valid_from:
        rule = f"must not be before valid_from {fact.valid_from}"
        return invalid_field("FACT_DATES", "valid_to", fact.valid_to, rule, "截止日早于起始日")
    if fact.kind in OF_PEOPLE and fact.person_id is None:
        rule = f"a fact of kind {fact.kind} is about a person"
        return invalid_field("PERSON_NEEDED", "person_id", "", rule, "须指明人员")
    hashed = {"letter", "recorded_call"}
    if fact.kind is FactKind.REMOTE_AUTHORITY and fact.evidence.kind not in hashed:
        rule = "a remote authority is a letter or a recorded call"
        return invalid_field(
            "EVIDENCE_KIND", "evidence.kind", fact.evidence.kind, rule, "须有委托书或通话录音"
        )
    return content_fault(fact.kind, fact.content, today)


def content_fault(
    kind: FactKind, content: Mapping[str, str | int | bool], today: date
) -> LiandongError | None:
    """What is wrong with what a fact says, beyond what the wire's rules hold."""
    year = content.get("year")
    if isinstance(year, int) and kind is not FactKind.PLAN and year > today.year:
        rule = f"must not be after {today.year}"
        return invalid_field("FACT_VALUE", f"content.{kind}.year", year, rule, "年份晚于当前年份")
    labour = content.get("labour")
    if kind is FactKind.LABOUR and labour not in LABOUR_WORDS:
        rule = "must be one of " + " ".join(LABOUR_WORDS)
        return invalid_field(
            "FACT_VALUE", "content.labour.labour", labour, rule, "劳动能力用语错误"
        )
    return None


def correction_fault(fact: Fact, institution_id: str, role: str) -> LiandongError | None:
    """Why somebody may not replace a fact: its source may, and the centre for its stations."""
    if fact.provenance.source_id == institution_id:
        return None
    if role == "county_centre" and fact.source_role in STATIONS:
        return None
    return Denied(
        "FACT_NOT_YOURS",
        f"fact {fact.fact_id} is {fact.provenance.source_id}'s",
        message_zh="该信息由其他机构提供,不得更改",
    )


def best_honour(facts: list[Fact], today: date) -> Honour | None:
    """The highest honour that is in force on a day."""
    held = {
        Honour(str(fact.content["honour"]))
        for fact in facts
        if fact.kind is FactKind.HONOUR
        and fact.valid_from <= today
        and (fact.valid_to is None or today <= fact.valid_to)
    }
    return max(held, key=_HONOURS.index) if held else None


def due_on(opened_on: date) -> date:
    """The last day for the answer; the day of opening is not counted."""
    return opened_on + timedelta(days=ANSWER_DAYS)


def answer_fault(dispute: Dispute, institution_id: str, role: str) -> LiandongError | None:
    """Why somebody may not answer a dispute; None when it may."""
    if dispute.outcome is not None:
        return Refused(
            "DISPUTE_ANSWERED",
            f"dispute {dispute.dispute_id} has its answer",
            message_zh="异议已答复",
        )
    raised_itself = (
        dispute.side is DisputeSide.INSTITUTION and dispute.provenance.source_id == institution_id
    )
    entitled = (
        dispute.subject_source_id == institution_id
        or (dispute.subject is DisputeSubject.STATUS and role == "poverty_office")
        or (dispute.subject is not DisputeSubject.STATUS and role == "county_centre")
    )
    if raised_itself or not entitled:
        return Denied(
            "DISPUTE_NOT_YOURS",
            f"dispute {dispute.dispute_id} is answered by {dispute.subject_source_id}",
            message_zh="本机构无权答复该异议",
        )
    return None
