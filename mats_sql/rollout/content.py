"""Label the critiques of a pool by what they say, as the judge labels SQL by what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mats_sql.agents import Critique
from mats_sql.benchmark import Schema
from mats_sql.rollout.pool import CritiqueRow, PlanRow
from mats_sql.teaching import right_content, write_critique


def with_right_content(
    critiques: Iterable[CritiqueRow], plans: Sequence[PlanRow], golds: Mapping[int, str], schemas: Mapping[str, Schema]
) -> list[CritiqueRow]:
    """Return the critiques with their label: whether each says what the teacher says of its SQL.

    The teacher compares a wrong SQL with gold, and a right one with itself, as it does when validators are taught.
    """
    reviewed = {plan.review_id: plan for plan in plans if plan.sql is not None}
    truths: dict[tuple[str, str], Critique] = {}
    labels: dict[tuple[str, str, str], bool] = {}
    labelled = []
    for row in critiques:
        key = (row.review_id, row.validator.value)
        if key not in truths:
            plan = reviewed[row.review_id]
            sql = plan.sql or ""
            gold = sql if plan.correct else golds[plan.question_id]
            truths[key] = write_critique(row.validator, sql, gold, schemas[plan.db_id])
        if (*key, row.text) not in labels:
            labels[*key, row.text] = right_content(row.critique, truths[key])
        labelled.append(replace(row, right_content=labels[*key, row.text]))
    return labelled
