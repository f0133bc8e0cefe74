"""Soak the judge: plain candidates with 5% hostile SQL mixed in, for as long as asked.

    nice -n 19 python benchmarks/soak.py --minutes 30

Every candidate's verdict is known beforehand. The run fails when a verdict is lost or differs, when a worker process is
left over, or when memory grows: the parent's and the workers' resident memory at the end may exceed that of the first
tenth by a quarter at most. SQL that only the clock can end is left out, as its verdict depends on the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from mats_sql.config import SqlLimits
from mats_sql.digests import digest_file
from mats_sql.sql.execution import Outcome
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from tests.sql.hostile_cases import ONE_OPERATION, hostile_cases, write_odd_database

LIMITS = SqlLimits(timeout_s=20, max_steps=10_000_000, judge_min_steps=2_000_000, max_rows=50_000, memory_mib=512)
HOSTILE_SHARE = 0.05
BATCH = 2_000
GROWTH = 1.25
_NEVER_MATCHES = "SELECT 'a value that no hostile case gives', 1, 2, 3, 4, 5"
_ACCEPTED = {
    Outcome.ROWS: {"wrong"},
    Outcome.EMPTY: {"wrong"},
    # Which of the two ends a query that has neither end nor bound depends on which limit it meets first.
    Outcome.TIMEOUT: {"timeout", "wrong", "too_big"},
    Outcome.TOO_BIG: {"timeout", "wrong", "too_big"},
    Outcome.ERROR: {"error"},
    Outcome.REFUSED: {"refused"},
}


@dataclass(slots=True)
class Soak:
    """What the soak has seen so far."""

    judged: int = 0
    wrong: list[str] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    memory_mib: list[float] = field(default_factory=list)


def main() -> None:
    """Run the soak and exit with 1 when anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "odd.sqlite")
        write_odd_database(database)
        before = digest_file(database)
        soak, processes = _soak(database, options.minutes * 60, options.workers, random.Random(options.seed))
        problems = _problems(soak, processes) + ([] if digest_file(database) == before else ["the database changed"])
    print(f"{soak.judged:,} verdicts, {dict(soak.verdicts)}, lost or different: {len(soak.wrong)}")
    print(f"memory MiB, every tenth: {[round(mib) for mib in soak.memory_mib[:: max(1, len(soak.memory_mib) // 10)]]}")
    print("\n".join(problems) or "passed")
    sys.exit(bool(problems))


def _soak(database: Path, seconds: float, workers: int, rng: random.Random) -> tuple[Soak, set[int]]:
    soak, processes = Soak(), set()
    hostile = [(sql, outcome) for sql, outcome in hostile_cases() if sql not in ONE_OPERATION]
    ends = time.monotonic() + seconds
    with SqlExecutor(LIMITS, workers) as executor:
        while time.monotonic() < ends:
            batch = list(_batch(database, hostile, rng))
            with Judge(executor, None) as judge:
                found = list(judge.judge_many(item for item, _ in batch))
            for (item, accepted), judgement in zip(batch, found, strict=True):
                soak.judged += 1
                soak.verdicts[judgement.official] += 1
                if judgement.official not in accepted:
                    soak.wrong.append(f"{judgement.official} instead of {accepted}: {item.sql!r:.100}")
            processes.update(executor.processes.process_ids)
            soak.memory_mib.append(sum(map(_resident_mib, (os.getpid(), *executor.processes.process_ids))))
    return soak, processes


def _batch(
    database: Path, hostile: list[tuple[str, Outcome]], rng: random.Random
) -> Iterator[tuple[JudgeItem, set[str]]]:
    for _ in range(BATCH):
        if rng.random() < HOSTILE_SHARE:
            sql, outcome = rng.choice(hostile)
            yield JudgeItem(database, _NEVER_MATCHES, sql), _ACCEPTED[outcome]
        else:
            number, right = rng.randrange(1000), rng.random() < 0.5
            gold = f"SELECT count(*), {number} FROM hero WHERE height > 1"
            yield JudgeItem(database, gold, f"SELECT 3, {number if right else -1}"), {"correct" if right else "wrong"}


def _resident_mib(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _problems(soak: Soak, processes: set[int]) -> list[str]:
    problems = soak.wrong[:20]
    left = [process for process in processes if Path(f"/proc/{process}").exists()]
    if left:
        problems.append(f"worker processes are left over: {left}")
    tenth = max(1, len(soak.memory_mib) // 10)
    first, last = max(soak.memory_mib[:tenth]), min(soak.memory_mib[-tenth:])
    if last > GROWTH * first:
        problems.append(f"memory grew from {first:.0f} to {last:.0f} MiB")
    return problems


if __name__ == "__main__":
    main()
