"""A plugin for pytest: no platform of a session may leave anything of the people sent to it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.message import Message

from deploy.local.client import Institution
from deploy.local.stack import Stack
from tests.attack import leftovers
from tests.attack.canaries import Hit, Search

DIGITS_MIN = 11
PERSONS = ("identity_number", "identity_numbers", "phone", "account_number")
"""How their fields end; lines of files are redacted whole, for a cell may hold anything."""
KNOWN_MAX = 200_000
_numbers: set[bytes] = set()
_hits: list[Hit] = []
_searched: list[Stack] = []


def personal(message: Message) -> set[bytes]:
    """Numbers of people, their phones and their accounts, in fields that the protos redact."""
    found: set[bytes] = set()
    for each, value in message.ListFields():
        many = value if each.is_repeated else [value]
        if each.message_type is not None:
            for one in many:
                if isinstance(one, Message):
                    found |= personal(one)
        elif each.GetOptions().debug_redact and each.name.endswith(PERSONS):
            found |= {
                one.encode()
                for one in many
                if isinstance(one, str) and len(one) >= DIGITS_MIN and one[:-1].isdecimal()
            }
    return {each for each in found if each.isascii()}


def pytest_configure() -> None:
    """Listen to what institutions send, and search before a platform stops."""
    call, exchange, stop = Institution.call, Institution.exchange, Stack.stop

    async def heard(self: Institution, *args: Any, **options: Any) -> Any:
        _learn(next(each for each in args if isinstance(each, Message)))
        return await call(self, *args, **options)

    async def streamed(
        self: Institution, stub: Any, method: str, requests: Any, **options: Any
    ) -> AsyncIterator[Any]:
        async def passing() -> AsyncIterator[Message]:
            async for each in requests():
                _learn(each)
                yield each

        async for answer in exchange(self, stub, method, passing, **options):
            yield answer

    async def searched(self: Stack) -> None:
        if self.postgres.pid is not None and _numbers:
            search = Search(frozenset(_numbers), frozenset())
            async for place, piece in leftovers.of(self):
                search.look(place, piece)
            _hits.extend(search.hits)
            _searched.append(self)
        await stop(self)

    Institution.call = heard  # type: ignore[method-assign]
    Institution.exchange = streamed  # type: ignore[method-assign, assignment]
    Stack.stop = searched  # type: ignore[method-assign]


def _learn(message: Message) -> None:
    if len(_numbers) < KNOWN_MAX:
        _numbers.update(personal(message))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A hit fails the session."""
    if _hits:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was searched and what was found."""
    line = f"canaries: platforms={len(_searched)} people={len(_numbers)} hits={len(_hits)}"
    terminalreporter.write_line(line)
    for hit in _hits[:20]:
        terminalreporter.write_line(str(hit))
