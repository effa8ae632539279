"""What one request asks a model for, in one form for all endpoints.

What is not in the body cannot be counted: a Responses call that goes on from a `previous_response_id`, a
`conversation` or a stored `prompt` is estimated without them, and settled with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from ratelimit.intake import AMOUNT_MAX
from ratelimit.plans.faults import short
from ratelimit.web.body import BadBody
from ratelimit.web.content import Content
from ratelimit.web.fields import CALL_FIELDS, COSTLY_FIELDS, INPUT_FIELDS, QUIET_FIELDS, CallFields, known_spelling
from ratelimit.web.media import MediaCosts
from ratelimit.web.routes import Kind

__all__ = ("MediaCosts", "ModelCall", "read_call")

_MODEL_MAX: Final = 256
_COUNT_RULE: Final = f"must be a whole number from 0 to {AMOUNT_MAX:,}"
_CALL_TOKENS: Final = 3
"""What primes an answer, in a chat format."""

_Reader = Callable[[Content, Any], None]
_READERS: Final[Mapping[str, _Reader]] = {
    **dict.fromkeys(INPUT_FIELDS, Content.written),
    "conversation": Content.kept,
    "input": partial(Content.inputs, name="input"),
    "instructions": Content.content,
    "messages": Content.messages,
    "prediction": Content.content,
    "previous_response_id": Content.kept,
    "prompt": partial(Content.inputs, name="prompt"),
    "suffix": Content.content,
    "system": Content.content,
}
_NO_INPUT: Final = QUIET_FIELDS | (COSTLY_FIELDS - INPUT_FIELDS)


@dataclass(slots=True)
class ModelCall:
    """One call of a model. Token counts are whole; lengths are in bytes of UTF-8."""

    kind: Kind
    model: str
    stream: bool
    wants_usage: bool
    """The client asked for the usage chunk of a stream: `stream_options.include_usage`."""
    text_bytes: int
    """All text that will be tokenised: messages, instructions, prompts, tools, schemas, tool calls and results."""
    fixed_tokens: int
    """Token ids, media at its set costs, and what surrounds messages."""
    output_cap: int | None
    """Most output tokens that the call may produce, all choices together; None: it names no cap."""
    choices: int = 1
    """Answers that are asked for: n or best_of, times the prompts."""
    all_text: bool = True
    """The input is all text and token ids in the body, so that real usage tells how many tokens its bytes were."""
    background: bool = False
    """The response comes at once, and what was asked for later (OpenAI's Responses API)."""
    _content: Content | None = field(default=None, repr=False, compare=False)

    def texts(self) -> Iterator[str]:
        """Every text that `text_bytes` counts, for a tokenizer.

        Raises:
            RuntimeError: after `release`.
        """
        if self._content is None:
            raise RuntimeError("the texts of this call have been released: read them while it is estimated")
        return self._content.texts()

    def release(self) -> None:
        """Let go of the texts: the call itself lives as long as its response, which may take hours to stream."""
        self._content = None


def read_call(kind: Kind, body: dict[str, Any], media: MediaCosts) -> ModelCall:
    """Read what a call asks for from its body, as :func:`ratelimit.web.body.parse_body` returned it.

    Raises:
        BadBody: a model, a limit or a switch that cannot be right, or no input where the endpoint needs some.
    """
    fields = CALL_FIELDS[kind]
    if fields.input is not None and body.get(fields.input) is None:
        raise BadBody(f"{fields.input} is required", fields.input)
    content = Content(media)
    for name, value in body.items():
        if name not in _NO_INPUT and value is not None:
            _READERS.get(name, Content.written)(content, value)
    choices = 1
    for name in fields.choices:
        choices = max(choices, _count(body, name))
    if kind is Kind.COMPLETION:
        choices *= content.prompts
    if kind is not Kind.EMBEDDINGS:
        content.fixed_tokens += _CALL_TOKENS
    return ModelCall(
        kind,
        _model(body),
        _switch(body.get("stream"), "stream", "stream"),
        _wants_usage(body),
        content.text_bytes(),
        min(content.fixed_tokens, AMOUNT_MAX),
        _output_cap(kind, fields, body, choices),
        choices,
        content.all_text,
        _switch(body.get("background"), "background", "background"),
        content,
    )


def _model(body: dict[str, Any]) -> str:
    model = body.get("model")
    if type(model) is not str or not 0 < len(model) <= _MODEL_MAX or not model.isprintable():
        if model is None:
            raise BadBody("model is required", "model")
        raise BadBody(f"model = {short(model)}: must be a string of 1 to {_MODEL_MAX} printable characters", "model")
    return model


def _switch(value: object, name: str, param: str) -> bool:
    if value is None or type(value) is bool:
        return bool(value)
    raise BadBody(f"{name} = {short(value)}: must be true or false", param)


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if type(options) is not dict:
        raise BadBody(f"stream_options = {short(options)}: must be an object", "stream_options")
    for name in options:
        if known_spelling(name) == "include_usage":
            raise BadBody(f"field {short(name)} of stream_options must be spelled 'include_usage'", "stream_options")
    return _switch(options.get("include_usage"), "stream_options.include_usage", "stream_options")


def _count(body: dict[str, Any], name: str) -> int:
    """A number that multiplies or limits output; 0 where none is given, as some servers mean it by 0.

    Never a float or a boolean: servers differ in what they make of those.
    """
    value = body.get(name)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= AMOUNT_MAX:
        raise BadBody(f"{name} = {short(value)}: {_COUNT_RULE}", name)
    return value


def _output_cap(kind: Kind, fields: CallFields, body: dict[str, Any], choices: int) -> int | None:
    """The largest of the caps, for all choices together."""
    if kind is Kind.EMBEDDINGS:
        return 0
    if kind is Kind.MESSAGES and body.get("max_tokens") is None:
        raise BadBody("max_tokens is required", "max_tokens")
    largest = 0
    for name in fields.caps:
        largest = max(largest, _count(body, name))
    return min(largest * choices, AMOUNT_MAX) if largest else None
