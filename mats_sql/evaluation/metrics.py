"""All numbers of one team on one set of questions, as counts out of totals (docs/metrics.md defines each)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from mats_sql.agents import Validator, Verdict
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.evaluation.question_results import PLAN, QuestionResults, Sample, is_correct, question_results
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.sql import VerdictClass

Confusion = Mapping[tuple[bool, Verdict], int]
"""Counts of (SQL is correct, verdict)."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Accuracies over one set of questions; every total is the number of questions."""

    planner_at_1: Proportion
    pipeline_at_1: Proportion
    planner_oracle_at_k: Proportion
    oracle_pass_at_k: Proportion
    majority_ex: Proportion
    first_ex: Proportion
    selector_ex: Proportion

    @property
    def questions(self) -> int:
        """How many questions the scores are over."""
        return self.selector_ex.total

    @property
    def pick_rate(self) -> Proportion:
        """Selector EX over oracle: of the questions with a correct candidate, how many got it picked."""
        return Proportion(self.selector_ex.count, self.oracle_pass_at_k.count)


@dataclass(frozen=True, slots=True)
class Effect:
    """What one step did to correctness: ``rescues`` wrong before and right after, ``harms`` the reverse.

    Both totals are all units that the step could have touched, so rescues - harms is its net gain.
    """

    rescues: Proportion
    harms: Proportion

    @classmethod
    def of(cls, before_after: Iterable[tuple[bool, bool]]) -> Effect:
        """Count rescues and harms among (correct before, correct after) pairs."""
        pairs = list(before_after)
        return cls(
            Proportion.of(after and not before for before, after in pairs),
            Proportion.of(before and not after for before, after in pairs),
        )


@dataclass(frozen=True, slots=True)
class VerdictAccuracy:
    """How a validator's verdicts agree with the judge, over plan rows that have SQL and known correctness.

    A missing verdict is never right: it counts against both recalls and is counted by ``missing``.
    """

    recall_correct: Proportion
    recall_incorrect: Proportion
    missing: Proportion

    @property
    def accuracy(self) -> Proportion:
        """Share of verdicts that say what the judge says."""
        right = self.recall_correct.count + self.recall_incorrect.count
        return Proportion(right, self.recall_correct.total + self.recall_incorrect.total)

    @property
    def asked(self) -> bool:
        """Whether any verdict was given: a team without validators has none, and no accuracy."""
        return self.missing.count < self.missing.total


@dataclass(frozen=True, slots=True)
class TeamMetrics:
    """Every metric of one team. ``classes`` counts verdict classes of all plans, of the pool and of the selected."""

    k: int
    trained_selector: bool
    scores: Scores
    fixer_all_samples: Effect
    fixer_at_1: Effect
    selection: Effect
    gate_rate: Proportion
    fix_rate: Proportion
    validators: Mapping[Validator, VerdictAccuracy]
    classes: Mapping[str, Mapping[VerdictClass, int]]
    by_difficulty: Mapping[str, Scores]

    def as_mlflow(self) -> dict[str, float]:
        """Return all metrics as fractions under flat MLflow names; those without evidence are left out."""
        named = {
            **_named_scores(self.scores),
            "fixer_rescue_rate": self.fixer_all_samples.rescues,
            "fixer_harm_rate": self.fixer_all_samples.harms,
            "fixer_rescue_rate_at_1": self.fixer_at_1.rescues,
            "fixer_harm_rate_at_1": self.fixer_at_1.harms,
            "selection_rescue_rate": self.selection.rescues,
            "selection_harm_rate": self.selection.harms,
            "gate_rate": self.gate_rate,
            "fix_rate": self.fix_rate,
        }
        for validator, accuracy in self.validators.items():
            named |= _named_verdicts(validator, accuracy)
        for group, scores in self.by_difficulty.items():
            named |= _named_scores(scores, f"difficulty/{group}/")
        values = {name: proportion.value for name, proportion in named.items() if proportion.total}
        values |= {"questions": float(self.scores.questions), "k": float(self.k)}
        return values


def team_metrics(candidates: Sequence[JudgedCandidate]) -> TeamMetrics:
    """Compute every metric of one team.

    Raises :class:`~mats_sql.errors.StageInputError` when the records break their rules (see
    :func:`~mats_sql.evaluation.question_results.question_results`).
    """
    results = question_results(candidates)
    samples = [sample for result in results for sample in result.samples]
    return TeamMetrics(
        k=len(results[0].samples),
        trained_selector=any(row.selector_score is not None for row in candidates),
        scores=_scores(results),
        fixer_all_samples=_fixer_effect(samples),
        fixer_at_1=_fixer_effect([result.samples[0] for result in results]),
        selection=Effect.of((is_correct(r.samples[0].final), is_correct(r.selected)) for r in results),
        gate_rate=Proportion.of(sample.plan.gate_open for sample in samples),
        fix_rate=Proportion.of(sample.fix is not None for sample in samples),
        validators={name: verdict_accuracy(found) for name, found in validator_confusions(candidates).items()},
        classes=_classes(results),
        by_difficulty=_by_difficulty(results),
    )


