"""A team: how its agents work together (``flow``), what decides between their turns (``policy``), what
they said (``transcript``), and its folder.

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
    from mats_sql.team.transcript import Spoken, Turn, spoken, turns

__all__ = [
    "PLAN",
    "Candidate",
    "FixKey",
    "Fixes",
    "Spoken",
    "Task",
    "Team",
    "TeamAnswer",
    "TeamSettings",
    "Turn",
    "agents_of",
    "join_fix",
    "open_team",
    "read_settings",
    "regate",
    "select",
    "selector_critiques",
    "selector_request",
    "selector_scores",
    "spoken",
    "turns",
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
        "transcript": ("Spoken", "Turn", "spoken", "turns"),
    },
)
