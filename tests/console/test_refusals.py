"""What a person sees where the gateway refuses, is late or goes away: the console as it serves."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from liandong.credit.v1 import areas_pb2
from liandong.gateway.v1 import feeds_pb2, gateway_pb2

from deploy.local.ca import LocalCA
from deploy.local.places import free_port
from gateway.console import links, serving
from gateway.console.pages import live
from gateway.console.settings import ConsoleSettings
from gateway.person_signer import REPLAYED
from services.kernel import ids, status
from services.kernel.errors import LiandongError, Unauthenticated
from tests.eventually import eventually
from tests.gateway.answering import COUNTY, a_county
from tests.gateway.strict import a_person_key
from tests.servers import ENV

PROGRAMME = "henan-lushi@2"
CENTRE, SIGNING = "cfc-0007", "cfc-0008"
"""The second names its persons by tokens."""
LATE, AWAY = grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE
TODAY = areas_pb2.GetCoverageResponse(as_of=Date(year=2026, month=1, day=10))
ANSWER_SECONDS_MAX = 60

Said = Message | grpc.StatusCode | LiandongError


def who_am_i() -> gateway_pb2.WhoAmIResponse:
    own = gateway_pb2.Institution(role="county_centre", county_code=COUNTY, areas=[COUNTY])
    return gateway_pb2.WhoAmIResponse(institution=own)


async def _say(said: Said, context: Any) -> bytes:
    if isinstance(said, LiandongError):
        await status.abort(context, said)
    if isinstance(said, grpc.StatusCode):
        await context.abort(said, "as told")
    assert isinstance(said, Message)
    return said.SerializeToString()


@dataclass
class Answers(grpc.GenericRpcHandler):
    """A gateway's address where every method answers as told; what is not told is not allowed."""

    says: dict[str, Said] = field(default_factory=dict)
    feeds: list[Sequence[Said]] = field(default_factory=list)
    """What each subscription is told, the next one first; the last stays open."""
    subscribed: list[tuple[str, str]] = field(default_factory=list)
    """The cursor and the token of each."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method, by its own name."""
        name = handler_call_details.method.rpartition("/")[2]
        if name == "Subscribe":
            return grpc.unary_stream_rpc_method_handler(self._feed)

        async def answer(_request: bytes, context: Any) -> bytes:
            return await _say(self.says.get(name, grpc.StatusCode.PERMISSION_DENIED), context)

        return grpc.unary_unary_rpc_method_handler(answer)

    async def _feed(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        cursor = feeds_pb2.SubscribeRequest.FromString(request).cursor
        told = dict(context.invocation_metadata() or ())
        self.subscribed.append((cursor, str(told.get("authorization", ""))))
        for said in self.feeds.pop(0):
            yield await _say(said, context)
        if not self.feeds:
            await asyncio.Event().wait()


@dataclass
class Desk:
    """The console's address, and the gateway behind it."""

    port: int
    key: bytes
    gateway: Answers

    @asynccontextmanager
    async def asked(
        self, path: str, *, cookie: str = "", form: str = ""
    ) -> AsyncIterator[asyncio.StreamReader]:
        """One request on a connection of its own; the answer from its first byte."""
        head = f"{'POST' if form else 'GET'} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        head += f"Cookie: {cookie}\r\nConnection: close\r\nContent-Length: {len(form)}\r\n"
        head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with closing(writer):
            writer.write((head + form).encode())
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                yield reader

    async def get(self, path: str, **asked: str) -> tuple[int, str]:
        """The status and the whole answer."""
        async with self.asked(path, **asked) as reader:
            text = (await reader.read()).decode()
        return int(text.split(" ", 2)[1]), text

    async def sign_in(self, institution_id: str = CENTRE) -> str:
        """The cookie of a session."""
        person = f"{institution_id}-p1"
        token = links.make(self.key, institution_id, person, now=0, seconds=2**40)
        _, text = await self.get("/enter", form=f"code={token}")
        (cookie,) = re.findall(r"set-cookie: ([^;]+);", text)
        return str(cookie)


async def until(reader: asyncio.StreamReader, word: str) -> str:
    """What is told up to a word."""
    told = ""
    while word not in told:
        line = await reader.readline()
        assert line, told
        told += line.decode()
    return told


@asynccontextmanager
async def a_gateway(certificates: LocalCA, answers: Answers) -> AsyncIterator[tuple[int, int]]:
    """The ports of the institutions' and the public address."""
    own = certificates.service("gateway")
    pair, ca = [(own.key.read_bytes(), own.cert.read_bytes())], own.ca.read_bytes()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((answers,))
    ports = (
        server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials(pair, ca, require_client_auth=True)
        ),
        server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair)),
    )
    await server.start()
    try:
        yield ports
    finally:
        await server.stop(None)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(
    certificates: LocalCA, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Desk]:
    folder = tmp_path_factory.mktemp("console")
    certificates.institution(CENTRE)
    a_person_key(certificates.institution(SIGNING).cert.with_name("person.pem"))
    packs = Path(str(a_county(folder, programme=PROGRAMME)["programmes_dirs"]))
    answers = Answers()
    async with a_gateway(certificates, answers) as (port, public_port):
        settings = ConsoleSettings(
            address=f"127.0.0.1:{free_port()}",
            gateway_address=f"localhost:{port}",
            public_gateway_address=f"localhost:{public_port}",
            credentials_path=certificates.ca_path.parent,
            link_key_path=folder / "link.key",
            person_metadata=True,
            # A page waits for its figures: how long they take is not what is asked here.
            page_seconds=60,
        )
        console = asyncio.create_task(serving.serve(settings, ENV, [packs]))
        made = Desk(
            int(settings.address.rpartition(":")[2]), links.key_at(settings.link_key_path), answers
        )
        try:
            await eventually(lambda: _answers(made, console))
            yield made
        finally:
            console.cancel()
            await asyncio.gather(console, return_exceptions=True)


