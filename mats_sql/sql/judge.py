"""Judge SQL against gold: one execution, three readings, each verdict made once and kept.

``official`` is BIRD's rule: the sets of rows are equal, as Python compares them (None equals None, 1 equals 1.0, column
order matters, column names do not). Verdicts differ from BIRD's own evaluator in one kind of case only: SQL that writes
is ``refused`` here, where BIRD's script runs it on the real file.

A judgement depends on database, gold, SQL and limits alone, so it may be kept on disk and is the same whether or not
the whole result was read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

from mats_sql.sql.cache import JudgeCache, KeptGold, key_of
from mats_sql.sql.database import DatabaseFile, look_at
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.executor import SqlExecutor, to_execution
from mats_sql.sql.sandbox.protocol import GOLD_UNAVAILABLE, Verdicts
from mats_sql.sql.sandbox.workers import BatchAnswer, BatchGold, ExecutionTuple, SqlBatch
from mats_sql.sql.spelling import spelling_of
from mats_sql.sql.verdict import Judgement, VerdictClass

Result = TypeVar("Result")
OnJudged = Callable[[int, int], None]
"""Receives (how many are done, of how many) of the items of one call, where they have a number."""

_WINDOW = 65_536
_FULL_WINDOW = 8_192
_CHUNK = 128
_KEEP_EVERY_S = 2.0
_JOINS = re.compile(r"\bjoin\b|\bselect\b|,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JudgeItem:
    """A SQL to judge (``None``: the model gave none) against a gold SQL on one database."""

    database: Path
    gold_sql: str
    sql: str | None


NO_SQL = Execution(Outcome.ERROR, error="the answer holds no SQL")
NO_SQL_JUDGEMENT = Judgement(VerdictClass.ERROR, VerdictClass.ERROR, VerdictClass.ERROR, Outcome.ERROR)


class Judge:
    """Judges items with an executor's workers and remembers what it found in ``cache_dir``.

    ``digests`` is a table of file digests to share (:class:`~mats_sql.file_digests.FileDigests`).
    """

    def __init__(
        self,
        executor: SqlExecutor,
        cache_dir: Path | None,
        *,
        digests: Path | None = None,
        on_judged: OnJudged | None = None,
    ) -> None:
        self._processes = executor.processes
        self._on_judged = on_judged
        self.cache = JudgeCache(cache_dir, executor.limits, digests)
        self.executed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the cache; the executor stays open."""
        self.cache.close()

    def judge_many(self, items: Iterable[JudgeItem]) -> Iterator[Judgement]:
        """Yield one judgement per item, in item order, reading no more rows than the verdict needs.

        Raises :class:`mats_sql.errors.DatabaseError` for a database that is missing or damaged.
        """
        return self._told(items, (entry.judgement() for entry in self._judge(items, full=False)))

    def execute_and_judge(self, items: Iterable[JudgeItem]) -> Iterator[tuple[Execution, Judgement]]:
        """Yield each item's whole execution (preview and digests) beside its judgement, in item order."""
        return self._told(items, ((entry.execution(), entry.judgement()) for entry in self._judge(items, full=True)))

    def execute_gold(self, items: Iterable[JudgeItem]) -> Iterator[Execution]:
        """Yield the execution of each item's gold, in item order; each gold is executed once and kept."""
        return self._told(items, self._golds(items))

    def identity(self, database: Path) -> str:
        """Return the digest of a database file's bytes."""
        return self.cache.database_digest(look_at(database))

    def _told(self, items: Iterable[JudgeItem], results: Iterator[Result]) -> Iterator[Result]:
        if self._on_judged is None or not isinstance(items, Sized):
            return results
        return _counted(results, len(items), self._on_judged)

    def _golds(self, items: Iterable[JudgeItem]) -> Iterator[Execution]:
        stream = iter(items)
        while window := list(islice(stream, _FULL_WINDOW)):
            plan = _Plan(self.cache, window, full=False, gold_only=True)
            for answer in self._processes.run(plan.queue()):
                self._take(plan, answer)
            for item in window:
                yield to_execution(plan.gold_execution(item))

    def _judge(self, items: Iterable[JudgeItem], full: bool) -> Iterator[_Entry]:
        stream = iter(items)
        while window := list(islice(stream, _FULL_WINDOW if full else _WINDOW)):
            yield from self._judge_window(window, full)

    def _judge_window(self, window: list[JudgeItem], full: bool) -> Iterator[_Entry]:
        plan = _Plan(self.cache, window, full)
        entries, position, kept_at = plan.entries, 0, time.monotonic()
        try:
            for answer in self._processes.run(plan.queue()):
                self._take(plan, answer)
                while position < len(entries) and not plan.lacks(entries[position]):
                    yield entries[position]
                    position += 1
                if time.monotonic() - kept_at > _KEEP_EVERY_S:
                    plan.keep()
                    kept_at = time.monotonic()
        finally:
            plan.keep()
        yield from entries[position:]

    def _take(self, plan: _Plan, answer: BatchAnswer) -> None:
        self.executed += 1
        plan.take(answer)


