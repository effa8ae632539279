"""One line around an app, and its plans are enforced: ASGI and WSGI middleware in OpenAI's and Anthropic's manners.

* `asgi`, `wsgi`: the two drivers. `exchange`: one request from its head to its settlement, without I/O.
* `policy`: what an operator decides. `routes`: which endpoints there are. `identity`, `keys`: who is charged.
* `body`, `call`, `estimate`: what a request asks for, and what that may cost. `meter`: what it really used.
* `dialects`, `ietf`: how a provider says no, and where a client stands. `settler`: settlement apart from the request.
"""

from __future__ import annotations

from importlib.util import find_spec

from ratelimit.errors import ConfigError

if find_spec("orjson") is None:
    raise ConfigError("ratelimit.web needs orjson: pip install 'llm-ratelimit[web]'")

from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.call import MediaCosts
from ratelimit.web.estimate import TokenEstimator
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from ratelimit.web.keys import ApiKeys
from ratelimit.web.wsgi import RateLimitWSGIMiddleware

__all__ = (
    "ApiKeys",
    "Identity",
    "MediaCosts",
    "RateLimitMiddleware",
    "RateLimitWSGIMiddleware",
    "RequestHead",
    "TokenEstimator",
)
