"""The app that WSGI servers are started with, as the environment says."""

from __future__ import annotations

import os

from tests.web_servers.desk import wsgi_desk
from tests.web_servers.frameworks import WSGI_APPS

__all__ = ("app",)

app = wsgi_desk(WSGI_APPS[os.environ["TEST_APP"]](), os.environ["TEST_BACKEND"])
