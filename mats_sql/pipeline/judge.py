"""The ``judge`` stage: a file of candidate SQL in, one line of verdicts per (question, system) out."""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from mats_sql.benchmark.benchmark import Benchmark
from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.receipt import GoldReceipt, make_receipt
from mats_sql.benchmark.spider import read_spider
from mats_sql.config import SqlLimits
from mats_sql.errors import BenchmarkError, CandidateFileError, ConfigError
from mats_sql.sql.candidates import CandidateSet, read_candidates
from mats_sql.sql.execution import Outcome
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from mats_sql.sql.verdict import Judgement, VerdictClass

BenchmarkKind = Literal["auto", "bird", "spider"]
_NO_GOLD = VerdictClass.GOLD_UNAVAILABLE
_UNAVAILABLE = Judgement(_NO_GOLD, _NO_GOLD, _NO_GOLD, Outcome.ERROR)


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What to judge, against which benchmark, and where to write it; ``cache`` makes a second judging free."""

    benchmark_root: Path
    candidates: Path
    out: Path
    split: str = "dev"
    kind: BenchmarkKind = "auto"
    workers: int = 2
    limits: SqlLimits = field(default_factory=SqlLimits)
    cache: Path | None = None

    @property
    def receipt(self) -> Path:
        """Where the gold receipt is written."""
        return self.out.with_name(self.out.name + ".receipt.json")


@dataclass(frozen=True, slots=True)
class SystemCounts:
    """How one system's candidates were judged: counts per official verdict, and correct ones per other reading."""

    system: str
    official: Counter[VerdictClass]
    multiset_correct: int
    ordered_correct: int


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """What a judging came to. ``executed`` counts the SQL that really ran; the rest was known."""

    systems: tuple[SystemCounts, ...]
    receipt: GoldReceipt
    judged: int
    executed: int
    questions_without_database: tuple[int, ...]
    elapsed_s: float


def judge_file(request: JudgeRequest) -> JudgeReport:
    """Judge every candidate of a file; write the verdicts and the gold receipt, both only when complete.

    The gold is the benchmark's. Candidates of a question whose database is not there are ``gold_unavailable``. Raises
    a :class:`~mats_sql.errors.MatsError` for files that are missing or malformed, candidates of unknown questions, and
    when no candidate's database is there.
    """
    started = time.monotonic()
    benchmark = open_benchmark(request.benchmark_root, request.split, request.kind)
    desk, tally = _Desk(benchmark, request.candidates), _Tally()
    with (
        _complete_or_absent(request.out) as stream,
        SqlExecutor(request.limits, request.workers) as executor,
        Judge(executor, request.cache) as judge,
    ):
        receipt = make_receipt(benchmark, judge, request.limits)
        for question_id, system, judgement in desk.verdicts(judge):
            stream.write(_line(question_id, system, judgement))
            tally.add(system, judgement)
        if not desk.judged:
            raise BenchmarkError(
                f"a candidate's database must be in the benchmark, but {request.benchmark_root} has none of the "
                f"databases that {request.candidates} asks for; add the database files"
            )
        request.receipt.write_text(json.dumps(receipt.as_json(), indent=1) + "\n", encoding="utf-8")
        executed = judge.executed
    missing = tuple(sorted(desk.without_database))
    return JudgeReport(tally.counts(), receipt, tally.total, executed, missing, time.monotonic() - started)


def open_benchmark(root: Path, split: str, kind: BenchmarkKind) -> Benchmark:
    """Read a benchmark in BIRD's or Spider's layout; ``auto`` goes by Spider's ``tables.json``.

    Raises :class:`BenchmarkError`.
    """
    if kind == "auto":
        kind = "spider" if (root / "tables.json").is_file() else "bird"
    return read_spider(root, split) if kind == "spider" else read_bird(root, split)


@contextmanager
def _complete_or_absent(out: Path) -> Iterator[IO[str]]:
    """Open a file that takes its name only when the block ends without an error."""
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as stream:
            yield stream
        partial.replace(out)
    except OSError as error:
        raise ConfigError(f"--out must be a writable file, but {out}: {error.strerror}; give another path") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


class _Desk:
    """Pairs candidates with golds on the way to the judge, and verdicts with candidates on the way back."""

    def __init__(self, benchmark: Benchmark, candidates: Path) -> None:
        self._benchmark, self._candidates = benchmark, candidates
        self._waiting: deque[tuple[int, str, bool]] = deque()
        self.without_database: set[int] = set()
        self.judged = 0

    def verdicts(self, judge: Judge) -> Iterator[tuple[int, str, Judgement]]:
        """Yield question id, system and judgement of every candidate, in file order."""
        for judgement in judge.judge_many(self._items()):
            yield from self._unjudged()
            question_id, system, _ = self._waiting.popleft()
            self.judged += 1
            yield question_id, system, judgement
        yield from self._unjudged()

    def _items(self) -> Iterator[JudgeItem]:
        for candidates in read_candidates(self._candidates):
            gold = self._benchmark.golds.get(candidates.question_id)
            if gold is None:
                raise CandidateFileError(
                    f"a candidate's question must be in the benchmark, but question {candidates.question_id} of "
                    f"{self._candidates} is not in {self._benchmark.name}; check --split"
                )
            self._check_database(candidates, gold.db_id)
            database = self._benchmark.databases.get(gold.db_id)
            if database is None:
                self.without_database.add(candidates.question_id)
            for system, sql in candidates.sqls.items():
                self._waiting.append((candidates.question_id, system, database is not None))
                if database is not None:
                    yield JudgeItem(database, gold.sql, sql)

    def _check_database(self, candidates: CandidateSet, db_id: str) -> None:
        if candidates.db_id is not None and candidates.db_id != db_id:
            raise CandidateFileError(
                f"a candidate's db_id must be its question's, but question {candidates.question_id} of "
                f"{self._candidates} says {candidates.db_id!r} where the benchmark says {db_id!r}; check --split"
            )

    def _unjudged(self) -> Iterator[tuple[int, str, Judgement]]:
        while self._waiting and not self._waiting[0][2]:
            question_id, system, _ = self._waiting.popleft()
            yield question_id, system, _UNAVAILABLE


class _Tally:
    """Counts verdicts per system, in the order in which systems appear."""

    def __init__(self) -> None:
        self._judgements: dict[str, Counter[Judgement]] = {}
        self.total = 0

    def add(self, system: str, judgement: Judgement) -> None:
        """Count one verdict."""
        self.total += 1
        self._judgements.setdefault(system, Counter())[judgement] += 1

    def counts(self) -> tuple[SystemCounts, ...]:
        """Return the counts of every system."""
        return tuple(_counts(system, judgements) for system, judgements in self._judgements.items())


def _counts(system: str, judgements: Counter[Judgement]) -> SystemCounts:
    official: Counter[VerdictClass] = Counter()
    multiset = ordered = 0
    for judgement, count in judgements.items():
        official[judgement.official] += count
        multiset += count * (judgement.multiset is VerdictClass.CORRECT)
        ordered += count * (judgement.ordered is VerdictClass.CORRECT)
    return SystemCounts(system, official, multiset, ordered)


def _line(question_id: int, system: str, judgement: Judgement) -> str:
    return (
        f'{{"question_id": {question_id}, "system": {json.dumps(system)}, "official": "{judgement.official}", '
        f'"multiset": "{judgement.multiset}", "ordered": "{judgement.ordered}", "outcome": "{judgement.outcome}"}}\n'
    )
