"""Gathers what of a request becomes input: its texts, token ids and media.

Whatever is not recognised counts as text, by the length of its JSON: a server may put it into the prompt. Media counts
at a set cost, never by the length of its base64.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Final

import orjson

from ratelimit.plans.faults import short
from ratelimit.web.body import BadBody
from ratelimit.web.media import (
    MEDIA_FIELDS,
    MEDIA_TYPES,
    MediaCosts,
    MediaName,
    data_url_media,
    wants_low_detail,
)

__all__ = ("Content",)

_MESSAGE_TOKENS: Final = 4
"""What a chat format puts around a message, its role included (OpenAI's takes 3 and the role)."""

_ROLES: Final = frozenset({"assistant", "developer", "function", "system", "tool", "user"})
_TEXT_TYPES: Final = frozenset({"input_text", "output_text", "text"})
_ROLE: Final = itemgetter("role")
_CONTENT: Final = itemgetter("content")
_STR: Final = frozenset({str})
_SILENT: Final = frozenset({"cache_control", "id", "object", "signature", "status", "type"})
"""Fields of messages and parts that servers do not put into the prompt."""
_TEXT_FIELDS: Final = frozenset({"arguments", "name", "refusal", "text", "thinking"})
"""Fields of parts that are text whatever they begin with."""
_NESTED: Final = frozenset({"content", "custom", "function", "output", "tool_calls"})
"""Fields that hold content again. Their names and the braces around them do not reach the prompt."""


class Content:
    """What has been gathered so far. Readers take a value as JSON gave it, of any shape."""

    __slots__ = ("_media", "_texts", "_values", "_values_bytes", "all_text", "fixed_tokens", "prompts")

    def __init__(self, media: MediaCosts) -> None:
        self._media = media
        self._texts: list[str] = []
        # Not their JSON: each piece that orjson writes takes a kilobyte or more, be it of two characters.
        self._values: list[Any] = []
        self._values_bytes = 0
        self.fixed_tokens = 0
        """Token ids, media at its set costs, and what surrounds messages."""
        self.all_text = True
        """False when some of the input is media, or what the server has kept: no text or token ids in the body."""
        self.prompts = 1
        """Inputs of which each is answered by itself."""

    def texts(self) -> Iterator[str]:
        """Every text, as a tokenizer would get it."""
        yield from self._texts
        for value in self._values:
            yield orjson.dumps(value).decode()

    def text_bytes(self) -> int:
        """The length of all texts in UTF-8."""
        total = self._values_bytes
        if all(map(str.isascii, self._texts)):
            return total + sum(map(len, self._texts))
        return total + sum(len(text) if text.isascii() else len(text.encode()) for text in self._texts)

    # Readers, one per sort of field

    def messages(self, value: object) -> None:
        """Messages of a chat, or items of the Responses API.

        Raises:
            BadBody: not a list.
        """
        if type(value) is not list:
            raise BadBody(f"messages = {short(value)}: must be a list of messages", "messages")
        self.fixed_tokens += _MESSAGE_TOKENS * len(value)
        texts = value if _are_texts(value) else _plain_texts(value)
        if texts is not None:
            self._texts += texts
            return
        for message in value:
            try:
                plain = len(message) == 2 and message["role"] in _ROLES
                content = message["content"]
            except (KeyError, TypeError):
                plain = False
            if plain:
                self.content(content)
            else:
                self._node(message)

    def content(self, value: object) -> None:
        """A text, or the parts of one."""
        if type(value) is str:
            self._texts.append(value)
        elif type(value) is list and _are_texts(value):
            self._texts += value
        elif type(value) is list:
            for part in value:
                try:
                    plain = len(part) == 2 and part["type"] in _TEXT_TYPES
                    text = part["text"]
                except (KeyError, TypeError):
                    plain = False
                if plain and type(text) is str:
                    self._texts.append(text)
                else:
                    self._node(part)
        elif value is not None:
            self._node(value)

    def inputs(self, value: object, name: str) -> None:
        """`prompt` and `input` in all their forms: text, texts, token ids, lists of those, items, a stored prompt.

        Raises:
            BadBody: a number or a boolean.
        """
        if type(value) is str:
            self._texts.append(value)
        elif type(value) is list:
            self._list(value)
        elif type(value) is dict:
            self.kept(value)
        else:
            raise BadBody(f"{name} = {short(value)}: must be a string or a list", name)

    def written(self, value: object) -> None:
        """Anything that goes into the prompt as JSON, such as tools, or that may."""
        written = orjson.dumps(value)
        if b'"data:' in written:
            self._walk(value)
        else:
            self._values.append(value)
            self._values_bytes += len(written)

    def kept(self, value: object) -> None:
        """What names input that the server has kept: nothing in the body says how much that is."""
        self.all_text = False
        self.written(value)

    # Within them

    def _list(self, value: list[Any]) -> None:
        kinds = set(map(type, value))
        if kinds == {int}:
            self.fixed_tokens += len(value)
            return
        self.prompts = max(self.prompts, len(value))
        if kinds == {str}:
            self._texts += value
        elif kinds == {list}:
            for inner in value:
                self.fixed_tokens += len(inner)
                if set(map(type, inner)) != {int}:
                    # Servers differ in whether true and 1.0 are token ids: such an item counts as one and as text.
                    self.content(inner)
        else:
            self.messages(value)

    def _node(self, value: object) -> None:
        """A message, an item or a part; the names of its fields decide."""
        if type(value) is str:
            self._texts.append(value)
            return
        if type(value) is not dict:
            self.written(value)
            return
        kind = value.get("type")
        media = MEDIA_TYPES.get(kind) if type(kind) is str else None
        if media is not None:
            self._media_part(media, value)
        for name, inner in value.items():
            if inner is None or name in _SILENT or (media is not None and name in MEDIA_FIELDS):
                continue
            if name in _NESTED:
                self.content(inner)
            elif type(inner) is not str:
                self.written(inner)
            elif kind is not None and name not in _TEXT_FIELDS and data_url_media(inner):
                self._walk(inner)
            elif name != "role" or inner not in _ROLES:
                self._texts.append(inner)

    def _media_part(self, media: MediaName, part: dict[str, Any]) -> None:
        source = part.get("source")
        if media == "document" and type(source) is dict and source.get("type") in {"content", "text"}:
            # Anthropic's documents may hold plain text, or content parts.
            self.content(source.get("data"))
            self.content(source.get("content"))
            return
        self._charge("image_low" if media == "image" and wants_low_detail(part) else media)

    def _walk(self, value: object) -> None:
        """JSON that may hold media as data URLs, at any place."""
        if type(value) is str:
            media = data_url_media(value)
            if media is None:
                self._texts.append(value)
            else:
                self._charge(media)
        elif type(value) is dict:
            self._texts += value
            for inner in value.values():
                self._walk(inner)
        elif type(value) is list:
            for inner in value:
                self._walk(inner)
        else:
            self.written(value)

    def _charge(self, cost: str) -> None:
        self.all_text = False
        self.fixed_tokens += getattr(self._media, cost)


def _are_texts(values: list[Any]) -> bool:
    return _STR.issuperset(map(type, values))


def _plain_texts(messages: list[Any]) -> list[str] | None:
    """The texts of messages that have nothing but a usual role and a text; None if any of them is different.

    Most conversations are such lists, and a loop over them in Python costs as much as parsing them.
    """
    try:
        usual = _ROLES.issuperset(map(_ROLE, messages)) and sum(map(len, messages)) == 2 * len(messages)
        texts = [*map(_CONTENT, messages)]
    except (KeyError, TypeError):
        return None
    return texts if usual and _are_texts(texts) else None
