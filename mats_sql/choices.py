"""The named choices of an experiment, light enough for a command's ``--help``."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Regime(StrEnum):
    """The built-in rules that turn a pool into preference pairs (DESIGN.md, section 4)."""

    INDEP = "indep"
    COLLAB = "collab"
    COLLAB_V2 = "collab_v2"
    STRICT = "strict"
    ADVANTAGE = "advantage"
    CONTENT = "content"


class Balance(StrEnum):
    """What of a regime's pairs is kept: all, as many complaints as approvals chosen, or what another regime has."""

    NONE = "none"
    VERDICT = "verdict"
    MATCH = "match"


class PreferredAgent(StrEnum):
    """Whom preference pairs are made for."""

    VALIDATORS = "validators"
    PLANNER = "planner"
    FIXER = "fixer"


class SeedsVary(StrEnum):
    """What a seed of an experiment varies, from the least to the most: each holds those before it."""

    ORPO = "orpo"
    POOL = "pool"
    ALL = "all"

    @property
    def covered(self) -> str:
        """What numbers over such seeds cover, in words."""
        return {"orpo": "ORPO seeds", "pool": "seeds of pool and ORPO", "all": "seeds of SFT, pool and ORPO"}[self]

    @staticmethod
    def narrowest(found: Iterable[SeedsVary]) -> SeedsVary:
        """Return the one that varies the least: what may be claimed of all."""
        return min(found, key=list(SeedsVary).index)


class FixerCritique(StrEnum):
    """What the fixer's SFT examples carry as feedback: one identical critique, or each its own."""

    FIXED = "fixed"
    AWARE = "aware"


class Gate(StrEnum):
    """When a SQL is sent to the fixer."""

    ON_ERROR = "on_error"
    ON_COMPLAINT = "on_complaint"
    ALWAYS = "always"


class PoolRule(StrEnum):
    """Whether a fix replaces the plan's SQL among the candidates or joins it."""

    REPLACE = "replace"
    KEEP_BOTH = "keep_both"


class SelectorRule(StrEnum):
    """Who picks among the candidates."""

    TRAINED = "trained"
    MAJORITY = "majority"
    FIRST = "first"
