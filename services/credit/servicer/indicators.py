"""Credit over gRPC: the catalogue of indicators, and what is observed of households."""

from liandong.credit.v1 import credit_pb2, indicators_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from services.credit import reports
from services.credit.model import Indicator, IndicatorRule, Refresh, Use
from services.credit.operations import indicators as operations
from services.kernel import wire
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.idempotency import once
from services.kernel.ids import parse_id
from services.kernel.rpc import Context, caller_of
from services.programmes.loader import Catalogue

REFRESH = {
    Refresh.NONE: indicators_pb2.REFRESH_UNSPECIFIED,
    Refresh.REAL_TIME: indicators_pb2.REFRESH_REAL_TIME,
    Refresh.QUARTERLY: indicators_pb2.REFRESH_QUARTERLY,
    Refresh.YEARLY: indicators_pb2.REFRESH_YEARLY,
}
REFRESH_SAID = {said: refresh for refresh, said in REFRESH.items()}
USES = {
    Use.ADJUSTMENT: indicators_pb2.INDICATOR_USE_ADJUSTMENT,
    Use.FACTOR: indicators_pb2.INDICATOR_USE_FACTOR,
    Use.VETO: indicators_pb2.INDICATOR_USE_VETO,
    Use.GATE: indicators_pb2.INDICATOR_USE_GATE,
    Use.STANDARD: indicators_pb2.INDICATOR_USE_STANDARD,
    Use.REWARD: indicators_pb2.INDICATOR_USE_REWARD,
}


class IndicatorsDoor:
    """Declare, list, record."""

    _database: Database
    _catalogue: Catalogue

    async def DeclareIndicators(
        self, request: indicators_pb2.DeclareIndicatorsRequest, context: Context
    ) -> indicators_pb2.DeclareIndicatorsResponse:
        """Declare indicators of a programme, each decided on its own."""
        caller = caller_of(context)
        declared = {place: _rule(each) for place, each in enumerate(request.rules)}

        async def work(session: AsyncSession) -> indicators_pb2.DeclareIndicatorsResponse:
            refused = await operations.declare(
                session,
                caller,
                self._catalogue,
                request.county_code,
                programme_id=request.programme_id,
                declared=declared,
            )
            return indicators_pb2.DeclareIndicatorsResponse(
                declared=len(declared) - len(refused),
                refused=[wire.refused(index, refused[index]) for index in sorted(refused)],
            )

        answer = indicators_pb2.DeclareIndicatorsResponse
        return await once(self._database, caller, request, answer, work, money=False)

    async def ListIndicatorRules(
        self, request: indicators_pb2.ListIndicatorRulesRequest, context: Context
    ) -> indicators_pb2.ListIndicatorRulesResponse:
        """A programme's catalogue, by code."""
        caller = caller_of(context)
        size = wire.page_size(request.page_size)
        start = wire.page_start(request.page_token)
        async with self._database.transaction(caller) as session:
            known = await reports.indicator_catalogue(
                session,
                caller,
                self._catalogue,
                request.county_code,
                programme_id=request.programme_id,
            )
        left = sorted(code for code in known.rules if code > start)
        return indicators_pb2.ListIndicatorRulesResponse(
            rules=[_rule_to_proto(known.rules[code]) for code in left[:size]],
            next_page_token=wire.page_token(left[size - 1]) if len(left) > size else "",
            item_count=known.item_count,
            catalogue_count=len(known.rules),
        )

    async def BatchRecordIndicators(
        self, request: credit_pb2.BatchRecordIndicatorsRequest, context: Context
    ) -> credit_pb2.BatchRecordIndicatorsResponse:
        """Record what was observed of households, each decided on its own."""
        caller = caller_of(context)
        indicators: dict[int, Indicator] = {}
        unread: dict[int, LiandongError] = {}
        for index, each in enumerate(request.indicators):
            try:
                indicators[index] = _indicator(each)
            except LiandongError as error:
                unread[index] = error

        async def work(session: AsyncSession) -> credit_pb2.BatchRecordIndicatorsResponse:
            refused = unread | await operations.record(
                session, caller, self._catalogue, request.county_code, indicators
            )
            return credit_pb2.BatchRecordIndicatorsResponse(
                recorded=len(request.indicators) - len(refused),
                refused=[wire.refused(index, refused[index]) for index in sorted(refused)],
            )

        answer = credit_pb2.BatchRecordIndicatorsResponse
        return await once(self._database, caller, request, answer, work, money=False)


def _rule(message: indicators_pb2.IndicatorRule) -> IndicatorRule:
    return IndicatorRule(
        code=message.code,
        name_zh=message.name_zh,
        min=message.min,
        max=message.max if message.HasField("max") else None,
        unit=message.unit,
        refresh=REFRESH_SAID[message.refresh],
        suppliers=tuple(dict.fromkeys(message.suppliers)),
        declared=True,
    )


def _rule_to_proto(rule: IndicatorRule) -> indicators_pb2.IndicatorRule:
    return indicators_pb2.IndicatorRule(
        code=rule.code,
        name_zh=rule.name_zh,
        min=rule.min,
        max=rule.max,
        unit=rule.unit,
        refresh=REFRESH[rule.refresh],
        suppliers=rule.suppliers,
        uses=[USES[use] for use in rule.uses],
        declared=rule.declared,
    )


def _indicator(message: credit_pb2.Indicator) -> Indicator:
    has_value = message.HasField("value")
    has_end = message.HasField("expires_on")
    return Indicator(
        household_id=parse_id("household_id", message.household_id),
        code=message.code,
        value=message.value if has_value else int(message.applies),
        observed_on=wire.date_from_proto("observed_on", message.observed_on),
        expires_on=wire.date_from_proto("expires_on", message.expires_on) if has_end else None,
        evidence_sha256=message.evidence_sha256,
    )
