"""How long trials take: a short form in `make test`, the long one in `make test-long`."""

import os
import zlib

LONG = os.environ.get("LIANDONG_TEST_LONG") == "1"
"""Whether trials that have two forms take the long one."""
EXAMPLES = 500 if LONG else 30
"""Of each property that does not say itself how many; every run draws others."""
WALLED_ONE_IN = 3
"""Of the methods so many are attacked with a wall down; all of them are with every wall up."""
LIVE_ONE_IN = 4
"""Of the rules so many are asked of running services; each is decided without them as well."""


def drawn(name: str, one_in: int) -> bool:
    """Whether a trial takes it: always the same ones, so that a failure comes again."""
    return LONG or zlib.crc32(name.encode()) % one_in == 0
