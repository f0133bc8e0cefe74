"""The questions of an experiment: its benchmark as its files have it, and the tasks that a stage works on.

`prepare` decides which questions are usable and writes that down in the questions table; every later stage asks here
for the tasks of a split. Gold stays beside the tasks, in a :class:`~mats_sql.rollout.sample.Source`, never in them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from mats_sql.benchmark import Benchmark, Question, SchemaTexts, folds_of, read_bird, read_spider, split_off
from mats_sql.config import BenchmarkSettings, Experiment
from mats_sql.digests import digest_json
from mats_sql.errors import BenchmarkError
from mats_sql.file_digests import DIGESTS_FILE, FileDigests
from mats_sql.parquet import read_records
from mats_sql.rollout import Source
from mats_sql.seeds import derive_seed
from mats_sql.team import Task
from mats_sql.tracking import Artifact

TRAIN, DEV = "train", "dev"


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """One row of the questions table that `prepare` writes. It holds no gold."""

    split: str
    question_id: int
    db_id: str
    difficulty: str
    text: str
    evidence: str
    usable: bool
    reason: str
    in_validation: bool


def usable_ids(questions: Artifact, split: str) -> tuple[int, ...]:
    """Return the usable question ids of a split, in order."""
    rows = read_records(QuestionRow, questions.path)
    return tuple(row.question_id for row in rows if row.split == split and row.usable)


def validation_ids(questions: Artifact) -> frozenset[int]:
    """Return the ids of the validation split of dev."""
    return frozenset(row.question_id for row in read_records(QuestionRow, questions.path) if row.in_validation)


def question_set_digest(questions: Artifact, asked: Collection[int]) -> str:
    """Return the digest of exactly the dev questions that were asked: ids, databases, texts and evidence."""
    rows = read_records(QuestionRow, questions.path)
    listed = [
        [row.question_id, row.db_id, row.text, row.evidence]
        for row in rows
        if row.split == DEV and row.question_id in asked
    ]
    return digest_json(sorted(listed))


def dev_source(experiment: Experiment, questions: Artifact) -> Source:
    """Return the usable dev questions."""
    return _split_source(experiment.benchmark, _place(experiment), DEV, usable_ids(questions, DEV))


def dev_part(experiment: Experiment, question_ids: Iterable[int]) -> Source:
    """Return some dev questions; only their schema texts are made."""
    return source(read_split(experiment, DEV), question_ids, experiment.benchmark, cache_folder(experiment))


def train_source(experiment: Experiment, questions: Artifact, limit: int | None = None) -> Source:
    """Return the usable train questions, or a fixed random part of ``limit`` of them."""
    _require_train(experiment)
    ids = usable_ids(questions, TRAIN)
    if limit is not None:
        ranked = sorted(ids, key=lambda question_id: derive_seed(experiment.seed, "train-part", question_id))
        ids = tuple(sorted(ranked[:limit]))
    return _split_source(experiment.benchmark, _place(experiment), TRAIN, ids)


def train_folds(experiment: Experiment, source: Source) -> list[frozenset[int]]:
    """Return the folds of an experiment's train questions (``rollout.folds``)."""
    database_of = {question_id: task.question.db_id for question_id, task in source.tasks.items()}
    return folds_of(database_of, experiment.rollout.folds, experiment.seed)


def read_split(experiment: Experiment, split: str) -> Benchmark:
    """Return one split of the experiment's benchmark, as its own files have it; read once per process."""
    return _read(_place(experiment), split)


def split_digest(experiment: Experiment, split: str) -> str:
    """Return a digest of everything a split holds: questions, golds, schemas and database files.

    A database file is read only when its size or modification time is not that of its last digest.
    """
    return _digest(_place(experiment), split)


def schema_texts(experiment: Experiment, benchmark: Benchmark) -> SchemaTexts:
    """Return a split's schema texts; value indexes are kept in the experiment's folder of caches."""
    return SchemaTexts(benchmark, experiment.benchmark, cache_folder(experiment))


def cache_folder(experiment: Experiment) -> Path:
    """Return the folder of caches that may be deleted at any time."""
    return experiment.work_dir / "cache"


