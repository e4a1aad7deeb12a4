"""The example county's year, lived through the gateway as its institutions would live it."""

from collections.abc import Mapping
from datetime import timedelta

from deploy.demo import bulletin
from deploy.demo.bulletin import AnnualBulletin
from deploy.demo.counter import COUNTY, Story
from deploy.demo.insuring import Insuring
from deploy.demo.losing import Losing
from deploy.demo.registering import Registering
from deploy.demo.telling import Telling
from services.kernel import wire


class Year(Registering, Insuring, Losing, Telling):
    """One year of the county, step by step."""

    async def live(self) -> Story:
        """The whole year."""
        plan = self.plan
        await self._advance(plan.starts_on - timedelta(days=5))
        await self._register()
        await self._grant_credit()
        await self._found_fund_and_policies()
        for day in sorted({application.applied_on for application in plan.applications}):
            await self._advance(day)
            await self._lend([each for each in plan.applications if each.applied_on == day])
        await self._live_events()
        await self._compensate()
        await self._tell()
        await self._apply_late()
        await self.quiet()
        return self.story

    async def annual_bulletin(self, totals: Mapping[str, int]) -> AnnualBulletin:
        """The county's year in its reports, held against the control totals."""
        known = await self.get_totals("loans", positions_only=True)
        today = wire.date_from_proto("business_date", known.business_date)
        return await bulletin.annual(
            self._client(self._party("county_centre")), COUNTY, today, totals
        )
