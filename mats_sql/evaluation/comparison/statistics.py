"""The paired comparison of two teams, with statistics that hold on about a thousand questions in about ten databases.

What is covered: noise from the choice of questions, from the few databases they come from, and, with several training
seeds a side, from training. What is not: one seed a side says nothing of other seeds (the verdict says so), and
nothing here makes a search's winner unbiased (:func:`~mats_sql.evaluation.comparison.power.best_of_n_overstatement`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import t

from mats_sql.evaluation.comparison.comparison import (
    MINIMUM_DATABASES,
    Comparison,
    DatabaseGap,
    Intervals,
    PValues,
    SeedNoise,
)
from mats_sql.evaluation.comparison.intervals import UNKNOWN, Interval, cluster_mean, student_interval, tango_interval
from mats_sql.evaluation.comparison.paired import Paired, Run, pair_runs
from mats_sql.evaluation.comparison.power import minimal_detectable_effect
from mats_sql.evaluation.comparison.significance import holm, mcnemar_mid_p, sign_flip_p


def compare_teams(
    baseline: Run | Sequence[Run],
    treatment: Run | Sequence[Run],
    *,
    names: tuple[str, str] = ("baseline", "treatment"),
    question_set: str = "",
    alpha: float = 0.05,
) -> Comparison:
    """Compare two teams on the same questions; each side is one run, or one run per training seed.

    Raises :class:`~mats_sql.errors.StageInputError` when a side is empty or the runs differ in questions or databases.
    """
    data = pair_runs(baseline, treatment)
    seeds = _seed_noise(data.baseline), _seed_noise(data.treatment)
    intervals, p_values = _inference(data, seeds, alpha)
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
        minimal_detectable_effect=_detectable(data, seeds, alpha),
        baseline_seeds=seeds[0],
        treatment_seeds=seeds[1],
        databases=tuple(_database_gap(name, values, alpha) for name, values in data.by_database.items()),
    )


def compare_all(
    baseline: Run | Sequence[Run],
    treatments: Mapping[str, Run | Sequence[Run]],
    *,
    baseline_name: str = "baseline",
    question_set: str = "",
    alpha: float = 0.05,
) -> tuple[Comparison, ...]:
    """Compare several treatments (regimes) with one baseline, their decisions corrected together by Holm."""
    comparisons = {
        name: compare_teams(baseline, runs, names=(baseline_name, name), question_set=question_set, alpha=alpha)
        for name, runs in treatments.items()
    }
    return corrected(tuple(comparisons.values()))


def corrected(family: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return a family's comparisons, at most one of each treatment, with their decisions corrected by Holm."""
    adjusted = holm({comparison.treatment: comparison.decision_p for comparison in family})
    return tuple(replace(comparison, adjusted_p=adjusted[comparison.treatment]) for comparison in family)


def _inference(data: Paired, seeds: tuple[SeedNoise, SeedNoise], alpha: float) -> tuple[Intervals, PValues]:
    clusters = cluster_mean(data.by_database)
    seed_interval, seed_p = _over_seeds(data, seeds, alpha)
    if data.single:
        gained, lost = (round(count) for count in data.discordant)
        question_interval = tango_interval(gained, lost, data.questions, alpha=alpha)
        question_p = mcnemar_mid_p(gained, lost)
    else:
        variance = _variance_of_mean(data.differences)
        question_interval = student_interval(data.mean, variance, data.questions - 1, alpha=alpha)
        question_p = _student_p(data.mean, variance, data.questions - 1)
    return (
        Intervals(question_interval, clusters.interval(alpha), seed_interval),
        PValues(question_p, sign_flip_p(data.integer_sums), clusters.p_value, seed_p),
    )


def _detectable(data: Paired, seeds: tuple[SeedNoise, SeedNoise], alpha: float) -> float:
    noise = [side.deviation for side in seeds if not math.isnan(side.deviation)]
    return minimal_detectable_effect(
        data.questions,
        float(np.mean(data.differences**2)),
        seeds=min(len(data.baseline), len(data.treatment)),
        seed_noise=float(np.sqrt(np.mean(np.square(noise)))) if noise else 0.0,
        alpha=alpha,
    )


def _decision(data: Paired, p_values: PValues) -> float:
    applicable = [p_values.question, p_values.seed]
    if len(data.by_database) >= MINIMUM_DATABASES:
        applicable += [p_values.sign_flip, p_values.cluster]
    return max(p for p in applicable if not math.isnan(p))


def _over_seeds(data: Paired, seeds: tuple[SeedNoise, SeedNoise], alpha: float) -> tuple[Interval, float]:
    """Question variance plus what seeds vary beyond it, with Satterthwaite's degrees of freedom.

    The variance of a side's accuracy between seeds holds per-question noise too, which the question-level variance of
    the seed means already counts; only the excess is added.
    """
    if data.questions < 2 or not all(len(side) > 1 for side in (data.baseline, data.treatment)):
        return UNKNOWN, math.nan
    parts = [(_variance_of_mean(data.differences), data.questions - 1)]
    for runs, noise in zip((data.baseline, data.treatment), seeds, strict=True):
        shared = float(runs.var(axis=0, ddof=1).sum()) / data.questions**2
        parts.append((max(0.0, noise.deviation**2 - shared) / len(runs), len(runs) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Interval(data.mean, data.mean), 1.0 if data.mean == 0 else 0.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return student_interval(data.mean, variance, freedom, alpha=alpha), _student_p(data.mean, variance, freedom)


def _seed_noise(runs: np.ndarray) -> SeedNoise:
    accuracies = runs.mean(axis=1)
    deviation = float(accuracies.std(ddof=1)) if len(accuracies) > 1 else math.nan
    return SeedNoise(tuple(float(value) for value in accuracies), deviation)


def _database_gap(db_id: str, differences: np.ndarray, alpha: float) -> DatabaseGap:
    mean = float(differences.mean())
    interval = student_interval(mean, _variance_of_mean(differences), len(differences) - 1, alpha=alpha)
    return DatabaseGap(db_id, len(differences), mean, interval)


def _variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else math.nan


def _student_p(mean: float, variance: float, freedom: float) -> float:
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(t.sf(abs(mean) / math.sqrt(variance), freedom))
