"""Plots of teams and of their comparison, as matplotlib figures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mats_sql.agents import Validator, Verdict
from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.comparison.intervals import Interval
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.evaluation.metrics import Confusion, TeamMetrics, pass_at_k_curve, team_metrics, validator_confusions
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.evaluation.report.figures import GREY, INK, colour, new_figure, plain_axes

NamedTeams = Sequence[tuple[str, Sequence[JudgedCandidate]]]


def team_bars(teams: NamedTeams) -> Figure:
    """Return bars of planner@1, pipeline@1, majority, selector EX and oracle per team, with Wilson's 95% intervals.

    Overlapping intervals do not mean "no difference": teams answer the same questions, see :func:`gap_forest`.
    """
    measured = [(name, team_metrics(candidates)) for name, candidates in teams]
    k, questions = measured[0][1].k, measured[0][1].scores.questions
    figure = new_figure(
        f"Execution accuracy on {questions:,} questions",
        width=max(9.0, 3.2 + 1.35 * len(teams)),
        height=max(4.8, 3.4 + 0.28 * len(teams)),
        subtitle="Whiskers: 95% interval of one team. Teams share their questions: compare them by paired gaps.",
    )
    axes = plain_axes(figure.add_subplot())
    width = 0.84 / len(measured)
    for index, (name, metrics) in enumerate(measured):
        for group, proportion in enumerate(_bar_values(metrics)):
            _bar(axes, group + (index - (len(measured) - 1) / 2) * width, width, proportion, index, name)
    labels = ["planner@1", "pipeline@1", f"majority@{k}", "selector EX", f"oracle pass@{k}"]
    axes.set_xticks(range(len(labels)), labels, fontsize=10)
    axes.set_ylabel("EX, %")
    axes.set_ylim(0, min(108, axes.get_ylim()[1] + 4))
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def pass_at_k(teams: NamedTeams) -> Figure:
    """Return oracle pass@k and majority@k over the prefixes of K, and the selector's EX at the full K."""
    figure = new_figure(
        "What the pool holds, and what is picked from it",
        subtitle="Solid: oracle pass@k. Dashed: majority@k. Diamond: selector EX at the full K. Dotted: plans alone.",
    )
    axes = plain_axes(figure.add_subplot())
    curves = [(name, pass_at_k_curve(rows), team_metrics(rows)) for name, rows in teams]
    planner = {tuple(curve["planner_oracle"]) for _, curve, _ in curves}
    if len(planner) == 1:  # the usual case: all teams share one planner and its samples
        _line(axes, next(iter(planner)), GREY, ":", "plans alone")
    for index, (name, curve, metrics) in enumerate(curves):
        _line(axes, curve["oracle"], colour(index), "-", name)
        _line(axes, curve["majority"], colour(index), "--")
        if metrics.trained_selector:
            x = metrics.k + 0.15 + 0.6 * index / len(curves)  # side by side, so that equal ones are seen
            axes.plot(
                x, 100 * metrics.scores.selector_ex.value, "D", color=colour(index), markeredgecolor="white", ms=8
            )
    axes.set_xlabel("k (samples per question)")
    axes.set_ylabel("EX, %")
    axes.set_xticks(range(1, max(len(curve["oracle"]) for _, curve, _ in curves) + 1))
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def selector_by_seed(families: Mapping[str, Sequence[float]]) -> Figure:
    """Return one row per team, in order: a dot per training seed at its selector EX (a share), a bar at their mean."""
    figure = new_figure(
        "Selector EX, one dot per training seed",
        height=2.2 + 0.3 * len(families),
        subtitle="Bar: mean of the seeds. Teams share their questions: compare them by paired gaps.",
    )
    axes = plain_axes(figure.add_subplot(), grid="x")
    for row, scores in enumerate(families.values()):
        values = [100 * score for score in scores]
        axes.plot(sum(values) / len(values), row, "|", color=INK, ms=16, markeredgewidth=2)
        axes.plot(values, [row] * len(values), "o", color=colour(0), markeredgecolor="white", ms=8)
    axes.set_yticks(range(len(families)), list(families), fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("selector EX, %")
    return figure


def gap_forest(comparison: Comparison) -> Figure:
    """Return the paired gap per database and overall, each with its 95% interval."""
    databases = sorted(comparison.databases, key=lambda gap: gap.difference)
    figure = new_figure(
        f"{comparison.treatment} − {comparison.baseline} at selector EX, by database",
        height=2.2 + 0.3 * (len(databases) + 3),
        subtitle="\n".join(textwrap.wrap(comparison.verdict, 128)),
    )
    axes = plain_axes(figure.add_subplot(), grid="x")
    largest = max(gap.questions for gap in databases)
    labels: list[str] = []
    for gap in databases:
        _whisker(
            axes, len(labels), gap.difference, gap.interval, GREY, marker="o", size=4 + 6 * gap.questions / largest
        )
        labels.append(f"{gap.db_id} ({gap.questions:,})")
    overall = {
        "all, over databases": comparison.intervals.database,
        f"all, {comparison.over_seeds}": comparison.intervals.seed,
        "all, over questions": comparison.intervals.question,
    }
    separator = len(labels) - 0.5
    for name, interval in overall.items():
        if interval.known:
            shade = colour(1 if comparison.distinguishable else 0)
            _whisker(axes, len(labels), comparison.difference, interval, shade, marker="D", size=8)
            labels.append(name)
    axes.axhline(separator, color="#CCCCCC", linewidth=0.8)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_xlabel("difference, percentage points")
    return figure


def verdict_confusion(name: str, candidates: Sequence[JudgedCandidate]) -> Figure:
    """Return, per validator, how its verdicts fall on correct and incorrect plans."""
    confusions = validator_confusions(candidates)
    return confusion_figure(f"{name}: verdicts against the judge", confusions)


def confusion_figure(title: str, confusions: Mapping[Validator, Confusion]) -> Figure:
    """Return a heat map per validator; cells are shares of the judge's class, with counts."""
    figure = new_figure(title, width=8.6, height=3.4, subtitle="Share of plans of the judge's class (count).")
    for position, (validator, confusion) in enumerate(confusions.items()):
        axes = figure.add_subplot(1, len(confusions), position + 1)
        _heat_map(axes, confusion)
        axes.set_title(f"{validator.value} validator", fontsize=10, color=INK, loc="left")
    return figure


def _bar_values(metrics: TeamMetrics) -> tuple[Proportion | None, ...]:
    scores = metrics.scores
    selector = scores.selector_ex if metrics.trained_selector else None
    return scores.planner_at_1, scores.pipeline_at_1, scores.majority_ex, selector, scores.oracle_pass_at_k


def _bar(axes: Axes, x: float, width: float, proportion: Proportion | None, index: int, name: str) -> None:
    if proportion is None:
        axes.text(x, 1, "–", ha="center", fontsize=9, color=colour(index))
        return
    value = 100 * proportion.value
    low, high = (100 * edge for edge in proportion.wilson_interval())
    axes.bar(x, value, width * 0.92, color=colour(index), label=name)
    axes.errorbar(x, value, [[value - low], [high - value]], color=INK, linewidth=0.9, capsize=2)
    axes.text(x, 1.5, f"{value:.1f}", ha="center", va="bottom", rotation=90, fontsize=8, color="white")


def _line(axes: Axes, points: Iterable[Proportion], shade: str, style: str, label: str | None = None) -> None:
    values = [100 * point.value for point in points]
    xs = range(1, len(values) + 1)
    axes.plot(xs, values, color=shade, linestyle=style, label=label, marker="o", markersize=3, linewidth=1.8)


def _whisker(axes: Axes, row: int, value: float, interval: Interval, shade: str, *, marker: str, size: float) -> None:
    if interval.known:
        axes.plot([100 * interval.low, 100 * interval.high], [row, row], color=shade, linewidth=1.6)
    axes.plot(100 * value, row, marker, color=shade, markersize=size, markeredgecolor="white")


def _heat_map(axes: Axes, confusion: Confusion) -> None:
    truths, verdicts = (True, False), (Verdict.CORRECT, Verdict.INCORRECT, Verdict.MISSING)
    counts = [[confusion.get((truth, verdict), 0) for verdict in verdicts] for truth in truths]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, (share_row, count_row) in enumerate(zip(shares, counts, strict=True)):
        for column, (share, count) in enumerate(zip(share_row, count_row, strict=True)):
            ink = "white" if share > 0.55 else INK
            axes.text(column, row, f"{100 * share:.1f}%\n({count:,})", ha="center", va="center", fontsize=9, color=ink)
    axes.set_xticks(range(3), [f"says {verdict.value}" for verdict in verdicts], fontsize=8.5)
    axes.set_yticks(range(2), ["SQL correct", "SQL incorrect"], fontsize=8.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
