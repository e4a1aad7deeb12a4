"""Loans: publications: what a programme asks to be made public, for how long. Pure decisions."""

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.money import Fen
from services.kernel.values import replace
from services.programmes.schema.upkeep import PublicNotice
from services.programmes.schema.values import Open, known
from services.programmes.terms import Terms

LOANS, SUBSIDY, COMPENSATIONS, TOTALS = "loans", "subsidy", "compensations", "totals"
MADE, PUBLISHED, WITHDRAWN = "made", "published", "withdrawn"
LINES_MAX = 20_000
DAYS = 7
"""For how long something is public where neither programme nor request says."""

PAYMENTS = {SUBSIDY: "interest_subsidy", COMPENSATIONS: "compensation"}


@dataclass(frozen=True, slots=True)
class Publication:
    """What is made public of a period and an area; its lines name no debtor (S47)."""

    publication_id: UUID
    kind: str
    programme_id: str
    rule_version: str
    area_code: str
    first: date
    last: date
    days: int
    places: tuple[str, ...]
    made_on: date
    made_by: str
    lines: int = 0
    amount_fen: Fen = Fen(0)  # noqa: RUF009 - a whole number
    state: str = MADE
    published_on: date | None = None
    ends_on: date | None = None
    published_by: str = ""
    withdrawn_on: date | None = None
    withdrawn_by: str = ""
    reason: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """What a publication is about."""

    kind: str
    programme_id: str
    area_code: str
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a village, maybe a lender, a product and a purpose; never a name or a loan's id."""

    area_code: str
    lender_id: str
    product_id: str
    purpose: str
    on: date | None
    loans: int
    amount_fen: Fen
    other_fen: Fen


@dataclass(frozen=True, slots=True)
class Asked:
    """What the programme says of a kind: where it is shown, for how many days at least."""

    places: tuple[str, ...]
    days: int | None


def asked(terms: Terms, kind: str) -> Asked:
    """Whether the programme asks for it; what it does not ask for is not made public."""
    pack = terms.pack
    rules = pack.monitoring.publications if pack.monitoring is not None else ()
    own = [rule for rule in rules if rule.of == kind and rule.by_platform]
    places = [place for rule in own for place in rule.places]
    control = pack.fund.payment_control if pack.fund is not None else None
    notice: PublicNotice | None = None
    if control is not None and PAYMENTS.get(kind) in control.payments:
        notice = control.public_notice
    if notice is not None and notice.platform is not None:
        places.append(notice.platform)
    disclosed = pack.loans.disclosure if pack.loans is not None and kind == LOANS else None
    if disclosed is not None:
        places.append(known(disclosed.area))
    if not own and notice is None and disclosed is None:
        raise Refused(
            "PUBLICATION_NOT_ASKED",
            f"{terms.ref} asks for no publication of {kind}",
            message_zh="方案未要求公示此类信息",
            facts={"key": "monitoring.publications"},
        )
    days = None if notice is None or isinstance(notice.days, Open) else notice.days
    return Asked(tuple(dict.fromkeys(places)), days)


def days_of(found: Asked, wanted: int) -> int:
    """For how long: as asked for, never shorter than the programme says."""
    least = found.days or 1
    if wanted and wanted < least:
        rule = f"the programme says {least} days at least"
        raise invalid_field("PUBLICATION_TOO_SHORT", "days", wanted, rule, "公示期短于方案规定")
    return wanted or found.days or DAYS


def require_period(subject: Subject, today: date) -> None:
    """Refuse a period that is upside down, or that is not over."""
    first, last = subject.first, subject.last
    if last < first:
        raise invalid_field("PERIOD_NOT_OVER", "last", last, f"must not be before first {first}")
    if last >= today:
        rule = f"must be before the business date {today}"
        raise invalid_field("PERIOD_NOT_OVER", "last", last, rule, "公示期间尚未结束")


def require_few(lines: int) -> None:
    """Refuse more than one publication holds."""
    if lines > LINES_MAX:
        raise Refused(
            "PUBLICATION_TOO_LARGE",
            f"more than {LINES_MAX} lines: take a smaller area or a shorter period",
            message_zh="公示内容过多,请缩小范围",
        )


def publish(
    held: Publication | None, publication_id: UUID, *, person: str, on: date
) -> Publication:
    """Make it public from a day on, by a second person."""
    found = _of(held, publication_id)
    _require(found, MADE)
    if person == found.made_by:
        raise Refused(
            "SAME_PERSON", "who made it does not publish it", message_zh="经办与复核不得为同一人"
        )
    return replace(
        found,
        state=PUBLISHED,
        published_on=on,
        ends_on=on + timedelta(days=found.days - 1),
        published_by=person,
        version=found.version + 1,
    )


def withdraw(
    held: Publication | None, publication_id: UUID, *, person: str, reason: str, on: date
) -> Publication:
    """Take it back; it stays on record."""
    found = _of(held, publication_id)
    _require(found, MADE, PUBLISHED)
    return replace(
        found,
        state=WITHDRAWN,
        withdrawn_on=on,
        withdrawn_by=person,
        reason=reason,
        version=found.version + 1,
    )


def is_public(found: Publication, today: date) -> bool:
    """Whether everybody may read it on a day, its first and last one included."""
    if found.state != PUBLISHED or found.published_on is None or found.ends_on is None:
        return False
    return found.published_on <= today <= found.ends_on


def _of(held: Publication | None, publication_id: UUID) -> Publication:
    if held is None:
        raise NotFound(
            "PUBLICATION_NOT_FOUND", f"no publication {publication_id}", message_zh="无此公示"
        )
    return held


def _require(found: Publication, *states: str) -> None:
    if found.state not in states:
        raise Refused(
            "PUBLICATION_STATE", f"the publication is {found.state}", message_zh="公示状态不符"
        )
