"""Sends an answer through h11, which refuses what HTTP does not allow, and reads it back."""

from __future__ import annotations

import h11

from ratelimit.web.answer import Answer, Headers

__all__ = ("received", "received_headers")


def received(answer: Answer) -> Answer:
    """The answer as a client gets it."""
    server, client = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target="/", headers=[("host", "gateway")])
    server.receive_data(client.send(request) + client.send(h11.EndOfMessage()))
    server.next_event()
    server.next_event()
    response = h11.Response(status_code=answer.status, headers=answer.headers)
    for event in (response, h11.Data(answer.body), h11.EndOfMessage()):
        client.receive_data(server.send(event) or b"")
    head, *rest = _events(client)
    assert isinstance(head, h11.Response)
    assert isinstance(rest[-1], h11.EndOfMessage)
    body = b"".join(bytes(event.data) for event in rest if isinstance(event, h11.Data))
    return Answer(head.status_code, list(head.headers), body)


def received_headers(headers: Headers) -> Headers:
    """Headers as a client gets them, beside an empty body."""
    return received(Answer(200, [*headers, (b"content-length", b"0")], b"")).headers[:-1]


def _events(client: h11.Connection) -> list[object]:
    events: list[object] = []
    while not events or not isinstance(events[-1], h11.EndOfMessage):
        events.append(client.next_event())
        assert events[-1] is not h11.NEED_DATA
    return events
