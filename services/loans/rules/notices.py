"""Loans: notices: to whom, in which words, and how they come to be sent. Pure decisions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from services.kernel.errors import NotFound, Refused, invalid_field
from services.kernel.values import replace
from services.loans.model import Loan, LoanState, Warned
from services.loans.rules.chain import INSTITUTIONS
from services.programmes import notices
from services.programmes.schema.collection import Channel, MaturityNotice
from services.programmes.schema.loans import LoanRules
from services.programmes.schema.reports import EarlyWarning
from services.programmes.schema.values import Organ
from services.programmes.terms import Terms

PLATFORM = str(Channel.PLATFORM)
WHATEVER_IS_OWED = frozenset({"payout_unconfirmed"})
"""Kinds that somebody must hear of even when nothing is owed any more."""

QUEUED, TAKEN, DELIVERED, FAILED, WITHDRAWN = "queued", "taken", "delivered", "failed", "withdrawn"
LEASE_EXPIRED = "lease_expired"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell somebody: a household by its lender's sender, or an institution here."""

    notice_id: UUID
    kind: str
    channel: str
    subject_id: UUID
    """The loan, household or warning that it is about; with the cause it is said once."""
    cause_id: str
    loan_id: UUID | None
    household_id: UUID | None
    """Whom it is sent to; None for one that an institution or organ reads on the platform."""
    lender_id: str
    sender_id: str
    """Who takes it: the lender, or the institution that reads it; empty for one to an organ."""
    organ: str
    area_code: str
    text: str
    programme: str
    queued_on: date
    attempts_max: int
    queued_by: str = ""
    state: str = QUEUED
    attempts: int = 0
    taken_by: str = ""
    leased_until: datetime | None = None
    reason: str = ""
    sent_on: date | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one attempt to send a notice."""

    notice_id: UUID
    attempt: int
    institution_id: str
    person_id: str
    result: str
    reason: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a sender says of one attempt."""

    notice_id: UUID
    attempt: int
    result: str
    reason: str
    reference: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A notice that somebody asks for by hand."""

    loan_id: UUID
    kind: str
    channel: str
    cause_id: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What the next taker finds: the notice as it is then, and an attempt that came to nothing."""

    notice: Notice
    lost: Attempt | None


# --- what is said, to whom ------------------------------------------------------------------------


def values_of(loan: Loan, terms: Terms) -> Mapping[str, str]:
    """What a text about a loan is filled with; it names nobody (S47)."""
    return {
        "product": terms.product(loan.product_id).title.zh,
        "matures_on": notices.day_zh(loan.matures_on) if loan.matures_on else "-",
        "owed_yuan": notices.yuan(loan.owed_fen),
        "overdue_days": str(loan.overdue_days),
    }


def text_of(rules: LoanRules | None, kind: str, or_as: Sequence[str] = ()) -> str:
    """The words of a kind; refused where neither programme nor platform has any."""
    for each in (kind, *or_as):
        text = notices.text_of(rules, each)
        if text is not None:
            return text
    rule = "must be a kind that the programme or the platform has a text for"
    raise invalid_field("NOTICE_KIND_UNKNOWN", "kind", kind, rule, "无此类通知模板")


def require_channel(field: str, channels: Sequence[str]) -> None:
    """Refuse a notice that would reach nobody."""
    if not any(channels):
        rule = "a notice needs a channel: sms, phone, letter or platform"
        raise invalid_field("NOTICE_WITHOUT_CHANNEL", field, "", rule, "通知须指定发送渠道")


def reader_of(organ: str) -> str:
    """
    Which institutions read what is for an organ; the lender needs no role, it is named.

    For an organ that is no institution here the county's centre reads, and passes it on on paper.
    """
    if organ in ("", Organ.LENDER):
        return ""
    return organ if organ in INSTITUTIONS else Organ.COUNTY_CENTRE.value


def about_loan(
    notice_id: UUID,
    loan: Loan,
    terms: Terms,
    *,
    kind: str,
    channel: str,
    cause_id: str,
    day: date,
    organ: str = "",
    queued_by: str = "",
    or_as: Sequence[str] = (),
) -> Notice:
    """
    A notice about a loan: to the household, or on the platform to the lender or an organ.

    `or_as` are kinds whose words serve where the kind has none.
    """
    require_channel("channel", [channel])
    organ = reader_of(organ)
    return Notice(
        notice_id=notice_id,
        kind=kind,
        channel=channel,
        subject_id=loan.loan_id,
        cause_id=cause_id,
        loan_id=loan.loan_id,
        household_id=None if channel == PLATFORM else loan.household_id,
        lender_id=loan.lender_id,
        sender_id="" if organ else loan.lender_id,
        organ=organ,
        area_code=loan.area_code,
        text=notices.fill(text_of(terms.pack.loans, kind, or_as), values_of(loan, terms)),
        programme=loan.programme,
        queued_on=day,
        attempts_max=notices.attempts_max(terms.pack.loans),
        queued_by=queued_by,
    )


