"""Where a collaborative signal is lost on its way from the fixer's answers to the selected SQL.

The way has stations, in this order; each has one check with a documented threshold. When the treatment's selector EX
does not rise, the first failing station is named:

1. *fixer*: its fix must change with the critique, and true critiques must repair more than none (from the ladder);
2. *critiques*: right verdicts must make right fixes likelier. Where the fixer listens and they do not, it is their
   words: the ladder says how many complaints ask for the right thing;
3. *flow* (regime ``collab`` only): data generation must end as inference does;
4. *labels*: the regime must label otherwise than INDEP does;
5. *pairs*: enough questions must give a pair;
6. *training*: held-out pairs must be ranked well (each regime's on its own labels, so not compared with INDEP's);
7. *inference*: the fixer must net more correct SQL (rescues - harms) than under INDEP's critiques;
8. *pool*: the oracle must rise with it;
9. *selector*: and what is picked must rise with the oracle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mats_sql.agents import Validator
from mats_sql.choices import Regime
from mats_sql.config import regime_label
from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.diagnosis.ladder import Ladder, PlanGroup
from mats_sql.evaluation.diagnosis.ladder_rows import CritiqueKind
from mats_sql.evaluation.diagnosis.pool import PoolDiagnosis
from mats_sql.evaluation.metrics import TeamMetrics

MINIMUM_CHANGED = 0.20
"""Share of plans with differing feedback whose fix must differ: below, critiques hardly reach the fixer's output."""
MINIMUM_REPAIRED = 0.10
"""Of wrong plans, how many more the fixer must repair under the teacher's true critique than under none."""
MINIMUM_EFFECT = 0.05
"""How much likelier a correct fix must be under a right verdict on the same plan; its interval must exclude 0 too."""
MAXIMUM_FLOW_DISAGREEMENT = 0.10
"""Share of critiques on which data generation and inference may end differently."""
MAXIMUM_AGREEMENT = 0.98
"""Above this share of equal labels a regime teaches what INDEP teaches."""
MINIMUM_INFORMATIVE = 0.10
"""Share of questions that must give a pair to at least one validator."""
MINIMUM_REWARD_ACCURACY = 0.60
"""Ten points above guessing on held-out pairs."""
MINIMUM_NET_GAIN = 0.005
"""Of all samples, how many more the fixer must net under the treatment's critiques."""
MINIMUM_RISE = 0.005
"""Half a point: the least rise of oracle or selector EX that counts as one."""


class Station(StrEnum):
    """Where the signal can be lost, in order."""

    FIXER = "the fixer"
    CRITIQUES = "the validators' critiques"
    FLOW = "the step from data generation to inference"
    LABELS = "the labels"
    PAIRS = "pair formation"
    TRAINING = "ORPO training"
    INFERENCE = "the fixer at inference"
    POOL = "the pool"
    SELECTOR = "the selector"


@dataclass(frozen=True, slots=True)
class RegimeOutcome:
    """A trained team: its regime, its metrics, and its validators' reward accuracies on held-out pairs (fractions).

    The metrics are those of one training seed; how far teams differ over all seeds only a comparison says.
    """

    regime: str
    metrics: TeamMetrics
    reward_accuracy: Mapping[Validator, float]


@dataclass(frozen=True, slots=True)
class TrainedRegimes:
    """Two trained teams and their gap at selector EX (treatment - baseline), as `compare` found it."""

    baseline: RegimeOutcome
    treatment: RegimeOutcome
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Signal:
    """What is known before preference training: the pool, and the ladder of the team that drew it, where there is one.

    Without a ladder nothing says whether the fixer would follow true critiques.
    """

    pool: PoolDiagnosis
    ladder: Ladder | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one station: what was found in words, and whether the signal gets through."""

    station: Station
    passed: bool
    finding: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks in order, and the sentence that names where the signal is lost.

    ``lost_at`` is the first station whose check fails; None when none fails or when selector EX rises all the same.
    """

    regime: str
    signal: Signal
    checks: tuple[Check, ...]
    trained: TrainedRegimes | None
    lost_at: Station | None
    sentence: str


