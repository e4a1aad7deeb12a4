"""The console as a web application: routes, sign-in, what stands before and behind every page."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog
from liandong.gateway.v1 import gateway_pb2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gateway.console import links
from gateway.console.callers import Callers
from gateway.console.desk import WHO, Desk, Hidden, TooLong, chosen, counties_of
from gateway.console.guard import Guard, Kept, same_origin
from gateway.console.looks import STATIC, Looks
from gateway.console.public_door import PublicDoor
from gateway.console.sessions import Session, Sessions
from gateway.console.settings import ConsoleSettings
from gateway.console.traces import Traces
from gateway.console.wording import Language, language_of
from services.kernel.status import reason_of
from services.programmes.loader import Catalogue, load

SESSION_COOKIE = "liandong_session"
LANGUAGE_COOKIE = "liandong_language"
COUNTY_COOKIE = "liandong_county"
IDENTIFY = "liandong.gateway.v1.HouseholdSelfService/IdentifyMe"
"""Only portals through which people come may call it."""
YEAR_SECONDS = 31_536_000
FORM_FIELDS_MAX = 40

log = structlog.get_logger(__name__)

Page = Callable[[Desk], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Place:
    """A page: where it is, who may open it, where it stands in the menu."""

    path: str
    page: Page
    needs: tuple[str, ...]
    """Any of these methods; a role that may call none does not learn that the page exists."""
    title: tuple[str, str] | None = None
    """In the menu, in Chinese and English; None for pages that others lead to."""
    methods: tuple[str, ...] = ("GET",)


def open_to(needs: tuple[str, ...], desk: Desk) -> bool:
    """Whether a page is there for a person; a portal's pages for people are theirs alone."""
    if desk.may(IDENTIFY):
        return not needs or IDENTIFY in needs
    return not needs or desk.may(*needs)


