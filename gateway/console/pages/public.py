"""The public page: what everybody may read without saying who he is."""

import asyncio

import grpc
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.console.app import Console

LISTS = (
    "ListDisclosures",
    "ListPlainSheets",
    "ListRunningNotices",
    "ListPublishedCompensations",
)


def routes(console: Console) -> list[Route]:
    """The page for everybody."""

    async def public(request: Request) -> Response:
        counties = console.catalogue.counties()
        county = request.query_params.get("county", counties[0] if counties else "")
        if not console.public.open or county not in counties:
            return console.bare(request, "error.html", what="unknown", status=404)
        try:
            found = await asyncio.gather(*(console.public.ask(each, county) for each in LISTS))
        except grpc.aio.AioRpcError as error:
            what, status = {
                grpc.StatusCode.RESOURCE_EXHAUSTED: ("slower", 429),
                grpc.StatusCode.NOT_FOUND: ("unknown", 404),
            }.get(error.code(), ("away", 503))
            return console.bare(request, "error.html", what=what, status=status)
        disclosures, sheets, notices, compensations = found
        return console.bare(
            request,
            "public.html",
            county=county,
            counties=counties,
            disclosures=disclosures.programmes,
            sheets=sheets.sheets,
            notices=notices,
            compensations=compensations,
        )

    return [Route("/public", public)]
