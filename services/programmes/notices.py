"""Notices: by which channels borrowers are told, how often that is tried, and in which words."""

from collections.abc import Mapping
from datetime import date

from services.kernel.money import Fen
from services.programmes.schema.collection import Channel
from services.programmes.schema.loans import LoanRules

ATTEMPTS_MAX = 3
"""How often a notice is tried where the programme does not say."""

TEXTS: Mapping[str, str] = {
    "due_soon": "【还款提醒】您的{product}将于{matures_on}到期,应还{owed_yuan}元,请提前备款。",
    "due_today": "【到期提醒】您的{product}今日({matures_on})到期,应还{owed_yuan}元,请按时还款。",
    "reminder": "【逾期提醒】您的{product}已逾期{overdue_days}天,应还{owed_yuan}元,请尽快还款。",
    "maturing": "【到期预警】该笔{product}将于{matures_on}到期,应还{owed_yuan}元。",
    "matured": "【到期预警】该笔{product}已于{matures_on}到期,应还{owed_yuan}元。",
    "overdue": "【逾期预警】该笔{product}已逾期{overdue_days}天,应还{owed_yuan}元。",
    "warning": "【风险预警】该笔{product}出现风险信号,应还{owed_yuan}元,请核实。",
    "industry_risk": "【产业风险提示】{starts_on}至{ends_on}:{advice}",
    "disaster": "【灾害预警】{starts_on}至{ends_on}:{advice}",
    "payout_unconfirmed": "【风险预警】该笔{product}的保险赔款尚未确认到账,请核实。",
    "renewal_uncovered": "【风险预警】该笔续贷{product}已无风险补偿金担保,请核实。",
    "collateral_short": "【风险预警】该笔{product}的抵押物价值不足,应还{owed_yuan}元,请核实。",
    "revaluation_due": "【风险预警】该笔{product}的抵押物应重新估值。",
    "household_deceased": "【风险预警】该笔{product}的借款户有成员去世,贷款已冻结待复核。",
    "household_delisted": "【风险预警】该笔{product}的借款户已退出建档名单,贷款已冻结待复核。",
    "household_flagged": "【风险预警】该笔{product}的借款户被标记,贷款已冻结待复核。",
    "household_exited": "【风险预警】该笔{product}的借款户已迁出,贷款已冻结待复核。",
}
"""What is said where the programme has no words of its own; `warning` of whatever has none here."""


def text_of(rules: LoanRules | None, kind: str) -> str | None:
    """The words of a kind: the programme's own, or else the platform's; None for neither."""
    own = rules.notices.texts if rules is not None and rules.notices is not None else ()
    return next((each.zh for each in own if each.id == kind), TEXTS.get(kind))


def yuan(amount_fen: Fen) -> str:
    """An amount for people."""
    return f"{amount_fen // 100:,}.{amount_fen % 100:02d}"


def day_zh(day: date) -> str:
    """A day for people."""
    return f"{day.year}年{day.month}月{day.day}日"


def fill(text: str, values: Mapping[str, str]) -> str:
    """The words with their values; one that is not known is a dash."""
    return text.format_map(_Dashes(values))


class _Dashes(dict[str, str]):
    def __missing__(self, _: str) -> str:
        return "-"


def attempts_max(rules: LoanRules | None) -> int:
    """How often one notice is tried."""
    if rules is None or rules.notices is None:
        return ATTEMPTS_MAX
    return rules.notices.attempts_max


def channels_of(rules: LoanRules | None) -> tuple[Channel, ...]:
    """How borrowers are told: the clause of notices, or else what a maturity is told by."""
    if rules is None:
        return ()
    if rules.notices is not None and rules.notices.channels:
        return rules.notices.channels
    told = rules.maturity_notice.channels if rules.maturity_notice is not None else ()
    return tuple(channel for channel in told if channel is not Channel.PLATFORM)
