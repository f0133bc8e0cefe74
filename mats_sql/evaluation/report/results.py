"""The result page of an experiment: teams on two question sets, validators' reward accuracies, paired gaps."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from mats_sql.agents import Validator
from mats_sql.choices import SeedsVary
from mats_sql.config import regime_name
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.metrics import TeamMetrics, team_metrics
from mats_sql.evaluation.question_results import restrict
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.evaluation.report.tables import Cell, ResultTable
from mats_sql.evaluation.sets import QuestionSet, question_sets


@dataclass(frozen=True, slots=True)
class EvaluatedTeam:
    """A team's name in the tables and its judged candidates on all usable dev questions."""

    name: str
    candidates: tuple[JudgedCandidate, ...]

    @property
    def question_ids(self) -> frozenset[int]:
        """The questions that the team answered."""
        return frozenset(row.question_id for row in self.candidates)


@dataclass(frozen=True, slots=True)
class RewardAccuracy:
    """What ORPO's held-out pairs say of one validator: loss, and how often chosen outranks rejected (fraction)."""

    regime: str
    validator: Validator
    loss: float
    accuracy: float
    pairs: int


def result_tables(
    teams: Sequence[EvaluatedTeam], validation_ids: Collection[int], bounds: Sequence[EvaluatedTeam] = ()
) -> tuple[ResultTable, ...]:
    """Return one result table per question set, in the shape of the handoff's section 1.

    ``bounds`` are what teams would come to with a part that reads gold: they stand below the teams, and a note says so.
    Raises :class:`StageInputError` when the teams were not evaluated on the same questions.
    """
    rows = [*teams, *bounds]
    _require_same_questions(rows)
    sets = question_sets(rows[0].question_ids, validation_ids)
    tables = (result_table(measure(rows, chosen), chosen) for chosen in sets)
    if not bounds:
        return tuple(tables)
    names = ", ".join(bound.name for bound in bounds)
    return tuple(replace(table, note=f"{table.note} {names}: reads gold, a bound and no team.") for table in tables)


def measure(teams: Sequence[EvaluatedTeam], chosen: QuestionSet) -> tuple[tuple[str, TeamMetrics], ...]:
    """Return (name, metrics on the chosen questions) of each team: what the tables below take."""
    return tuple((team.name, team_metrics(restrict(team.candidates, chosen.question_ids))) for team in teams)


def result_table(teams: Sequence[tuple[str, TeamMetrics]], chosen: QuestionSet) -> ResultTable:
    """Return the result table of teams already measured on one question set.

    A team without a trained selector has a dash under "selector EX": what its rule picked is majority or first.
    """
    sizes = sorted({metrics.k for _, metrics in teams})
    k = "/".join(str(size) for size in sizes)
    columns = ("team", "planner@1", "pipeline@1", f"oracle pass@{k}", f"majority@{k}", "selector EX", "pick-rate")
    rows = tuple((name, *_result_cells(metrics)) for name, metrics in teams)
    note = "EX in percent; pick-rate is selector EX over oracle. –: not applicable."
    return ResultTable(
        f"Result on {chosen.name} ({len(chosen.question_ids):,})",
        columns,
        rows,
        note,
        droppable=(("pick-rate",), (columns[4],), (columns[3],), ("planner@1",)),
        short={"planner@1": "planner", "pipeline@1": "pipeline", columns[3]: "oracle", columns[4]: "majority"}
        | {"selector EX": "selector", "pick-rate": "pick"},
    )


def seed_table(families: Mapping[str, Sequence[float]], seeds_vary: SeedsVary) -> ResultTable:
    """Return how selector EX (fractions, one per seed) varies between the seeds of each team that has several."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            name,
            len(scores),
            *(f"{100 * value:.2f}" for value in (mean(scores), stdev(scores), min(scores), max(scores))),
        )
        for name, scores in families.items()
        if len(scores) > 1
    )
    return ResultTable(
        f"Selector EX over {seeds_vary.covered}",
        ("team", "seeds", "mean", "deviation", "lowest", "highest"),
        rows,
        "Percent, all usable dev questions. Teams share their questions: compare them by paired gaps.",
        droppable=(("seeds",), ("lowest", "highest")),
    )


def stage_table(teams: Sequence[tuple[str, TeamMetrics]]) -> ResultTable:
    """Return what the fixer and the selection did: rescues and harms, gate and fix rates."""
    columns = (
        "team",
        "gate rate",
        "fix rate",
        "fixer rescues",
        "fixer harms",
        "rescues @1",
        "harms @1",
        "selection rescues",
        "selection harms",
    )
    rows = tuple((name, *_stage_cells(metrics)) for name, metrics in teams)
    note = (
        "Percent of samples (gate, fix, fixer) or of questions (@1, selection). A rescue was wrong before and right "
        "after, a harm the reverse; selection is measured against pipeline@1."
    )
    return ResultTable(
        "Rescues and harms",
        columns,
        rows,
        note,
        droppable=(("gate rate",), ("selection rescues", "selection harms"), ("rescues @1", "harms @1"), ("fix rate",)),
        short={"gate rate": "gate", "fix rate": "fix", "fixer rescues": "rescues", "fixer harms": "harms"}
        | {"rescues @1": "resc.@1", "harms @1": "harms@1"}
        | {"selection rescues": "sel. resc.", "selection harms": "sel. harms"},
    )


def verdict_table(teams: Sequence[tuple[str, TeamMetrics]]) -> ResultTable:
    """Return each validator's verdict accuracy per class, for the teams whose validators were asked."""
    columns = ("team", "validator", "accuracy", "recall of correct", "recall of incorrect", "missing")
    rows = tuple(
        (name, f"val-{_short(validator)}", seen.accuracy, seen.recall_correct, seen.recall_incorrect, seen.missing)
        for name, metrics in teams
        for validator, seen in metrics.validators.items()
        if seen.asked
    )
    return ResultTable(
        "Validator verdicts against the judge",
        columns,
        rows,
        "Percent of plan samples.",
        droppable=(("missing",),),
        short={"recall of correct": "correct", "recall of incorrect": "incorrect"},
    )