def _counted(results: Iterator[Result], total: int, on_judged: OnJudged) -> Iterator[Result]:
    for done, result in enumerate(results, 1):
        on_judged(done, total)
        yield result


@dataclass(slots=True)
class _Entry:
    """What is known so far of one distinct (database, gold, spelling of a SQL)."""

    sql: str
    spelling: str
    key: bytes = b""
    execution_key: bytes = b""
    verdicts: Verdicts | None = None
    executed: ExecutionTuple | None = None

    def judgement(self) -> Judgement:
        if self.verdicts is None:
            return NO_SQL_JUDGEMENT
        return _judgement(self.verdicts)

    def execution(self) -> Execution:
        return NO_SQL if self.executed is None else to_execution(self.executed)


_judgements: dict[Verdicts, Judgement] = {}


def _judgement(verdicts: Verdicts) -> Judgement:
    known = _judgements.get(verdicts)
    if known is None:
        official, multiset, ordered, outcome = verdicts
        known = Judgement(VerdictClass(official), VerdictClass(multiset), VerdictClass(ordered), Outcome(outcome))
        _judgements[verdicts] = known
    return known


@dataclass(slots=True)
class _Group:
    """All distinct SQL of one gold on one database."""

    database: DatabaseFile
    gold_sql: str
    gold_key: bytes
    gold: KeptGold | None = None
    entries: dict[str, _Entry] = field(default_factory=dict)
    texts: dict[str, _Entry] = field(default_factory=dict)


_NONE = _Entry("", "")


class _Plan:
    """A window of items: what is known of it already, and what must be executed."""

    def __init__(self, cache: JudgeCache, items: list[JudgeItem], full: bool, gold_only: bool = False) -> None:
        self._cache, self._full, self._gold_only = cache, full, gold_only
        self._groups: dict[tuple[Path, str], _Group] = {}
        self._databases: dict[Path, tuple[DatabaseFile, str]] = {}
        self.entries = [self._entry(item) for item in items]
        self._fresh: list[_Entry] = []
        self._recall()

    def _entry(self, item: JudgeItem) -> _Entry:
        group = self._groups.get((item.database, item.gold_sql))
        if group is None:
            group = self._open_group(item)
        if item.sql is None:
            return _NONE
        entry = group.texts.get(item.sql)
        if entry is None:
            new = _Entry(item.sql, spelling_of(item.sql))
            # Column names are part of an execution, and only a text itself decides them.
            entry = group.entries.setdefault(new.sql if self._full else new.spelling, new)
            group.texts[item.sql] = entry
        return entry

    def _open_group(self, item: JudgeItem) -> _Group:
        known = self._databases.get(item.database)
        if known is None:
            database = look_at(item.database)
            known = self._databases[item.database] = (database, self._cache.database_digest(database))
        gold_key = key_of(self._cache.keys(known[1]), item.gold_sql)
        group = _Group(known[0], item.gold_sql, gold_key)
        self._groups[item.database, item.gold_sql] = group
        return group

    def _recall(self) -> None:
        entries = []
        for group in self._groups.values():
            digest = self._databases[group.database.path][1]
            judged, run = self._cache.keys(digest, group.gold_sql), self._cache.keys(digest)
            for entry in group.entries.values():
                entry.key = key_of(judged, entry.spelling)
                if self._full:
                    entry.execution_key = key_of(run, entry.sql)
                entries.append(entry)
        verdicts = self._cache.verdicts([entry.key for entry in entries])
        executions = self._cache.executions([entry.execution_key for entry in entries]) if self._full else {}
        for entry in entries:
            entry.verdicts = verdicts.get(entry.key)
            entry.executed = executions.get(entry.execution_key)

    def queue(self) -> _GoldFirst:
        """Return the batches for what is not known yet."""
        waiting: list[tuple[_Group, list[_Entry]]] = []
        for group in self._groups.values():
            missing = [] if self._gold_only else [entry for entry in group.entries.values() if self.lacks(entry)]
            if missing or self._gold_only:
                group.gold = self._cache.gold(group.gold_key)
            if missing or (self._gold_only and group.gold is None):
                waiting.append((group, missing))
        return _GoldFirst(waiting, self._full)

    def lacks(self, entry: _Entry) -> bool:
        """Whether an entry still waits for an answer."""
        if entry is _NONE:
            return False
        return entry.verdicts is None or (self._full and entry.executed is None)

    def take(self, answer: BatchAnswer) -> None:
        """Take one of the workers' answers into the plan."""
        token = answer.batch.token
        assert isinstance(token, _Token)
        execution, verdicts, gold = answer.reply
        if answer.index < 0:
            assert execution is not None
            assert gold is not None
            token.group.gold = KeptGold(execution, *gold)
            self._cache.keep_gold(token.group.gold_key, token.group.gold)
            token.queue.release(token.group)
            return
        entry = token.entries[answer.index]
        if entry.verdicts is None:
            entry.verdicts = verdicts or GOLD_UNAVAILABLE
        if self._full and entry.executed is None:
            entry.executed = execution
        self._fresh.append(entry)

    def keep(self) -> None:
        """Write what was found since the last call to the cache."""
        fresh, self._fresh = self._fresh, []
        if fresh:
            self._cache.keep(
                ((entry.key, entry.verdicts) for entry in fresh if entry.verdicts is not None),
                ((entry.execution_key, entry.executed) for entry in fresh if self._full and entry.executed is not None),
            )

    def gold_execution(self, item: JudgeItem) -> ExecutionTuple:
        """Return the execution of an item's gold."""
        gold = self._groups[item.database, item.gold_sql].gold
        assert gold is not None
        return gold.execution


