"""The year begins: the registry, the credit, the fund and the policies."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc, policies_pb2, policies_pb2_grpc
from liandong.credit.v1 import credit_pb2, credit_pb2_grpc
from liandong.funds.v1 import funds_pb2, funds_pb2_grpc
from liandong.households.v1 import households_pb2, households_pb2_grpc

from deploy.demo import generator
from deploy.demo.counter import (
    BATCH_ITEMS,
    COUNTY,
    COVERS,
    INDICATORS_A_BATCH,
    RATED_A_CHUNK,
    Counter,
    day_to_proto,
    parts,
)
from deploy.demo.indicators import Codes, indicators
from deploy.local.household_file import Report, import_file
from services.programmes.schema.scoring import BasePointsScoring
from services.programmes.schema.values import known


class Registering(Counter):
    """Areas and households, ratings and limits, the fund and the master policies."""

    async def _register(self) -> None:
        levels = {"county": 1, "township": 2, "village": 3}
        areas = [
            households_pb2.Area(
                area_code=area.code,
                name=area.name,
                level=households_pb2.AreaLevel.ValueType(levels[area.level]),
            )
            for area in generator.areas(self._seed, self._scale)
        ]
        centre = self._party("county_centre")
        for part in parts(areas, BATCH_ITEMS):
            request = households_pb2.RegisterAreasRequest(county_code=COUNTY, areas=part)
            stub = households_pb2_grpc.HouseholdsServiceStub
            await self._command(centre, stub, "RegisterAreas", request)
        path = self._folder / "households.csv"
        lines = generator.write_households(path, self._seed, self._scale)
        self._say(f"registry: {len(areas)} areas; importing {lines} lines from {path.name}")
        file_id = generator.request_id(self._seed, "households.csv", str(self._scale))
        report = await import_file(self._client(centre), path, COUNTY, file_id=file_id)
        self._take(report)
        await self.quiet()

    def _take(self, report: Report) -> None:
        self._household_ids = report.household_ids
        self.story.households = report.households
        self.story.people = report.people
        self.story.refused_lines = report.refused_lines
        self.story.refused = report.refused
        self._say(
            f"registry: {report.households} households with {report.people} people; "
            f"{report.refused_lines} lines refused, for example"
        )
        seen: set[str] = set()
        for line in report.refused:
            if line.reason not in seen and len(seen) < 6:
                seen.add(line.reason)
                self._say(
                    f"  line {line.line_number}, {line.column} = {line.value!r}: "
                    f"{line.reason}, {line.message}"
                )

    def _codes(self) -> Codes:
        scheme = self._terms.scoring
        assert isinstance(scheme, BasePointsScoring)
        points = {each.id: each.points_centi // 100 for each in known(scheme.adjustments)}
        return Codes.of_points(
            points,
            vetoes=[veto.id for veto in scheme.vetoes],
            honours=[level.id for level in scheme.honours.levels] if scheme.honours else [],
        )

    def _gates(self) -> tuple[str, ...]:
        """What must hold of every household before it has a grade."""
        eligibility = self._terms.pack.eligibility
        return () if eligibility is None else tuple(each.code for each in known(eligibility.gates))

    async def _observe(self, found: Mapping[str, Sequence[str]]) -> None:
        """Record by household what applies to it."""
        observed = day_to_proto(self.plan.starts_on - timedelta(days=20))
        every = [
            credit_pb2.Indicator(
                household_id=household_id, code=code, applies=True, observed_on=observed
            )
            for household_id, codes in found.items()
            for code in codes
        ]
        centre = self._party("county_centre")
        stub = credit_pb2_grpc.CreditServiceStub

        async def record(part: Sequence[credit_pb2.Indicator]) -> None:
            request = credit_pb2.BatchRecordIndicatorsRequest(county_code=COUNTY, indicators=part)
            answer = await self._command(centre, stub, "BatchRecordIndicators", request)
            if answer.refused:
                raise RuntimeError(f"indicators refused: {answer.refused[0]}")

        await self._each([partial(record, part) for part in parts(every, INDICATORS_A_BATCH)])

    async def _grant_credit(self) -> None:
        codes, gates = self._codes(), self._gates()
        found: dict[str, Sequence[str]] = {}
        for number, household_id in self._household_ids.items():
            held = indicators(self._seed, self._scale, number, codes=codes)
            found[household_id] = (*gates, *held.adjustments, *held.vetoes)
        await self._observe(found)
        centre = self._party("county_centre")
        stub = credit_pb2_grpc.CreditServiceStub
        rated = granted = vetoed = 0
        after = ""
        while True:
            chunk = credit_pb2.RateHouseholdsRequest(
                county_code=COUNTY,
                programme_id=self._programme_id,
                after_household_id=after,
                chunk_size=RATED_A_CHUNK,
            )
            answer = await self._command(centre, stub, "RateHouseholds", chunk)
            rated, granted, vetoed = (
                rated + answer.rated,
                granted + answer.granted,
                vetoed + answer.vetoed,
            )
            after = answer.last_household_id
            if not after:
                break
        self._say(
            f"credit: {len(found)} indicators; {rated} households rated, {granted} granted a "
            f"limit, {vetoed} vetoed"
        )
        await self.quiet()

    async def _found_fund_and_policies(self) -> None:
        finance = self._party("finance_bureau")
        stub = funds_pb2_grpc.FundsServiceStub
        opening = funds_pb2.OpenFundRequest(
            county_code=COUNTY, programme_id=self._programme_id, kind="county_fund"
        )
        fund = (await self._command(finance, stub, "OpenFund", opening)).fund
        stated = self._terms.fund.initial_fen
        assert stated is not None
        amount = known(stated)
        paying = funds_pb2.RecordContributionRequest(
            county_code=COUNTY,
            fund_id=fund.fund_id,
            source="county_budget",
            amount_fen=amount,
            value_date=day_to_proto(self.plan.starts_on - timedelta(days=5)),
        )
        await self._command(finance, stub, "RecordContribution", paying)
        insurer = self._party("insurer")
        await self._sign_agreement(insurer)
        for cover_id in COVERS.values():
            policy = claims_pb2.IssueMasterPolicyRequest(
                county_code=COUNTY,
                insurer_id=insurer,
                programme_id=self._programme_id,
                cover_id=cover_id,
                from_date=day_to_proto(self.plan.starts_on - timedelta(days=4)),
                until_date=day_to_proto(self.plan.starts_on + timedelta(days=361)),
            )
            await self._command(
                insurer, claims_pb2_grpc.ClaimsServiceStub, "IssueMasterPolicy", policy
            )
        self._say(
            f"fund: {amount // 100:,} yuan paid in; {len(COVERS)} master policies, "
            "the bank first payee"
        )

    async def _sign_agreement(self, insurer: str) -> None:
        """Government, banks and insurer sign before anything is insured."""
        from_day = self.plan.starts_on - timedelta(days=5)
        agreement = policies_pb2.RecordAgreementRequest(
            county_code=COUNTY,
            insurer_id=insurer,
            programme_id=self._programme_id,
            bank_ids=self._parties["lender"],
            signed_on=day_to_proto(from_day),
            from_date=day_to_proto(from_day),
            until_date=day_to_proto(from_day + timedelta(days=3 * 365)),
            document=uuid.uuid5(uuid.NAMESPACE_OID, f"{COUNTY} {insurer} agreement").hex,
        )
        stub = policies_pb2_grpc.PoliciesServiceStub
        await self._command(self._party("county_centre"), stub, "RecordAgreement", agreement)
