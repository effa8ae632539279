"""A loopback server that gives answers that were set beforehand, and notes what it was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from ratelimit.web.answer import Answer

__all__ = ("Canned", "CannedServer")


@dataclass
class Canned:
    """One answer, the address at which it is given, and the headers of the requests that got it."""

    url: str
    answer: Answer
    requests: list[dict[str, str]] = field(default_factory=list)

    @property
    def tries(self) -> int:
        """How often it was asked for."""
        return len(self.requests)


class CannedServer(ThreadingHTTPServer):
    """A context manager. HTTP/1.0, so that no connection outlives its answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._canned: dict[str, Canned] = {}
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> CannedServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def give(self, answer: Answer) -> Canned:
        """Give this answer to whatever is asked below an address of its own."""
        name = f"answer-{len(self._canned)}"
        self._canned[name] = Canned(f"http://127.0.0.1:{self.server_address[1]}/{name}", answer)
        return self._canned[name]

    def find(self, path: str) -> Canned:
        """The answer for a path."""
        return self._canned[path.split("/")[1]]


class _Handler(BaseHTTPRequestHandler):
    server: CannedServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def do_GET(self) -> None:
        canned = self.server.find(self.path)
        canned.requests.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response_only(canned.answer.status)
        for name, value in canned.answer.headers:
            self.send_header(name.decode(), value.decode())
        self.end_headers()
        self.wfile.write(canned.answer.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
