"""What a reader sees: tables for terminal, Markdown and CSV, plots, and the pages of a comparison and an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.evaluation.report.controls import PairSet, control_table, pair_table
    from mats_sql.evaluation.report.costs import PointCost, StageCost, cost_table, point_table
    from mats_sql.evaluation.report.document import Block, Code, Document
    from mats_sql.evaluation.report.figures import GREY, INK, new_figure, plain_axes
    from mats_sql.evaluation.report.flips import Asked, Flip, flips_between
    from mats_sql.evaluation.report.gaps_page import comparison_page
    from mats_sql.evaluation.report.page import ReportParts, experiment_page
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
    from mats_sql.evaluation.report.tables import Cell, ResultTable
    from mats_sql.evaluation.report.terminal import print_tables
    from mats_sql.evaluation.report.waterfall import Step, Waterfall

__all__ = [
    "GREY",
    "INK",
    "Asked",
    "Block",
    "Cell",
    "Code",
    "Document",
    "EvaluatedTeam",
    "Flip",
    "PairSet",
    "PointCost",
    "ReportParts",
    "ResultTable",
    "RewardAccuracy",
    "StageCost",
    "Step",
    "Waterfall",
    "comparison_page",
    "comparison_table",
    "confusion_figure",
    "control_table",
    "cost_table",
    "experiment_page",
    "flips_between",
    "gap_forest",
    "measure",
    "new_figure",
    "pair_table",
    "pass_at_k",
    "plain_axes",
    "point_table",
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
        "costs": ("PointCost", "StageCost", "cost_table", "point_table"),
        "document": ("Block", "Code", "Document"),
        "page": ("ReportParts", "experiment_page"),
        "figures": ("GREY", "INK", "new_figure", "plain_axes"),
        "flips": ("Asked", "Flip", "flips_between"),
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
        "tables": ("Cell", "ResultTable"),
        "terminal": ("print_tables",),
        "waterfall": ("Step", "Waterfall"),
    },
)
