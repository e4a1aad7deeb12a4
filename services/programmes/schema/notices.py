"""Schema: how notices leave: channels, how often they are tried, and what they say."""

import string
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.programmes.schema.collection import Channel
from services.programmes.schema.values import Clause, Code, duplicates

FIELDS = frozenset(
    {"product", "matures_on", "owed_yuan", "overdue_days", "advice", "starts_on", "ends_on"}
)
"""What a text may be filled with; names are none of it (S47)."""


class NoticeText(Clause):
    """What a notice of one kind says, in plain Chinese; `{owed_yuan}` and others are filled in."""

    id: Code
    zh: Annotated[str, Field(min_length=4, max_length=400)]

    @model_validator(mode="after")
    def _fields(self) -> Self:
        try:
            named = [
                name for _, name, _, _ in string.Formatter().parse(self.zh) if name is not None
            ]
        except ValueError:
            raise ValueError(f"text {self.id} has a brace without its other one") from None
        if unknown := [name for name in named if name not in FIELDS]:
            raise ValueError(f"text {self.id} asks for {unknown[0]!r}, which nobody fills in")
        return self


class Notices(Clause):
    """How borrowers are told where a clause names no channel of its own, and with which words."""

    channels: tuple[Channel, ...] = ()
    attempts_max: Annotated[int, Field(ge=1, le=20)] = 3
    texts: tuple[NoticeText, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if Channel.PLATFORM in self.channels:
            raise ValueError("platform reaches institutions; borrowers need sms, phone or letter")
        if twice := duplicates([*(c.value for c in self.channels), *(t.id for t in self.texts)]):
            raise ValueError(f"{twice[0]} is named twice")
        return self
