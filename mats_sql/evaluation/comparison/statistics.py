"""The paired comparison of two teams, with statistics that hold on about a thousand questions in about ten databases.

What is covered: noise from the choice of questions, from the few databases they come from, and, with several training
seeds a side, from what these vary. What is not: one seed a side says nothing of other seeds (the verdict says so), and
nothing here makes a search's winner unbiased (:func:`~mats_sql.evaluation.comparison.power.best_of_n_overstatement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mats_sql.choices import SeedsVary
from mats_sql.evaluation.comparison.bootstrap import margin_shares
from mats_sql.evaluation.comparison.comparison import (
    MINIMUM_DATABASES,
    Comparison,
    DatabaseGap,
    Intervals,
    PValues,
    SeedNoise,
)
from mats_sql.evaluation.comparison.intervals import cluster_mean, student_interval, tango_interval
from mats_sql.evaluation.comparison.over_seeds import over_seeds, seed_noise, student_p, variance_of_mean
from mats_sql.evaluation.comparison.paired import Paired, Run, pair_runs
from mats_sql.evaluation.comparison.power import minimal_detectable_effect
from mats_sql.evaluation.comparison.significance import holm, mcnemar_mid_p, sign_flip_p


def compare_teams(
    baseline: Run | Sequence[Run],
    treatment: Run | Sequence[Run],
    *,
    names: tuple[str, str] = ("baseline", "treatment"),
    question_set: str = "",
    seeds_vary: SeedsVary = SeedsVary.ORPO,
    alpha: float = 0.05,
    margin: float | None = None,
) -> Comparison:
    """Compare two teams on the same questions; each side is one run, or one run per training seed.

    Seeds that vary more than ORPO are shared by the sides, run by run, in the order given. With a ``margin`` it is also
    counted how often resamples reach it, which takes longer than all the rest.

    Raises :class:`~mats_sql.errors.StageInputError` when a side is empty or the runs differ in questions or databases.
    """
    data = pair_runs(baseline, treatment)
    seeds = _seed_noise(data.baseline), _seed_noise(data.treatment)
    intervals, p_values = _inference(data, seeds_vary, alpha)
    decision = _decision(data, p_values)
    gained, lost = data.discordant
    return Comparison(
        question_set=question_set,
        baseline=names[0],
        treatment=names[1],
        questions=data.questions,
        difference=data.mean,
        gained=gained,
        lost=lost,
        alpha=alpha,
        intervals=intervals,
        p_values=p_values,
        decision_p=decision,
        adjusted_p=decision,
        minimal_detectable_effect=_detectable(data, seeds_vary, alpha),
        baseline_seeds=seeds[0],
        treatment_seeds=seeds[1],
        seeds_vary=seeds_vary,
        databases=tuple(_database_gap(name, values, alpha) for name, values in data.by_database.items()),
        margins=() if margin is None else margin_shares(data, seeds_vary, margin),
    )


def corrected(family: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return a family's comparisons, at most one of each treatment, with their decisions corrected by Holm."""
    adjusted = holm({comparison.treatment: comparison.decision_p for comparison in family})
    return tuple(replace(comparison, adjusted_p=adjusted[comparison.treatment]) for comparison in family)


def _inference(data: Paired, seeds_vary: SeedsVary, alpha: float) -> tuple[Intervals, PValues]:
    clusters = cluster_mean(data.by_database)
    seed_interval, seed_p = over_seeds(data, seeds_vary, alpha)
    if data.single:
        gained, lost = (round(count) for count in data.discordant)
        question_interval = tango_interval(gained, lost, data.questions, alpha=alpha)
        question_p = mcnemar_mid_p(gained, lost)
    else:
        variance = variance_of_mean(data.differences)
        question_interval = student_interval(data.mean, variance, data.questions - 1, alpha=alpha)
        question_p = student_p(data.mean, variance, data.questions - 1)
    return (
        Intervals(question_interval, clusters.interval(alpha), seed_interval),
        PValues(question_p, sign_flip_p(data.integer_sums), clusters.p_value, seed_p),
    )


def _detectable(data: Paired, seeds_vary: SeedsVary, alpha: float) -> float:
    """Return the minimal detectable effect at the disagreement seen; NaN where the sides never disagree."""
    if not data.differences.any():
        return math.nan
    return minimal_detectable_effect(
        data.questions,
        float(np.mean(data.differences**2)),
        seeds=min(len(data.baseline), len(data.treatment)),
        seed_noise=seed_noise(data, seeds_vary),
        alpha=alpha,
    )


def _decision(data: Paired, p_values: PValues) -> float:
    applicable = [p_values.question, p_values.seed]
    if len(data.by_database) >= MINIMUM_DATABASES:
        applicable += [p_values.sign_flip, p_values.cluster]
    return max(p for p in applicable if not math.isnan(p))


def _seed_noise(runs: np.ndarray) -> SeedNoise:
    accuracies = runs.mean(axis=1)
    deviation = float(accuracies.std(ddof=1)) if len(accuracies) > 1 else math.nan
    return SeedNoise(tuple(float(value) for value in accuracies), deviation)


def _database_gap(db_id: str, differences: np.ndarray, alpha: float) -> DatabaseGap:
    mean = float(differences.mean())
    interval = student_interval(mean, variance_of_mean(differences), len(differences) - 1, alpha=alpha)
    return DatabaseGap(db_id, len(differences), mean, interval)
