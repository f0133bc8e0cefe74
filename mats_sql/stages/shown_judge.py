"""The judge of the stages: it shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

from mats_sql.sql.execution import Execution
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from mats_sql.sql.verdict import Judgement

Result = TypeVar("Result")


class ShownJudge(Judge):
    """A judge that tells ``shown`` after each item how many of how many are done, where the items have a number."""

    def __init__(self, executor: SqlExecutor, cache_dir: Path | None, shown: Callable[[int, int], None]) -> None:
        super().__init__(executor, cache_dir)
        self._shown = shown

    def judge_many(self, items: Iterable[JudgeItem]) -> Iterator[Judgement]:
        """As in :class:`Judge`."""
        return self._counted(items, super().judge_many(items))

    def execute_and_judge(self, items: Iterable[JudgeItem]) -> Iterator[tuple[Execution, Judgement]]:
        """As in :class:`Judge`."""
        return self._counted(items, super().execute_and_judge(items))

    def execute_gold(self, items: Iterable[JudgeItem]) -> Iterator[Execution]:
        """As in :class:`Judge`."""
        return self._counted(items, super().execute_gold(items))

    def _counted(self, items: Iterable[JudgeItem], results: Iterable[Result]) -> Iterator[Result]:
        for done, result in enumerate(results, 1):
            if isinstance(items, Sized):
                self._shown(done, len(items))
            yield result
