"""Looks: the templates, and what they may call."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gateway import story_words
from gateway.console import wording
from gateway.console.wording import Language

HERE = Path(__file__).parent
STATIC = HERE / "static"


def _version() -> str:
    """Of all static files: a browser keeps one as long as its address is the same."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.rglob("*")):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


class Looks:
    """Renders pages in one of two languages."""

    def __init__(self) -> None:
        self._version = _version()
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            static=self._static,
            yuan=wording.yuan,
            day=wording.day,
            moment=wording.moment,
            per_cent=wording.per_cent,
            short=wording.short_id,
        )

    def _static(self, name: str) -> str:
        return f"/static/{name}?v={self._version}"

    def render(self, template: str, language: Language, **values: Any) -> str:
        """A page as HTML."""

        def say(zh: str, en: str) -> str:
            return zh if language == "zh" else en

        def enum(message: Any, field: str, prefix: str) -> str:
            descriptor = message.DESCRIPTOR.fields_by_name[field].enum_type
            name = descriptor.values_by_number[getattr(message, field)].name
            return wording.enum(name, prefix, language)

        def amount(fen: int) -> Markup:
            return Markup('<span class="yuan">{}</span>').format(wording.yuan(fen))

        return self._environment.get_template(template).render(
            language=language,
            say=say,
            enum=enum,
            amount=amount,
            happened=lambda event_type: say(*story_words.event(event_type)),
            code=partial(wording.code, language=language),
            large=partial(wording.large_yuan, language=language),
            **values,
        )