def diagnose(signal: Signal, regime: str, trained: TrainedRegimes | None = None) -> Diagnosis:
    """Diagnose one collaborative regime against INDEP; without trained teams only what the pool and the ladder show.

    The gap and whether it is distinguishable are read from the comparison and computed nowhere else, so that this page
    and the comparison's say the same.
    """
    checks = list(_pool_checks(signal, regime))
    if trained is None:
        failed = _first_failed(checks)
        sentence = _pool_sentence(regime, failed)
    else:
        checks += _team_checks(trained)
        weakest = _first_failed(checks)
        sentence = _team_sentence(regime, weakest, trained)
        failed = weakest if trained.comparison.difference < MINIMUM_RISE else None
    return Diagnosis(regime, signal, tuple(checks), trained, failed.station if failed else None, sentence)


def _pool_checks(signal: Signal, regime: str) -> Iterator[Check]:
    pool = signal.pool
    yield _changed(pool)
    if signal.ladder is not None and signal.ladder.rungs:
        yield _repaired(signal.ladder)
    yield _effect(pool, signal.ladder)
    if regime == Regime.COLLAB:
        share = pool.flow_disagreement
        finding = f"data generation and inference end differently for {share.percent}% of critiques"
        yield Check(
            Station.FLOW, share.value <= MAXIMUM_FLOW_DISAGREEMENT, _at_most(finding, MAXIMUM_FLOW_DISAGREEMENT)
        )
    for agreement in _agreement_with_indep(pool, regime):
        finding = f"{regime_label(regime)} and indep give {100 * agreement:.1f}% of critiques the same label"
        yield Check(Station.LABELS, agreement <= MAXIMUM_AGREEMENT, _at_most(finding, MAXIMUM_AGREEMENT))
    last = [item for item in pool.yields if item.regime == regime and item.k == pool.k]
    informative = max((item.informative_questions.value for item in last), default=0.0)
    finding = (
        f"{100 * informative:.1f}% of questions give a pair at K = {pool.k}, {pool.yield_of(regime):.2f} pairs per "
        f"question against indep's {pool.yield_of(Regime.INDEP):.2f}"
    )
    yield Check(Station.PAIRS, informative >= MINIMUM_INFORMATIVE, _at_least(finding, MINIMUM_INFORMATIVE))


def _changed(pool: PoolDiagnosis) -> Check:
    share = pool.sensitivity.changed_given_feedback
    finding = f"the fix changes for {share.percent}% of plans whose feedback differs"
    return Check(Station.FIXER, share.value >= MINIMUM_CHANGED, _at_least(finding, MINIMUM_CHANGED))


def _repaired(ladder: Ladder) -> Check:
    true, none = (ladder.rung(PlanGroup.WRONG, kind).proportion for kind in (CritiqueKind.TRUE, CritiqueKind.NONE))
    finding = f"the fixer repairs {true.percent}% of wrong plans under true critiques, {none.percent}% under none"
    passed = true.value - none.value >= MINIMUM_REPAIRED
    return Check(Station.FIXER, passed, _at_least(finding, MINIMUM_REPAIRED, " pp more"))


def _effect(pool: PoolDiagnosis, ladder: Ladder | None) -> Check:
    effect = pool.sensitivity.right_wrong
    passed = effect.difference >= MINIMUM_EFFECT and not effect.interval.low <= 0
    finding = (
        f"a correct fix is {effect.shown} likelier under a critique with the right verdict than under one with the "
        "wrong verdict on the same plan"
    )
    content = _content(ladder) if ladder is not None else ""
    return Check(Station.CRITIQUES, passed, content + _at_least(finding, MINIMUM_EFFECT, " pp, its interval above 0"))


def _content(ladder: Ladder) -> str:
    """Return how many complaints about wrong plans ask for the right thing, by validator, as the head of a finding."""
    shares = [(seen.validator, seen.content[PlanGroup.WRONG].proportion) for seen in ladder.validators]
    told = " and ".join(f"{share.percent}% ({name})" for name, share in shares if share.total)
    return f"{told} of complaints about wrong plans have the right content, and " if told else ""


