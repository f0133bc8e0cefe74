"""How torch's threads wait: seconds of drawing and of SFT, alone and beside one busy process, under each policy.

    python benchmarks/waiting.py [--rounds 2] [--limit-s 60]

Every run is a process of its own, since OpenMP reads its environment once. Rounds are interleaved, so that a slow spell
of the machine meets every policy. A second table compares one process of two threads with two processes of one thread
each, which do twice the work. Not covered: other OpenMP libraries than GNU's, more than one busy process.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click

from mats_sql.threads import SPINS

POLICIES = {
    "the library's default": {},
    "GOMP_SPINCOUNT=20000": {"GOMP_SPINCOUNT": "20000"},
    f"GOMP_SPINCOUNT={SPINS} (ours)": {"GOMP_SPINCOUNT": str(SPINS)},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
PROMPTS, EXAMPLES = 48, 160


@click.command(help=__doc__)
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--limit-s", type=float, default=60.0, show_default=True, help="A run that takes longer is stopped.")
@click.option("--work", type=click.Choice(["decode", "sft"]), hidden=True)
def main(rounds: int, limit_s: float, work: str | None) -> None:
    if work is not None:
        print(_decode() if work == "decode" else _train())
        return
    found: dict[tuple[str, str, bool], list[float | None]] = defaultdict(list)
    for _ in range(rounds):
        for busy in (False, True):
            with _busy_process(busy):
                for policy, variables in POLICIES.items():
                    for kind in ("decode", "sft"):
                        found[policy, kind, busy].append(_timed(kind, variables, limit_s))
    beside = {
        (kind, count): _side_by_side(kind, count, rounds, limit_s) for kind in ("decode", "sft") for count in (1, 2)
    }
    columns = [(kind, busy) for busy in (False, True) for kind in ("decode", "sft")]
    headers = [f"{kind}, {'beside one busy process' if busy else 'alone'}" for kind, busy in columns]
    print("| waiting |", " | ".join(headers), "|")
    print("|---|" + "---:|" * len(columns))
    for policy in POLICIES:
        print(f"| {policy} |", " | ".join(_shown(found[policy, *column], limit_s) for column in columns), "|")
    print("\n| seconds per unit of work | decode | sft |\n|---|---:|---:|")
    for count, title in ((1, "one process of two threads"), (2, "two processes of one thread")):
        print(f"| {title} |", " | ".join(_shown(beside[kind, count], limit_s) for kind in ("decode", "sft")), "|")


def _side_by_side(kind: str, processes: int, rounds: int, limit_s: float) -> list[float | None]:
    """Return, per round, the seconds that a unit of work takes when so many processes do one each, on two cores."""
    variables = {"GOMP_SPINCOUNT": str(SPINS), "OMP_NUM_THREADS": str(2 // processes)}
    with ThreadPoolExecutor(processes) as pool:
        spent = [[*pool.map(lambda _: _timed(kind, variables, limit_s), range(processes))] for _ in range(rounds)]
    return [None if None in times else max(filter(None, times)) / processes for times in spent]


def _timed(kind: str, variables: dict[str, str], limit_s: float) -> float | None:
    """Return the seconds that a run reports for its work, or None when it was stopped."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--work", kind],
            env=inherited | variables,
            capture_output=True,
            text=True,
            check=True,
            timeout=limit_s + 30,
        )
    except subprocess.TimeoutExpired:
        return None
    return float(done.stdout.splitlines()[-1])


@contextmanager
def _busy_process(wanted: bool) -> Iterator[None]:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()


def _shown(seconds: list[float | None], limit_s: float) -> str:
    known = [value for value in seconds if value is not None]
    if len(known) < len(seconds):
        return f"over {limit_s:.0f}"
    return f"{statistics.median(known):.1f} ({min(known):.1f}–{max(known):.1f})"


def _decode() -> float:
    from mats_sql.agents import user
    from mats_sql.config import GenerationSettings
    from mats_sql.generation import Request, Sampling, open_engine
    from mats_sql.lab.base import base_model_path

    engine = open_engine(GenerationSettings(device="cpu"), base_model_path())
    requests = [Request(f"q{number}", user(_prompt(number))) for number in range(PROMPTS)]
    engine.generate([Request("first", user("loads the checkpoint"))], Sampling(temperature=0, max_new_tokens=1))
    started = time.perf_counter()
    engine.generate(requests, Sampling(n=4, max_new_tokens=64))
    return time.perf_counter() - started


def _train() -> float:
    from mats_sql.agents import user
    from mats_sql.config import SftSettings
    from mats_sql.lab.base import base_model_path
    from mats_sql.teaching import SftExample
    from mats_sql.training import train_sft

    answer = "select count(*) from singer where age > {}"
    examples = [SftExample(f"e{i}", user(_prompt(i)), answer.format(i)) for i in range(EXAMPLES)]
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train_sft(
            examples,
            base=base_model_path(),
            out=Path(folder) / "model",
            settings=SftSettings(batch_size=16),
            seed=1,
            on_metrics=lambda _step, _metrics: marks.append(time.perf_counter()),
        )
    return marks[-1] - marks[0]


def _prompt(number: int) -> str:
    schema = "schema music. table singer , columns = [ singer.name | type: text ; singer.age | type: integer ] " * 3
    return f"{schema} question {number}: how many singers are older than {number}?"


if __name__ == "__main__":
    main()
