"""What images, audio, video and documents cost, and how they are recognised among text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from ratelimit.errors import ConfigError

__all__ = ("MEDIA_FIELDS", "MEDIA_TYPES", "MediaCosts", "MediaName", "data_url_media", "wants_low_detail")

MediaName = Literal["audio", "document", "image", "video"]

_MOST: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCosts:
    """Tokens that one piece of media is taken to cost. The size of its file says little about them.

    Settling puts the real number in its place, so these only have to be of the right size. The defaults are the most
    that an image costs a Claude model (about 1,600; GPT-4o: 765 to 1,105), the 85 of an OpenAI image in low detail, two
    to three minutes of audio, and a few pages or seconds of the rest.

    Raises:
        ConfigError: a cost that is not a whole number from 0 to 10**9.
    """

    image: int = 1_600
    image_low: int = 85
    audio: int = 1_500
    video: int = 10_000
    document: int = 10_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or not 0 <= value <= _MOST:
                raise ConfigError(f"{field.name} = {value!r}: must be a whole number of tokens from 0 to {_MOST:,}")


MEDIA_TYPES: Final[Mapping[str, MediaName]] = {
    # OpenAI chat and Responses, Anthropic, and what servers of open models add to them.
    "audio": "audio",
    "audio_url": "audio",
    "computer_screenshot": "image",
    "container_upload": "document",
    "document": "document",
    "file": "document",
    "image": "image",
    "image_generation_call": "image",
    "image_url": "image",
    "input_audio": "audio",
    "input_file": "document",
    "input_image": "image",
    "input_video": "video",
    "video": "video",
    "video_url": "video",
}
"""Media by the `type` of a content part."""

MEDIA_FIELDS: Final = frozenset(
    {
        "audio",
        "audio_url",
        "detail",
        "file",
        "file_data",
        "file_id",
        "file_url",
        "filename",
        "image",
        "image_url",
        "input_audio",
        "result",
        "source",
        "video",
        "video_url",
    }
)
"""Fields of such a part that hold or describe the media itself."""

_BY_PREFIX: Final[tuple[tuple[str, MediaName], ...]] = (
    ("data:image/", "image"),
    ("data:audio/", "audio"),
    ("data:video/", "video"),
    ("data:", "document"),
)


def data_url_media(text: str) -> MediaName | None:
    """The media that a `data:` URL holds; None for any other text."""
    for prefix, media in _BY_PREFIX:
        if text.startswith(prefix):
            return media
    return None


def wants_low_detail(part: Mapping[str, Any]) -> bool:
    """True for an image part that asks for OpenAI's low detail, in the form of chat or of Responses."""
    inner = part.get("image_url")
    detail = inner.get("detail") if type(inner) is dict else part.get("detail")
    return bool(detail == "low")
