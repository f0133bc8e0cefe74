from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.training.orpo_loss import Denominators, PairScores, log1mexp, log_odds, metrics_of
from mats_sql.training.token_logps import token_log_probs

LOG_PROBS = st.floats(-30, -(2.0**-20), width=32)


@given(LOG_PROBS)
@settings(deadline=None)
def test_log1mexp_is_exact_in_float32_on_both_branches(x: float) -> None:
    assert log1mexp(torch.tensor(x)).item() == pytest.approx(math.log(-math.expm1(x)), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("x", [0.0, -1e-12, -1e-7, -0.6931471, -0.6931472, -200.0])
def test_log1mexp_has_a_finite_value_and_gradient_everywhere(x: float) -> None:
    point = torch.tensor(x, requires_grad=True)
    log1mexp(point).backward()
    assert math.isfinite(log1mexp(point).item())
    assert math.isfinite(point.grad.item())


@given(LOG_PROBS, LOG_PROBS)
@settings(deadline=None)
def test_log_odds_change_sign_when_the_answers_change_places(chosen: float, rejected: float) -> None:
    left, right = torch.tensor(chosen), torch.tensor(rejected)
    assert log_odds(left, right).item() == pytest.approx(-log_odds(right, left).item(), abs=1e-4)


@given(st.lists(st.tuples(LOG_PROBS, LOG_PROBS, st.integers(1, 9)), min_size=2, max_size=8), st.data())
@settings(deadline=None)
def test_the_shares_of_any_split_add_up_to_the_whole_steps_loss(
    rows: list[tuple[float, float, int]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(rows) - 1))
    whole = Denominators(torch.tensor(sum(row[2] for row in rows)), torch.tensor(len(rows)))
    shares = [_scores(part).loss(0.25, whole).item() for part in (rows[:cut], rows[cut:])]
    assert sum(shares) == pytest.approx(_scores(rows).loss(0.25, whole).item(), rel=1e-4, abs=1e-5)


def test_metrics_are_means_over_pairs_and_tokens() -> None:
    sums = _scores([(-1.0, -2.0, 3), (-3.0, -2.0, 5)]).sums(torch.tensor(8))
    metrics = metrics_of(sums, beta=0.5)
    assert metrics["rewards/accuracies"] == 0.5
    assert metrics["rewards/chosen"] == pytest.approx(0.5 * -2.0)
    assert metrics["rewards/margins"] == pytest.approx(0.0)
    assert metrics["nll_loss"] == pytest.approx((1.0 * 3 + 3.0 * 5) / 8)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_chunked_log_probs_and_gradients_equal_log_softmax(rows: int) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(10, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    tokens, pull = torch.randint(30, (10,)), torch.randn(10)
    plain = (hidden @ weight.T).log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    expected = torch.autograd.grad(plain @ pull, (hidden, weight))
    chunked = token_log_probs(hidden, weight, tokens, rows)
    found = torch.autograd.grad(chunked @ pull, (hidden, weight))
    torch.testing.assert_close(chunked, plain)
    torch.testing.assert_close(found, expected)


def test_chunked_log_probs_pass_the_numerical_gradient_check() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor([0, 4, 2, 2])
    assert torch.autograd.gradcheck(
        lambda h, w: token_log_probs(h, w, tokens, 3), (hidden, weight), atol=1e-2, rtol=1e-2, eps=1e-3
    )


def _scores(rows: list[tuple[float, float, int]]) -> PairScores:
    chosen, rejected, lengths = (torch.tensor(column, dtype=torch.float32) for column in zip(*rows, strict=True))
    return PairScores(chosen, rejected, nll_sum=-(chosen * lengths).sum())
