"""One request from its first byte to its settlement, without I/O: `asgi` and `wsgi` only move the bytes.

Theory of operation. A driver calls, in this order: `identified`, then (where `wants_body`) `opened`, each of which may
answer in place of the app; reserves what `ask` says and reports with `reserved` or `refused`; then `started` for the
head of the response and `fed` for each part of its body. Whatever ends the exchange, in whatever order and however
often, the driver asks for the `bill`: the first one to ask gets it, and settles it.

    state                                             settled at
    ------------------------------------------------  -------------------------------------------------------------
    a response that says its usage                    that usage
    a response that does not, or was cut              the input, and the output counted from what was streamed
    3xx, 4xx, 5xx, or an app that failed              as `on_upstream_error` says
    nothing was sent, and the client asked to stream  the input
    nothing was sent, of a response in one piece      the estimate: what the upstream produced for it is not known
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Final, Generic, Protocol, TypeVar

from ratelimit.core.decision import Decision, Standing
from ratelimit.errors import ConfigError, CostExceedsLimit, RateLimited, RateLimitError
from ratelimit.intake import Scope
from ratelimit.web.address import client_address
from ratelimit.web.answer import Answer, Headers
from ratelimit.web.body import BadBody, check_form, parse_body
from ratelimit.web.call import ModelCall, read_call
from ratelimit.web.credentials import has_credentials
from ratelimit.web.dialects import DIALECTS, Shortage
from ratelimit.web.estimate import Estimate
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from ratelimit.web.ietf import ietf_headers
from ratelimit.web.include_usage import UsageStripper, ask_for_usage
from ratelimit.web.meter import Meter, open_meter
from ratelimit.web.policy import Policy
from ratelimit.web.routes import Kind, Route
from ratelimit.web.tariff import Tariff
from ratelimit.web.usage import Reading, Usage
from ratelimit.web.wait import Wait

__all__ = ("Bill", "Exchange", "Reserved")

_log = logging.getLogger("ratelimit.web")

_BYPASS: Final = (b"x-ratelimit-bypass", b"backend-unavailable")
_TAPE_MAX: Final = 64 * 1024
"""Bytes of a response that are taped before the meter sees them: one look at many chunks costs as little as at one."""
_NO_ESTIMATE: Final = Estimate(0, 0)
_STRIPPABLE: Final = (Kind.CHAT, Kind.COMPLETION)


class Reserved(Protocol):
    """What an exchange needs of a reservation, sync or asyncio."""

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Where every limit stood right after the reserve."""


R = TypeVar("R", bound=Reserved)


@dataclass(frozen=True, slots=True)
class Bill(Generic[R]):
    """A reservation, and the real amounts per scope to settle it at."""

    reservation: R
    amounts: Sequence[Mapping[str, int]]


