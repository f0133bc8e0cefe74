"""The teacher that is a large model, for those who have one: the paper's way (arXiv 2512.18622) to training data.

It is shown the gold SQL, as text, and told to write as if it were not. What it writes is read by the same parsers as
any agent's answer. An answer that cannot be used is left out and counted, never repaired or replaced by a rule's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mats_sql.agents import (
    Critique,
    Messages,
    Verdict,
    critique_answer,
    parse_critique,
    planner_answer,
    question_lines,
    review_lines,
    user,
)
from mats_sql.digests import digest_text
from mats_sql.generation import Completion, Engine, Request, Sampling
from mats_sql.teaching.teacher import CritiqueTask, PlanTask, statement

_SECTIONS = tuple(
    re.compile(rf"^\W*{heading}\W*:[ \t*]*(\S.*?)[ \t*]*$", re.IGNORECASE | re.MULTILINE)
    for heading in ("goal to select", "condition", "tables to use")
)


class LargeModelTeacher:
    """A :class:`~mats_sql.teaching.teacher.Teacher` behind any engine (``generation.engine: openai`` for a server).

    ``unusable`` counts the answers left out so far: cut short, without a section or a conclusion, or quoting the gold
    SQL in a critique. Answers are greedy; the engine batches and caches them.
    """

    def __init__(self, engine: Engine, *, max_new_tokens: int = 512) -> None:
        self._engine = engine
        self._sampling = Sampling(n=1, temperature=0.0, max_new_tokens=max_new_tokens)
        self.unusable = 0

    def plans(self, tasks: Sequence[PlanTask]) -> list[str | None]:
        """Return the model's plans; their SQL is the gold SQL, whatever the model wrote there."""
        answers = self._ask([_plan_prompt(task) for task in tasks])
        plans = [_plan(task, answer) for task, answer in zip(tasks, answers, strict=True)]
        self.unusable += plans.count(None)
        return plans

    def critiques(self, tasks: Sequence[CritiqueTask]) -> list[Critique | None]:
        """Return the model's critiques."""
        answers = self._ask([_critique_prompt(task) for task in tasks])
        critiques = [_critique(task, answer) for task, answer in zip(tasks, answers, strict=True)]
        self.unusable += critiques.count(None)
        return critiques

    def _ask(self, prompts: Sequence[Messages]) -> list[Completion]:
        requests = [Request(f"teacher:{digest_text(prompt[0].content)[:16]}", prompt) for prompt in prompts]
        return [completions[0] for completions in self._engine.generate(requests, self._sampling)]


def _plan_prompt(task: PlanTask) -> Messages:
    layout = planner_answer(
        "<what is selected, as table.column>", "<filters, groups, order, limit, or none>", "<tables>", "<the SQL>"
    )
    return user(
        f"{question_lines(task.schema_text, task.question)}\n\nReference SQL, which the reader never sees: "
        f"{task.gold_sql}\n\nWrite the plan that leads from the question to this SQL, as if you had not been given "
        f"it. One line per section, exactly in this layout:\n{layout}"
    )


def _plan(task: PlanTask, answer: Completion) -> str | None:
    found = [section.search(answer.text) for section in _SECTIONS]
    goal, condition, tables = (match[1] if match else "" for match in found)
    if not (answer.finished and goal and condition and tables):
        return None
    return planner_answer(goal, condition, tables, statement(task.gold_sql))


def _critique_prompt(task: CritiqueTask) -> Messages:
    wrong = critique_answer(task.validator, "<what the SQL does>", "<what the question asks>", correct=False)
    return user(
        f"{review_lines(task.review)}\n\nReference SQL, which the reader never sees: {task.gold_sql}\n\n"
        f"Write feedback on the generated SQL's {task.validator.value.upper()} part alone, without quoting or "
        f"mentioning the reference. Exactly in this layout, with `Conclude: correct.` if that part is right:\n{wrong}"
    )


def _critique(task: CritiqueTask, answer: Completion) -> Critique | None:
    critique = parse_critique(task.validator, answer.text.strip())
    quotes = statement(task.gold_sql).lower() in critique.text.lower()
    opens = critique.text.upper().startswith(f"{task.validator.value.upper()}.")
    if not answer.finished or critique.verdict is Verdict.MISSING or quotes or not opens:
        return None
    return critique
