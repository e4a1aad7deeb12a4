"""A county with as many insured loans as a bench needs, made through the gateway like any other."""

import csv
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from liandong.claims.v1 import claims_pb2, claims_pb2_grpc
from liandong.credit.v1 import credit_pb2, credit_pb2_grpc
from liandong.funds.v1 import funds_pb2, funds_pb2_grpc
from liandong.households.v1 import households_pb2, households_pb2_grpc

from deploy.demo import generator
from deploy.demo.counter import BATCH_ITEMS, COUNTY, RATED_A_CHUNK, day_to_proto, parts
from deploy.demo.run import COUNTY_FOLDER, SEED
from deploy.demo.year import Year
from deploy.demo.year_plan import PURPOSES, Application, Expect
from deploy.local.client import Institution, credentials_in
from deploy.local.household_file import COLUMNS, import_file
from deploy.local.stack import Stack
from deploy.nats import topology
from services.programmes.loader import load

# The least that the demo's households borrow; the storm takes more than that from each.
PRINCIPAL_FEN = 1_000_000
LOSS_FEN = 2_000_000
LENT_AT_ONCE = 2_000
SCALE = 0.02
"""Of the story that the bench does not tell: as small as it gets."""

HEAD_NAME = "示例户"
_FIELDS = {name: title for title, name in COLUMNS.items()}
_NUMBERS_A_DAY = 400


