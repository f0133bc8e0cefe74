"""Whether the benchmark's files are there: questions, the databases they ask about, descriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from mats_sql.benchmark import SplitSurvey, changed_databases, survey_split
from mats_sql.config import BenchmarkSettings, Experiment
from mats_sql.doctor.finding import Finding, missing, ok, warning
from mats_sql.doctor.memory import GIB
from mats_sql.errors import BenchmarkError, MatsError

_SOURCES = {
    "bird": "get the train and dev archives from BIRD-bench's official page; docs/benchmarks.md shows where they go",
    "spider": "get Spider 1.0 from its official page (Yale LILY); docs/benchmarks.md shows where its files go",
}
_PUBLISHED = {("bird", "dev"): 1534, ("bird", "train"): 9428, ("spider", "dev"): 1034, ("spider", "train"): 7000}
"""Questions of the published splits."""


def benchmark_findings(settings: BenchmarkSettings, receipt: Path | None = None) -> Iterator[Finding]:
    """Yield the findings of both splits; the lab needs no files.

    With ``receipt``, a gold receipt of ``prepare`` or ``judge``, every database's bytes are compared with it.
    """
    if settings.kind == "lab":
        yield ok("benchmark", "the lab is generated")
        return
    assert settings.root is not None
    if not settings.root.is_dir():
        yield missing("benchmark", f"{settings.root} is no folder", _SOURCES[settings.kind])
        return
    surveys: dict[str, SplitSurvey] = {}
    for split in ("dev",) if settings.train_databases else ("train", "dev"):
        try:
            surveys[split] = survey_split(settings.root, settings.kind, split)
        except MatsError as error:
            yield missing(f"benchmark: {split} questions", str(error), _SOURCES[settings.kind])
            continue
        yield _questions(settings.kind, split, surveys[split])
        yield _databases(settings.kind, split, surveys[split])
        yield _descriptions(split, surveys[split])
    if receipt is not None:
        databases = {db_id: path for survey in surveys.values() for db_id, path in survey.databases.items()}
        yield _receipt(receipt, databases)


def train_questions(experiment: Experiment) -> int:
    """Return how many train questions an experiment has at most: those asked for, of the lab or the published split."""
    settings = experiment.benchmark
    lab = settings.kind == "lab"
    every = experiment.lab.train_questions if lab else _PUBLISHED[settings.kind, "train"]
    return min(settings.train_questions or every, every)


def _questions(kind: str, split: str, survey: SplitSurvey) -> Finding:
    check, found = f"benchmark: {split} questions", f"{survey.questions:,} questions"
    if survey.release:
        return ok(check, f"{found}, {survey.release}")
    usual = _PUBLISHED[kind, split]
    if survey.questions != usual:
        remedy = "none for a part or for data of your own; else get the whole file"
        return warning(check, f"{found}, the published split has {usual:,}", remedy)
    return ok(check, f"{found}, as many as published")


def _databases(kind: str, split: str, survey: SplitSurvey) -> Finding:
    check, asked = f"benchmark: {split} databases", len(survey.databases) + len(survey.absent)
    usable = len(survey.databases) - len(survey.unreadable)
    found = f"{usable} of {asked} open, {survey.database_bytes / GIB:.1f} GiB"
    if survey.unreadable:  # a damaged file stops the run, an absent one only costs its questions
        return missing(check, f"{found}; {next(iter(survey.unreadable.values()))}", "replace the damaged files")
    if not survey.databases:
        return missing(check, f"none of {asked} databases is there", _SOURCES[kind])
    if survey.absent:
        told = ", ".join(survey.absent[:4]) + (" …" if len(survey.absent) > 4 else "")
        found += f"; {survey.orphans:,} questions are left out without {told}"
        return warning(check, found, _SOURCES[kind])
    return ok(check, found)


def _descriptions(split: str, survey: SplitSurvey) -> Finding:
    check, counts = f"benchmark: {split} descriptions", survey.encodings
    if survey.unreadable_descriptions:
        count = len(survey.unreadable_descriptions)
        return missing(check, f"{count} cannot be read: {survey.unreadable_descriptions[0]}", "mend or remove them")
    if not counts:
        return ok(check, "none: prompts have the columns' names alone")
    return ok(check, ", ".join(f"{count} in {name}" for name, count in sorted(counts.items())))


def _receipt(path: Path, databases: Mapping[str, Path]) -> Finding:
    check = "benchmark: receipt"
    try:
        recorded = recorded_databases(path)
        changed = changed_databases(databases, recorded)
    except (OSError, BenchmarkError) as error:
        return missing(check, str(error), "give the gold_receipt.json of a prepare run, or a receipt of judge")
    if changed:
        return warning(check, f"other bytes than {path.name} recorded: {', '.join(changed)}", "compare the sources")
    known = len(databases.keys() & recorded.keys())
    return ok(check, f"{known} of {len(databases)} databases have the bytes that {path.name} recorded")


def recorded_databases(path: Path) -> dict[str, str]:
    """Return the digests by database id of one receipt, or of all splits of one that ``prepare`` wrote.

    Raises :class:`BenchmarkError` for a file that is no receipt.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        receipts = [document] if "databases" in document else list(document.values())
        return {str(db_id): str(digest) for one in receipts for db_id, digest in one["databases"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BenchmarkError(f"a gold receipt must hold databases with digests, but {path} does not") from None
