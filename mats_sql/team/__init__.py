"""A team: how its agents work together (``flow``), what decides between their turns (``policy``), and its folder.

Gold-blind: nothing here imports gold, the teacher or the judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.team.flow import Fixes, FixKey, Task, Team, TeamAnswer, selector_request, selector_scores
    from mats_sql.team.folder import TeamSettings, agents_of, open_team, read_settings, write_team
    from mats_sql.team.policy import (
        PLAN,
        Candidate,
        join_fix,
        regate,
        select,
        selector_critiques,
        wants_fix,
        with_groups,
    )

__all__ = [
    "PLAN",
    "Candidate",
    "FixKey",
    "Fixes",
    "Task",
    "Team",
    "TeamAnswer",
    "TeamSettings",
    "agents_of",
    "join_fix",
    "open_team",
    "read_settings",
    "regate",
    "select",
    "selector_critiques",
    "selector_request",
    "selector_scores",
    "wants_fix",
    "with_groups",
    "write_team",
]

__getattr__ = Face(
    __name__,
    {
        "flow": ("FixKey", "Fixes", "Task", "Team", "TeamAnswer", "selector_request", "selector_scores"),
        "folder": ("TeamSettings", "agents_of", "open_team", "read_settings", "write_team"),
        "policy": (
            "Candidate",
            "PLAN",
            "join_fix",
            "regate",
            "select",
            "selector_critiques",
            "wants_fix",
            "with_groups",
        ),
    },
)
