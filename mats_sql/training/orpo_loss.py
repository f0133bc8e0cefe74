"""ORPO's loss over the pairs of one optimizer step (Hong, Lee and Thorne, arXiv 2403.07691; MATS.md, section 5).

loss = sum(NLL tokens) / number of NLL tokens of the step - beta * sum(log sigmoid(log-odds)) / number of pairs of the
step. Both denominators belong to the whole step, over all micro-batches and processes, so splitting a step changes
nothing; with one micro-batch and the NLL over prompt and answer it is the loss of TRL's trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

_LOG_HALF = -0.6931471805599453
_CLOSEST_TO_ZERO = -1e-7
"""A mean log-probability of exactly 0 has infinite odds; float32 can just tell this value from it."""


@dataclass(frozen=True, slots=True)
class Denominators:
    """What a step's sums are divided by: its NLL tokens and its pairs, over micro-batches and processes."""

    nll_tokens: torch.Tensor
    pairs: torch.Tensor


@dataclass(frozen=True, slots=True)
class PairScores:
    """One micro-batch, scored: mean log-probability per answer [pairs], NLL summed over its tokens [1]."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    nll_sum: torch.Tensor

    def loss(self, beta: float, whole: Denominators) -> torch.Tensor:
        """Return this micro-batch's share of the step's loss; the shares add up to it."""
        ratio = logsigmoid(log_odds(self.chosen, self.rejected))
        return self.nll_sum / whole.nll_tokens - beta * ratio.sum() / whole.pairs

    def sums(self, nll_tokens: torch.Tensor) -> torch.Tensor:
        """Return what the metrics are made of as one vector [8] that adds up over micro-batches and processes."""
        chosen, rejected = self.chosen.detach(), self.rejected.detach()
        odds = log_odds(chosen, rejected)
        rows = [chosen, rejected, (chosen > rejected).float(), logsigmoid(odds), odds]
        counts = [self.nll_sum.detach(), nll_tokens.to(odds), torch.tensor(float(len(chosen)), device=odds.device)]
        return torch.stack([row.sum() for row in rows] + counts).double()


def log_odds(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Return the log of the ratio of the odds of two mean log-probabilities."""
    return (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """Return log(1 - e^x) for x <= 0 in float32, without cancellation on either side of -log 2 (Maechler 2012)."""
    x = x.float().clamp(max=_CLOSEST_TO_ZERO)
    return torch.where(x < _LOG_HALF, torch.log1p(-torch.exp(x)), torch.log(-torch.expm1(x)))


def metrics_of(sums: torch.Tensor, beta: float) -> Mapping[str, float]:
    """Return the metrics, under TRL's names, of added-up :meth:`PairScores.sums`."""
    chosen, rejected, correct, ratio, odds, nll, nll_tokens, pairs = sums.tolist()
    return {
        "rewards/chosen": beta * chosen / pairs,
        "rewards/rejected": beta * rejected / pairs,
        "rewards/accuracies": correct / pairs,
        "rewards/margins": beta * (chosen - rejected) / pairs,
        "logps/chosen": chosen / pairs,
        "logps/rejected": rejected / pairs,
        "nll_loss": nll / nll_tokens,
        "log_odds_ratio": ratio / pairs,
        "log_odds_chosen": odds / pairs,
    }
