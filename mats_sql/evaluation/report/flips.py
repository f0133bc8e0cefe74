"""Questions on which a regime and the baseline differ, and which agent made the difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mats_sql.evaluation.question_results import FIX, QuestionResults, is_correct, question_results
from mats_sql.evaluation.records import JudgedCandidate

RESCUED, HARMED = "rescued", "harmed"


@dataclass(frozen=True, slots=True)
class Flip:
    """One question that exactly one of two teams gets right; ``agent`` says whose doing it is, in words."""

    treatment: str
    baseline: str
    question_id: int
    db_id: str
    difficulty: str
    effect: str
    agent: str
    question: str
    gold_sql: str
    baseline_sql: str
    baseline_verdict: str
    treatment_sql: str
    treatment_verdict: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The text and the gold SQL of each question, by id."""

    texts: Mapping[int, str]
    golds: Mapping[int, str]


def flips_between(
    names: tuple[str, str], baseline: Iterable[JudgedCandidate], treatment: Iterable[JudgedCandidate], asked: Asked
) -> tuple[Flip, ...]:
    """Return every flip between two evaluations of the same questions; ``names`` are (baseline, treatment)."""
    before = {result.question_id: result for result in question_results(baseline)}
    after = {result.question_id: result for result in question_results(treatment)}
    return tuple(
        _flip(names, before[key], after[key], asked)
        for key in sorted(before.keys() & after.keys())
        if is_correct(before[key].selected) is not is_correct(after[key].selected)
    )


def of_effect(found: Sequence[Flip], effect: str) -> list[Flip]:
    """Return the flips of one effect, in order."""
    return [flip for flip in found if flip.effect == effect]


def deciding_agent(right: QuestionResults, wrong: QuestionResults) -> str:
    """Return which agent separates the team that is right from the one that is wrong.

    Asked in this order: could the wrong team's selector have picked a right candidate; did its plans differ; did its
    fixer spoil a right plan; was the plan never fixed because its validators kept the gate shut; else its fixer was
    asked and gave wrong SQL.
    """
    if any(is_correct(row) for row in wrong.pool):
        return "selector: another candidate was picked, though a right one was there"
    chosen = right.selected
    plans = {sample.plan.sample_index: sample for sample in wrong.samples}
    sample = plans.get(chosen.sample_index)
    own = next((item for item in right.samples if item.plan.sample_index == chosen.sample_index), None)
    if sample is None or own is None or sample.plan.sql != own.plan.sql:
        return "planner: the plans differ"
    if is_correct(sample.plan):
        return "fixer: a right plan was sent to it and spoiled"
    if chosen.origin == FIX and not sample.plan.gate_open:
        return "validators: no complaint, so a wrong plan was not fixed"
    return "fixer: asked under other critiques, it gave wrong SQL"


def _flip(names: tuple[str, str], before: QuestionResults, after: QuestionResults, asked: Asked) -> Flip:
    rescued = is_correct(after.selected)
    right, wrong = (after, before) if rescued else (before, after)
    return Flip(
        treatment=names[1],
        baseline=names[0],
        question_id=before.question_id,
        db_id=before.db_id,
        difficulty=before.difficulty,
        effect=RESCUED if rescued else HARMED,
        agent=deciding_agent(right, wrong),
        question=asked.texts[before.question_id],
        gold_sql=asked.golds[before.question_id],
        baseline_sql=before.selected.sql or "",
        baseline_verdict=before.selected.verdict.value,
        treatment_sql=after.selected.sql or "",
        treatment_verdict=after.selected.verdict.value,
    )
