"""What a reader sees: tables for a terminal of any width, Markdown and CSV, plots, and the page of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.evaluation.report.controls import PairSet, control_table, pair_table
    from mats_sql.evaluation.report.figures import GREY, INK, new_figure, plain_axes
    from mats_sql.evaluation.report.gaps_page import comparison_page
    from mats_sql.evaluation.report.plots import (
        confusion_figure,
        gap_forest,
        pass_at_k,
        selector_by_seed,
        team_bars,
        verdict_confusion,
    )
    from mats_sql.evaluation.report.results import (
        EvaluatedTeam,
        RewardAccuracy,
        comparison_table,
        measure,
        result_tables,
        reward_table,
        seed_table,
        stage_table,
        verdict_table,
    )
    from mats_sql.evaluation.report.tables import ResultTable
    from mats_sql.evaluation.report.terminal import print_tables

__all__ = [
    "GREY",
    "INK",
    "EvaluatedTeam",
    "PairSet",
    "ResultTable",
    "RewardAccuracy",
    "comparison_page",
    "comparison_table",
    "confusion_figure",
    "control_table",
    "gap_forest",
    "measure",
    "new_figure",
    "pair_table",
    "pass_at_k",
    "plain_axes",
    "print_tables",
    "result_tables",
    "reward_table",
    "seed_table",
    "selector_by_seed",
    "stage_table",
    "team_bars",
    "verdict_confusion",
    "verdict_table",
]

__getattr__ = Face(
    __name__,
    {
        "controls": ("PairSet", "control_table", "pair_table"),
        "figures": ("GREY", "INK", "new_figure", "plain_axes"),
        "gaps_page": ("comparison_page",),
        "plots": ("confusion_figure", "gap_forest", "pass_at_k", "selector_by_seed", "team_bars", "verdict_confusion"),
        "results": (
            "EvaluatedTeam",
            "RewardAccuracy",
            "comparison_table",
            "measure",
            "result_tables",
            "reward_table",
            "seed_table",
            "stage_table",
            "verdict_table",
        ),
        "tables": ("ResultTable",),
        "terminal": ("print_tables",),
    },
)
