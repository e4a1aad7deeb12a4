"""Wording: figures, days and codes as people read them, in Chinese or English."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Literal, cast

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from markupsafe import Markup

from gateway.console.codes import CODES
from gateway.plain_words import WORDS

Language = Literal["zh", "en"]
CHINA = timezone(timedelta(hours=8))
FEN_PER_WAN = 1_000_000
WAN_PER_YI = 10_000


def language_of(asked: str | None, accepted: str) -> Language:
    """The language that was chosen, else the browser's, else Chinese."""
    if asked in ("zh", "en"):
        return cast(Language, asked)
    first = accepted.split(",", 1)[0].strip().lower()
    return "en" if first.startswith("en") else "zh"


def yuan(fen: int) -> str:
    """An amount in yuan to the fen, `1,234.56`."""
    whole, rest = divmod(abs(fen), 100)
    return f"{'−' if fen < 0 else ''}{whole:,}.{rest:02d}"


def _tenths(numerator: int, denominator: int) -> str:
    """A quotient with up to two decimals, half up."""
    hundredths = (2 * 100 * abs(numerator) + denominator) // (2 * denominator)
    whole, rest = divmod(hundredths, 100)
    sign = "−" if numerator < 0 else ""
    return f"{sign}{whole:,}.{rest:02d}".rstrip("0").rstrip(".")


def large_yuan(fen: int, language: Language) -> str:
    """An amount as headlines say it: 万元 and 亿元, or million yuan."""
    if language == "en":
        return f"¥{_tenths(fen, 100_000_000)} m" if abs(fen) >= 10_000_000 else f"¥{yuan(fen)}"
    if abs(fen) >= FEN_PER_WAN * WAN_PER_YI:
        return f"{_tenths(fen, FEN_PER_WAN * WAN_PER_YI)} 亿元"
    if abs(fen) >= FEN_PER_WAN:
        return f"{_tenths(fen, FEN_PER_WAN)} 万元"
    return f"{yuan(fen)} 元"


def per_cent(numerator: int, denominator: int) -> str:
    """A ratio in per cent with two decimals, half up; a dash over nothing."""
    if denominator == 0:
        return "—"
    hundredths = (2 * 10_000 * numerator + denominator) // (2 * denominator)
    return f"{hundredths // 100}.{hundredths % 100:02d}%"


def day(value: Date | None) -> str:
    """A day, `2018-03-01`; a dash for none."""
    if value is None or not value.year:
        return "—"
    return f"{value.year:04d}-{value.month:02d}-{value.day:02d}"


def moment(value: Timestamp | None, *, seconds: bool = True) -> str:
    """A moment on China's clocks; a dash for none."""
    if value is None or not (value.seconds or value.nanos):
        return "—"
    at = datetime.fromtimestamp(value.seconds, UTC).astimezone(CHINA)
    return at.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def code(value: str, language: Language) -> str:
    """A code in words; one that nobody has words for stays as it is."""
    found = CODES.get(value) or WORDS.get(value)
    if found is None:
        return value.replace("_", " ")
    return found[0] if language == "zh" else found[1]


def enum(name: str, prefix: str, language: Language) -> str:
    """A value of an enum in words."""
    return code(name.removeprefix(prefix).lower(), language)


def short_id(value: str) -> Markup:
    """An id that fits a table: its end, where ids differ, and the whole for whoever hovers."""
    if len(value) != 36:
        return Markup("<span>{}</span>").format(value)
    return Markup('<span class="id" title="{}">…{}</span>').format(value, value[-8:])