@dataclass(slots=True)
class _Token:
    """What a batch's answers belong to."""

    group: _Group
    entries: list[_Entry]
    queue: _GoldFirst


class _GoldFirst:
    """Batches by expected length, those of the worker's own database first; a gold's later ones wait for its rows."""

    def __init__(self, waiting: list[tuple[_Group, list[_Entry]]], full: bool) -> None:
        self._full = full
        self._ready: dict[Path, list[tuple[float, int, _Group, list[_Entry]]]] = {}
        self._later: dict[int, list[list[_Entry]]] = {}
        self._serial = 0
        for group, entries in waiting:
            chunks = [entries[start : start + _CHUNK] for start in range(0, len(entries), _CHUNK)] or [[]]
            if group.gold is None:
                self._add(group, chunks[0])
                self._later[id(group)] = chunks[1:]
            else:
                for chunk in chunks:
                    self._add(group, chunk)
        for batches in self._ready.values():
            batches.sort(key=lambda batch: batch[:2])

    def _add(self, group: _Group, entries: list[_Entry]) -> None:
        self._serial += 1
        expected = sum(len(_JOINS.findall(entry.sql)) for entry in entries)
        self._ready.setdefault(group.database.path, []).append((float(expected), -self._serial, group, entries))

    def release(self, group: _Group) -> None:
        """Let the batches go that waited for this group's gold."""
        for chunk in self._later.pop(id(group), ()):
            self._add(group, chunk)

    def take(self, last: DatabaseFile | None) -> SqlBatch | None:
        """Return the longest batch of the worker's database, else of any."""
        path = last.path if last is not None and self._ready.get(last.path) else self._most()
        if path is None:
            return None
        _, _, group, entries = self._ready[path].pop()
        sqls = [entry.sql for entry in entries]
        return SqlBatch(group.database, sqls, self._full, self._gold(group), _Token(group, entries, self))

    def _most(self) -> Path | None:
        path = max(self._ready, key=lambda path: len(self._ready[path]), default=None)
        return path if path is not None and self._ready[path] else None

    def _gold(self, group: _Group) -> BatchGold:
        if group.gold is None:
            return BatchGold(group.gold_key, group.gold_sql, wanted=True)
        gold = group.gold
        return BatchGold(group.gold_key, group.gold_sql, False, gold.rows, gold.steps, failed=not gold.ran)
