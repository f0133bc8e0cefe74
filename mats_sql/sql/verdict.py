"""The verdict classes of the judge, and the three readings they exist under."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mats_sql.sql.execution import Outcome


class VerdictClass(StrEnum):
    """What the judge says of a candidate. Everything but ``CORRECT`` counts as not correct in EX."""

    CORRECT = "correct"
    WRONG = "wrong"
    ERROR = "error"
    TIMEOUT = "timeout"
    TOO_BIG = "too_big"
    REFUSED = "refused"
    GOLD_UNAVAILABLE = "gold_unavailable"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judge's answer for one candidate: a verdict per reading and the candidate's execution outcome."""

    official: VerdictClass
    multiset: VerdictClass
    ordered: VerdictClass
    outcome: Outcome

    @property
    def correct(self) -> bool:
        """Whether the candidate is correct under the official (primary) reading."""
        return self.official is VerdictClass.CORRECT
