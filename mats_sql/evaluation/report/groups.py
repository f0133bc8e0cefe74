"""Results by group: the handoff's table with intervals, teams by difficulty and by database, all gaps in one plot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from matplotlib.figure import Figure

from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.comparison.intervals import Interval
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.evaluation.metrics import TeamMetrics
from mats_sql.evaluation.question_results import is_correct
from mats_sql.evaluation.report.figures import colour, new_figure, plain_axes
from mats_sql.evaluation.report.results import EvaluatedTeam
from mats_sql.evaluation.report.tables import Cell, ResultTable

Measured = Sequence[tuple[str, TeamMetrics]]


def interval_table(teams: Measured, question_set: str) -> ResultTable:
    """Return the result table with Wilson's 95% interval of every score; a dash where no selector was trained."""
    k = "/".join(str(size) for size in sorted({metrics.k for _, metrics in teams}))
    rows = tuple(
        (
            name,
            *map(_with_interval, (m.scores.planner_at_1, m.scores.pipeline_at_1, m.scores.oracle_pass_at_k)),
            _with_interval(m.scores.selector_ex) if m.trained_selector else None,
        )
        for name, m in teams
    )
    note = (
        "EX in percent with Wilson's 95% interval of one team over questions. Teams share their questions: overlapping "
        "intervals say nothing of a gap."
    )
    questions = teams[0][1].scores.questions
    columns = ("team", "planner@1 (T=0)", "pipeline@1 (T=0)", f"oracle pass@{k}", "trained selector EX")
    return ResultTable(f"Result with intervals, {question_set} ({questions:,})", columns, rows, note)


def difficulty_table(teams: Measured) -> ResultTable:
    """Return selector EX by difficulty; a team without a trained selector has what its rule picks."""
    groups = teams[0][1].by_difficulty
    columns = ("team", *(f"{name} ({scores.questions:,})" for name, scores in groups.items()))
    rows = tuple((name, *(_with_interval(m.by_difficulty[group].selector_ex) for group in groups)) for name, m in teams)
    note = "EX of the selected SQL in percent with Wilson's 95% interval, all usable dev questions."
    return ResultTable("By difficulty", columns, rows, note)


def database_table(teams: Sequence[EvaluatedTeam]) -> ResultTable:
    """Return the EX of the selected SQL by database."""
    counted: dict[str, list[Proportion]] = defaultdict(list)
    for team in teams:
        flags: dict[str, list[bool]] = defaultdict(list)
        for row in team.candidates:
            if row.selected:
                flags[row.db_id].append(is_correct(row))
        for name in sorted(flags):
            counted[name].append(Proportion.of(flags[name]))
    rows: tuple[tuple[Cell, ...], ...] = tuple((name, own[0].total, *own) for name, own in counted.items())
    note = "EX of the selected SQL in percent, all usable dev questions."
    return ResultTable("By database", ("database", "questions", *(team.name for team in teams)), rows, note)


def gap_table(gaps: Sequence[Comparison]) -> ResultTable:
    """Return every comparison's gap within each database, with its question-level t interval."""
    names = [gap.db_id for gap in gaps[0].databases]
    by_name = [{own.db_id: own for own in gap.databases} for gap in gaps]
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        found = [own[name] for own in by_name]
        rows.append((name, found[0].questions, *(_points(one.difference, one.interval) for one in found)))
    columns = ("database", "questions", *(f"{gap.treatment} − {gap.baseline}" for gap in gaps))
    return ResultTable("Gaps by database", columns, tuple(rows), "Points with the 95% interval over its questions.")


def all_gaps(gaps: Sequence[Comparison]) -> Figure:
    """Return all gaps of one question set as a forest: each over its baseline or control, with every known interval."""
    figure = new_figure(
        f"Gaps at selector EX, {gaps[0].question_set}",
        height=2.0 + 0.62 * len(gaps),
        subtitle="95%. Thick: over questions; thin: over databases; dotted: with seeds. Orange: distinguishable.",
    )
    axes = plain_axes(figure.add_subplot(), grid="x")
    for row, gap in enumerate(gaps):
        spans = ((gap.intervals.question, 3.2, "-"), (gap.intervals.database, 1.4, "-"), (gap.intervals.seed, 1.6, ":"))
        shade = colour(1 if gap.distinguishable else 0)
        for offset, (span, width, style) in zip((0.0, 0.2, 0.34), spans, strict=True):
            if span.known:
                place = row + offset
                axes.plot([100 * span.low, 100 * span.high], [place, place], style, color=shade, linewidth=width)
        axes.plot(100 * gap.difference, row, "D", color=shade, markeredgecolor="white", ms=8)
    axes.set_ylim(-0.5, len(gaps) - 0.4)
    axes.axvline(0, color="#222222", linewidth=1)
    axes.set_yticks(range(len(gaps)), [f"{gap.treatment}\n− {gap.baseline}" for gap in gaps], fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xlabel("difference, percentage points")
    return figure


def _with_interval(proportion: Proportion) -> str:
    if not proportion.total:
        return "–"
    low, high = proportion.wilson_interval()
    return f"{proportion.percent} [{100 * low:.1f}, {100 * high:.1f}]"


def _points(difference: float, interval: Interval) -> str:
    span = f" [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]" if interval.known else ""
    return f"{100 * difference:+.2f}{span}"