def has_train_split(experiment: Experiment) -> bool:
    """Return whether the benchmark's folder holds training questions, or the experiment takes some from dev."""
    if experiment.benchmark.train_databases:
        return True
    root = benchmark_root(experiment)
    names = ("train_spider.json", "train_spider_min.json") if experiment.benchmark.kind == "spider" else ("train.json",)
    return any((root / folder / name).exists() for folder in ("", "train") for name in names)


def benchmark_root(experiment: Experiment) -> Path:
    """Return the benchmark's folder; the lab is written there first if it is not there yet."""
    if experiment.benchmark.kind != "lab":
        assert experiment.benchmark.root is not None
        return experiment.benchmark.root
    from mats_sql.lab import GENERATOR_VERSION, write_lab

    key = digest_json([GENERATOR_VERSION, experiment.lab.model_dump(mode="json")])[:12]
    root = experiment.work_dir / "lab" / f"seed-{experiment.lab.seed}-{key}"
    if not (root / "dev.json").exists():
        _write_whole(root, lambda folder: write_lab(folder, experiment.lab))
    return root


def _write_whole(root: Path, write: Callable[[Path], None]) -> None:
    """Write a folder that another process never sees half written; of two that write it, the first one's stays."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as temporary:
        written = Path(temporary) / root.name
        write(written)
        if not (root / "dev.json").exists():
            shutil.rmtree(root, ignore_errors=True)  # what a killed process of an earlier version left
        with suppress(OSError):  # the other process was faster: the same settings, so the same bytes
            written.rename(root)
    if not (root / "dev.json").exists():
        raise BenchmarkError(f"the lab must be written to {root.parent}, but it is not there; see the disk")


def source(
    benchmark: Benchmark, question_ids: Iterable[int], settings: BenchmarkSettings, cache: Path | None = None
) -> Source:
    """Return the tasks and golds of the named questions, ordered by id; value indexes are kept in ``cache``."""
    wanted = set(question_ids)
    questions = sorted(
        (question for question in benchmark.questions if question.question_id in wanted),
        key=lambda question: question.question_id,
    )
    texts = SchemaTexts(benchmark, settings, cache)
    return Source(
        {question.question_id: _task(question, texts, benchmark) for question in questions},
        {question.question_id: benchmark.golds[question.question_id].sql for question in questions},
    )


def _require_train(experiment: Experiment) -> None:
    """Raise :class:`BenchmarkError` when there is nothing to train on."""
    if not has_train_split(experiment):
        raise BenchmarkError(
            f"training needs a train split, but {benchmark_root(experiment)} has none; put the benchmark's train "
            "files there, or evaluate a team of given checkpoints (docs/benchmarks.md)"
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a benchmark lies and how it is read, and where what was computed of it is kept."""

    kind: str
    root: Path
    train_databases: tuple[str, ...]
    cache: Path


def _place(experiment: Experiment) -> _Place:
    settings = experiment.benchmark
    return _Place(settings.kind, benchmark_root(experiment), settings.train_databases, cache_folder(experiment))


@lru_cache(maxsize=4)
def _split_source(settings: BenchmarkSettings, place: _Place, split: str, ids: tuple[int, ...]) -> Source:
    return source(_read(place, split), ids, settings, place.cache)


@lru_cache(maxsize=8)
def _read(place: _Place, split: str) -> Benchmark:
    read = read_spider if place.kind == "spider" else read_bird
    if not place.train_databases:
        return read(place.root, split)
    train, dev = split_off(read(place.root, DEV), place.train_databases)
    return dev if split == DEV else replace(train, name=f"{place.kind}-{TRAIN}")


@lru_cache(maxsize=8)
def _digest(place: _Place, split: str) -> str:
    benchmark = _read(place, split)
    with FileDigests(place.cache / DIGESTS_FILE) as digests:
        databases = {name: digests.digest(path) for name, path in sorted(benchmark.databases.items())}
    return digest_json(
        {
            "questions": [asdict(question) for question in benchmark.questions],
            "golds": [asdict(gold) for _, gold in sorted(benchmark.golds.items())],
            "schemas": [asdict(schema) for _, schema in sorted(benchmark.schemas.items())],
            "databases": databases,
        }
    )


def _task(question: Question, texts: SchemaTexts, benchmark: Benchmark) -> Task:
    return Task(question, texts.text_for(question), benchmark.databases[question.db_id])
