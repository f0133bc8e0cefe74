"""One split of a benchmark in memory, whatever files it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

from mats_sql.benchmark.question import Gold, Question
from mats_sql.benchmark.schema import Schema
from mats_sql.errors import BenchmarkError


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The questions of one split in file order, their golds by question id, and the databases they ask about.

    ``schemas`` has every schema the split's files declare, by database id. ``databases`` has only the database files
    that are present: a question whose database is missing stays in ``questions`` and is excluded, with the reason, by
    :func:`~mats_sql.benchmark.usable.usable_questions`.
    """

    name: str
    root: Path
    questions: tuple[Question, ...]
    golds: Mapping[int, Gold]
    schemas: Mapping[str, Schema]
    databases: Mapping[str, Path]


def split_off(benchmark: Benchmark, db_ids: Iterable[str]) -> tuple[Benchmark, Benchmark]:
    """Return the part that asks about the named databases, and the rest.

    Raises :class:`BenchmarkError` for a database that no question asks about, and when nothing is left.
    """
    named = frozenset(db_ids)
    asked = {question.db_id for question in benchmark.questions}
    if unknown := sorted(named - asked):
        raise BenchmarkError(
            f"benchmark.train_databases must name databases of {benchmark.name}, but no question asks about "
            f"{', '.join(unknown)}; name some of {', '.join(sorted(asked))}"
        )
    if named == asked:
        raise BenchmarkError(
            f"benchmark.train_databases must leave {benchmark.name} a database, but got all {len(named)}; name fewer"
        )
    return _about(benchmark, named), _about(benchmark, asked - named)


def _about(benchmark: Benchmark, db_ids: Set[str]) -> Benchmark:
    return replace(
        benchmark,
        questions=tuple(question for question in benchmark.questions if question.db_id in db_ids),
        golds={number: gold for number, gold in benchmark.golds.items() if gold.db_id in db_ids},
        schemas={db_id: schema for db_id, schema in benchmark.schemas.items() if db_id in db_ids},
        databases={db_id: path for db_id, path in benchmark.databases.items() if db_id in db_ids},
    )


def unused_databases(benchmark: Benchmark) -> tuple[str, ...]:
    """Return the ids of the databases (a schema or a file) that no question asks about, sorted."""
    asked = {question.db_id for question in benchmark.questions}
    return tuple(sorted((set(benchmark.schemas) | set(benchmark.databases)) - asked))


def require_questions_for_databases(benchmark: Benchmark) -> None:
    """Raise :class:`BenchmarkError` when a database has no question.

    A reader allows it, because a smaller question file beside all of a split's databases is a handy way to try
    things; a command that wants the whole benchmark calls this first, since the usual cause is a wrong file.
    """
    unused = unused_databases(benchmark)
    if unused:
        raise BenchmarkError(
            f"every database must have a question, but {', '.join(unused)} in {benchmark.root} "
            f"{'has' if len(unused) == 1 else 'have'} none; remove the database or use the question file it belongs to"
        )


def pair_questions_with_golds(name: str, items: Iterable[tuple[Question, Gold]]) -> dict[int, Gold]:
    """Return the golds by question id; raise :class:`BenchmarkError` when two questions share an id."""
    golds: dict[int, Gold] = {}
    for question, gold in items:
        if question.question_id in golds:
            raise BenchmarkError(
                f"question ids must be unique, but {name} has question_id {question.question_id} twice; renumber it"
            )
        golds[question.question_id] = gold
    return golds


def require_schemas(name: str, questions: Iterable[Question], schemas: Mapping[str, Schema]) -> None:
    """Raise :class:`BenchmarkError` when a question asks about a database that has no schema."""
    for question in questions:
        if question.db_id not in schemas:
            raise BenchmarkError(
                f"every question's database must have a schema, but question {question.question_id} of {name} asks "
                f"about {question.db_id!r}; add it to the tables file or remove the question"
            )