async def _answers(desk: Desk, console: "asyncio.Task[None]") -> bool:
    if console.done():
        console.result()
    try:
        return (await desk.get("/healthz"))[0] == 200
    except OSError:
        return False


@pytest.fixture
def desk(served: Desk) -> Desk:
    """Behind it a gateway of which nothing was told yet but who asks and what day it is."""
    served.gateway.says = {"WhoAmI": who_am_i(), "GetCoverage": TODAY}
    served.gateway.feeds, served.gateway.subscribed = [], []
    return served


# --- late -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/overview", "全县数字未能及时算好"),
        ("/overview/collected", "未能及时算好，请稍后再看"),
        ("/overview/history", "一年的走势未能及时算好"),
    ],
)
async def test_figures_that_are_not_ready_in_time_are_said_to_be_late(
    desk: Desk, path: str, words: str
) -> None:
    cookie = await desk.sign_in()
    desk.gateway.says["GetReport"] = LATE
    late, page = await desk.get(path, cookie=cookie)
    desk.gateway.says["GetReport"] = AWAY
    away, other = await desk.get(path, cookie=cookie)

    assert (late, words in page) == (200, True)
    assert (away, "平台暂时无法应答" in other) == (503, True)


# --- the public page ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "shown", "words"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "请求过多"),
        (grpc.StatusCode.NOT_FOUND, 404, "没有找到"),
        (AWAY, 503, "平台暂时无法应答"),
    ],
)
async def test_everybody_is_told_in_words_why_the_public_page_is_not_there(
    desk: Desk, code: grpc.StatusCode, shown: int, words: str
) -> None:
    desk.gateway.says["ListRunningNotices"] = code
    for each in ("ListDisclosures", "ListPlainSheets", "ListPublishedCompensations"):
        desk.gateway.says[each] = code

    answered, page = await desk.get(f"/public?county={COUNTY}")

    assert (answered, words in page) == (shown, True)


# --- programmes -----------------------------------------------------------------------------------


async def test_a_programme_that_the_county_never_followed_is_not_there(desk: Desk) -> None:
    cookie = await desk.sign_in()

    followed, _ = await desk.get(f"/programmes/{PROGRAMME}", cookie=cookie)
    other, page = await desk.get("/programmes/nobody@1", cookie=cookie)

    assert (followed, other) == (200, 404)
    assert "没有找到" in page


# --- live -----------------------------------------------------------------------------------------


def told(cursor: str, data: str) -> feeds_pb2.SubscribeResponse:
    event = feeds_pb2.FeedEvent(
        id=str(ids.new_id()),
        type="liandong.loans.v1.loan_repaid",
        source="/liandong/loans",
        subject=str(ids.new_id()),
        data=data,
        aggregate_type="loans.loan",
    )
    return feeds_pb2.SubscribeResponse(cursor=cursor, event=event)


async def test_events_go_on_behind_the_last_one_when_the_gateway_was_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PAUSE_SECONDS", 0.01)
    cookie = await desk.sign_in()
    first, second = told("c-1", '{"amountFen":"50000"}'), told("c-2", "no JSON")
    desk.gateway.feeds = [[first, AWAY], [AWAY], [second]]

    async with desk.asked("/live/stream?from=beginning", cookie=cookie) as reader:
        before = await until(reader, "event: away")
        after = await until(reader, str(second.event.subject))

    assert "amountFen" in before
    # It cannot be read, but it happened: the event is shown without its fields.
    assert "id: c-2" in after
    assert "no JSON" not in after
    assert [cursor for cursor, _ in desk.gateway.subscribed] == ["", "c-1", "c-1"]


async def test_a_token_that_another_connection_used_is_not_shown_again(desk: Desk) -> None:
    cookie = await desk.sign_in(SIGNING)
    replayed = Unauthenticated(REPLAYED, "the token was used on another connection")
    event = told("c-1", "{}")
    desk.gateway.feeds = [[replayed], [event]]

    async with desk.asked("/live/stream?from=beginning", cookie=cookie) as reader:
        await until(reader, "event: over")
    # The browser comes again, as it does behind every end.
    async with desk.asked("/live/stream?from=beginning", cookie=cookie) as reader:
        await until(reader, str(event.event.subject))

    first, second = [token for _, token in desk.gateway.subscribed]
    assert first.startswith("Bearer ")
    assert second.startswith("Bearer ")
    assert first != second