def _agreement_with_indep(pool: PoolDiagnosis, regime: str) -> list[float]:
    """Return the validators' joint share of equal labels; empty for INDEP itself."""
    own = [item.agreement for item in pool.agreements if {item.first, item.second} == {Regime.INDEP, regime}]
    total = sum(share.total for share in own)
    return [sum(share.count for share in own) / total] if total else []


def _team_checks(trained: TrainedRegimes) -> Iterator[Check]:
    baseline, treatment, selector_gap = trained.baseline, trained.treatment, trained.comparison.difference
    rewards = [value for value in treatment.reward_accuracy.values() if not math.isnan(value)]
    if rewards:
        finding = f"the better validator ranks {100 * max(rewards):.1f}% of its held-out pairs rightly"
        passed = max(rewards) >= MINIMUM_REWARD_ACCURACY
        yield Check(Station.TRAINING, passed, _at_least(finding, MINIMUM_REWARD_ACCURACY))
    gain = net_gain(treatment.metrics) - net_gain(baseline.metrics)
    finding = f"the fixer nets {100 * gain:+.2f} pp of samples more than under {regime_label(baseline.regime)}"
    yield Check(Station.INFERENCE, gain >= MINIMUM_NET_GAIN, _at_least(finding, MINIMUM_NET_GAIN, " pp"))
    before, after = baseline.metrics.scores, treatment.metrics.scores
    oracle = after.oracle_pass_at_k.value - before.oracle_pass_at_k.value
    # More right candidates for a question that had one can raise what is picked without raising the oracle.
    passed = max(oracle, selector_gap) >= MINIMUM_RISE
    yield Check(Station.POOL, passed, _at_least(f"the oracle moves {100 * oracle:+.2f} pp", MINIMUM_RISE, " pp"))
    finding = f"selector EX moves {100 * selector_gap:+.2f} pp"
    yield Check(Station.SELECTOR, selector_gap >= MINIMUM_RISE, _at_least(finding, MINIMUM_RISE, " pp"))


def net_gain(metrics: TeamMetrics) -> float:
    """Return the fixer's rescues - harms as a fraction of all samples."""
    return metrics.fixer_all_samples.rescues.value - metrics.fixer_all_samples.harms.value


def _first_failed(checks: Iterable[Check]) -> Check | None:
    return next((check for check in checks if not check.passed), None)


def _pool_sentence(regime: str, failed: Check | None) -> str:
    name = regime_label(regime).upper()
    if failed is None:
        return f"{name}: nothing is lost up to the pairs; whether it reaches selector EX needs teams."
    return f"{name}: the signal is lost at {failed.station}: {failed.finding}."


def _team_sentence(regime: str, failed: Check | None, trained: TrainedRegimes) -> str:
    comparison, name = trained.comparison, regime_label(regime).upper()
    found = "distinguishable from 0" if comparison.distinguishable else "not distinguishable from 0"
    moved = f"{100 * comparison.difference:+.2f} pp at selector EX over {regime_label(trained.baseline.regime)}"
    weakest = f"; the first weak point is {failed.station}: {failed.finding}" if failed else ""
    if comparison.difference < MINIMUM_RISE and failed is not None:
        return f"{name}: the signal is lost at {failed.station}: {failed.finding} ({moved}, {found})."
    if not comparison.distinguishable:
        if math.isnan(comparison.minimal_detectable_effect):
            return f"{name}: {moved} is {found}, as both are right on the same questions{weakest}."
        seen = f"{100 * comparison.minimal_detectable_effect:.1f} pp are needed to see an effect in four of five tries"
        return f"{name}: {moved} is {found} ({seen}){weakest}."
    return f"{name}: the signal arrives ({moved}, {found}){weakest}."


def _at_least(finding: str, threshold: float, unit: str = "%") -> str:
    return f"{finding} (wanted: at least {100 * threshold:g}{unit})"


def _at_most(finding: str, threshold: float) -> str:
    return f"{finding} (wanted: at most {100 * threshold:g}%)"