def reward_table(rewards: Sequence[RewardAccuracy]) -> ResultTable:
    """Return the validators' reward accuracies: a diagnostic, not the metric that counts."""
    columns = ("validator", "eval loss", "reward accuracy", "pairs")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (f"val-{_short(item.validator)} {regime_name(item.regime)}", item.loss, _percent(item.accuracy), item.pairs)
        for item in rewards
    )
    title = "Validator reward accuracies (held-out pairs)"
    return ResultTable(title, columns, rows, droppable=(("eval loss",),), short={"reward accuracy": "accuracy"})


def comparison_table(comparisons: Sequence[Comparison], chosen: str = "") -> ResultTable:
    """Return the paired gaps with intervals and p-values, one row per comparison."""
    columns = (
        "gap",
        "pp",
        "95% CI questions",
        "95% CI databases",
        "95% CI with seeds",
        "p questions",
        "p sign-flip",
        "p adjusted",
        "MDE pp",
        "finding",
    )
    rows = tuple(_comparison_row(comparison) for comparison in comparisons)
    title = "Paired gaps at selector EX" + (f", {chosen}" if chosen else "")
    return ResultTable(
        title,
        columns,
        rows,
        _comparison_note(comparisons),
        droppable=(
            ("p questions", "p sign-flip"),
            ("MDE pp",),
            *((name,) for name in columns[4:1:-1]),
            ("p adjusted",),
        ),
        short={"95% CI questions": "CI questions", "95% CI databases": "CI databases", "95% CI with seeds": "CI seeds"}
        | {"p questions": "p quest.", "p sign-flip": "p flip", "p adjusted": "p adj."},
    )


def _comparison_note(comparisons: Sequence[Comparison]) -> str:
    covered = sorted({one.over_seeds for one in comparisons if one.intervals.seed.known})
    seeds = f"With seeds: {'; '.join(covered)}. " if covered else ""
    return f"{seeds}Intervals and tests: docs/statistics.md."


def _comparison_row(comparison: Comparison) -> tuple[Cell, ...]:
    spans = (comparison.intervals.question, comparison.intervals.database, comparison.intervals.seed)
    effect = comparison.minimal_detectable_effect
    shown = (f"{100 * span.low:+.2f}, {100 * span.high:+.2f}" if span.known else None for span in spans)
    return (
        _gap(comparison.treatment, comparison.baseline),
        f"{100 * comparison.difference:+.2f}",
        *shown,
        comparison.p_values.question,
        comparison.p_values.sign_flip,
        comparison.adjusted_p,
        None if math.isnan(effect) else f"{100 * effect:.2f}",
        "distinguishable" if comparison.distinguishable else "not distinguishable",
    )


def _gap(treatment: str, baseline: str) -> str:
    """Return "A − B"; what both names say in brackets is said once, as a terminal has no room for it twice."""
    name, _, remark = baseline.rpartition(" (")
    if name and treatment.endswith(f" ({remark}"):
        return f"{treatment.removesuffix(f' ({remark}')} − {name} ({remark}"
    return f"{treatment} − {baseline}"


def _result_cells(metrics: TeamMetrics) -> tuple[Cell, ...]:
    scores = metrics.scores
    selector = (scores.selector_ex, scores.pick_rate) if metrics.trained_selector else (None, None)
    return scores.planner_at_1, scores.pipeline_at_1, scores.oracle_pass_at_k, scores.majority_ex, *selector


def _stage_cells(metrics: TeamMetrics) -> tuple[Cell, ...]:
    effects = (metrics.fixer_all_samples, metrics.fixer_at_1, metrics.selection)
    return metrics.gate_rate, metrics.fix_rate, *(cell for e in effects for cell in (e.rescues, e.harms))


def _short(validator: Validator) -> str:
    return {Validator.SELECT: "sel", Validator.CONDITION: "cond"}[validator]


def _require_same_questions(teams: Sequence[EvaluatedTeam]) -> None:
    if not teams:
        raise StageInputError("a result table must have a team, but got none; evaluate one first")
    first = teams[0].question_ids
    for team in teams[1:]:
        odd = first ^ team.question_ids
        if odd:
            raise StageInputError(
                f"all teams must be evaluated on the same questions, but {team.name} and {teams[0].name} differ in "
                f"{len(odd)} (first: {min(odd)}); evaluate them on one set"
            )


def _percent(share: float) -> str | None:
    """Return a share in percent; one of nothing is unknown."""
    return None if math.isnan(share) else f"{100 * share:.1f}"
