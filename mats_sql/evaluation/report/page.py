"""The page that closes an experiment: the verdict first, then everything that it rests on. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.comparison.comparisons import Comparisons
from mats_sql.evaluation.comparison.ruling import rulings
from mats_sql.evaluation.report.controls import control_table
from mats_sql.evaluation.report.document import Block, Document, DocumentSection, Picture, Strong
from mats_sql.evaluation.report.flips import HARMED, RESCUED, Flip, of_effect
from mats_sql.evaluation.report.groups import (
    all_gaps,
    database_table,
    difficulty_table,
    gap_table,
    interval_table,
)
from mats_sql.evaluation.report.plots import gap_forest, team_bars
from mats_sql.evaluation.report.results import EvaluatedTeam, comparison_table, measure, stage_table, verdict_table
from mats_sql.evaluation.report.tables import Cell, ResultTable
from mats_sql.evaluation.report.waterfall import Waterfall, waterfall_figure, waterfall_table
from mats_sql.evaluation.sets import QuestionSet

SHOWN_FLIPS = 10
"""Flips of each effect and comparison that the page shows; the table beside it has all."""

_MARGINS = (
    "The shares below are bootstrap shares: databases and questions (and seeds) are drawn again with replacement 2,000 "
    "times, and counted is how often the gap of the resample reaches the margin. They picture the uncertainty of this "
    "gap. They are neither posterior probabilities that the true gap is that large nor tests; no verdict above uses "
    "them."
)
_FLIPS = (
    "Questions that exactly one of the two gets right, first seeds. Asked in this order: was a right candidate there "
    "for the selector, did the plans differ, did the fixer spoil a right plan, did the validators not complain of a "
    "wrong one, did the fixer answer wrongly."
)


@dataclass(frozen=True, slots=True)
class ReportParts:
    """What an experiment came to, as its typed results have it.

    ``warnings`` are what a reader must know first (looks, another protocol). ``results`` are the result tables on both
    question sets; ``learned`` what the validators learned from; ``ladders`` have tables and a sentence each; ``origin``
    is the last section's blocks.
    """

    name: str
    warnings: Sequence[str]
    teams: Sequence[EvaluatedTeam]
    first_seeds: Sequence[EvaluatedTeam]
    sets: Sequence[QuestionSet]
    gaps: Sequence[Comparisons]
    power: str
    results: Sequence[ResultTable]
    learned: Sequence[ResultTable]
    waterfalls: Sequence[Waterfall]
    ladders: Sequence[tuple[Sequence[ResultTable], str]]
    flips: Sequence[Sequence[Flip]]
    costs: Sequence[ResultTable]
    origin: Sequence[Block]


def experiment_page(parts: ReportParts) -> Document:
    """Return the page: verdict, results, comparison, stations, groups, flips, costs, origin."""
    sections = (
        ("Verdict", _verdict(parts)),
        ("Results", _results(parts)),
        ("Paired comparison and controls", _comparison(parts)),
        ("Where it comes from", _stations(parts)),
        ("By difficulty and database", _groups(parts)),
        ("Flips", _flips(parts)),
        ("Cost", iter(parts.costs)),
        ("Protocol and lineage", iter(parts.origin)),
    )
    title = f"{parts.name}: report of the experiment"
    return Document(title, tuple(DocumentSection(name, tuple(blocks)) for name, blocks in sections))


def _verdict(parts: ReportParts) -> Iterator[Block]:
    found = [ruling for gaps in parts.gaps for name in gaps.question_sets for ruling in rulings(gaps, name)]
    yield from (Strong(ruling.sentence) for ruling in found)
    if found:
        yield _MARGINS
        yield from (ruling.margins for ruling in found)
    else:
        yield Strong("No verdict: there is no regime beside INDEP to compare.")
    yield "The rule is fixed in docs/report.md; docs/statistics.md explains the intervals and tests that it reads."
    yield from (Strong(warning) for warning in parts.warnings)


def _results(parts: ReportParts) -> Iterator[Block]:
    yield from (interval_table(measure(parts.teams, chosen), chosen.name) for chosen in parts.sets)
    caption = "Execution accuracy of every team's first seed, with 95% intervals."
    yield Picture("teams", caption, team_bars([(team.name, team.candidates) for team in parts.first_seeds]))
    yield from parts.results


def _comparison(parts: ReportParts) -> Iterator[Block]:
    yield parts.power
    for number, gaps in enumerate(parts.gaps, start=1):
        for name in gaps.question_sets:
            every = [gap for control in ("", *gaps.controls) for gap in gaps.on(name, control)]
            yield from _gap_blocks(gaps, name, every)
            place = gaps.question_sets.index(name) + 1
            yield Picture(f"gaps_{number}_{place}", f"All gaps at selector EX, {name}.", all_gaps(every))
    yield from parts.learned


def _gap_blocks(gaps: Comparisons, name: str, found: Sequence[Comparison]) -> Iterator[Block]:
    yield comparison_table(found, name)
    yield _spread_table(found, name)
    yield from (gap.verdict for gap in found)
    if gaps.controls:
        yield control_table(gaps, name)
        yield from (survival.sentence for survival in gaps.survivals(name))


def _spread_table(gaps: Sequence[Comparison], name: str) -> ResultTable:
    """Say what the sides are, seed by seed, and how often two runs disagree."""
    rows: list[tuple[Cell, ...]] = [
        (
            f"{gap.treatment} − {gap.baseline}",
            _accuracies(gap.treatment_seeds.accuracies),
            _accuracies(gap.baseline_seeds.accuracies),
            f"{gap.gained:.4g}",
            f"{gap.lost:.4g}",
            f"{100 * gap.discordance:.2f}",
            *(f"{100 * one.share:.1f}" for one in gap.margins),
        )
        for gap in gaps
    ]
    shares = (f"P(gap ≥ {100 * one.margin:g} pp)" for one in gaps[0].margins)
    columns = ("gap", "treatment's seeds", "baseline's seeds", "gained", "lost", "disagree", *shares)
    note = (
        "Selector EX of each training seed in percent; questions that only the treatment, or only the baseline, gets "
        "right (means over pairs of seeds), and both in percent; bootstrap shares in percent."
    )
    return ResultTable(f"What the gaps are made of, {name}", columns, tuple(rows), note)


def _accuracies(values: Sequence[float]) -> str:
    return ", ".join(f"{100 * value:.2f}" for value in values)


def _stations(parts: ReportParts) -> Iterator[Block]:
    for number, fall in enumerate(parts.waterfalls, start=1):
        yield Picture(f"waterfall_{number}", f"From planner@1 to selector EX, {fall.line}.", waterfall_figure(fall))
        yield waterfall_table(fall)
    everything = measure(parts.teams, parts.sets[0])
    yield stage_table(everything)
    yield verdict_table(everything)
    for tables, sentence in parts.ladders:
        yield from tables
        yield Strong(sentence)


def _groups(parts: ReportParts) -> Iterator[Block]:
    yield difficulty_table(measure(parts.teams, parts.sets[0]))
    yield database_table(parts.first_seeds)
    for number, gaps in enumerate(parts.gaps, start=1):
        found = gaps.on(parts.sets[0].name)
        yield gap_table(found)
        for place, gap in enumerate(found, start=1):
            caption = f"{gap.treatment} − {gap.baseline} by database."
            yield Picture(f"databases_{number}_{place}", caption, gap_forest(gap))


def _flips(parts: ReportParts) -> Iterator[Block]:
    yield _FLIPS
    for found in parts.flips:
        if not found:
            continue
        yield _flip_table(found)
        for effect in (RESCUED, HARMED):
            own = of_effect(found, effect)
            if len(own) > SHOWN_FLIPS:
                yield f"{SHOWN_FLIPS} of {len(own)} that {found[0].treatment} {effect} are shown here."
            yield from own[:SHOWN_FLIPS]
    count = sum(len(found) for found in parts.flips)
    yield f"{count} flips in all; flips.csv and flips.parquet beside this page have every one."


def _flip_table(found: Sequence[Flip]) -> ResultTable:
    agents = sorted({flip.agent for flip in found})
    counted = {effect: [flip.agent for flip in of_effect(found, effect)] for effect in (RESCUED, HARMED)}
    rows: list[tuple[Cell, ...]] = [
        (agent, *(counted[effect].count(agent) for effect in (RESCUED, HARMED))) for agent in agents
    ]
    rows.append(("all", *(len(counted[effect]) for effect in (RESCUED, HARMED))))
    title = f"Flips from {found[0].baseline} to {found[0].treatment}, by the agent that decided"
    return ResultTable(title, ("agent", RESCUED, HARMED), tuple(rows))
