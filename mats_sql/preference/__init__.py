"""From a pool to preference pairs: the regimes label critiques, the pairing joins them within one prompt.

``labelling`` names which pairs a validator learns from, controls included; ``balance`` drops pairs for the controls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.preference.balance import VerdictMix, balance_verdicts, match_mix, verdict_mix
    from mats_sql.preference.labelling import (
        Labelling,
        balanced_control,
        labelling_of,
        labellings,
        labellings_named,
        matched_control,
        treatments,
    )
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
    "Labelling",
    "PreferencePair",
    "VerdictMix",
    "balance_verdicts",
    "balanced_control",
    "fixer_pairs",
    "hold_out",
    "label_critiques",
    "labelling_of",
    "labellings",
    "labellings_named",
    "match_mix",
    "matched_control",
    "pair_answers",
    "planner_pairs",
    "replays_selector",
    "treatments",
    "validator_pairs",
    "verdict_mix",
]

__getattr__ = Face(
    __name__,
    {
        "balance": ("VerdictMix", "balance_verdicts", "match_mix", "verdict_mix"),
        "labelling": (
            "Labelling",
            "balanced_control",
            "labelling_of",
            "labellings",
            "labellings_named",
            "matched_control",
            "treatments",
        ),
        "pair": ("PreferencePair",),
        "pairing": ("LabelledAnswer", "fixer_pairs", "hold_out", "pair_answers", "planner_pairs", "validator_pairs"),
        "regimes": ("LabelledCritique", "label_critiques", "replays_selector"),
    },
)
