"""Whether two teams differ on the same questions: paired gaps with intervals, tests, power, and their one file.

``comparisons`` makes and keeps them, ``comparison`` is one of them, ``statistics`` computes it from ``paired`` runs
with ``intervals`` and ``significance``; ``survival`` says what controls leave of it, ``power`` beforehand what can be
seen, ``bootstrap`` how often resamples reach a margin, ``ruling`` what may be claimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.evaluation.comparison.comparison import Comparison
    from mats_sql.evaluation.comparison.comparisons import (
        ComparedControl,
        ComparedTeam,
        Comparisons,
        compare_question_sets,
        read_comparisons,
        write_comparisons,
    )
    from mats_sql.evaluation.comparison.power import best_of_n_overstatement, power_notice
    from mats_sql.evaluation.comparison.ruling import Finding, Ruling, rulings

__all__ = [
    "ComparedControl",
    "ComparedTeam",
    "Comparison",
    "Comparisons",
    "Finding",
    "Ruling",
    "best_of_n_overstatement",
    "compare_question_sets",
    "power_notice",
    "read_comparisons",
    "rulings",
    "write_comparisons",
]

__getattr__ = Face(
    __name__,
    {
        "comparison": ("Comparison",),
        "comparisons": (
            "ComparedControl",
            "ComparedTeam",
            "Comparisons",
            "compare_question_sets",
            "read_comparisons",
            "write_comparisons",
        ),
        "power": ("best_of_n_overstatement", "power_notice"),
        "ruling": ("Finding", "Ruling", "rulings"),
    },
)
