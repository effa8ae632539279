"""The gateway: `ratelimit serve`, a reverse proxy in front of an LLM server that holds every key to its plan.

* `config` and `sources`: one frozen value, from defaults, a file, the environment and the command line.
* `app`: the parts put together. `server`: runs it. `demo`: keys for a start without any.
* `proxy`, with `paths`, `headers`, `presence` and `failure`: what goes to the upstream, and what comes back.
* `mock`: an upstream that is built in. `health` and `access_log`: for operators.
"""

from __future__ import annotations

__all__ = ()
