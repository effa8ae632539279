"""Promises of `ratelimit.web.estimate`."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.errors import ConfigError
from ratelimit.intake import AMOUNT_MAX
from ratelimit.web.call import MediaCosts, ModelCall, read_call
from ratelimit.web.estimate import Estimate, Estimator, OutputPolicy
from ratelimit.web.routes import Kind
from ratelimit.web.usage import Usage

POLICIES: tuple[OutputPolicy, ...] = ("learned", "max_tokens", "input_only")


def call(
    text_bytes: int = 1_000,
    cap: int | None = None,
    *,
    model: str = "glm-5",
    choices: int = 1,
    fixed: int = 0,
    all_text: bool = True,
) -> ModelCall:
    """A chat call."""
    return ModelCall(Kind.CHAT, model, False, False, text_bytes, fixed, cap, choices, all_text)


def teach(estimator: Estimator, outputs: list[int], subject: str = "a", *, cap: int | None = None) -> None:
    """Settle a call for each of these outputs."""
    for output in outputs:
        estimator.learn(call(cap=cap), subject, Usage(input=250, output=output))


# Output


def test_before_any_history_output_is_the_default_or_the_cap() -> None:
    """Whichever is less, for each answer."""
    estimator = Estimator(default_output=500)
    assert estimator.estimate(call(), "a").output == 500
    assert estimator.estimate(call(choices=3), "a").output == 1_500
    assert estimator.estimate(call(cap=100), "a").output == 100
    assert estimator.estimate(call(cap=9_999), "a").output == 500


def test_output_is_learned_from_the_model_then_from_the_subject() -> None:
    """The 95th percentile: of all subjects for one who is new, of its own once there are 20."""
    estimator = Estimator()
    teach(estimator, list(range(1, 101)), "a")
    assert estimator.estimate(call(), "a").output == 95
    assert estimator.estimate(call(), "new").output == 95
    assert estimator.estimate(call(cap=10), "new").output == 10
    assert estimator.estimate(call(model="other"), "a").output == 1_024
    teach(estimator, [7] * 19, "new")
    assert estimator.estimate(call(), "new").output == 95
    teach(estimator, [7], "new")
    assert estimator.estimate(call(), "new").output == 7
    assert estimator.estimate(call(), "a").output == 95


def test_the_quantile_can_be_chosen() -> None:
    """A higher one reserves more and overruns less."""
    estimator = Estimator(quantile=0.5)
    teach(estimator, list(range(1, 101)))
    assert estimator.estimate(call(), "a").output == 50


def test_answers_are_learned_one_by_one() -> None:
    """A call with n choices is n answers: its output is divided, and that of the next one multiplied."""
    estimator = Estimator()
    for _ in range(20):
        estimator.learn(call(choices=4), "a", Usage(input=250, output=401))
    assert estimator.estimate(call(), "a").output == 101
    assert estimator.estimate(call(choices=2), "a").output == 202
    assert estimator.estimate(call(cap=150, choices=2), "a").output == 150


def test_a_call_stopped_by_its_own_cap_does_not_pull_a_guess_down() -> None:
    """How much more would have come is not known: a thousand calls with max_tokens=1 teach nothing."""
    estimator = Estimator()
    teach(estimator, [1] * 1_000, "prober", cap=1)
    assert estimator.estimate(call(), "new").output == 1_024
    teach(estimator, [300] * 50, "a")
    teach(estimator, [1] * 1_000, "prober", cap=1)
    assert estimator.estimate(call(), "new").output == 300
    # At a cap above the guess it does tell: that much comes, at least.
    teach(estimator, [2_000] * 50, "a", cap=2_000)
    assert estimator.estimate(call(), "new").output == 2_000


def test_the_other_policies() -> None:
    """`max_tokens` reserves the cap or the default, `input_only` no output; both whatever was learned."""
    for policy, without, with_cap in (("max_tokens", 1_024, 4_096), ("input_only", 0, 0)):
        estimator = Estimator(output=policy)  # type: ignore[arg-type]
        teach(estimator, [5] * 50)
        assert estimator.estimate(call(), "a").output == without
        assert estimator.estimate(call(cap=4_096), "a").output == with_cap


@pytest.mark.parametrize("policy", POLICIES)
def test_embeddings_have_no_output(policy: OutputPolicy) -> None:
    """Under any policy, and they teach none."""
    estimator = Estimator(output=policy)
    embedding = read_call(Kind.EMBEDDINGS, {"model": "glm-5", "input": "x" * 100}, MediaCosts())
    for _ in range(50):
        estimator.learn(embedding, "a", Usage(input=25))
    assert estimator.estimate(embedding, "a").output == 0
    assert estimator.estimate(call(), "a").output == (0 if policy == "input_only" else 1_024)


# Input


def test_input_is_bytes_times_a_ratio_and_what_is_counted() -> None:
    """A cautious ratio at first; token ids and media as they are; at least one token."""
    estimator = Estimator()
    assert estimator.estimate(call(1_000, fixed=7), "a").input == 307
    assert estimator.estimate(call(0), "a").input == 1
    assert estimator.estimate(call(0, fixed=300_000), "a").input == 300_000


def test_the_ratio_is_learned_per_model_and_subject() -> None:
    """From the whole input, whether a cache served it or not."""
    estimator = Estimator()
    for _ in range(100):
        estimator.learn(call(10_000, fixed=500), "a", Usage(input=1_000, cache_read=500, cache_write=1_000, output=1))
    assert 2_000 <= estimator.estimate(call(10_000), "a").input <= 2_100
    assert 2_000 <= estimator.estimate(call(10_000), "new").input <= 2_100
    assert estimator.estimate(call(10_000, model="other"), "a").input == 3_000


def test_what_others_send_does_not_move_a_subject_with_history() -> None:
    """A million bytes of anything, by anybody else: input and output of mine are estimated as before."""
    estimator = Estimator()
    teach(estimator, [100] * 50, "mine")
    before = estimator.estimate(call(), "mine")
    for _ in range(2_000):
        estimator.learn(call(10**6), "poisoner", Usage(input=10**6, output=10**6))
    assert estimator.estimate(call(), "mine") == before
    # And those who are new are estimated at no more than a token per byte.
    assert estimator.estimate(call(), "new").input <= 1_000


def test_media_and_kept_input_teach_no_ratio() -> None:
    """Their tokens are not in the bytes of the text."""
    estimator = Estimator()
    for _ in range(50):
        estimator.learn(call(1_000, all_text=False), "a", Usage(input=10**6, output=1))
    assert estimator.estimate(call(1_000), "a").input == 300


def test_output_of_a_cut_stream_is_counted_by_the_ratio() -> None:
    """The same tokenizer made it."""
    estimator = Estimator()
    assert estimator.output_tokens("glm-5", 1_000) == 300
    teach(estimator, [1] * 200)
    assert 250 <= estimator.output_tokens("glm-5", 1_000) <= 260
    assert estimator.output_tokens("glm-5", 0) == 0


# Both


@given(
    st.sampled_from(POLICIES),
    st.integers(0, 2**60),
    st.one_of(st.none(), st.integers(0, AMOUNT_MAX)),
    st.integers(1, 2**60),
    st.lists(st.integers(-(2**60), 2**62), max_size=30),
)
def test_an_estimate_is_always_an_amount(
    policy: OutputPolicy, text_bytes: int, cap: int | None, choices: int, outputs: list[int]
) -> None:
    """Whatever was asked for and whatever was learned: whole numbers from 0 to 2**53, and output within the cap."""
    estimator = Estimator(output=policy)
    teach(estimator, outputs)
    estimate = estimator.estimate(call(text_bytes, cap, choices=choices), "a")
    assert type(estimate.input) is type(estimate.output) is int
    assert 1 <= estimate.input <= AMOUNT_MAX
    assert 0 <= estimate.output <= (AMOUNT_MAX if cap is None else cap)
    assert estimate.tokens == estimate.input + estimate.output


def test_the_texts_are_let_go() -> None:
    """Once estimated, a call is small."""
    asked = read_call(Kind.CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}]}, MediaCosts())
    Estimator().estimate(asked, "a")
    with pytest.raises(RuntimeError):
        asked.texts()


def test_many_threads_share_one_estimator() -> None:
    """Under WSGI every request is a thread: nothing is lost, nothing breaks."""
    estimator = Estimator()

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(200):
            model, subject = f"model {draw.randrange(300)}", f"subject {draw.randrange(50)}"
            asked = call(model=model)
            estimator.estimate(asked, subject)
            estimator.learn(asked, subject, Usage(input=250, output=draw.randrange(1_000)))
            estimator.output_tokens(model, 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(estimator._histories._models) == 256


# What can be plugged in


class Words:
    """Counts words."""

    def __init__(self) -> None:
        self.learned: list[Usage] = []

    def input_tokens(self, call: ModelCall) -> Any:
        return call.fixed_tokens + sum(len(text.split()) for text in call.texts())

    def output_tokens(self, model: str, text_bytes: int) -> Any:  # noqa: ARG002
        return text_bytes // 5

    def learn(self, call: ModelCall, usage: Usage) -> None:  # noqa: ARG002
        self.learned.append(usage)


def test_a_plugged_in_estimator_counts() -> None:
    """Input and cut streams; outputs are learned as without it, and it is told of every usage."""
    words = Words()
    estimator = Estimator(tokens=words)
    body = {"model": "glm-5", "messages": [{"role": "user", "content": "three words here"}]}
    asked = read_call(Kind.CHAT, body, MediaCosts())
    assert estimator.estimate(asked, "a") == Estimate(3 + 4 + 3, 1_024)
    assert estimator.output_tokens("glm-5", 100) == 20
    teach(estimator, [5] * 20)
    assert estimator.estimate(read_call(Kind.CHAT, body, MediaCosts()), "a").output == 5
    assert len(words.learned) == 20


@pytest.mark.parametrize("count", [-1, 1.5, True, None, "3"])
def test_a_plugged_in_estimator_cannot_poison(count: Any) -> None:
    """What it counts is checked like everything else that becomes an amount."""

    class Wrong(Words):
        def input_tokens(self, call: ModelCall) -> Any:  # noqa: ARG002
            return count

        def output_tokens(self, model: str, text_bytes: int) -> Any:  # noqa: ARG002
            return count

    with pytest.raises(ConfigError, match=r"^Wrong counted .* tokens: must be a whole number of at least 0$"):
        Estimator(tokens=Wrong()).estimate(call(), "a")
    with pytest.raises(ConfigError, match=r"^Wrong counted .* tokens"):
        Estimator(tokens=Wrong()).output_tokens("glm-5", 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "guess"}, r"^output is 'guess': must be one of learned, max_tokens, input_only$"),
        ({"default_output": -1}, r"^default_output is -1: must be a whole number of tokens$"),
        ({"default_output": True}, r"^default_output is True"),
        ({"quantile": 95}, r"^quantile is 95: must be a number from 0\.5 to 1, such as 0\.95$"),
        ({"quantile": float("nan")}, r"^quantile is nan"),
        ({"quantile": True}, r"^quantile is True"),
        ({"tokens": "o200k_base"}, r"^tokens is str: a TokenEstimator needs input_tokens, output_tokens, learn\(\)$"),
    ],
)
def test_options_that_cannot_be_right(options: dict[str, Any], message: str) -> None:
    """The error names the option, its value and the rule."""
    with pytest.raises(ConfigError, match=message):
        Estimator(**options)
