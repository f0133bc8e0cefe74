"""Settings of teams that an experiment names: which of the trained agents each is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import Field

from mats_sql.choices import Regime
from mats_sql.config.regimes import is_own, known_regime, regime_label
from mats_sql.config.section import Section
from mats_sql.errors import ConfigError

SFT_TEAMS = ("planner", "validators", "sft")
"""What commands call the teams that are always there: PLANNER-only, VALIDATORS-no-fixer, SFT-VF."""

_TITLES = ("planner-only", "validators-no-fixer", "sft-vf")
_UNPREFERRED = ("none", "base", "sft")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class TeamMembers(Section):
    """One named team: which planner, validators, fixer and selector.

    `base` is the checkpoint that `models` names for the agent, as it is: a team of such agents needs no training and no
    train split. `NAME` is what the team is called in tables and by `evaluate` and `compare`.
    """

    planner: Literal["base", "sft", "orpo"] = Field(
        "sft", description="The given checkpoint, the SFT planner, or the one after ORPO on its own plans."
    )
    validators: str = Field("sft", description="none, base, sft, or the regime that they were trained under with ORPO.")
    fixer: Literal["none", "base", "sft", "orpo"] = Field(
        "sft", description="None, the given checkpoint, the line's own fixer, or that after ORPO on the line's pool."
    )
    selector: Literal["none", "base", "sft", "own"] = Field(
        "sft",
        description="None (the policy's rule alone picks), the given checkpoint, the line's selector, which learned "
        "from what the SFT validators write, or one that learned from what this team's validators and fixer write.",
    )

    @property
    def preferred(self) -> bool:
        """Whether an agent of it was trained with ORPO."""
        return "orpo" in (self.planner, self.fixer) or self.validators not in _UNPREFERRED

    @property
    def trained(self) -> bool:
        """Whether any agent of it is trained by the experiment."""
        members = (self.planner, self.validators, self.fixer, self.selector)
        return any(member not in ("none", "base") for member in members)

    @property
    def of_a_line(self) -> bool:
        """Whether more of it than its selector differs between lines."""
        return self.fixer not in ("none", "base") or self.validators not in _UNPREFERRED


def check_teams(teams: Mapping[str, TeamMembers], regimes: Iterable[str]) -> None:
    """Raise :class:`ValueError` for a name that is malformed or taken, and for agents that nothing trains."""
    labels = (regime_label(regime) for regime in regimes)
    taken = {name.lower() for name in (*SFT_TEAMS, *_TITLES, *Regime, *labels, "all")}
    for name, members in teams.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"a team's name must be letters, digits, - and _, but got {name!r} in teams; rename it")
        if name.lower() in taken:
            raise ValueError(f"a team's name must not be taken, but teams.{name} is; rename it")
        taken.add(name.lower())
        _check_validators(name, members.validators)
        if members.selector == "own" and "none" in (members.validators, members.fixer):
            raise ValueError(
                f"teams.{name}.selector must be none, base or sft in a team without validators or fixer, but got own; "
                "choose one, or give the team both"
            )


def _check_validators(name: str, trained: str) -> None:
    known = (*_UNPREFERRED, *Regime)
    if is_own(trained):
        try:
            known_regime(trained)
        except ConfigError as error:
            raise ValueError(f"teams.{name}.validators: {error}") from None
    elif trained not in known:
        raise ValueError(
            f"teams.{name}.validators must be one of {', '.join(known)}, or package.module:function, "
            f"but got {trained!r}; choose one"
        )
