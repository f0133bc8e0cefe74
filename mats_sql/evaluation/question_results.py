"""The judged candidates of one question, validated, and what each way of picking one makes of them.

The definitions (docs/metrics.md says the same in words):

* the *final* SQL of a sample is its fix when it has one, else its plan's own SQL, under both pool rules: the fixer
  answered, and the pipeline would return its answer;
* *majority* is the largest group of equal results among the pool rows that ran; a tie goes to the group that holds
  the smallest sample index;
* *first* is the first pool row in pool order: by sample index, a plan before its fix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mats_sql.errors import StageInputError
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.sql import Outcome, VerdictClass

PLAN = "plan"
FIX = "fix"


class Selected(NamedTuple):
    """Whether the SQL that a team selected for one question is correct, and the question's database."""

    db_id: str
    correct: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One plan sample: its plan row and, when the fixer answered, its fix row."""

    plan: JudgedCandidate
    fix: JudgedCandidate | None

    @property
    def final(self) -> JudgedCandidate:
        """The row the pipeline ends with for this sample."""
        return self.plan if self.fix is None else self.fix


@dataclass(frozen=True, slots=True)
class QuestionResults:
    """All judged candidates of one question: ``samples`` by index, ``pool`` in pool order, the ``selected`` row."""

    question_id: int
    db_id: str
    difficulty: str
    samples: tuple[Sample, ...]
    pool: tuple[JudgedCandidate, ...]
    selected: JudgedCandidate

    def oracle(self, k: int | None = None) -> bool:
        """Whether any pool row of the first ``k`` samples (all unless given) is correct."""
        return any(is_correct(row) for row in self.pool if k is None or row.sample_index < k)

    def planner_oracle(self, k: int | None = None) -> bool:
        """Whether any plan's own SQL of the first ``k`` samples is correct, in the pool or not."""
        return any(is_correct(sample.plan) for sample in self.samples[:k])

    def majority(self, k: int | None = None) -> bool:
        """Whether the majority row of the first ``k`` samples is correct; false when no row ran."""
        row = majority_row([row for row in self.pool if k is None or row.sample_index < k])
        return row is not None and is_correct(row)


def is_correct(row: JudgedCandidate) -> bool:
    """Whether the judge calls the row correct under the official reading."""
    return row.verdict is VerdictClass.CORRECT


def majority_row(pool: Sequence[JudgedCandidate]) -> JudgedCandidate | None:
    """Return the first row of the largest result group among rows that ran; ``pool`` must be in pool order."""
    groups: dict[str, list[JudgedCandidate]] = defaultdict(list)
    for row in pool:
        if row.outcome in (Outcome.ROWS, Outcome.EMPTY) and row.result_digest:
            groups[row.result_digest].append(row)
    return max(groups.values(), key=len)[0] if groups else None  # max keeps the first of equals: smallest index


def question_results(candidates: Iterable[JudgedCandidate]) -> tuple[QuestionResults, ...]:
    """Group candidates by question, ordered by question id, whatever the order of the rows.

    Raises :class:`StageInputError` when a question breaks the records' rules: unique (sample, origin), a plan for every
    sample 0..K-1 with the same K everywhere, a fix only where the gate opened, one database and difficulty, exactly
    one selected row and that one in the pool.
    """
    rows: dict[int, list[JudgedCandidate]] = defaultdict(list)
    for row in candidates:
        rows[row.question_id].append(row)
    if not rows:
        raise StageInputError("an evaluation must hold at least one judged candidate, but got none; run evaluate")
    results = tuple(_one_question(question_id, rows[question_id]) for question_id in sorted(rows))
    for result in results:
        _require(
            len(result.samples) == len(results[0].samples),
            result.question_id,
            "every question must have equally many samples",
            f"{len(result.samples)} and {len(results[0].samples)} in question {results[0].question_id}",
        )
    return results


def selections(results: Iterable[QuestionResults]) -> dict[int, Selected]:
    """Return the selected row's correctness per question: what two teams are compared by."""
    return {result.question_id: Selected(result.db_id, is_correct(result.selected)) for result in results}


def restrict(candidates: Iterable[JudgedCandidate], question_ids: Collection[int]) -> tuple[JudgedCandidate, ...]:
    """Keep the candidates of the given questions."""
    wanted = frozenset(question_ids)
    return tuple(row for row in candidates if row.question_id in wanted)


def _one_question(question_id: int, rows: Sequence[JudgedCandidate]) -> QuestionResults:
    ordered = sorted(rows, key=lambda row: (row.sample_index, row.origin != PLAN))
    keyed = {(row.sample_index, row.origin): row for row in ordered}
    _require(len(keyed) == len(rows), question_id, "(sample_index, origin) must be unique", f"{len(rows)} rows")
    samples = _samples(question_id, keyed)
    pool = tuple(row for row in ordered if row.in_pool)
    selected = [row for row in ordered if row.selected]
    _require(len(selected) == 1, question_id, "exactly one row must be selected", f"{len(selected)}")
    _require(selected[0].in_pool, question_id, "the selected row must be in the pool", "one outside it")
    places = {(row.db_id, row.difficulty) for row in ordered}
    _require(len(places) == 1, question_id, "all rows must share one database and difficulty", f"{sorted(places)}")
    return QuestionResults(question_id, ordered[0].db_id, ordered[0].difficulty, samples, pool, selected[0])


def _samples(question_id: int, keyed: Mapping[tuple[int, str], JudgedCandidate]) -> tuple[Sample, ...]:
    origins = {origin for _, origin in keyed}
    _require(origins <= {PLAN, FIX}, question_id, "origin must be plan or fix", f"{sorted(origins)}")
    indexes = [index for index, origin in keyed if origin == PLAN]
    _require(
        indexes == list(range(len(indexes))) and bool(indexes),
        question_id,
        "there must be one plan row for every sample 0..K-1",
        f"plans at {indexes}",
    )
    stray = [index for index, origin in keyed if origin == FIX and (index, PLAN) not in keyed]
    _require(not stray, question_id, "a fix must belong to a plan sample", f"fixes at {stray}")
    samples = tuple(Sample(keyed[index, PLAN], keyed.get((index, FIX))) for index in indexes)
    shut = [sample.plan.sample_index for sample in samples if sample.fix and not sample.plan.gate_open]
    _require(not shut, question_id, "a fix must come from an open gate", f"a shut gate at samples {shut}")
    return samples


def _require(holds: bool, question_id: int, rule: str, value: str) -> None:
    if not holds:
        raise StageInputError(f"{rule}, but question {question_id} has {value}; run evaluate again")
