"""Which station of a team is weakest, and where a collaborative signal is lost on its way to the selected SQL.

The ladder: ``ladder_rows`` is what a team's plans came to under each kind of critiques (``borrowed`` ones among them,
``error_signs`` says what a response shows), ``gates`` what perfect parts would give, ``ladder`` counts both and names
the weakest, ``ladder_report`` shows it. The signal: ``pool`` and ``fixer_sensitivity`` measure a pool, ``signal``
checks station after station, ``page`` tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.evaluation.diagnosis.borrowed import PlanKey, borrowed_critiques
    from mats_sql.evaluation.diagnosis.error_signs import error_sign
    from mats_sql.evaluation.diagnosis.gates import FixedAnswers, Maker, gated, gates_of
    from mats_sql.evaluation.diagnosis.ladder import Ladder, ladder_of, read_ladder, write_ladder
    from mats_sql.evaluation.diagnosis.ladder_report import ladder_page, ladder_tables
    from mats_sql.evaluation.diagnosis.ladder_rows import (
        CritiqueKind,
        LadderCritique,
        LadderFix,
        LadderPlan,
        LadderRows,
    )
    from mats_sql.evaluation.diagnosis.page import causal_effects, diagnosis_page, pairs_by_k
    from mats_sql.evaluation.diagnosis.pool import PoolDiagnosis, diagnose_pool
    from mats_sql.evaluation.diagnosis.signal import Diagnosis, RegimeOutcome, Signal, TrainedRegimes, diagnose

__all__ = [
    "CritiqueKind",
    "Diagnosis",
    "FixedAnswers",
    "Ladder",
    "LadderCritique",
    "LadderFix",
    "LadderPlan",
    "LadderRows",
    "Maker",
    "PlanKey",
    "PoolDiagnosis",
    "RegimeOutcome",
    "Signal",
    "TrainedRegimes",
    "borrowed_critiques",
    "causal_effects",
    "diagnose",
    "diagnose_pool",
    "diagnosis_page",
    "error_sign",
    "gated",
    "gates_of",
    "ladder_of",
    "ladder_page",
    "ladder_tables",
    "pairs_by_k",
    "read_ladder",
    "write_ladder",
]

__getattr__ = Face(
    __name__,
    {
        "borrowed": ("PlanKey", "borrowed_critiques"),
        "error_signs": ("error_sign",),
        "gates": ("FixedAnswers", "Maker", "gated", "gates_of"),
        "ladder": ("Ladder", "ladder_of", "read_ladder", "write_ladder"),
        "ladder_report": ("ladder_page", "ladder_tables"),
        "ladder_rows": ("CritiqueKind", "LadderCritique", "LadderFix", "LadderPlan", "LadderRows"),
        "page": ("causal_effects", "diagnosis_page", "pairs_by_k"),
        "pool": ("PoolDiagnosis", "diagnose_pool"),
        "signal": ("Diagnosis", "RegimeOutcome", "Signal", "TrainedRegimes", "diagnose"),
    },
)
