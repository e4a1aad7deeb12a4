"""NATS: the client of nats-py, with a message's headers read and written in one go."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.protocol import command


def _is_news(record: logging.LogRecord) -> bool:
    return "eof_received" not in str(record.msg)


# nats-py goes over to TLS on a stream that began without; the event loop remarks on it whenever a
# connection closes, which would be the last line of a command's output.
logging.getLogger("asyncio").addFilter(_is_news)


WRITE_BYTES: Final = 64 * 1024
"""How much is written at once: over TLS, a write for each message is a record for each."""
_BLOCK_BYTES = len("NATS/1.0\r\n\r\n")


class LeanClient(Client):
    """
    Does exactly what its base does, for a fifth of the work per message.

    Every event carries sixteen headers and reaches up to four services. The base validates, strips
    and joins each header by itself, which was a fifth of all that a busy platform did. Should a
    release of nats-py name these two methods otherwise, they are not called and only slower.
    """

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        lines = raw.decode("utf-8", "replace").split("\r\n")
        parted = [line.partition(":") for line in lines]
        return {name: value.strip() for name, colon, value in parted if colon}

    async def _send_publish(
        self,
        subject: str,
        reply: str,
        payload: bytes,
        payload_size: int,
        headers: Mapping[str, Any] | None,
    ) -> None:
        if not headers:
            await super()._send_publish(subject, reply, payload, payload_size, None)
            return
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        # One line break a header and no other, or a value could say headers of its own.
        if lines.count("\r") != len(headers) or lines.count("\n") != len(headers):
            raise errors.BadHeaderError(lines[:100])
        block = f"NATS/1.0\r\n{lines}\r\n".encode()
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        await self._send_command(command.hpub_cmd(subject, reply, block, payload))
        await self._flush_soon()

    async def publish_all(self, messages: Iterable[tuple[str, bytes, str]]) -> None:
        """
        Publish subjects, bodies and lines of headers in order, in few writes; nothing is buffered.

        A third of what `publish` costs for each; without a connection it is an error at once. The
        lines are the caller's to keep printable.
        """
        if not self.is_connected:
            raise errors.ConnectionReconnectingError
        payload_max = self.max_payload
        parts: list[bytes] = []
        size = 0
        for subject, payload, lines in messages:
            if len(payload) > payload_max:
                raise errors.MaxPayloadError
            if subject.split() != [subject]:
                raise errors.BadSubjectError
            # The lines are ASCII, so as many bytes as characters.
            block, total = len(lines) + _BLOCK_BYTES, len(lines) + _BLOCK_BYTES + len(payload)
            head = f"HPUB {subject}  {block} {total}\r\nNATS/1.0\r\n{lines}\r\n"
            parts += (head.encode("ascii"), payload, b"\r\n")
            size += total
            self.stats["out_msgs"] += 1
            self.stats["out_bytes"] += len(payload)
            if size >= WRITE_BYTES:
                await self._send_command(b"".join(parts))
                parts, size = [], 0
        if parts:
            await self._send_command(b"".join(parts))
        await self._flush_soon()

    async def ack_all(self, messages: Sequence[Msg]) -> None:
        """Acknowledge messages in few writes: a tenth of what `Msg.ack` costs for each."""
        if not self.is_connected:
            # What the library keeps until it is connected again, it keeps within its bound.
            for message in messages:
                await message.ack()
            return
        for message in messages:
            message._check_reply()  # noqa: SLF001 - as `Msg.ack` does
        await self._send_command(
            "".join([f"PUB {message.reply}  0\r\n\r\n" for message in messages]).encode("ascii")
        )
        self.stats["out_msgs"] += len(messages)
        for message in messages:
            message._ackd = True  # noqa: SLF001
        await self._flush_soon()

    async def _flush_soon(self) -> None:
        """As the library's own `publish` ends."""
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()
