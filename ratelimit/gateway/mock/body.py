"""What a request to the mock may hold. Strict about what it uses, deaf to the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.requests import Request

from ratelimit.gateway.mock.words import TOKENS_MAX

__all__ = ("MODELS", "BadRequest", "Body", "UnknownModel", "read_body", "wanted_tokens")

MODELS: Final = ("minimax-m2.5", "glm-5")
_HEADER: Final = "x-mock-output-tokens"


class BadRequest(Exception):
    """400: `param` is the field to blame."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class UnknownModel(Exception):
    """404: a model that is not here."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.model = model[:64]


class Body:
    """The JSON object of a request, with its fields checked as they are asked for. null counts as not given."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def get(self, name: str) -> Any:
        """The value as it is; None if there is none."""
        return self._values.get(name)

    def need(self, name: str) -> Any:
        """The value as it is. Raises BadRequest if there is none."""
        value = self._values.get(name)
        if value is None:
            raise BadRequest(f"{name}: field required", name)
        return value

    def model(self) -> str:
        """The model. Raises UnknownModel for one that is not here."""
        name = self.need("model")
        if not isinstance(name, str):
            raise BadRequest("model: must be text", "model")
        if name not in MODELS:
            raise UnknownModel(name)
        return name

    def flag(self, name: str) -> bool:
        """True or false; false if not given."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise BadRequest(f"{name}: must be true or false", name)
        return bool(value)

    def whole(self, name: str, most: int) -> int | None:
        """A whole number from 1; None if not given."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise BadRequest(f"{name}: must be a whole number from 1 to {most}", name)
        return value

    def items(self, name: str) -> list[Any]:
        """A list that holds something."""
        value = self.need(name)
        if not isinstance(value, list) or not value:
            raise BadRequest(f"{name}: must be a list that is not empty", name)
        return value

    def messages(self) -> list[dict[str, Any]]:
        """The messages of a conversation: objects with a role."""
        messages = self.items("messages")
        for index, message in enumerate(messages):
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise BadRequest(f"messages.{index}: must be an object with a role", "messages")
        return messages


async def read_body(request: Request) -> Body:
    """The body of a request. Raises BadRequest if it is not a JSON object."""
    try:
        values = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body of this request is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise BadRequest("The body of this request must be a JSON object")
    return Body(values)


def wanted_tokens(request: Request) -> int | None:
    """Length of the answer that `x-mock-output-tokens` asks for; None if it is not there."""
    text = request.headers.get(_HEADER)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > len(str(TOKENS_MAX)) or int(text) > TOKENS_MAX:
        raise BadRequest(f"header {_HEADER}: must be a whole number from 0 to {TOKENS_MAX}")
    return int(text)
