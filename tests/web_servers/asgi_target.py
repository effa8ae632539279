"""The app that ASGI servers are started with, as the environment says."""

from __future__ import annotations

import os

from tests.web_servers.desk import asgi_desk
from tests.web_servers.frameworks import ASGI_APPS

__all__ = ("app",)

app = asgi_desk(ASGI_APPS[os.environ["TEST_APP"]](), os.environ["TEST_BACKEND"])
