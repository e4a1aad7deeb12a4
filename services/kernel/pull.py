"""Pulling: a durable's messages as they come, in lists, without waiting for a list to fill."""

import json
from collections.abc import Mapping

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from services.kernel import telemetry

EXPIRES_SECONDS = 2.0
GRACE_SECONDS = 1.0
STATUS = "Status"

_PENDING_BYTES_MAX = 256 * 1024 * 1024


class Puller:
    """
    Keeps one pull request standing and gives what has come, at once.

    The client's own `fetch` waits until as many have come as were asked for, or its time is over:
    a second for every hop of every event that is alone. This speaks the same protocol (a pull
    request with `batch` and `expires`) over the client's public subscriptions.
    """

    def __init__(
        self, client: Client, subscription: Subscription, subject: str, inbox: str
    ) -> None:
        self._client = client
        self._subscription = subscription
        self._subject = subject
        self._inbox = inbox
        self._owed = 0
        """Messages that the standing request may still bring."""

    @classmethod
    async def bind(cls, client: Client, *, stream: str, durable: str, batch_max: int) -> "Puller":
        """Listen for a durable's messages, on an inbox of one's own."""
        inbox = client.new_inbox()
        subscription = await client.subscribe(
            inbox,
            pending_msgs_limit=4 * batch_max,
            pending_bytes_limit=_PENDING_BYTES_MAX,
        )
        telemetry.bound(
            "pull_pending", lambda: subscription.pending_msgs, 4 * batch_max, noun=durable
        )
        return cls(client, subscription, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", inbox)

    async def close(self) -> None:
        """Stop listening; what was asked for and not taken comes again to the next one."""
        await self._subscription.unsubscribe()

    async def fetch(self, batch_max: int) -> list[Msg]:
        """What there is, at most so many; TimeoutError when nothing comes."""
        # A message that came twice was not owed.
        if self._owed <= 0:
            await self._ask(batch_max)
        found: list[Msg] = []
        try:
            if not self._subscription.pending_msgs:
                wait = EXPIRES_SECONDS + GRACE_SECONDS
                self._sort(await self._subscription.next_msg(wait), found)
            while self._subscription.pending_msgs and len(found) < batch_max:
                self._sort(self._next_that_came(), found)
        except TimeoutError:
            # A server that was restarted forgot the request.
            self._owed = 0
            if not found:
                raise
        return found

    def _next_that_came(self) -> Msg:
        """
        The next of the messages that have come.

        It does what the library's `next_msg` does, without the task, the timer and the random name
        that this makes for each message: a tenth of what a busy consumer cost.
        """
        subscription = self._subscription
        message = subscription._pending_queue.get_nowait()  # noqa: SLF001
        subscription._pending_size -= len(message.data)  # noqa: SLF001
        subscription._pending_queue.task_done()  # noqa: SLF001
        return message

    async def _ask(self, batch_max: int) -> None:
        request = {"batch": batch_max, "expires": int(EXPIRES_SECONDS * 1_000_000_000)}
        await self._client.publish(self._subject, json.dumps(request).encode(), self._inbox)
        self._owed = batch_max

    def _sort(self, message: Msg, found: list[Msg]) -> None:
        headers: Mapping[str, str] = message.headers or {}
        if STATUS in headers and not message.data:
            # The request is over: it expired, was filled or was refused.
            self._owed = 0
        else:
            self._owed -= 1
            found.append(message)
