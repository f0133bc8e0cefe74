"""The validation split of an evaluation set: stratified by database and difficulty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mats_sql.benchmark.question import Question
from mats_sql.errors import BenchmarkError
from mats_sql.seeds import derive_random


@dataclass(frozen=True, slots=True)
class Splits:
    """Question ids, each part sorted: ``validation`` for the search, ``rest`` never seen by it."""

    validation: tuple[int, ...]
    rest: tuple[int, ...]


def split_questions(questions: Sequence[Question], *, validation: int, seed: int) -> Splits:
    """Return ``validation`` question ids, spread over (database, difficulty) in proportion, and the rest.

    Shares are rounded by largest remainder. The choice depends on the seed and the set of questions, not on their
    order. Raises :class:`BenchmarkError` when there are fewer questions than asked for.
    """
    if not 0 <= validation <= len(questions):
        raise BenchmarkError(
            f"the validation split must fit into the usable questions, but {validation} of {len(questions)} were "
            f"asked for; lower benchmark.validation_questions"
        )
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for question in questions:
        strata[question.db_id, question.difficulty].append(question.question_id)
    quotas = _largest_remainder({key: len(ids) for key, ids in strata.items()}, validation, seed)
    chosen = {
        question_id
        for key, ids in strata.items()
        for question_id in sorted(ids, key=lambda each: _rank(seed, "question", each))[: quotas[key]]
    }
    ids = sorted(question.question_id for question in questions)
    return Splits(tuple(i for i in ids if i in chosen), tuple(i for i in ids if i not in chosen))


def _largest_remainder(sizes: dict[tuple[str, str], int], total: int, seed: int) -> dict[tuple[str, str], int]:
    """Return integer shares that sum to ``total``, each within one of ``total * size / sum(sizes)``."""
    everything = sum(sizes.values()) or 1
    quotas = {key: total * size // everything for key, size in sizes.items()}
    # Equal remainders are common among small strata: a seeded draw breaks the tie, so no database is preferred.
    by_remainder = sorted(sizes, key=lambda key: (-(total * sizes[key] % everything), _rank(seed, "stratum", *key)))
    for key in by_remainder[: total - sum(quotas.values())]:
        quotas[key] += 1
    return quotas


def _rank(seed: int, *parts: str | int) -> float:
    return derive_random(seed, "split", *parts).random()
