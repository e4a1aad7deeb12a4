"""Funds: a county's history under another pack, a fund under watch, a fund's year. Reads only."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.funds import events_out
from services.funds.model import CaseFile, CaseState, Fund, Part
from services.funds.rules import watch as rules
from services.funds.rules import what_if
from services.funds.rules.watch import Backed, Watched, Year, YearLine
from services.funds.rules.what_if import History, Item, Line, Outcome, Rules
from services.funds.store import accounts_lending as lending
from services.funds.store import cases as case_store
from services.funds.store import cover as cover_store
from services.funds.store import funds as fund_store
from services.funds.store import watch as store
from services.kernel import business_day
from services.kernel.caller import Caller, require_role
from services.kernel.database import Database
from services.kernel.errors import Invalid, NotFound, Refused, Violation, invalid_field
from services.kernel.money import Fen
from services.programmes.loader import Catalogue, PackErrors, try_terms
from services.programmes.schema.fund import SharingModel
from services.programmes.schema.pack import split_ref
from services.programmes.schema.values import known
from services.programmes.terms import Terms

OVERSEERS = ("finance_bureau", "county_centre", "auditor")
LENDERS = ("bank", "mutual_aid_society")
"""They see their own rows."""
PROBLEMS_MAX = 50


@dataclass(frozen=True, slots=True)
class PackText:
    """A pack that is not on the shelf."""

    file: str
    yaml: str


@dataclass(frozen=True, slots=True)
class Question:
    """Which history under which pack."""

    county_code: str
    programme_id: str
    pack: str | PackText
    """A ref, or a text."""
    since: date | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Books and replay side by side."""

    ref: str
    since: date
    rows: tuple[tuple[Line, Line], ...]
    """By year and institution: the books, the replay."""
    outcome: Outcome
    history: History
    same: int
    """Cases of which every part is that of the books."""


def seen_by(caller: Caller, county_code: str) -> str:
    """The institution whose rows alone the caller sees; empty for all."""
    require_role(caller, (*OVERSEERS, *LENDERS))
    caller.require_area(county_code)
    return caller.institution_id if caller.role in LENDERS else ""


async def what_if_answer(
    database: Database, catalogue: Catalogue, caller: Caller, asked: Question
) -> Answer:
    """Replay under a pack; everything is read in one snapshot, nothing is written."""
    own = seen_by(caller, asked.county_code)
    async with database.transaction(caller, snapshot=True) as session:
        today = await business_day.today(session, asked.county_code)
        if asked.since is not None and asked.since > today:
            raise invalid_field(
                "SINCE_IN_FUTURE",
                "since",
                asked.since,
                f"at most the business date {today}",
                "起始日期不得晚于当前营业日",
            )
        since = asked.since or date.min
        funds = await store.funds_of(session, asked.county_code, asked.programme_id)
        if not funds:
            raise NotFound(
                "FUND_NOT_FOUND",
                f"county {asked.county_code} has no fund of programme {asked.programme_id}",
                message_zh="该县无此方案基金",
            )
        choices = await cover_store.choices_of(session, [asked.county_code])
        history = await read_history(session, catalogue, asked, funds, since)
    chosen = {
        product: model
        for (programme, product), model in choices.get(asked.county_code, {}).items()
        if programme == asked.programme_id
    }
    # Reading a pack and replaying years are work of seconds: the server answers others meanwhile.
    terms = await asyncio.to_thread(terms_of, catalogue, asked)
    tried = Rules(terms, _parties(catalogue, asked, terms.ref), chosen)
    outcome = await asyncio.to_thread(what_if.replay, history, tried, since=since)
    return _answer(terms.ref, since, history, outcome, own)


def terms_of(catalogue: Catalogue, asked: Question) -> Terms:
    """The pack that is tried: one of the shelf, with an overlay of the county, or a text."""
    if isinstance(asked.pack, str):
        try:
            split_ref(asked.pack)
        except ValueError:
            raise invalid_field(
                "PACK_REF_MALFORMED",
                "pack_ref",
                asked.pack,
                "must be id@version or id@version:overlay",
            ) from None
        terms = catalogue.terms(asked.county_code, asked.pack)
    else:
        try:
            terms = try_terms(asked.pack.file, asked.pack.yaml, asked.county_code)
        except PackErrors as error:
            raise _pack_refused(error) from None
    # Refused here, where there is none: nothing could be shared.
    assert terms.fund is not None
    return terms


