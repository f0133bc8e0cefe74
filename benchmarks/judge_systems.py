"""The systems that the judging benchmark compares; each returns verdicts, the number of SQL executed, and peak MiB."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from judge_inputs import Candidate

Result = tuple[list[bool], int, float]
TIMEOUT_S = 30.0
STEPS = 25_000_000


def published(candidates: list[Candidate], processes: int, _cache: Path | None) -> Result:
    """BIRD's evaluator as published: every prediction and its gold run anew, under a timeout on a thread."""
    with multiprocessing.Pool(processes) as pool:
        jobs = [pool.apply_async(_published_one, (one.sql, one.gold, str(one.database))) for one in candidates]
        pool.close()
        verdicts = [job.get() for job in jobs]
        return verdicts, 2 * len(candidates), _peak_mib(_children(pool))


def _published_one(sql: str, gold: str, database: str) -> bool:
    verdict: list[bool] = []

    def execute() -> None:
        try:
            connection = sqlite3.connect(database)
            cursor = connection.cursor()
            cursor.execute(sql)
            predicted_rows = cursor.fetchall()
            cursor.execute(gold)
            gold_rows = cursor.fetchall()
            verdict.append(set(predicted_rows) == set(gold_rows))
        except Exception:  # noqa: BLE001 - the published script counts every exception as wrong
            verdict.append(False)

    thread = threading.Thread(target=execute, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return bool(verdict and verdict[0])


def bare(candidates: list[Candidate], processes: int, _cache: Path | None) -> Result:
    """Each distinct SQL once, on a warm connection, reading until a row is outside gold's set; nothing else."""
    return _bare(candidates, processes, 0)


def bare_bounded(candidates: list[Candidate], processes: int, _cache: Path | None) -> Result:
    """The bare loop, with a bound on virtual-machine steps."""
    return _bare(candidates, processes, STEPS)


def _bare(candidates: list[Candidate], processes: int, steps: int) -> Result:
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for one in candidates:
        groups.setdefault((str(one.database), one.gold), {})[one.sql] = None
    tasks = [(database, gold, list(sqls), steps) for (database, gold), sqls in groups.items()]
    tasks.sort(key=lambda task: len(task[2]), reverse=True)
    known: dict[tuple[str, str, str], bool] = {}
    with multiprocessing.Pool(processes) as pool:
        for (database, gold, sqls, _), verdicts in pool.imap_unordered(_bare_group, tasks):
            known.update({(database, gold, sql): verdict for sql, verdict in zip(sqls, verdicts, strict=True)})
        peak_mib = _peak_mib(_children(pool))
    verdicts = [known[str(one.database), one.gold, one.sql] for one in candidates]
    return verdicts, len(known) + len(groups), peak_mib


_connections: dict[str, sqlite3.Connection] = {}


def _bare_group(task: tuple[str, str, list[str], int]) -> tuple[tuple[str, str, list[str], int], list[bool]]:
    database, gold, sqls, steps = task
    if database not in _connections:
        _connections[database] = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
    connection = _connections[database]
    connection.set_progress_handler(None, 0)
    rows = set(connection.execute(gold).fetchall())
    return task, [_bare_one(connection, rows, sql, steps) for sql in sqls]


def _bare_one(connection: sqlite3.Connection, gold: set[object], sql: str, steps: int) -> bool:
    if steps:
        left = iter([0] * (steps // 10_000))
        connection.set_progress_handler(lambda: next(left, 1), 10_000)
    try:
        cursor = connection.execute(sql)
        seen: set[object] = set()
        while rows := cursor.fetchmany(64):
            if not gold.issuperset(rows):
                return False
            seen.update(rows)
        return seen == gold
    except Exception:  # noqa: BLE001 - as above
        return False


def ours(candidates: list[Candidate], processes: int, cache: Path | None) -> Result:
    """The judge, verdicts only, kept in ``cache``."""
    from mats_sql.config import SqlLimits
    from mats_sql.sql.executor import SqlExecutor
    from mats_sql.sql.judge import Judge, JudgeItem

    with SqlExecutor(SqlLimits(), processes) as executor, Judge(executor, cache) as judge:
        items = (JudgeItem(one.database, one.gold, one.sql) for one in candidates)
        verdicts = [judgement.correct for judgement in judge.judge_many(items)]
        return verdicts, judge.executed, _peak_mib(executor.processes.process_ids)


def judge_stream(candidates: Iterable[Candidate], processes: int) -> tuple[int, float]:
    """Judge a stream without keeping anything of it; return the number of SQL executed and peak MiB."""
    from mats_sql.config import SqlLimits
    from mats_sql.sql.executor import SqlExecutor
    from mats_sql.sql.judge import Judge, JudgeItem

    with SqlExecutor(SqlLimits(), processes) as executor, Judge(executor, None) as judge:
        items = (JudgeItem(one.database, one.gold, one.sql) for one in candidates)
        for _ in judge.judge_many(items):
            pass
        return judge.executed, _peak_mib(executor.processes.process_ids)


def _children(_pool: multiprocessing.pool.Pool) -> list[int]:
    return [process.pid for process in multiprocessing.active_children() if process.pid is not None]


def _peak_mib(processes: Iterable[int]) -> float:
    """Return the sum of the peaks of these processes and this one."""
    total = 0
    for process in (os.getpid(), *processes):
        status = Path(f"/proc/{process}/status").read_text()
        total += int(status.split("VmHWM:")[1].split()[0]) if "VmHWM:" in status else 0
    return total / 1024


SYSTEMS: dict[str, Callable[[list[Candidate], int, Path | None], Result]] = {
    "published": published,
    "bare": bare,
    "bare_bounded": bare_bounded,
    "ours": ours,
}
