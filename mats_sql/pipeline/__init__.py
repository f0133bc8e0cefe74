"""One page with the order of the whole experiment (``experiment``), and one module per stage.

A stage takes the outputs of others and asks for nothing: what it reads, what it computes, what it writes. The page
asks; what is finished is reused, what is not is computed, so every entry point works alone. ``commands`` says what each
entry point asks of the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.pipeline.ask import AskRequest, ask_team
    from mats_sql.pipeline.base_models import base_folder
    from mats_sql.pipeline.commands import (
        build_pairs,
        compare_named,
        diagnose_lines,
        draw_pools,
        evaluate_teams,
        judge_candidates,
        prepare_questions,
        show_ladders,
        show_lineage,
        train_preferred,
        train_supervised,
    )
    from mats_sql.pipeline.judge import JudgeRequest
    from mats_sql.pipeline.main import run_experiment
    from mats_sql.pipeline.plan import plan_experiment, plan_report, plan_search
    from mats_sql.pipeline.pretrain import pretrain_base
    from mats_sql.pipeline.progress import Progress, result_console
    from mats_sql.pipeline.promote import promote_team, roll_back_champion
    from mats_sql.pipeline.questions import DEV, QuestionRow
    from mats_sql.pipeline.replicates import seeds_of, supervised_seeds
    from mats_sql.pipeline.report import report_experiment
    from mats_sql.pipeline.search_workers import help_search, search_regimes
    from mats_sql.pipeline.untrained import untrained_shape
    from mats_sql.pipeline.workspace import Workspace

__all__ = [
    "DEV",
    "AskRequest",
    "JudgeRequest",
    "Progress",
    "QuestionRow",
    "Workspace",
    "ask_team",
    "base_folder",
    "build_pairs",
    "compare_named",
    "diagnose_lines",
    "draw_pools",
    "evaluate_teams",
    "help_search",
    "judge_candidates",
    "plan_experiment",
    "plan_report",
    "plan_search",
    "prepare_questions",
    "pretrain_base",
    "promote_team",
    "report_experiment",
    "result_console",
    "roll_back_champion",
    "run_experiment",
    "search_regimes",
    "seeds_of",
    "show_ladders",
    "show_lineage",
    "supervised_seeds",
    "train_preferred",
    "train_supervised",
    "untrained_shape",
]

__getattr__ = Face(
    __name__,
    {
        "ask": ("AskRequest", "ask_team"),
        "base_models": ("base_folder",),
        "commands": (
            "build_pairs",
            "compare_named",
            "diagnose_lines",
            "draw_pools",
            "evaluate_teams",
            "judge_candidates",
            "prepare_questions",
            "show_ladders",
            "show_lineage",
            "train_preferred",
            "train_supervised",
        ),
        "judge": ("JudgeRequest",),
        "main": ("run_experiment",),
        "plan": ("plan_experiment", "plan_report", "plan_search"),
        "pretrain": ("pretrain_base",),
        "progress": ("Progress", "result_console"),
        "promote": ("promote_team", "roll_back_champion"),
        "questions": ("DEV", "QuestionRow"),
        "replicates": ("seeds_of", "supervised_seeds"),
        "search_workers": ("help_search", "search_regimes"),
        "untrained": ("untrained_shape",),
        "report": ("report_experiment",),
        "workspace": ("Workspace",),
    },
)
