"""What a format lost: intervals against simulated losses; and token counts of honest and dishonest servers."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.engines.quality import prompts, read_results, text
from rackrate.errors import EndpointError
from rackrate.measurement.token_check import Sample, check


def test_what_is_shipped_is_enough() -> None:
    assert len(prompts()) == 50
    assert len(set(prompts())) == 50
    assert len(text().split()) > 1000


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """1,000 texts of 400 tokens whose losses truly differ by 2 % of perplexity, noise in pairs: 95 % of intervals."""
    truth, rng, inside = math.log(1.02), random.Random(1), 0
    for _ in range(1000):
        apart = [rng.gauss(truth, 0.15) for _ in range(400)]
        mean = sum(apart) / 400
        error = (sum((x - mean) ** 2 for x in apart) / 399) ** 0.5 / 20
        item = {"tokens": 400, "perplexity": 10.0, "log_ratio": mean, "log_ratio_error": error}
        counts = {"agreed_tokens": 1, "answer_tokens": 1, "agreed_answers": 1, "answers": 1}
        interval = read_results({"x": item | counts})[0].ratio_interval
        assert interval is not None
        inside += interval[0] <= 1.02 <= interval[1]
    assert 0.93 <= inside / 1000 <= 0.97


def words(text: str) -> int:
    return len(text.split())


def served(lengths: list[int], template: int, factor: float) -> list[Sample]:
    """A server that adds a template to each prompt, and counts each token `factor` times."""
    return [
        Sample("w " * n, "w " * n, round(template + factor * n), round(factor * (n + 1)), ended_itself=True)
        for n in lengths
    ]


@given(st.integers(0, 200), st.lists(st.integers(100, 2000), min_size=4, max_size=12, unique=True))
def test_an_honest_server_agrees_whatever_its_template(template: int, lengths: list[int]) -> None:
    [item] = check(served(lengths, template, 1.0), {"own": words})
    assert item.agrees
    assert item.template_tokens == pytest.approx(template, abs=1e-6)


@pytest.mark.parametrize("factor", [1.03, 0.97])
def test_a_server_that_counts_three_percent_wrong_is_flagged(factor: float) -> None:
    [item] = check(served([200, 500, 900, 1500], 30, factor), {"own": words})
    assert not item.agrees
    assert item.input_disagreement == pytest.approx(factor - 1, abs=0.002)
    assert item.output_disagreement == pytest.approx(factor - 1, abs=0.002)


def test_prompts_of_one_length_cannot_tell() -> None:
    with pytest.raises(EndpointError, match="cannot tell the chat template"):
        check(served([100, 100], 5, 1.0), {"own": words})
