"""Funds over gRPC: a history under another pack, a fund under watch, its year."""

from collections.abc import Mapping

import asyncpg
from liandong.funds.v1 import watch_pb2, watch_pb2_grpc

from services.funds.operations import watch
from services.funds.operations.watch import Answer, PackText, Question
from services.funds.rules.watch import YearLine
from services.funds.rules.what_if import Line
from services.funds.servicer.cases import case_out
from services.funds.servicer.shared import start_id
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import invalid_field
from services.kernel.ids import parse_id
from services.kernel.money import PPM
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue


def _burden(line: Line) -> watch_pb2.Burden:
    return watch_pb2.Burden(
        borne_fen=line.borne_fen,
        paid_fen=line.paid_fen,
        owed_fen=line.owed_fen,
        recovered_fen=line.recovered_fen,
    )


def _counts(found: Mapping[str, int]) -> list[watch_pb2.ReasonCount]:
    return [watch_pb2.ReasonCount(reason=reason, count=count) for reason, count in found.items()]


def _question(request: watch_pb2.RunWhatIfRequest) -> Question:
    text = request.pack_text
    since = None
    if request.HasField("since"):
        since = wire.date_from_proto("since", request.since)
    return Question(
        county_code=request.county_code,
        programme_id=request.programme_id,
        pack=PackText(text.file, text.yaml) if request.HasField("pack_text") else request.pack_ref,
        since=since,
    )


def _answered(found: Answer, start: int, size: int) -> watch_pb2.RunWhatIfResponse:
    rows = found.rows[start : start + size]
    more = start + size < len(found.rows)
    outcome = found.outcome
    return watch_pb2.RunWhatIfResponse(
        pack_ref=found.ref,
        rows=[
            watch_pb2.WhatIfRow(
                year=books.year,
                institution_id=books.institution_id,
                books=_burden(books),
                tried=_burden(tried),
            )
            for books, tried in rows
        ],
        next_page_token=wire.page_token(str(start + size)) if more else "",
        cases=len(outcome.cases),
        cases_same=found.same,
        cases_not_accepted=_counts(outcome.not_accepted),
        covers_refused=_counts(outcome.covers_refused),
        covers_granted=outcome.covers_granted,
        losses_assumed=outcome.loss_assumed,
        withheld_fen=outcome.withheld_fen,
    )


def _concentration(row: asyncpg.Record, covered_fen: int) -> watch_pb2.Concentration:
    return watch_pb2.Concentration(
        dimension=row["dimension"],
        key=row["key"],
        loans=row["loans"],
        covered_fen=row["covered_fen"],
        outstanding_fen=row["outstanding_fen"],
        non_performing_fen=row["non_performing_fen"],
        share_ppm=row["covered_fen"] * PPM // covered_fen if covered_fen else 0,
        cases=row["cases"],
        borne_fen=row["loss_fen"],
    )


def _after(token: str) -> tuple[str, str]:
    last = wire.page_start(token)
    dimension, slash, key = last.partition("/")
    if last and not slash:
        rule = "must come from the answer before"
        raise invalid_field("MALFORMED_PAGE_TOKEN", "page_token", token, rule)
    return dimension, key


def _line(line: YearLine) -> watch_pb2.AuditLine:
    return watch_pb2.AuditLine(
        kind=line.kind, source=line.source, amount_fen=line.amount_fen, entries=line.entries
    )


class WatchServicer(watch_pb2_grpc.WatchServiceServicer):
    """What may be asked of funds under watch."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._catalogue = catalogue

    async def RunWhatIf(
        self, request: watch_pb2.RunWhatIfRequest, context: Context
    ) -> watch_pb2.RunWhatIfResponse:
        """A history under another pack."""
        start, size = wire.page_offset(request.page_token), wire.page_size(request.page_size)
        found = await watch.what_if_answer(
            self._database, self._catalogue, caller_of(context), _question(request)
        )
        return _answered(found, start, size)

    async def GetFundWatch(
        self, request: watch_pb2.GetFundWatchRequest, context: Context
    ) -> watch_pb2.GetFundWatchResponse:
        """A fund under watch."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller, snapshot=True) as session:
            found = await watch.fund_watch(
                session,
                self._catalogue,
                caller,
                request.county_code,
                parse_id("fund_id", request.fund_id),
                after=_after(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(
            found.spread, size, lambda row: f"{row['dimension']}/{row['key']}"
        )
        fund, lever = found.watched.fund, found.watched.leverage
        need = found.watched.adequacy
        return watch_pb2.GetFundWatchResponse(
            programme=found.watched.programme,
            capacity_fen=lever.capacity_fen if lever else 0,
            covered_fen=fund.covered_fen,
            headroom_fen=lever.headroom_fen if lever else 0,
            required_fen=lever.required_fund_fen if lever else 0,
            top_up_fen=lever.top_up_fen if lever else 0,
            balance_fen=fund.balance_fen,
            owed_fen=fund.owed_fen,
            suspended=fund.state == "suspended",
            takes_cover=found.watched.takes_cover,
            non_performing_ppm=need.non_performing_ppm,
            needed_fen=need.needed_fen,
            missing_fen=need.missing_fen,
            adequate=need.adequate,
            working=need.working,
            backed=[
                watch_pb2.BackedLoans(
                    sharing_model=each.model_id,
                    loans=each.loans,
                    covered_fen=each.covered_fen,
                    outstanding_fen=each.outstanding_fen,
                    non_performing_fen=each.non_performing_fen,
                )
                for each in found.watched.backed
            ],
            concentration=[_concentration(row, fund.covered_fen) for row in page],
            next_page_token=token,
        )

    async def GetYearlyAudit(
        self, request: watch_pb2.GetYearlyAuditRequest, context: Context
    ) -> watch_pb2.GetYearlyAuditResponse:
        """A fund's year."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        async with self._database.transaction(caller, snapshot=True) as session:
            found = await watch.yearly_audit(
                session,
                caller,
                request.county_code,
                parse_id("fund_id", request.fund_id),
                request.year,
                after=start_id(request.page_token),
                limit=size + 1,
            )
        page, token = wire.page_of(found.cases, size, lambda each: each.case.case_id)
        return watch_pb2.GetYearlyAuditResponse(
            through=wire.date_to_proto(found.through),
            opening_fen=found.year.opening_fen,
            lines=[_line(each) for each in found.year.lines],
            closing_fen=found.year.closing_fen,
            difference_fen=found.year.difference_fen,
            fees=[_line(each) for each in found.fees],
            cases=[case_out(each) for each in page],
            next_page_token=token,
        )
