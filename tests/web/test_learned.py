"""Promises of `ratelimit.web.learned`."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.web import learned
from ratelimit.web.learned import SAMPLES_MIN, START_RATIO, Histories, History, TokenRatio


def test_a_ratio_starts_cautious() -> None:
    """More tokens per byte than English has, before anything is known."""
    assert TokenRatio().per_byte == START_RATIO


@pytest.mark.parametrize("truth", [0.07, 0.15, 0.25, 0.5, 0.9])
def test_a_ratio_finds_the_truth_from_above(truth: float) -> None:
    """Within 5 % after 200 calls, and not below it."""
    ratio = TokenRatio()
    for _ in range(200):
        ratio.learn(10_000, round(10_000 * truth))
    assert truth <= ratio.per_byte * (1 + 1e-9) <= truth * 1.05


def test_a_ratio_follows_a_change() -> None:
    """It forgets: after 100 calls of another sort it is nearer to those."""
    ratio = TokenRatio()
    for _ in range(1_000):
        ratio.learn(10_000, 2_000)
    for _ in range(100):
        ratio.learn(10_000, 4_000)
    assert 0.38 < ratio.per_byte < 0.45


def test_a_ratio_leans_to_the_side_of_more() -> None:
    """Among texts of different sorts it is above the mean, so that estimates are not low half of the time."""
    ratio = TokenRatio()
    for turn in range(500):
        ratio.learn(10_000, 2_000 if turn % 2 else 3_000)
    assert 0.28 < ratio.per_byte < 0.32


@given(st.lists(st.tuples(st.integers(-5, 10**9), st.integers(0, 10**18)), max_size=200))
def test_nothing_pulls_a_ratio_out_of_its_bounds(samples: list[tuple[int, int]]) -> None:
    """Whatever usage an upstream claims: from 1/16 to 1 token per byte."""
    ratio = TokenRatio()
    for text_bytes, tokens in samples:
        ratio.learn(text_bytes, tokens)
        assert 1 / 16 <= ratio.per_byte <= 1


def test_one_call_moves_a_ratio_by_a_32nd_at_most() -> None:
    """However long it is; short ones even less, because what surrounds their text distorts them."""
    for text_bytes, most in ((10**9, 1 / 32), (64, 1 / 500)):
        ratio = TokenRatio()
        for _ in range(200):
            ratio.learn(10_000, 2_500)
        before = ratio.per_byte
        ratio.learn(text_bytes, text_bytes)
        # The mean and its deviation move by as much.
        assert 0 < ratio.per_byte - before <= 2 * most


def test_a_history_tells_after_enough_calls() -> None:
    """Twenty, for outputs and for the ratio alike."""
    history = History(100, 950)
    for number in range(SAMPLES_MIN):
        assert not history.tells_output
        assert not history.tells_ratio
        history.outputs.add(number)
        history.ratio.learn(1_000, 250)
    assert history.tells_output
    assert history.tells_ratio


def test_looking_makes_no_history() -> None:
    """Only what is learned from takes memory: asking for models that do not exist takes none."""
    histories = Histories(950)
    for number in range(1_000):
        assert histories.of_model(f"model {number}") is None
        assert histories.of_subject(f"model {number}", "subject") is None
    assert (len(histories._models), len(histories._subjects)) == (0, 0)


def test_histories_are_bounded_and_the_least_used_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """New models and subjects push out those that were not asked for the longest."""
    monkeypatch.setattr(learned, "_MODELS", 3)
    monkeypatch.setattr(learned, "_SUBJECTS", 5)
    histories = Histories(950)
    for number in range(10):
        histories.make(f"model {number}", f"subject {number}")
        if number:
            assert histories.of_model("model 0") is not None
            assert histories.of_subject("model 0", "subject 0") is not None
    assert set(histories._models) == {"model 0", "model 8", "model 9"}
    assert len(histories._subjects) == 5
    assert histories.of_subject("model 5", "subject 5") is None


def test_a_full_history_is_small() -> None:
    """So that thousands of them are tens of megabytes."""
    of_model, of_subject = Histories(950).make("model", "subject")
    for history, most in ((of_model, 20_000), (of_subject, 5_500)):
        for number in range(5_000):
            history.outputs.add(number)
        size = sys.getsizeof(history) + sys.getsizeof(history.ratio) + sys.getsizeof(history.outputs)
        size += sys.getsizeof(history.outputs._recent) + sys.getsizeof(history.outputs._ordered)
        assert size < most


def test_subjects_are_kept_as_digests() -> None:
    """Under a key of their own, so that they cannot be compared with anybody else's."""
    first, second = Histories(950), Histories(950)
    for histories in (first, second):
        histories.make("model", "sk-secret-\ud800")
    ((_, name),) = first._subjects
    ((_, other),) = second._subjects
    assert name != other
    assert "secret" not in repr(first._subjects)
    assert first.of_subject("model", "sk-secret-\ud800") is not None
    assert first.of_subject("other model", "sk-secret-\ud800") is None
