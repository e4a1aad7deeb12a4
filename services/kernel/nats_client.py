"""NATS: the client of nats-py, with a message's headers read and written in one go."""

import logging
from collections.abc import Mapping
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.protocol import command


def _is_news(record: logging.LogRecord) -> bool:
    return "eof_received" not in str(record.msg)


# nats-py goes over to TLS on a stream that began without; the event loop remarks on it whenever a
# connection closes, which would be the last line of a command's output.
logging.getLogger("asyncio").addFilter(_is_news)


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
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()
