"""What a comparison can see before it is made, and how much the best of many overstates itself."""

from __future__ import annotations

import math
from typing import cast

from scipy.integrate import quad
from scipy.stats import norm

ASSUMED_DISCORDANCE = (0.08, 0.12, 0.15)


def minimal_detectable_effect(
    questions: int,
    discordance: float,
    *,
    seeds: int = 1,
    seed_noise: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Return the smallest true difference of paired accuracies (a fraction) that is found with ``power``.

    ``discordance`` is the assumed share of questions that the two teams disagree on (Connor 1987). ``seed_noise`` is
    the standard deviation of one team's accuracy between training seeds, ``seeds`` the runs on each side.
    """
    null = discordance / questions + 2 * seed_noise**2 / seeds
    critical, wanted = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
    effect = 0.0
    for _ in range(50):  # a contraction: the discordant variance shrinks slightly as the effect grows
        effect = critical * math.sqrt(null) + wanted * math.sqrt(max(0.0, null - effect**2 / questions))
    return effect


def power_notice(questions: int, *, seeds: int = 1, seed_noise: float = 0.0) -> str:
    """Return the sentence to print *before* a comparison: what it can and cannot see."""
    parts = []
    for discordance in ASSUMED_DISCORDANCE:
        effect = minimal_detectable_effect(questions, discordance, seeds=seeds, seed_noise=seed_noise)
        parts.append(f"{100 * effect:.1f} pp at {100 * discordance:.0f}%")
    noise = (
        f"seed noise of {100 * seed_noise:.1f} pp included"
        if seed_noise
        else "seed noise not included, so the true figure is larger"
    )
    return (
        f"Minimal detectable effect on {questions:,} questions, {seeds} seed{'s' if seeds > 1 else ''} a side "
        f"(alpha .05, power .8), by the share of them that the teams disagree on: {'; '.join(parts)} ({noise})."
    )


def best_of_n_overstatement(
    trials: int, questions: int, *, accuracy: float = 0.6, discordance: float = 0.1
) -> tuple[float, float]:
    """Return by how much the best of ``trials`` equally good settings overstates itself: (low, high), as fractions.

    The expected maximum of ``trials`` standard normals times the noise of one trial. Low: trials that share the
    questions and disagree on ``discordance`` of them, so only their own part differs; high: trials as noisy as fresh
    samples of questions. (Cawley and Talbot 2010 on selection bias.)
    """
    maximum = expected_maximum(trials)
    own = math.sqrt(discordance / 2 / questions)
    whole = math.sqrt(accuracy * (1 - accuracy) / questions)
    return maximum * min(own, whole), maximum * max(own, whole)


def expected_maximum(draws: int) -> float:
    """Return the expected maximum of ``draws`` independent standard normals."""
    if draws < 1:
        raise ValueError(f"draws >= 1 must hold, but got {draws}")

    def weighted(x: float) -> float:
        return x * draws * float(norm.pdf(x)) * float(norm.cdf(x)) ** (draws - 1)

    return cast(float, quad(weighted, -12, 12)[0])
