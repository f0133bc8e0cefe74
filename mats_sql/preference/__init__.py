"""From a pool to preference pairs: the regimes label critiques, the pairing joins them within one prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.preference.pair import PreferencePair
    from mats_sql.preference.pairing import (
        LabelledAnswer,
        fixer_pairs,
        hold_out,
        pair_answers,
        planner_pairs,
        validator_pairs,
    )
    from mats_sql.preference.regimes import LabelledCritique, label_critiques, replays_selector

__all__ = [
    "LabelledAnswer",
    "LabelledCritique",
    "PreferencePair",
    "fixer_pairs",
    "hold_out",
    "label_critiques",
    "pair_answers",
    "planner_pairs",
    "replays_selector",
    "validator_pairs",
]

__getattr__ = Face(
    __name__,
    {
        "pair": ("PreferencePair",),
        "pairing": ("LabelledAnswer", "fixer_pairs", "hold_out", "pair_answers", "planner_pairs", "validator_pairs"),
        "regimes": ("LabelledCritique", "label_critiques", "replays_selector"),
    },
)
