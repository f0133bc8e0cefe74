"""Judging speed, side by side: BIRD's published procedure, a bare loop (the physical limit), and ours.

    python benchmarks/judge.py --inputs a b c     the table; needs the shared candidates (MATS_SHARED)
    python benchmarks/judge.py --scale 10000 100000 1000000

Inputs: (a) BIRD-dev, 287 questions x 54 systems; (b) Spider-dev, 511 x 119; (c) part of (a) with 2% runaway queries.
All systems judge the same candidates with the same number of processes, one after the other on the same machine, each
in a process of its own. Wall time includes starting Python and reading the candidates. CPU time is that of the whole
process tree. Peak memory is the sum of the processes' own peaks (VmHWM).

The published procedure is written plainly here: a pool of processes; per candidate open the database, run prediction
and gold in a thread that is waited for 30 seconds, compare the sets of rows. The bare loop executes each distinct SQL
once on a warm connection with nothing around it, and stops reading at the first row outside gold's set; the bounded
one has our bound on virtual-machine steps besides, as a runaway would otherwise make the bare loop look slow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from judge_inputs import INPUTS, lab_candidates, read_input, write_lab_benchmark
from judge_systems import SYSTEMS, judge_stream

GOALS = {"a": 6.0, "b": 9.0, "c": 50.0}
LIMIT_GOAL = 1.3


@dataclass(frozen=True, slots=True)
class Measured:
    """One system on one input."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    verdicts: list[bool]
    executed: int


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", nargs="*", choices=sorted(INPUTS), default=[])
    parser.add_argument("--scale", nargs="*", type=int, default=[])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="Runs of each fast system; the median is shown.")
    parser.add_argument("--run", nargs=3, metavar=("SYSTEM", "INPUT", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        _run_here(*options.run, options.processes, options.cache)
        return
    for name in options.inputs:
        _compare(name, options.processes, options.repeats)
    if options.scale:
        _scale(options.scale, options.processes)


def _compare(name: str, processes: int, repeats: int) -> None:
    candidates = read_input(name)
    print(f"\n({name}) {len(candidates):,} candidates, {INPUTS[name]}, {processes} processes")
    print("| system | wall s | CPU s | peak MiB | SQL executed | agreement | faster |\n|---|---|---|---|---|---|---|")
    published = _measure("published", name, processes)
    _print_row("published procedure", published, published)
    limits = {}
    # Without a bound the bare loop would run the runaways of (c) for hours.
    for system in ("bare_bounded",) if name == "c" else ("bare", "bare_bounded"):
        limits[system] = _median([_measure(system, name, processes) for _ in range(repeats)])
        _print_row(system.replace("_", ", ") + " loop", limits[system], published)
    with tempfile.TemporaryDirectory() as folder:
        caches = [Path(folder, str(number)) for number in range(repeats)]
        ours = _median([_measure("ours", name, processes, cache) for cache in caches])
        again = _median([_measure("ours", name, processes, cache) for cache in caches])
    _print_row("ours", ours, published)
    _print_row("ours, second judging", again, published)
    speed, work = published.wall_s / ours.wall_s, published.cpu_s / ours.cpu_s
    print(f"\nGoal {GOALS[name]:g} times: {speed:.1f} times faster, {work:.1f} times less CPU.")
    print(f"Goal {LIMIT_GOAL} times the bare loop: ", end="")
    print(", ".join(f"{ours.wall_s / limit.wall_s:.2f} of {system}" for system, limit in limits.items()), end="")
    print(f"; CPU {ours.cpu_s / limits['bare_bounded'].cpu_s:.2f} of bare_bounded", flush=True)


def _median(runs: list[Measured]) -> Measured:
    return sorted(runs, key=lambda run: run.wall_s)[len(runs) // 2]


def _print_row(title: str, run: Measured, published: Measured) -> None:
    same = sum(one is other for one, other in zip(run.verdicts, published.verdicts, strict=True))
    print(
        f"| {title} | {run.wall_s:.2f} | {run.cpu_s:.2f} | {run.peak_mib:.0f} | {run.executed:,} "
        f"| {100 * same / len(run.verdicts):.2f}% | {published.wall_s / run.wall_s:.1f}x |",
        flush=True,
    )


def _measure(system: str, name: str, processes: int, cache: Path | None = None) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.json")
        command = [sys.executable, __file__, "--processes", str(processes), "--run", system, name, str(out)]
        started = time.monotonic()
        process = subprocess.Popen(command + (["--cache", str(cache)] if cache else []))
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{system} failed on {name}")
        result = json.loads(out.read_text())
    cpu_s = usage.ru_utime + usage.ru_stime
    return Measured(wall_s, cpu_s, result["peak_mib"], result["verdicts"], result["executed"])


def _run_here(system: str, name: str, out: str, processes: int, cache: Path | None) -> None:
    verdicts, executed, peak_mib = SYSTEMS[system](read_input(name), processes, cache)
    Path(out).write_text(json.dumps({"verdicts": verdicts, "executed": executed, "peak_mib": peak_mib}))


def _scale(sizes: list[int], processes: int) -> None:
    """Judge growing streams of lab candidates in this process; memory is the process's peak so far."""
    print("\n| candidates (lab) | wall s | CPU s | CPU us per candidate | SQL executed | peak MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        benchmark = write_lab_benchmark(Path(folder))
        for size in sizes:
            started, cpu_before = time.monotonic(), sum(os.times()[:4])
            executed, peak_mib = judge_stream(lab_candidates(benchmark, size), processes)
            wall_s, cpu_s = time.monotonic() - started, sum(os.times()[:4]) - cpu_before
            each = 1e6 * cpu_s / size
            print(f"| {size:,} | {wall_s:.2f} | {cpu_s:.2f} | {each:.0f} | {executed:,} | {peak_mib:.0f} |", flush=True)


if __name__ == "__main__":
    main()