class Console:
    """What all requests share."""

    def __init__(
        self,
        settings: ConsoleSettings,
        env: str,
        programme_folders: list[Path],
        places: list[Place],
        traces: Traces | None = None,
    ) -> None:
        self.settings = settings
        self.callers = Callers(settings, env)
        self.public = PublicDoor(settings)
        self.looks = Looks()
        self.key = links.key_at(settings.link_key_path)
        self.sessions = Sessions(
            most=settings.sessions_max,
            lifetime=settings.session_seconds,
            idle=settings.idle_seconds,
            clock=time.time,
        )
        self.catalogue: Catalogue = load(programme_folders)
        self.places = places
        self.traces = traces

    async def close(self) -> None:
        """Close the connections to the gateway."""
        await self.callers.close()
        await self.public.close()

    # --- the door ---------------------------------------------------------------------------------

    def language(self, request: Request) -> Language:
        """Of this request."""
        return language_of(
            request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", "")
        )

    def bare(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        """A page for somebody who is not signed in."""
        html = self.looks.render(
            template,
            self.language(request),
            **{"desk": None, "path": request.url.path, "csrf": "", "reason": "", "message": ""}
            | values,
        )
        return HTMLResponse(html, status_code=status)

    async def enter(self, request: Request) -> Response:
        """The page of a sign-in link, and what its button does."""
        if request.method == "GET":
            token = request.query_params.get("code", "")
            link = links.read(self.key, token, now=int(time.time())) if token else None
            return self.bare(
                request, "enter.html", link=link, token=token, refused=bool(token and link is None),
                status=403 if token and link is None else 200,
            )  # fmt: skip
        if not same_origin(request):
            return self.bare(request, "enter.html", link=None, token="", refused=True, status=403)
        form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
        link = links.read(self.key, str(form.get("code", "")).strip(), now=int(time.time()))
        served = link is not None and link.institution_id in self.callers.served()
        session = self.sessions.begin(link) if link is not None and served else None
        if session is None:
            return self.bare(request, "enter.html", link=None, token="", refused=True, status=403)
        log.info("signed_in", institution=session.institution_id, person=session.person_id)
        answer = RedirectResponse("/", status_code=303)
        self._keep(answer, SESSION_COOKIE, session.session_id, self.settings.session_seconds)
        return answer

    def _keep(self, answer: Response, name: str, value: str, seconds: int) -> None:
        answer.set_cookie(
            name,
            value,
            max_age=seconds,
            httponly=True,
            samesite="strict",
            secure=self.settings.secure,
        )

    async def leave(self, request: Request) -> Response:
        """Sign out."""
        session = self.session(request)
        form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
        if session is not None:
            if not session.owns(str(form.get("csrf", ""))):
                return self.bare(request, "error.html", what="form", status=403)
            self.sessions.end(session.session_id)
        answer = RedirectResponse("/enter", status_code=303)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return answer

    async def prefer(self, request: Request) -> Response:
        """Choose a language or a county; it says nothing about anybody and needs no session."""
        if not same_origin(request):
            return self.bare(request, "error.html", what="form", status=403)
        form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
        back = str(form.get("back", "/"))
        answer = RedirectResponse(back if _own_path(back) else "/", status_code=303)
        if language := chosen(str(form.get("language", "")), ("zh", "en")):
            self._keep(answer, LANGUAGE_COOKIE, language, YEAR_SECONDS)
        county = str(form.get("county", ""))
        if county.isdecimal() and len(county) == 6:
            self._keep(answer, COUNTY_COOKIE, county, YEAR_SECONDS)
        return answer

    def session(self, request: Request) -> Session | None:
        """Whose request it is."""
        return self.sessions.find(request.cookies.get(SESSION_COOKIE, ""))

    async def desk(self, request: Request, session: Session) -> Desk:
        """The desk of a request; who the gateway takes the person for is asked once a session."""
        caller = self.callers.of(session.institution_id)
        if "institution" not in session.facts:
            answer = await caller.ask(session.person_id, WHO, gateway_pb2.WhoAmIRequest())
            session.facts["institution"] = answer.institution
        institution = session.facts["institution"]
        assert isinstance(institution, gateway_pb2.Institution)
        counties = counties_of(institution)
        wanted = request.cookies.get(COUNTY_COOKIE, "")
        county = chosen(wanted, counties, counties[0] if counties else institution.county_code)
        return Desk(
            request=request,
            session=session,
            caller=caller,
            looks=self.looks,
            settings=self.settings,
            language=self.language(request),
            institution=institution,
            county=county,
        )

    def menu(self, desk: Desk) -> list[tuple[str, str]]:
        """The pages that are there for a person, in order."""
        return [
            (place.path, desk.say(*place.title))
            for place in self.places
            if place.title is not None
            and open_to(place.needs, desk)
            # Without a store of spans there is no list of them.
            and (place.path != "/traces" or self.traces is not None)
        ]

    # --- every page -------------------------------------------------------------------------------

    def endpoint(self, place: Place) -> Callable[[Request], Awaitable[Response]]:
        """A page behind the door: session, role, form, errors."""

        async def answer(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                if request.method == "GET" and "hx-request" not in request.headers:
                    return RedirectResponse("/enter", status_code=303)
                return self.bare(request, "error.html", what="session", status=401)
            try:
                return await self._answer(request, session, place)
            except Hidden:
                return await self._error(request, session, "unknown", 404)
            except TooLong:
                return await self._error(request, session, "long", 200)
            except grpc.aio.AioRpcError as error:
                return await self._refused(request, session, error)

        return answer

    async def _answer(self, request: Request, session: Session, place: Place) -> Response:
        desk = await self.desk(request, session)
        request.state.console = self
        if not open_to(place.needs, desk):
            raise Hidden(place.path)
        if request.method == "POST":
            form = await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
            if not same_origin(request) or not session.owns(str(form.get("csrf", ""))):
                return await self._error(request, session, "form", 403)
        return await place.page(desk)

    async def _refused(
        self, request: Request, session: Session, error: grpc.aio.AioRpcError
    ) -> Response:
        """What the gateway's refusal is to a person; what is not theirs is not there."""
        code = error.code()
        what, status = _STATUSES.get(code, ("away", 503))
        if status >= 500:
            log.warning("gateway_refuses", reason=reason_of(error), path=request.url.path)
        if code is grpc.StatusCode.UNAUTHENTICATED:
            self.sessions.end(session.session_id)
        return await self._error(request, session, what, status, error)

    async def _error(
        self,
        request: Request,
        session: Session,
        what: str,
        status: int,
        error: grpc.aio.AioRpcError | None = None,
    ) -> Response:
        # What is hidden is told like what is not there, so neither says a reason.
        said = error if status in (400, 409, 429) else None
        return self.bare(
            request,
            "error.html",
            status=status,
            what=what,
            reason=reason_of(said) if said is not None else "",
            message=(said.details() or "") if said is not None else "",
        )

    async def lost(self, request: Request, _error: Exception) -> Response:
        """A path that leads nowhere; the same page as for what is hidden."""
        return self.bare(request, "error.html", what="unknown", status=404, reason="", message="")


_STATUSES: dict[grpc.StatusCode, tuple[str, int]] = {
    grpc.StatusCode.NOT_FOUND: ("unknown", 404),
    grpc.StatusCode.PERMISSION_DENIED: ("unknown", 404),
    grpc.StatusCode.UNAUTHENTICATED: ("session", 401),
    grpc.StatusCode.INVALID_ARGUMENT: ("invalid", 400),
    grpc.StatusCode.FAILED_PRECONDITION: ("refused", 409),
    grpc.StatusCode.ALREADY_EXISTS: ("refused", 409),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("slower", 429),
}


def _own_path(path: str) -> bool:
    """Whether a path leads to a page of ours and nowhere else."""
    return path.startswith("/") and not path.startswith(("//", "/\\")) and "\n" not in path


async def healthy(_request: Request) -> Response:
    """For probes: the process answers."""
    return PlainTextResponse("ok\n")


async def icon(_request: Request) -> Response:
    """For browsers that ask for it before they read where it is."""
    return FileResponse(STATIC / "icon.svg")


def application(console: Console, extra: list[Route]) -> Starlette:
    """All routes and what stands before them."""
    routes: list[Route | Mount] = [
        Route("/healthz", healthy),
        Route("/favicon.ico", icon),
        Route("/enter", console.enter, methods=["GET", "POST"]),
        Route("/leave", console.leave, methods=["POST"]),
        Route("/prefer", console.prefer, methods=["POST"]),
        *extra,
        *(
            Route(place.path, console.endpoint(place), methods=list(place.methods))
            for place in console.places
        ),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={404: console.lost, 405: console.lost},
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(_hosts(console.settings))),
            Middleware(Guard, secure=console.settings.secure),
            Middleware(GZipMiddleware, minimum_size=1_000),
            Middleware(Kept),
        ],
    )


def _hosts(settings: ConsoleSettings) -> set[str]:
    """The names that a browser may call us by; another site's name pointed at us is none."""
    named = settings.base_url.split("://", 1)[1].split("/", 1)[0].rsplit(":", 1)[0]
    return {named, "127.0.0.1", "localhost"} - {"0.0.0.0"}  # noqa: S104 - taken out, not listened on
