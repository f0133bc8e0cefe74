"""Paired comparisons of teams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.evaluation.comparison.comparisons import (
        ComparedTeam,
        Comparisons,
        compare_question_sets,
        read_comparisons,
        write_comparisons,
    )
    from mats_sql.evaluation.comparison.power import best_of_n_overstatement, power_notice

__all__ = [
    "ComparedTeam",
    "Comparisons",
    "best_of_n_overstatement",
    "compare_question_sets",
    "power_notice",
    "read_comparisons",
    "write_comparisons",
]

__getattr__ = Face(
    __name__,
    {
        "comparisons": (
            "ComparedTeam",
            "Comparisons",
            "compare_question_sets",
            "read_comparisons",
            "write_comparisons",
        ),
        "power": ("best_of_n_overstatement", "power_notice"),
    },
)