class Exchange(Generic[R]):
    """The state of one request. Not thread-safe: it belongs to the task or thread that serves the request."""

    __slots__ = (
        "_bypassed",
        "_call",
        "_dialect",
        "_ended",
        "_estimate",
        "_head",
        "_identity",
        "_meter",
        "_open",
        "_policy",
        "_reservation",
        "_route",
        "_status",
        "_stripper",
        "_tape",
        "_tariffs",
        "ask",
        "body",
        "cut",
    )

    def __init__(self, policy: Policy, route: Route, head: RequestHead) -> None:
        self._policy = policy
        self._route = route
        self._head = head
        # Both APIs list their models at one path; only Anthropic's clients name a version.
        asks_anthropic = route.kind is Kind.MODELS and head.get("anthropic-version") is not None
        self._dialect = DIALECTS["anthropic" if asks_anthropic else route.dialect]
        self._call: ModelCall | None = None
        self._estimate = _NO_ESTIMATE
        self._identity: Identity
        self._tariffs: list[Tariff]
        self._reservation: R | None = None
        self._meter: Meter | None = None
        self._tape: BytesIO | None = None
        self._stripper: UsageStripper | None = None
        self._status = 0
        self._open = True
        self._ended = False
        self._bypassed = False
        self.ask: list[Scope] | None = None
        """The scopes to reserve, each with its amounts; None when the request costs nothing."""
        self.body: bytes | None = None
        """The body to forward in place of the client's, when it was changed."""
        self.cut = False
        """Set by the driver when the client has gone, or the task was cancelled."""

    @property
    def group(self) -> str | None:
        """The group of the scopes to reserve."""
        return self._identity.group

    @property
    def wants_body(self) -> bool:
        """True when the cost depends on the body."""
        return self._route.has_tokens

    # Before the app

    def identified(self, who: object) -> Answer | None:
        """Take what the identify callable returned; an answer if the request ends here."""
        if who is None:
            who = self._anonymous()
            if who is None:
                return self._dialect.unauthorized(missing=not has_credentials(self._head))
        try:
            self._identity = _identity(who)
            plans, tariffs = self._policy.plans, self._policy.tariffs
            self._tariffs = [tariffs.of(plans.resolve(scope.plan)) for scope in self._identity.scopes]
        except ConfigError as error:
            return self.misconfigured(error)
        if not self._route.has_tokens:
            requests = self._policy.models_cost if self._route.kind is Kind.MODELS else 1
            if requests:
                self._ask(requests, Usage())
        return None

    def misconfigured(self, error: Exception) -> Answer:
        """What a client gets when the gateway itself is wrong: that it cannot be served, and no details."""
        _log.error("a request could not be priced: %s", error, exc_info=not isinstance(error, ConfigError))
        return self._dialect.unavailable()

    def _anonymous(self) -> Identity | None:
        plan = self._policy.anonymous
        # A key that is wrong does not become a client without one: its owner would never find out.
        if plan is None or has_credentials(self._head):
            return None
        address = client_address(self._head, self._policy.trusted_hops)
        return None if address is None else Identity.of(f"address {address}", plan)

    def opened(self, raw: bytes) -> Answer | None:
        """Take the whole body and work out the cost; an answer if the body cannot be right."""
        policy = self._policy
        try:
            check_form(self._head.every("content-encoding"), self._head.every("content-type"))
            body = parse_body(raw)
            call = read_call(self._route.kind, body, policy.media)
        except BadBody as bad:
            return self._dialect.bad_request(bad.message, bad.param)
        self._call = call
        try:
            self._estimate = policy.estimator.estimate(call, self._subject)
        except Exception as error:  # of a TokenEstimator
            return self.misconfigured(error)
        self._ask(1, Usage(input=self._estimate.input, output=self._estimate.output))
        if policy.ask_usage and call.stream and not call.wants_usage and self._route.kind in _STRIPPABLE:
            self.body = ask_for_usage(raw, body)
            self._stripper = UsageStripper()
        return None

    def not_found(self) -> Answer:
        """What a client gets for a path that is none of ours, when those are refused."""
        return self._dialect.not_found(self._head.method, self._head.path)

    def body_too_large(self) -> Answer:
        """What a client gets whose body passes the limit."""
        return self._dialect.body_too_large(self._policy.body_bytes)

    def body_too_slow(self) -> Answer:
        """What a client gets whose body does not arrive in time."""
        return self._dialect.body_too_slow(self._policy.body_seconds)

    @property
    def _subject(self) -> str:
        return self._identity.scopes[0].subject

    def _ask(self, requests: int, usage: Usage) -> None:
        self.ask = [
            Scope(scope.subject, tariff.plan, scope.group, tariff.amounts(requests, usage))
            for scope, tariff in zip(self._identity.scopes, self._tariffs, strict=True)
        ]

    def _amounts(self, requests: int, usage: Usage) -> list[Mapping[str, int]]:
        return [tariff.amounts(requests, usage) for tariff in self._tariffs]

    # The decision

    def reserved(self, reservation: R) -> None:
        """The backend has charged what was asked."""
        self._reservation = reservation

    def fits_smaller(self) -> bool:
        """After a cost that can never fit: True if a smaller one is asked for now.

        A guess at the output must not shut out a request whose input fits: then only the input is reserved.
        """
        call = self._call
        if call is None or not self._estimate.output or not self._policy.guesses_output:
            return False
        self._estimate = Estimate(self._estimate.input, 0)
        self._ask(1, Usage(input=self._estimate.input))
        return True

    def refused(self, error: RateLimitError) -> Answer | None:
        """The backend has not charged: what the client gets, or None to let the request through uncounted."""
        model = None if self._call is None else self._call.model
        if isinstance(error, RateLimited):
            policy, decision = self._policy, error.decision
            wait = Wait(decision.retry_after_us, policy.jitter(), policy.retry_threshold)
            shortage = Shortage(model=model, decision=decision, requested=self._requested(decision))
            answer = self._dialect.limited(shortage, wait, policy.clock())
            if policy.ietf:
                answer.headers.extend(ietf_headers(decision.standings))
            return answer
        if isinstance(error, CostExceedsLimit):
            return self._dialect.too_large(error, model)
        if isinstance(error, ConfigError) or self._policy.fail == "closed":
            _log.error("the backend cannot decide, a request is refused: %s", error)
            return self._dialect.unavailable()
        _log.warning("the backend cannot decide, a request passes uncounted: %s", error)
        self._bypassed = True
        return None

    def _requested(self, decision: Decision[Any]) -> Mapping[str, int]:
        """What was asked of the scope whose limit binds: scopes may weigh the same usage differently."""
        binding = decision.binding
        for scope, tariff in zip(self.ask or (), self._tariffs, strict=True):
            if binding is not None and tariff.plan.name == binding.plan and scope.amounts is not None:
                return scope.amounts
        return {}

    # The response

    def started(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> Headers:
        """The head of the response: returns its headers with ours, which take the place of any of the same name."""
        self._status = status
        content_type = content_encoding = ""
        ours = self._standing()
        taken = dict(ours)
        kept: Headers = []
        for name, value in headers:
            lower = name.lower()
            if lower in taken:
                continue
            kept.append((name, value))
            if lower == b"content-type":
                content_type = value.decode("latin-1")
            elif lower == b"content-encoding":
                content_encoding = value.decode("latin-1")
        if self._reservation is not None and self._call is not None and status < 300:
            self._meter = open_meter(self._route.kind, content_type, content_encoding)
            self._tape = BytesIO()
        if self._stripper is not None:
            if status >= 300 or content_encoding or not content_type.lower().startswith("text/event-stream"):
                self._stripper = None
            else:
                kept = [pair for pair in kept if pair[0].lower() != b"content-length"]
        return kept + ours

    def _standing(self) -> Headers:
        if self._bypassed:
            return [_BYPASS]
        if self._reservation is None:
            return []
        policy, standings = self._policy, self._reservation.standings
        headers = self._dialect.standing_headers(standings, policy.clock())
        return headers + ietf_headers(standings) if policy.ietf else headers

    def fed(self, chunk: bytes) -> bytes:
        """A part of the body: returns what to send for it, which is the same unless usage was asked for by us."""
        tape = self._tape
        if tape is not None:
            tape.write(chunk)
            if tape.tell() > _TAPE_MAX:
                self._play(tape)
        if self._stripper is None:
            return chunk
        # Apps may send views of a buffer that they use again.
        return self._stripper.feed(chunk if type(chunk) is bytes else bytes(chunk))

    def ended(self) -> bytes:
        """The last part has been fed: returns what to send after it."""
        self._ended = True
        return b"" if self._stripper is None else self._stripper.flush()

    def _play(self, tape: BytesIO) -> None:
        """Let the meter see what has been taped, and begin anew."""
        if self._meter is not None:
            self._meter.feed(tape.getvalue())
        tape.seek(0)
        tape.truncate()

    # The settlement

    def bill(self) -> Bill[R] | None:
        """What to settle, to the first one who asks; None when there is nothing to correct."""
        if self._reservation is None or not self._open:
            return None
        self._open = False
        try:
            amounts = self._real()
        except Exception:  # of a TokenEstimator: it must not cost the client the end of a good response
            _log.exception("what a request used could not be worked out, its estimate stays charged")
            return None
        return None if amounts is None else Bill(self._reservation, amounts)

    def _real(self) -> list[Mapping[str, int]] | None:
        call = self._call
        if not self._status and self.cut and call is not None and call.stream and not call.background:
            return self._amounts(1, Usage(input=self._estimate.input))
        if self._status >= 300 or not (self._status or self.cut):
            given = self._policy.on_upstream_error
            if given == "keep" or (given == "refund_tokens" and call is None):
                return None
            return self._amounts(0 if given == "refund" else 1, Usage())
        if call is None or self._meter is None:
            return None
        return self._metered(call, self._meter)

    def _metered(self, call: ModelCall, meter: Meter) -> list[Mapping[str, int]] | None:
        if self._tape is not None:
            self._play(self._tape)
        reading = meter.finish()
        usage = reading.usage
        if usage is not None and reading.complete:
            amounts = self._amounts(1, usage)
            self._policy.estimator.learn(call, self._subject, usage)
            return amounts
        if call.background or not (call.stream or self._ended):
            return None  # the upstream has produced it as a whole, or goes on, and nobody can tell how much that is
        output = self._counted(call, reading)
        if usage is None:
            return self._amounts(1, Usage(input=self._estimate.input, output=output))
        return self._amounts(1, replace(usage, output=max(usage.output, output)))

    def _counted(self, call: ModelCall, reading: Reading) -> int:
        if self._route.kind is Kind.EMBEDDINGS:
            return 0
        output = self._policy.estimator.output_tokens(call.model, reading.text_bytes)
        if not reading.readable:
            output = max(output, self._estimate.output)
        return output if call.output_cap is None else min(output, call.output_cap)


def _identity(who: Any) -> Identity:
    if isinstance(who, Identity) and who.scopes:
        return who
    if isinstance(who, Scope):
        return Identity((who,))
    if isinstance(who, Sequence) and who and all(isinstance(scope, Scope) for scope in who):
        return Identity(tuple(who))
    raise ConfigError(
        f"identify returned {type(who).__name__}: must return an Identity, a Scope, a list of them, or None for nobody"
    )
