"""Drop pairs until their verdicts balance: a validator that learned to complain less has not learned to say more.

A pair's verdict is that of its chosen critique. Pairs are dropped, never added or used twice, in the order of a digest
of what they say, so that neither their place nor the place of others decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mats_sql.agents import Validator, Verdict, parse_critique
from mats_sql.digests import digest_json
from mats_sql.preference.pair import PreferencePair


@dataclass(frozen=True, slots=True)
class VerdictMix:
    """How many of a validator's pairs choose a complaint (verdict incorrect), and how many do not."""

    incorrect: int
    correct: int

    @property
    def total(self) -> int:
        """All pairs."""
        return self.incorrect + self.correct

    @property
    def share(self) -> float:
        """The share that chooses a complaint; 0 without pairs."""
        return self.incorrect / max(1, self.total)


def verdict_mix(pairs: Sequence[PreferencePair]) -> VerdictMix:
    """Return the verdict mix of a validator's pairs."""
    complaints = sum(map(_complains, pairs))
    return VerdictMix(complaints, len(pairs) - complaints)


def balance_verdicts(pairs: Sequence[PreferencePair], *, seed: int) -> list[PreferencePair]:
    """Return the most pairs of which as many choose a complaint as do not, in the order given.

    Pairs of one verdict alone cannot be balanced and are kept.
    """
    return match_mix(pairs, VerdictMix(len(pairs), len(pairs)), seed=seed)


def match_mix(pairs: Sequence[PreferencePair], wanted: VerdictMix, *, seed: int) -> list[PreferencePair]:
    """Return the pairs kept of a validator's to have the wanted mix and at most the wanted number, in the order given.

    Where too few of a verdict are there, the number gives way and the mix stays, up to whole pairs; where none of a
    wanted verdict is there, the mix gives way and the number stays, as far as there are pairs.
    """
    kept = reachable(verdict_mix(pairs), wanted)
    ranked = sorted(pairs, key=lambda pair: digest_json([seed, pair.agent, pair.pair_id, pair.chosen, pair.rejected]))
    complaints = [pair.pair_id for pair in ranked if _complains(pair)][: kept.incorrect]
    approvals = [pair.pair_id for pair in ranked if not _complains(pair)][: kept.correct]
    ids = {*complaints, *approvals}
    return [pair for pair in pairs if pair.pair_id in ids]


def reachable(there: VerdictMix, wanted: VerdictMix) -> VerdictMix:
    """Return the largest part of the wanted mix, in its proportions, that what is there holds."""
    needed = [(there.incorrect, wanted.incorrect), (there.correct, wanted.correct)]
    part = min([Fraction(1), *(Fraction(have, want) for have, want in needed if want)])
    if part > 0:
        return VerdictMix(round(part * wanted.incorrect), round(part * wanted.correct))
    number = min(there.total, wanted.total)
    return VerdictMix(number, 0) if there.incorrect else VerdictMix(0, number)


def _complains(pair: PreferencePair) -> bool:
    return parse_critique(Validator(pair.agent), pair.chosen).verdict is Verdict.INCORRECT
