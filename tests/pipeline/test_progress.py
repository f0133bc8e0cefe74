"""What a user sees while stages run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from mats_sql.pipeline.progress import Progress
from mats_sql.rollout.sample import Source
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem


def shown(*, terminal: bool, width: int = 120) -> tuple[Progress, io.StringIO]:
    written = io.StringIO()
    return Progress(Console(file=written, force_terminal=terminal, width=width, highlight=False)), written


def test_a_terminal_shows_a_bar_with_how_much_is_done() -> None:
    progress, written = shown(terminal=True)
    progress.started("sft planner")
    progress.update("step 30 of 40  loss 0.5", 30, 40)
    progress.stopped()
    assert "sft planner" in written.getvalue()
    assert "━━━" in written.getvalue()
    assert "step 30 of 40  loss 0.5" in written.getvalue()


def test_a_counter_names_the_deed_and_the_numbers() -> None:
    progress, written = shown(terminal=True)
    progress.started("rollout")
    progress.counter("judged")(1200, 2400)
    progress.stopped()
    assert "1,200 of 2,400 judged" in written.getvalue()


def test_elsewhere_only_the_lasting_lines_are_printed() -> None:
    progress, written = shown(terminal=False)
    progress.started("sft planner")
    progress.update("step 30 of 40", 30, 40)
    progress.note("  [3] questions")
    progress.finished("sft planner", "0123456789abcdef", 1.25, reused=False)
    lines = written.getvalue().splitlines()
    assert lines == ["  [3] questions", f"✓ {'sft planner':<56} run 01234567  1.2 s"]


def test_progress_ends_with_its_stage() -> None:
    progress, written = shown(terminal=True)
    progress.started("prepare")
    progress.finished("prepare", "0123456789abcdef", 1.0, reused=True)
    before = written.getvalue()
    progress.update("step 1 of 2", 1, 2)
    assert written.getvalue() == before


def test_on_a_narrow_terminal_the_text_gives_way_not_the_bar() -> None:
    progress, written = shown(terminal=True, width=40)
    progress.started("orpo condition-validator collab_v2, seed 0")
    progress.update("step 30 of 40  loss 0.5", 30, 40)
    progress.stopped()
    assert "━━━" in written.getvalue()
    assert "orpo condition" in written.getvalue()
    assert "loss" not in written.getvalue()


def test_the_stages_judge_tells_how_many_of_all_items_are_done(executor: SqlExecutor, source: Source) -> None:
    heard: list[tuple[int, int]] = []
    items = [JudgeItem(source.tasks[key].database, gold, gold) for key, gold in source.golds.items()]
    with Judge(executor, None, on_judged=lambda done, total: heard.append((done, total))) as judge:
        for judging in (judge.judge_many, judge.execute_and_judge, judge.execute_gold):
            heard.clear()
            assert len(list(judging(items))) == len(items)
            assert heard == [(done, len(items)) for done in range(1, len(items) + 1)]
