"""Log seals: put signed checkpoints on the access log, each minute or each thousand rows."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime, time

import structlog
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway import events_out, log_store
from gateway.access_log import AccessLog
from gateway.log_chain import DAY_ZONE, Checkpoint, DayRoot, LogSigner, day_of
from services.kernel import metrics as measured
from services.kernel import outbox
from services.kernel.away import is_away
from services.kernel.clock import recorded_time
from services.kernel.database import Database

SEAL_SECONDS = 60.0
AGAIN_SECONDS = 5.0
"""When a checkpoint could not be made, it is tried again so soon."""
LAST_SECONDS_MAX = 5.0
AGE_METRIC = "liandong.access_log.checkpoint_age"

log = structlog.get_logger(__name__)


async def seal(session: AsyncSession, signer: LogSigner, at: datetime) -> Checkpoint | None:
    """Sign where the chain ends; None when the last checkpoint is there already."""
    await log_store.take_turn(session)
    last = await log_store.last_checkpoint(session)
    end = await log_store.end_of(session)
    if end.position <= (last.position if last else 0):
        return None
    unsigned = Checkpoint(
        number=last.number + 1 if last else 1,
        # Clocks of several gateways differ a little; the log's own time does not go back.
        made_at=max(at, last.made_at) if last else at,
        position=end.position,
        digest=end.digest,
        previous=last.own_digest if last else bytes(32),
        key_id=signer.key_id,
    )
    made = replace(unsigned, signature=signer.sign(unsigned.text))
    await log_store.enter_checkpoint(session, made)
    return made


async def root_days(session: AsyncSession, signer: LogSigner, today: date) -> list[DayRoot]:
    """Sign the roots of the days that are over and have none yet, and say each one."""
    await log_store.take_turn(session)
    last = await log_store.last_root(session)
    midnight = datetime.combine(today, time(), DAY_ZONE)
    after = last.checkpoint_number if last else 0
    made: list[DayRoot] = []
    for checkpoint in await log_store.last_of_days(session, after, midnight):
        unsigned = DayRoot(
            day=day_of(checkpoint.made_at),
            checkpoint_number=checkpoint.number,
            position=checkpoint.position,
            digest=checkpoint.digest,
            previous=last.own_digest if last else bytes(32),
            key_id=signer.key_id,
        )
        last = replace(unsigned, signature=signer.sign(unsigned.text))
        await log_store.enter_root(session, last)
        made.append(last)
    await outbox.record(session, [events_out.day_root_made(root) for root in made])
    return made


class Seals:
    """Keeps the log sealed; one checkpoint at a time, however many gateways there are."""

    def __init__(
        self,
        db: Database,
        signer: LogSigner,
        access_log: AccessLog,
        *,
        clock: Callable[[], datetime] = recorded_time,
    ) -> None:
        self._database = db
        self._signer = signer
        self._log = access_log
        self._clock = clock
        self._rooted: date | None = None
        """The day whose days before have their roots."""

    async def run(self) -> None:
        """Seal until cancelled; then once more, for a bounded time."""
        metrics.get_meter("liandong").create_observable_gauge(
            AGE_METRIC,
            callbacks=[self._age],
            unit="s",
            description="since everything written was covered by a signed checkpoint",
        )
        try:
            while True:
                done = await self._try()
                await self._wait(SEAL_SECONDS if done else AGAIN_SECONDS)
        finally:
            try:
                async with asyncio.timeout(LAST_SECONDS_MAX):
                    await self._try()
            except TimeoutError:
                log.warning("access_log_unsealed")

    async def _try(self) -> bool:
        try:
            with measured.job("gateway", "seal_access_log"):
                await self.now()
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("access_log_seal_waits", seconds=self._log.seal_age_seconds())
            return False
        return True

    async def now(self) -> None:
        """Seal what is written, and root the days that are over."""
        at = self._clock()
        async with self._database.transaction() as session:
            if self._rooted is None:
                await log_store.enter_key(session, self._signer)
            # A day's root comes before the first checkpoint of the next day can.
            if self._rooted != day_of(at):
                await root_days(session, self._signer, day_of(at))
            await seal(session, self._signer, at)
        self._rooted = day_of(at)
        self._log.note_seal()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._log.many.wait()
        except TimeoutError:
            return

    def _age(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(self._log.seal_age_seconds())]