def pass_at_k_curve(candidates: Sequence[JudgedCandidate]) -> Mapping[str, tuple[Proportion, ...]]:
    """Return planner oracle, pool oracle and majority EX for every prefix of 1..K samples."""
    results = question_results(candidates)
    prefixes = range(1, len(results[0].samples) + 1)
    return {
        "planner_oracle": tuple(Proportion.of(r.planner_oracle(k) for r in results) for k in prefixes),
        "oracle": tuple(Proportion.of(r.oracle(k) for r in results) for k in prefixes),
        "majority": tuple(Proportion.of(r.majority(k) for r in results) for k in prefixes),
    }


def _scores(results: Sequence[QuestionResults]) -> Scores:
    return Scores(
        planner_at_1=Proportion.of(is_correct(r.samples[0].plan) for r in results),
        pipeline_at_1=Proportion.of(is_correct(r.samples[0].final) for r in results),
        planner_oracle_at_k=Proportion.of(r.planner_oracle() for r in results),
        oracle_pass_at_k=Proportion.of(r.oracle() for r in results),
        majority_ex=Proportion.of(r.majority() for r in results),
        first_ex=Proportion.of(is_correct(r.pool[0]) for r in results),
        selector_ex=Proportion.of(is_correct(r.selected) for r in results),
    )


def _fixer_effect(samples: Iterable[Sample]) -> Effect:
    return Effect.of((is_correct(sample.plan), is_correct(sample.final)) for sample in samples)


def validator_confusions(candidates: Iterable[JudgedCandidate]) -> dict[Validator, Confusion]:
    """Count each validator's verdicts by the judge's, over plan rows that have SQL and known correctness."""
    plans = [row for row in candidates if row.origin == PLAN and row.sql is not None]
    known = [row for row in plans if row.verdict is not VerdictClass.GOLD_UNAVAILABLE]
    return {
        Validator.SELECT: Counter((is_correct(row), row.select_verdict) for row in known),
        Validator.CONDITION: Counter((is_correct(row), row.condition_verdict) for row in known),
    }


def verdict_accuracy(confusion: Confusion) -> VerdictAccuracy:
    """Return the accuracy of counted verdicts."""
    right = sum(count for (correct, _), count in confusion.items() if correct)
    wrong = sum(count for (correct, _), count in confusion.items() if not correct)
    missing = sum(count for (_, verdict), count in confusion.items() if verdict is Verdict.MISSING)
    return VerdictAccuracy(
        Proportion(confusion.get((True, Verdict.CORRECT), 0), right),
        Proportion(confusion.get((False, Verdict.INCORRECT), 0), wrong),
        Proportion(missing, right + wrong),
    )


def _classes(results: Sequence[QuestionResults]) -> dict[str, dict[VerdictClass, int]]:
    rows = {
        "plan": [sample.plan for result in results for sample in result.samples],
        "pool": [row for result in results for row in result.pool],
        "selected": [result.selected for result in results],
    }
    counted = {name: Counter(row.verdict for row in group) for name, group in rows.items()}
    return {name: {verdict: counts[verdict] for verdict in VerdictClass} for name, counts in counted.items()}


def _by_difficulty(results: Iterable[QuestionResults]) -> dict[str, Scores]:
    groups: dict[str, list[QuestionResults]] = defaultdict(list)
    for result in results:
        groups[result.difficulty].append(result)
    return {name: _scores(groups[name]) for name in sorted(groups)}


def _named_scores(scores: Scores, prefix: str = "") -> dict[str, Proportion]:
    named = {f"{prefix}{field.name}": getattr(scores, field.name) for field in fields(scores)}
    return named | {f"{prefix}pick_rate": scores.pick_rate}


def _named_verdicts(validator: Validator, accuracy: VerdictAccuracy) -> dict[str, Proportion]:
    if not accuracy.asked:
        return {}
    return {
        f"verdict/{validator}/accuracy": accuracy.accuracy,
        f"verdict/{validator}/recall_correct": accuracy.recall_correct,
        f"verdict/{validator}/recall_incorrect": accuracy.recall_incorrect,
        f"verdict/{validator}/missing_rate": accuracy.missing,
    }
