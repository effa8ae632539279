"""The names of request fields, of both dialects: which of them bear on the cost, and which are known not to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ratelimit.web.routes import Kind

__all__ = ("CALL_FIELDS", "COSTLY_FIELDS", "INPUT_FIELDS", "QUIET_FIELDS", "CallFields", "known_spelling")


@dataclass(frozen=True, slots=True)
class CallFields:
    """Where an endpoint names what decides its cost."""

    input: str | None
    """The input, where the endpoint cannot do without."""
    caps: tuple[str, ...]
    """The most output that it may produce."""
    choices: tuple[str, ...] = ()
    """How many answers it gives: the largest of these."""


CALL_FIELDS: Final[Mapping[Kind, CallFields]] = {
    Kind.CHAT: CallFields("messages", ("max_completion_tokens", "max_tokens"), ("n", "best_of")),
    Kind.COMPLETION: CallFields(None, ("max_tokens",), ("n", "best_of")),
    Kind.RESPONSES: CallFields(None, ("max_output_tokens",)),
    Kind.MESSAGES: CallFields("messages", ("max_tokens",)),
    Kind.EMBEDDINGS: CallFields("input", ()),
}

INPUT_FIELDS: Final = frozenset(
    {
        "conversation",
        "functions",
        "input",
        "instructions",
        "messages",
        "output_config",
        "output_format",
        "prediction",
        "previous_response_id",
        "prompt",
        "response_format",
        "suffix",
        "system",
        "text",
        "tools",
    }
)
"""Fields whose content becomes input tokens, or stands for content that does."""

COSTLY_FIELDS: Final = INPUT_FIELDS | {
    "background",
    "best_of",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "model",
    "n",
    "stream",
    "stream_options",
}
"""Fields that decide what a call costs, or how its response is read. Each may have one spelling only."""

QUIET_FIELDS: Final = frozenset(
    {
        "audio",
        "betas",
        "cache_control",
        "container",
        "context_management",
        "dimensions",
        "echo",
        "encoding_format",
        "frequency_penalty",
        "function_call",
        "include",
        "inference_geo",
        "logit_bias",
        "logprobs",
        "max_tool_calls",
        "mcp_servers",
        "metadata",
        "min_p",
        "modalities",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "reasoning_effort",
        "repetition_penalty",
        "safety_identifier",
        "seed",
        "service_tier",
        "speed",
        "stop",
        "stop_sequences",
        "store",
        "temperature",
        "thinking",
        "tool_choice",
        "top_k",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
        "verbosity",
        "web_search_options",
    }
)
"""Fields that cost no tokens. What is neither here nor above counts as text: a server may put it into the prompt."""

_LENGTH_MAX: Final = 64


def _folded(name: str) -> str:
    # Go's decoder compares by simple case folding, where the Kelvin sign is a k and the long s an s; other decoders
    # take camelCase and dashes for snake_case.
    return name.casefold().replace("_", "").replace("-", "")


_FOLDED: Final = {_folded(name): name for name in (*COSTLY_FIELDS, "include_usage")}


def known_spelling(name: str) -> str | None:
    """The costly field that some server would take this name for, although it is spelled otherwise; None: of none."""
    if len(name) > _LENGTH_MAX:
        return None
    known = _FOLDED.get(_folded(name))
    return None if known == name else known