def _pack_refused(error: PackErrors) -> Invalid:
    """Each problem with its file, line and key path."""
    violations = [
        Violation(field=f"{each.file}:{each.line} {each.path}", value=each.value, rule=each.rule)
        for each in error.problems[:PROBLEMS_MAX]
    ]
    return Invalid(
        "PACK_INVALID",
        "; ".join(str(each) for each in error.problems[:3]),
        message_zh="方案文件有误",
        violations=violations,
    )


def _parties(catalogue: Catalogue, asked: Question, ref: str) -> Mapping[str, tuple[str, ...]]:
    """Who is who: as the county adopted this pack, else as it adopted the programme before."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in catalogue.entries(asked.county_code):
        if split_ref(entry.programme)[0] == asked.programme_id:
            found |= {party: entry.institutions(party) for party in entry.parties}
    try:
        return found | dict(catalogue.parties(asked.county_code, ref))
    except NotFound:
        return found


async def read_history(
    session: AsyncSession,
    catalogue: Catalogue,
    asked: Question,
    funds: Sequence[Fund],
    since: date,
) -> History:
    """Everything that funds keeps of a programme's history, set by set."""
    county_code, programme_id = asked.county_code, asked.programme_id
    cases = await store.cases_of(session, county_code, programme_id)
    loans = [(county_code, case.loan_id) for case in cases]
    loan_ids = sorted({case.loan_id for case in cases})
    parts = await case_store.parts_of(session, [case.key for case in cases])
    before = [case.case_id for case in cases if case.decided_on and case.decided_on < since]
    sums = await store.sums_before(session, county_code, before, since)
    insured = await cover_store.insured_of(session, loans)
    return History(
        funds=tuple(funds),
        covers={
            each.loan_id: each for each in await store.covers_of(session, county_code, programme_id)
        },
        cases={case.case_id: case for case in cases},
        parts={case_id: tuple(each) for case_id, each in parts.items()},
        earlier={
            case_id: store.parts_before(parts[case_id], sums)
            for case_id in before
            if case_id in parts
        },
        loans=await store.known_loans(session, county_code, loan_ids),
        insured={loan_id: tuple(each) for (_, loan_id), each in insured.items()},
        owners=await lending.borrowers_of(session, loans),
        triggers={
            case.case_id: model
            for case in cases
            if (model := _model(catalogue, county_code, case.programme, case.model_id)) is not None
        },
        log=await _log(session, county_code, programme_id, funds),
    )


async def _log(
    session: AsyncSession, county_code: str, programme_id: str, funds: Sequence[Fund]
) -> tuple[Item, ...]:
    """
    What happened, in order.

    Events keep the order of the locks; entries of money are put between them by the millisecond.
    """
    found: list[tuple[tuple[int, int, int], Item]] = []
    latest = 0
    for row in await store.events(session, county_code, programme_id):
        latest = max(latest, _moment(row["event_id"]))
        said = events_out.Said(
            row["event_type"], row["aggregate_id"], row["business_date"], row["payload"]
        )
        found.append(((latest, 2, len(found)), events_out.read_back(said, latest)))
    for entry_id, money in await store.money(session, county_code, funds):
        # A debt is paid with money that came in the same millisecond.
        later = int(money.kind == "debt_payment")
        found.append(((_moment(entry_id), later, len(found)), money))
    return tuple(item for _, item in sorted(found, key=lambda each: each[0]))


def _moment(made: UUID) -> int:
    """The millisecond in which an id was made (RFC 9562)."""
    return made.int >> 80


def _model(catalogue: Catalogue, county_code: str, ref: str, model_id: str) -> SharingModel | None:
    try:
        return catalogue.terms(county_code, ref).sharing_model(model_id)
    except (NotFound, Refused):
        return None


def _answer(ref: str, since: date, history: History, outcome: Outcome, own: str) -> Answer:
    booked = what_if.lines(
        (case.decided_on, history.parts.get(case.case_id, ()))
        for case in history.cases.values()
        if case.state in (CaseState.PAID, CaseState.CLOSED)
        and case.decided_on is not None
        and case.decided_on >= since
    )
    tried = what_if.lines((each.on, each.parts) for each in outcome.cases)
    rows = tuple(
        (booked.get(key) or Line(*key), tried.get(key) or Line(*key))
        for key in sorted({*booked, *tried})
        if own in ("", key[1])
    )
    return Answer(ref, since, rows, outcome, history, same=same_cases(history, outcome))