def routes_of_maturity(clause: MaturityNotice) -> list[tuple[str, str]]:
    """By which channel, and to which organ: the borrower's own first (HN-PO.loa.11, LS18.loa.4)."""
    own = [(str(each), "") for each in clause.channels if each is not Channel.PLATFORM]
    return [*(own if clause.to_borrower else ()), *((PLATFORM, str(each)) for each in clause.to)]


def clauses_of(warned: Warned, terms: Terms) -> list[EarlyWarning]:
    """What the programme says of a kind of early warning."""
    rules = terms.pack.monitoring.early_warnings if terms.pack.monitoring is not None else ()
    return [rule for rule in rules if warned.kind in (rule.id, rule.of)]


def of_warning(
    new_id: Callable[[], UUID], warned: Warned, loan: Loan, terms: Terms, day: date
) -> list[Notice]:
    """The lender hears of every early warning, and whom the programme names (SC.gat.1)."""
    clauses = clauses_of(warned, terms)
    named = [str(organ) for clause in clauses for organ in clause.to]
    return [
        about_loan(
            new_id(),
            loan,
            terms,
            kind=warned.kind,
            channel=PLATFORM,
            organ=organ,
            cause_id=warned.cause_id,
            day=day,
            or_as=[*(clause.of for clause in clauses), "warning"],
        )
        for organ in dict.fromkeys([str(Organ.LENDER), *named])
    ]


# --- how it is sent -------------------------------------------------------------------------------


def take(notice: Notice, *, taker: str, settled: bool) -> Turn:
    """Give a waiting notice to its sender, unless it is not wanted or was tried often enough."""
    lost = None
    if notice.state == TAKEN:
        lost = Attempt(notice.notice_id, notice.attempts, notice.taken_by, "", LEASE_EXPIRED)
    free = replace(notice, taken_by="", leased_until=None)
    if settled and notice.kind not in WHATEVER_IS_OWED:
        return Turn(replace(free, state=WITHDRAWN, reason="loan_settled"), lost)
    if notice.attempts >= notice.attempts_max:
        return Turn(replace(free, state=FAILED, reason=LEASE_EXPIRED), lost)
    taken = replace(free, state=TAKEN, attempts=notice.attempts + 1, taken_by=taker)
    return Turn(taken, lost)


def report(notice: Notice | None, said: Report, *, sender: str, today: date) -> Notice:
    """Note what became of an attempt; what failed comes again while it may."""
    found = _of(notice, said.notice_id)
    if found.state in (DELIVERED, FAILED, WITHDRAWN):
        raise Refused(
            "NOTICE_REPORTED", f"the notice is {found.state}", message_zh="该通知已有结果"
        )
    if found.state != TAKEN or found.taken_by != sender or found.attempts != said.attempt:
        raise Refused(
            "NOTICE_NOT_TAKEN",
            f"attempt {said.attempt} is not {sender}'s: {found.state}, attempt {found.attempts}",
            message_zh="该通知未由本机构领取",
        )
    done = replace(found, leased_until=None)
    if said.result == "delivered":
        return replace(done, state=DELIVERED, sent_on=today, reason="")
    if said.result == "unreachable" or found.attempts >= found.attempts_max:
        return replace(done, state=FAILED, reason=said.reason)
    return replace(done, state=QUEUED, taken_by="", reason=said.reason)


def withdraw(notice: Notice | None, notice_id: UUID, reason: str) -> Notice:
    """Take back a notice that was not sent."""
    found = _of(notice, notice_id)
    if found.state in (DELIVERED, WITHDRAWN):
        raise Refused(
            "NOTICE_REPORTED", f"the notice is {found.state}", message_zh="该通知已有结果"
        )
    return replace(found, state=WITHDRAWN, reason=reason, leased_until=None)


def _of(notice: Notice | None, notice_id: UUID) -> Notice:
    if notice is None:
        raise NotFound("NOTICE_NOT_FOUND", f"no notice {notice_id}", message_zh="无此通知")
    return notice


def settled(state: str | None) -> bool:
    """Whether nothing is owed any more on the loan of a notice."""
    return state in (LoanState.SETTLED, LoanState.WRITTEN_OFF, LoanState.REFUSED)
