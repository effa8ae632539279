"""The built-in upstream: both dialects, plain and streamed, with the usage that it really produced.

* `app`: the ASGI app. `body`: what a request may hold. `events`: how streams are sent, and at which pace.
* `words` and `prompt`: its tokenizer, its answers, and what a prompt costs.
* `chat`, `completions`, `responses`, `embeddings`, `messages` and `models`: one endpoint each.
"""

from __future__ import annotations

__all__ = ()
