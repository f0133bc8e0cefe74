"""Where a collaborative signal is lost between the fixer's answers and the selected SQL.

``pool`` and ``fixer_sensitivity`` measure a pool, ``signal`` checks station after station, ``page`` tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.evaluation.diagnosis.page import causal_effects, diagnosis_page, pairs_by_k
    from mats_sql.evaluation.diagnosis.pool import PoolDiagnosis, diagnose_pool
    from mats_sql.evaluation.diagnosis.signal import Diagnosis, RegimeOutcome, TrainedRegimes, diagnose

__all__ = [
    "Diagnosis",
    "PoolDiagnosis",
    "RegimeOutcome",
    "TrainedRegimes",
    "causal_effects",
    "diagnose",
    "diagnose_pool",
    "diagnosis_page",
    "pairs_by_k",
]

__getattr__ = Face(
    __name__,
    {
        "page": ("causal_effects", "diagnosis_page", "pairs_by_k"),
        "pool": ("PoolDiagnosis", "diagnose_pool"),
        "signal": ("Diagnosis", "RegimeOutcome", "TrainedRegimes", "diagnose"),
    },
)
