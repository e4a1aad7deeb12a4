"""The household's own page: its file, who read it, and saying that something is wrong."""

import asyncio
import uuid

from liandong.gateway.v1 import self_pb2
from starlette.responses import RedirectResponse, Response

from gateway.console.desk import Desk, Hidden

FILE = "liandong.gateway.v1.HouseholdSelfService/GetMyFile"
PAPER = "liandong.gateway.v1.HouseholdSelfService/PrintMyPaper"
ACCESSES = "liandong.gateway.v1.HouseholdSelfService/ListMyAccesses"
DISPUTE = "liandong.gateway.v1.HouseholdSelfService/FileMyDispute"
IDENTIFY = "liandong.gateway.v1.HouseholdSelfService/IdentifyMe"
"""Only people's portals may call it: a station reads for whoever stands there, not on this page."""
SHOWN = 100
SUBJECTS = {
    "fact": self_pb2.MY_DISPUTE_SUBJECT_FACT,
    "claim": self_pb2.MY_DISPUTE_SUBJECT_CLAIM,
    "rating": self_pb2.MY_DISPUTE_SUBJECT_RATING,
}


async def me(desk: Desk) -> Response:
    """What is kept about the household, in plain words, to read and to print."""
    county = desk.county
    file, accesses = await asyncio.gather(
        desk.ask(FILE, self_pb2.GetMyFileRequest(county_code=county)),
        desk.ask(ACCESSES, self_pb2.ListMyAccessesRequest(county_code=county, page_size=SHOWN)),
    )
    return await desk.page(
        "me.html",
        file=file,
        accesses=accesses.accesses,
        request_id=str(uuid.uuid4()),
        done=desk.request.query_params.get("done") == "1",
    )


async def paper(desk: Desk) -> Response:
    """The file on paper, as the gateway makes it."""
    answer = await desk.ask(
        PAPER,
        self_pb2.PrintMyPaperRequest(county_code=desk.county, paper=self_pb2.MY_PAPER_FILE),
    )
    return Response(
        answer.document.content,
        media_type=answer.document.media_type,
        headers={"content-disposition": 'attachment; filename="my-file.pdf"'},
    )


async def dispute(desk: Desk) -> Response:
    """Contest something of the own file."""
    form = await desk.request.form()
    subject = SUBJECTS.get(str(form.get("subject", "")))
    if subject is None:
        raise Hidden("subject")
    await desk.ask(
        DISPUTE,
        self_pb2.FileMyDisputeRequest(
            request_id=str(form.get("request_id", "")),
            county_code=desk.county,
            subject=subject,
            subject_id=str(form.get("subject_id", "")),
            statement=str(form.get("statement", "")),
        ),
    )
    return RedirectResponse("/me?done=1", status_code=303)
