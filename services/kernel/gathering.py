"""
Gathering: commands of one caller that come while one of theirs is at work go in one transaction.

A lone command goes by itself, at once. What comes meanwhile waits for its end and then goes
together: one transaction costs little more for thirty commands than for one. Each keeps its own
request id, answer and trace. Whoever is refused in company, or is in the way of the others, goes
by itself after all (decision 0027), so that nobody ever gets another answer than alone.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import structlog
from google.protobuf.message import Message
from opentelemetry import trace
from sqlmodel.ext.asyncio.session import AsyncSession

from services.kernel import causes, idempotency, telemetry, walls
from services.kernel.caller import Caller
from services.kernel.causes import Cause, Causes
from services.kernel.database import Database
from services.kernel.errors import LiandongError
from services.kernel.idempotency import RequestKey
from services.kernel.values import replace

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

TOGETHER_MAX: Final = 48
PATIENCE_SECONDS: Final = 0.05
"""How long commands wait for those before them, who may be waiting for somebody's lock."""
_WAIT_FOR_NOBODY: Final = "SET LOCAL lock_timeout = '100ms'"
"""Together they do not wait for a lock: who needs it does so alone."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Call(Generic[Q, R]):
    """One command that waits for its turn."""

    key: RequestKey
    request: Q
    about: str
    span: trace.Span
    answer: "asyncio.Future[R | None]"
    """None: it is to go by itself."""


@dataclass(slots=True)
class _Lane(Generic[Q, R]):
    """The commands of one caller for one county."""

    caller: Caller
    running: int = 0
    """Transactions, of one command or of many."""
    waiting: deque[_Call[Q, R]] = field(default_factory=deque)
    patience: asyncio.TimerHandle | None = None

    def next(self) -> list[_Call[Q, R]]:
        """Those who go next; of two that are about the same the second waits on."""
        taken: dict[str, _Call[Q, R]] = {}
        left: deque[_Call[Q, R]] = deque()
        for call in self.waiting:
            if call.answer.done():
                continue
            if len(taken) == TOGETHER_MAX or call.about in taken:
                left.append(call)
            else:
                taken[call.about] = call
        self.waiting = left
        return list(taken.values())


class Gathering(Generic[Q, R]):
    """One method's commands, each done once per request id."""

    def __init__(
        self,
        db: Database,
        response_type: type[R],
        work: Callable[[AsyncSession, Caller, Sequence[Q]], Awaitable[Sequence[R | LiandongError]]],
        *,
        about: Callable[[Q], str],
    ) -> None:
        """
        `work` does requests of one caller for one county, and leaves no trace of those it refuses.

        `about` names the aggregate that a request changes: by it events find their causes.
        """
        self._database = db
        self._response_type = response_type
        self._work = work
        self._about = about
        self._lanes: dict[Hashable, _Lane[Q, R]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand = 0
        # As it is here: what goes together is no caller's own span.
        self._context = contextvars.copy_context()
        telemetry.bound("gathered", lambda: self._in_hand, TOGETHER_MAX, noun=db.schema)

    async def do(self, caller: Caller, county_code: str, request: Q) -> R:
        """Do one command, alone or with others; its answer, or its refusal."""
        lane_key = (county_code, replace(caller, body_hash=""))
        lane = self._lanes.setdefault(lane_key, _Lane(caller))
        if lane.running:
            answer = await self._wait(lane_key, lane, caller, request)
            return answer if answer is not None else await self._alone(caller, request)
        lane.running += 1
        try:
            return await self._alone(caller, request)
        finally:
            self._ended(lane_key, lane)

    async def _alone(self, caller: Caller, request: Q) -> R:
        async def work(session: AsyncSession) -> R:
            [outcome] = await self._work(session, caller, [request])
            if isinstance(outcome, LiandongError):
                raise outcome
            return outcome

        return await idempotency.once(self._database, caller, request, self._response_type, work)

    async def _wait(
        self, lane_key: Hashable, lane: _Lane[Q, R], caller: Caller, request: Q
    ) -> R | None:
        loop = asyncio.get_running_loop()
        call: _Call[Q, R] = _Call(
            key=idempotency.key_of(caller, request),
            request=request,
            about=self._about(request),
            span=trace.get_current_span(),
            answer=loop.create_future(),
        )
        lane.waiting.append(call)
        if lane.patience is None:
            lane.patience = loop.call_later(PATIENCE_SECONDS, self._go, lane_key, lane)
        return await call.answer

    def _ended(self, lane_key: Hashable, lane: _Lane[Q, R]) -> None:
        lane.running -= 1
        self._go(lane_key, lane)

    def _go(self, lane_key: Hashable, lane: _Lane[Q, R]) -> None:
        """Let those who wait go together."""
        if lane.patience is not None:
            lane.patience.cancel()
            lane.patience = None
        calls = lane.next()
        if calls:
            lane.running += 1
            made = asyncio.create_task(
                self._together(lane_key, lane, calls), context=self._context.copy()
            )
            self._tasks.add(made)
            made.add_done_callback(self._tasks.discard)
        if lane.waiting:
            loop = asyncio.get_running_loop()
            lane.patience = loop.call_later(PATIENCE_SECONDS, self._go, lane_key, lane)
        if not lane.running:
            self._lanes.pop(lane_key, None)

    async def _together(
        self, lane_key: Hashable, lane: _Lane[Q, R], calls: Sequence[_Call[Q, R]]
    ) -> None:
        self._in_hand = len(calls)
        answers: Sequence[R | None] = [None] * len(calls)
        try:
            answers = await self._commit(lane.caller, calls)
        except Exception as error:  # noqa: BLE001 - each goes alone, and is told what there is to tell
            log.info("gathered_apart", calls=len(calls), error=type(error).__name__)
            telemetry.count("liandong.gathered.apart", noun=self._database.schema)
        finally:
            for call, answer in zip(calls, answers, strict=True):
                if not call.answer.done():
                    call.answer.set_result(answer)
            self._in_hand = 0
            self._ended(lane_key, lane)

    async def _commit(self, caller: Caller, calls: Sequence[_Call[Q, R]]) -> list[R | None]:
        """Do what was not done before; the answers, and None for what was refused."""
        scope = walls.of_command(caller)
        async with self._database.transaction(scope, lock=_WAIT_FOR_NOBODY) as session:
            known = await idempotency.recall(session, [call.key for call in calls])
            new = [call for call in calls if call.key not in known]
            with causes.of_batch(Causes(list(map(_cause, new)))):
                requests = [call.request for call in new]
                outcomes = await self._work(session, caller, requests) if new else []
            done = {
                call.key: outcome
                for call, outcome in zip(new, outcomes, strict=True)
                if not isinstance(outcome, LiandongError)
            }
            said = [(key, answer.SerializeToString()) for key, answer in done.items()]
            await idempotency.keep(session, said, money=True)
        again = {key: self._response_type.FromString(answer) for key, answer in known.items()}
        return [again.get(call.key) or done.get(call.key) for call in calls]


def _cause(call: _Call[Q, R]) -> Cause:
    own = call.span.get_span_context()
    traceparent = telemetry.traceparent(own) if own.is_valid else ""
    return Cause(call.about, call.request, traceparent, call.span)
