"""The judge where a server runs the SQL: whole executions are compared by digests, nothing is kept on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from mats_sql.sql.compare import compare
from mats_sql.sql.execution import Execution
from mats_sql.sql.executor import SqlRequest
from mats_sql.sql.judge import NO_SQL, NO_SQL_JUDGEMENT, JudgeItem
from mats_sql.sql.servers import ServerExecutor
from mats_sql.sql.verdict import Judgement

_WINDOW = 1024


class ServerJudge:
    """Judges on a server; equal SQL runs once per window of 1,024 items. ``executed`` counts what ran."""

    def __init__(self, executor: ServerExecutor) -> None:
        self._executor = executor
        self.executed = 0

    def judge_many(self, items: Iterable[JudgeItem]) -> Iterator[Judgement]:
        """Yield one judgement per item, in item order."""
        return (judgement for _, judgement in self.execute_and_judge(items))

    def execute_and_judge(self, items: Iterable[JudgeItem]) -> Iterator[tuple[Execution, Judgement]]:
        """Yield each item's execution and judgement, in item order."""
        for window in _windows(items):
            wanted = [
                SqlRequest(item.database, sql)
                for item in window
                for sql in (item.gold_sql, item.sql)
                if sql is not None
            ]
            done = self._execute(wanted)
            for item in window:
                if item.sql is None:
                    yield NO_SQL, NO_SQL_JUDGEMENT
                else:
                    execution = done[SqlRequest(item.database, item.sql)]
                    yield execution, compare(done[SqlRequest(item.database, item.gold_sql)], execution)

    def execute_gold(self, items: Iterable[JudgeItem]) -> Iterator[Execution]:
        """Yield the execution of each item's gold, in item order."""
        for window in _windows(items):
            requests = [SqlRequest(item.database, item.gold_sql) for item in window]
            done = self._execute(requests)
            yield from (done[request] for request in requests)

    def identity(self, database: Path) -> str:
        """Return the address of a database and its server's version."""
        return self._executor.identity(database)

    def _execute(self, requests: Iterable[SqlRequest]) -> dict[SqlRequest, Execution]:
        distinct = dict.fromkeys(requests)
        self.executed += len(distinct)
        return dict(zip(distinct, self._executor.execute_many(distinct), strict=True))


def _windows(items: Iterable[JudgeItem]) -> Iterator[list[JudgeItem]]:
    stream = iter(items)
    while window := list(islice(stream, _WINDOW)):
        yield window