def same_cases(history: History, outcome: Outcome) -> int:
    """How many cases come out to the fen as in the books."""
    return sum(
        _plain(each.parts) == _plain(history.parts[each.case.case_id])
        for each in outcome.cases
        if each.case.case_id in history.parts
    )


def _plain(parts: Sequence[Part]) -> list[tuple[object, ...]]:
    return [
        (
            p.position,
            p.layer,
            p.party,
            p.institution_id,
            p.fund_id,
            p.own_loss,
            p.amount_fen,
            p.paid_fen,
            p.recovered_fen,
        )
        for p in parts
    ]


# --- watch ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watch:
    """A fund with a page of its concentration."""

    watched: Watched
    spread: Sequence[asyncpg.Record]


async def _fund(session: AsyncSession, county_code: str, fund_id: UUID) -> Fund:
    fund = await fund_store.get_fund(session, county_code, fund_id)
    if fund is None:
        raise NotFound("FUND_NOT_FOUND", f"no fund {fund_id}", message_zh="无此基金")
    return fund


async def fund_watch(
    session: AsyncSession,
    catalogue: Catalogue,
    caller: Caller,
    county_code: str,
    fund_id: UUID,
    *,
    after: tuple[str, str],
    limit: int,
) -> Watch:
    """Leverage, adequacy and concentration of one fund on the business date."""
    own = seen_by(caller, county_code)
    fund = await _fund(session, county_code, fund_id)
    today = await business_day.today(session, county_code)
    programme, multiple, models = fund.programme_id, None, dict[str, SharingModel | None]()
    try:
        programme = catalogue.in_force(county_code, fund.programme_id, today)
        terms = catalogue.terms(county_code, programme).fund
        models |= {model.id: model for model in terms.models}
        multiple = known(terms.multiple)
    except (NotFound, Refused):
        pass
    backed = [
        Backed(
            row["model_id"],
            row["loans"],
            Fen(row["covered_fen"]),
            Fen(row["outstanding_fen"]),
            Fen(row["non_performing_fen"]),
        )
        for row in await store.backed_by_model(session, county_code, fund_id)
    ]
    watched = rules.watched(fund, backed, models, programme=programme, multiple=multiple)
    spread = await store.spread(
        session, county_code, fund_id, seen_by=own, after=after, limit=limit
    )
    return Watch(watched, spread)


# --- the year -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Audit:
    """A fund's year, the treasury's fees beside it, and a page of its cases."""

    fund: Fund
    year: Year
    through: date
    fees: tuple[YearLine, ...]
    cases: Sequence[CaseFile]


async def yearly_audit(
    session: AsyncSession,
    caller: Caller,
    county_code: str,
    fund_id: UUID,
    year: int,
    *,
    after: UUID,
    limit: int,
) -> Audit:
    """The year by the journal; of a year that is not over, as far as it goes."""
    require_role(caller, OVERSEERS)
    caller.require_area(county_code)
    fund = await _fund(session, county_code, fund_id)
    today = await business_day.today(session, county_code)
    if year > today.year:
        raise invalid_field(
            "YEAR_NOT_BEGUN", "year", year, f"at most {today.year}", "该年度尚未开始"
        )
    first, last = date(year, 1, 1), min(date(year, 12, 31), today)
    rows = await store.year_of(session, county_code, fund_id, first, last)
    ends = {row["kind"]: row["amount_fen"] for row in rows if row["kind"] in ("opening", "closing")}
    lines = [
        YearLine(row["kind"], row["source"], row["amount_fen"], row["entries"])
        for row in rows
        if row["kind"] not in ("opening", "closing")
    ]
    # Of the running year the fund's own row is the second witness, beside the journal.
    closing = fund.balance_fen if year == today.year else ends["closing"]
    fees = await store.fees_of(session, county_code, fund.programme_id, first, last)
    cases = await store.cases_of_year(
        session, county_code, fund_id, first, last, after=after, limit=limit
    )
    parts = await case_store.parts_of(session, [case.key for case in cases])
    return Audit(
        fund=fund,
        year=rules.year(ends["opening"], lines, closing),
        through=last,
        fees=tuple(YearLine(r["kind"], "", r["amount_fen"], r["entries"]) for r in fees),
        cases=case_store.files(cases, parts),
    )
