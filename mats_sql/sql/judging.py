"""Judge a file of candidates: golds and databases in, a verdict per (question, system) and the counts of each out."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from mats_sql.errors import BenchmarkError, CandidateFileError
from mats_sql.sql.candidates import CandidateSet, read_candidates
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.judge import JudgeItem
from mats_sql.sql.verdict import Judgement, VerdictClass

_NO_GOLD = VerdictClass.GOLD_UNAVAILABLE
_UNAVAILABLE = Judgement(_NO_GOLD, _NO_GOLD, _NO_GOLD, Outcome.ERROR)


class ItemJudge(Protocol):
    """What judges items: :class:`mats_sql.sql.judge.Judge` and :class:`mats_sql.sql.server_judge.ServerJudge`."""

    executed: int

    def judge_many(self, items: Iterable[JudgeItem]) -> Iterator[Judgement]:
        """Yield one judgement per item, in item order."""

    def execute_gold(self, items: Iterable[JudgeItem]) -> Iterator[Execution]:
        """Yield the execution of each item's gold, in item order."""

    def identity(self, database: Path) -> str:
        """Return what tells a database from every other one."""


@dataclass(frozen=True, slots=True)
class ReferenceSql:
    """The gold SQL of one question and the id of its database."""

    db_id: str
    sql: str


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """What candidates are judged against: golds by question id, and the databases that are there, by database id."""

    name: str
    golds: Mapping[int, ReferenceSql]
    databases: Mapping[str, Path]


class JudgedSql(NamedTuple):
    """One system's candidate for one question, judged."""

    question_id: int
    system: str
    judgement: Judgement

    def line(self) -> str:
        """Return the verdict as a line of JSON."""
        official, multiset, ordered = self.judgement.official, self.judgement.multiset, self.judgement.ordered
        return (
            f'{{"question_id": {self.question_id}, "system": {json.dumps(self.system)}, "official": "{official}", '
            f'"multiset": "{multiset}", "ordered": "{ordered}", "outcome": "{self.judgement.outcome}"}}\n'
        )


@dataclass(frozen=True, slots=True)
class SystemCounts:
    """How one system's candidates were judged: counts per official verdict, and correct ones per other reading."""

    system: str
    official: Counter[VerdictClass]
    multiset_correct: int
    ordered_correct: int


class CandidateJudging:
    """One pass over a file of candidates.

    A candidate whose question's database is not there is ``gold_unavailable``. Iterating raises
    :class:`CandidateFileError` for a malformed file and for candidates of unknown questions or other databases, and
    :class:`BenchmarkError` at the end when no candidate's database was there.
    """

    def __init__(self, candidates: Path, key: AnswerKey, judge: ItemJudge) -> None:
        self._candidates, self._key, self._judge = candidates, key, judge
        self._waiting: deque[tuple[int, str, bool]] = deque()
        self._judgements: dict[str, Counter[Judgement]] = {}
        self.without_database: set[int] = set()

    def __iter__(self) -> Iterator[JudgedSql]:
        """Yield every candidate with its verdict, in file order, and count it."""
        judged = False
        for judgement in self._judge.judge_many(self._items()):
            yield from self._unjudged()
            question_id, system, _ = self._waiting.popleft()
            judged = True
            yield self._counted(question_id, system, judgement)
        yield from self._unjudged()
        if not judged:
            raise BenchmarkError(
                f"a candidate's database must be there, but {self._key.name} has none of the databases that "
                f"{self._candidates} asks for; add the database"
            )

    def counts(self) -> tuple[SystemCounts, ...]:
        """Return the counts of every system so far, in the order in which systems appear."""
        return tuple(_counts(system, judgements) for system, judgements in self._judgements.items())

    def _items(self) -> Iterator[JudgeItem]:
        for candidates in read_candidates(self._candidates):
            gold = self._gold(candidates)
            database = self._key.databases.get(gold.db_id)
            if database is None:
                self.without_database.add(candidates.question_id)
            for system, sql in candidates.sqls.items():
                self._waiting.append((candidates.question_id, system, database is not None))
                if database is not None:
                    yield JudgeItem(database, gold.sql, sql)

    def _gold(self, candidates: CandidateSet) -> ReferenceSql:
        gold = self._key.golds.get(candidates.question_id)
        if gold is None:
            raise CandidateFileError(
                f"a candidate's question must be in the benchmark, but question {candidates.question_id} of "
                f"{self._candidates} is not in {self._key.name}; check --split"
            )
        if candidates.db_id not in (None, gold.db_id):
            raise CandidateFileError(
                f"a candidate's db_id must be its question's, but question {candidates.question_id} of "
                f"{self._candidates} says {candidates.db_id!r} where the benchmark says {gold.db_id!r}; check --split"
            )
        return gold

    def _unjudged(self) -> Iterator[JudgedSql]:
        while self._waiting and not self._waiting[0][2]:
            question_id, system, _ = self._waiting.popleft()
            yield self._counted(question_id, system, _UNAVAILABLE)

    def _counted(self, question_id: int, system: str, judgement: Judgement) -> JudgedSql:
        self._judgements.setdefault(system, Counter())[judgement] += 1
        return JudgedSql(question_id, system, judgement)


def _counts(system: str, judgements: Counter[Judgement]) -> SystemCounts:
    official: Counter[VerdictClass] = Counter()
    multiset = ordered = 0
    for judgement, count in judgements.items():
        official[judgement.official] += count
        multiset += count * (judgement.multiset is VerdictClass.CORRECT)
        ordered += count * (judgement.ordered is VerdictClass.CORRECT)
    return SystemCounts(system, official, multiset, ordered)