class BenchCounty(Year):
    """Households of one person each; every one of them borrows, is insured and meets the storm."""

    @classmethod
    def on(cls, stack: Stack, folder: Path) -> "BenchCounty":
        """The county's institutions as clients of a stack."""

        def open_institution(institution_id: str) -> Institution:
            own = credentials_in(stack.folder.private("certs"), institution_id, stack.shape.env)
            return Institution(stack.gateway_address, own, institution_id)

        return cls(
            open_institution,
            load([COUNTY_FOLDER]),
            topology.load(),
            folder=folder,
            seed=SEED,
            scale=SCALE,
            say=lambda _: None,
        )

    @property
    def insurer(self) -> str:
        """Who decides claims."""
        return self._party("insurer")

    @property
    def lender(self) -> str:
        """A bank."""
        return self._party("lender")

    async def found(self, households: int) -> list[str]:
        """Register that many households, rate them, fill the fund; their numbers."""
        first = self.plan.starts_on
        await self._advance(first - timedelta(days=5))
        centre = self._party("county_centre")
        townships = [
            area
            for institution_id in self._parties["village_department"]
            for area in self._catalogue.institutions[institution_id].areas
        ]
        # A batch goes to one department: few households are better kept together.
        villages = [f"{code}201" for code in townships[: -(-households // BATCH_ITEMS)]]
        request = households_pb2.RegisterAreasRequest(
            county_code=COUNTY,
            areas=[
                households_pb2.Area(area_code=code, name=f"示例{code}", level=level)
                for codes, level in (
                    ([COUNTY], households_pb2.AREA_LEVEL_COUNTY),
                    ([village[:9] for village in villages], households_pb2.AREA_LEVEL_TOWNSHIP),
                    (villages, households_pb2.AREA_LEVEL_VILLAGE),
                )
                for code in codes
            ],
        )
        registry = households_pb2_grpc.HouseholdsServiceStub
        await self._command(centre, registry, "RegisterAreas", request)
        path = self._folder / "bench.csv"
        numbers = _write(path, villages, households)
        file_id = generator.request_id(self._seed, "bench.csv", households)
        report = await import_file(self._client(centre), path, COUNTY, file_id=file_id)
        assert report.refused_lines == 0, report.refused[:3]
        self._household_ids = report.household_ids
        await self.quiet()
        await self._observe(dict.fromkeys(self._household_ids.values(), self._gates()))
        await self._rate(centre)
        # The story leaves one application open at its end; nobody here makes it.
        unknown = generator.request_id(self._seed, "control", households)
        self._household_ids[self.plan.control_application.household_number] = str(unknown)
        await self._found_fund_and_policies()
        await self._fill_fund(households)
        await self._advance(first)
        await self.quiet()
        return numbers

    async def _rate(self, centre: str) -> None:
        after = ""
        while True:
            chunk = credit_pb2.RateHouseholdsRequest(
                county_code=COUNTY,
                programme_id=self._programme_id,
                after_household_id=after,
                chunk_size=RATED_A_CHUNK,
            )
            stub = credit_pb2_grpc.CreditServiceStub
            answer = await self._command(centre, stub, "RateHouseholds", chunk)
            after = answer.last_household_id
            if not after:
                return

    async def _fill_fund(self, households: int) -> None:
        finance = self._party("finance_bureau")
        stub = funds_pb2_grpc.FundsServiceStub
        listing = funds_pb2.ListFundsRequest(county_code=COUNTY)
        answer = await self._client(finance).call(stub, "ListFunds", listing)
        paying = funds_pb2.RecordContributionRequest(
            county_code=COUNTY,
            fund_id=answer.funds[0].fund_id,
            source="county_budget",
            # More than is lent in all: the bench is not about leverage.
            amount_fen=households * PRINCIPAL_FEN,
            value_date=day_to_proto(self.plan.starts_on - timedelta(days=5)),
        )
        await self._command(finance, stub, "RecordContribution", paying, label="bench")

    async def lend(self, numbers: Sequence[str]) -> None:
        """Everybody applies, the chain approves, covers are reserved, banks pay out."""
        for part in parts(numbers, LENT_AT_ONCE):
            await self._lend(
                [
                    Application(
                        household_number=number,
                        village_code=number[:12],
                        applied_on=self.plan.starts_on,
                        amount_fen=PRINCIPAL_FEN,
                        purpose=PURPOSES[0],
                        term_months=12,
                        expect=Expect.APPROVED,
                    )
                    for number in part
                ]
            )
        await self.quiet()

    def _head_names(self, numbers: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(numbers, HEAD_NAME)

    async def storm(self, numbers: Sequence[str]) -> list[str]:
        """A storm the day after, and everybody's claim; the claims' ids."""
        day = self.plan.starts_on + timedelta(days=1)
        await self._advance(day + timedelta(days=1))
        await self._register_accounts(numbers)
        stub = claims_pb2_grpc.ClaimsServiceStub
        by_department: dict[str, list[str]] = {}
        for number in numbers:
            department = self._of_township("village_department", number)
            by_department.setdefault(department, []).append(number)
        claim_ids = []
        for department, own in by_department.items():
            for part in parts(own, BATCH_ITEMS):
                items = [self._report(number, "storm", day, LOSS_FEN) for number in part]
                request = claims_pb2.BatchReportClaimsRequest(county_code=COUNTY, items=items)
                answer = await self._command(department, stub, "BatchReportClaims", request)
                self._check(answer.verdicts, f"claims reported by {department}")
                claim_ids += [verdict.id for verdict in answer.verdicts]
        await self.quiet()
        return claim_ids


def _write(path: Path, villages: Sequence[str], households: int) -> list[str]:
    """A file of able-bodied households of one, spread evenly; the households' numbers."""
    numbers = []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(_FIELDS))
        writer.writerow(_FIELDS)
        for village in villages:
            at = villages.index(village)
            for place in range(at, households, len(villages)):
                number = f"{village}{place // len(villages) + 1:04d}"
                born = date(1970, 1, 1) + timedelta(days=place // _NUMBERS_A_DAY)
                row = {
                    "household_number": number,
                    "village_code": village,
                    "relation": "户主",
                    "name": HEAD_NAME,
                    "identity_number": generator.identity_number(
                        f"{born:%Y%m%d}", 100 + place % _NUMBERS_A_DAY
                    ),
                    "registration_status": generator.REGISTERED_POOR,
                    "labour": "普通劳动力",
                    "registered_on": "2016-01-04",
                }
                writer.writerow(row)
                numbers.append(number)
    return numbers
