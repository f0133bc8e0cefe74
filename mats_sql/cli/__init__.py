"""The command line: one group `mats-sql`, one command per entry point.

``stages`` has the group and the stages of an experiment, ``inquiries`` what is no stage. What all of them share is in
:mod:`mats_sql.command`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.cli.inquiries import doctor, judge
    from mats_sql.cli.stages import (
        commands,
        compare,
        diagnose,
        evaluate,
        main,
        orpo,
        pairs,
        prepare,
        pretrain,
        promote,
        report,
        rollout,
        search,
        sft,
    )

__all__ = [
    "commands",
    "compare",
    "diagnose",
    "doctor",
    "evaluate",
    "judge",
    "main",
    "orpo",
    "pairs",
    "prepare",
    "pretrain",
    "promote",
    "report",
    "rollout",
    "search",
    "sft",
]

__getattr__ = Face(
    __name__,
    {
        "stages": (
            "commands",
            "compare",
            "diagnose",
            "evaluate",
            "main",
            "orpo",
            "pairs",
            "prepare",
            "pretrain",
            "promote",
            "report",
            "rollout",
            "search",
            "sft",
        ),
        "inquiries": ("doctor", "judge"),
    },
)
