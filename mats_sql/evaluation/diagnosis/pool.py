"""What a pool can teach: how many pairs each regime finds, whether their labels differ, what the fixer makes of them.

Pure functions over pool tables. A *bucket* is one reviewed SQL of one question with one validator's critiques of it:
what pairs are formed within. Only greedy fixes (sample 0) are read, as the regimes do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from mats_sql.agents import Validator, Verdict
from mats_sql.choices import Regime
from mats_sql.config import Policy
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.evaluation.diagnosis.fixer_sensitivity import FixerSensitivity, fixer_sensitivity
from mats_sql.evaluation.diagnosis.headroom import Headroom, headrooms
from mats_sql.evaluation.metrics import Confusion, Effect
from mats_sql.preference import LabelledAnswer, LabelledCritique, label_critiques, pair_answers
from mats_sql.rollout import FixRow, Pool, SelectorScores, cases

Labels = Mapping[str, Sequence[LabelledCritique]]


@dataclass(frozen=True, slots=True)
class PairYield:
    """How many pairs one regime forms for one validator from the first ``k`` samples of the pool.

    A bucket or question is informative when it gives at least one pair.
    """

    regime: str
    validator: Validator
    k: int
    pairs: int
    informative_questions: Proportion
    informative_buckets: Proportion

    @property
    def pairs_per_question(self) -> float:
        """Pairs over all questions of the pool, with or without pairs."""
        return self.pairs / self.informative_questions.total


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    """How two regimes label the same critiques; ``counts`` is keyed (chosen by first, chosen by second)."""

    validator: Validator
    first: str
    second: str
    counts: Mapping[tuple[bool, bool], int]

    @property
    def agreement(self) -> Proportion:
        """Share of critiques with the same label."""
        total = sum(self.counts.values())
        return Proportion(sum(count for (one, two), count in self.counts.items() if one == two), total)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond what the label rates give by chance; NaN when chance gives all."""
        total = sum(self.counts.values())
        first = sum(count for (one, _), count in self.counts.items() if one) / max(1, total)
        second = sum(count for (_, two), count in self.counts.items() if two) / max(1, total)
        chance = first * second + (1 - first) * (1 - second)
        return float("nan") if total == 0 or chance == 1 else (self.agreement.value - chance) / (1 - chance)


@dataclass(frozen=True, slots=True)
class GreedyFlow:
    """What becomes of one reviewed SQL under both greedy critiques; ``end_correct``: the policy ends right."""

    plan_correct: bool
    fix_correct: bool
    gate_open: bool
    end_correct: bool


@dataclass(frozen=True, slots=True)
class PoolDiagnosis:
    """Everything a pool says about the signal, before any training.

    ``always_fixed`` and ``gated`` are the greedy fix's rescues and harms when every SQL is fixed (data generation) and
    when the gate decides (inference). ``flow_disagreement`` is over critiques with a verdict: the two flows end
    differently in correctness. ``headrooms`` say what the best of the sampled critiques reach. ``confusions`` count all
    sampled verdicts against the judge.
    """

    questions: int
    plans: int
    k: int
    yields: tuple[PairYield, ...]
    agreements: tuple[LabelAgreement, ...]
    sensitivity: FixerSensitivity
    always_fixed: Effect
    gated: Effect
    gate_open: Proportion
    flow_disagreement: Proportion
    headrooms: tuple[Headroom, ...]
    confusions: Mapping[Validator, Confusion]

    @property
    def regimes(self) -> tuple[str, ...]:
        """The regimes that labelled the pool."""
        return tuple(dict.fromkeys(item.regime for item in self.yields))

    def yield_of(self, regime: str, k: int | None = None) -> float:
        """Return pairs per question of one regime, both validators together, at ``k`` (the largest unless given)."""
        wanted = self.k if k is None else k
        return sum(item.pairs_per_question for item in self.yields if item.regime == regime and item.k == wanted)


def diagnose_pool(
    pool: Pool,
    *,
    policy: Policy,
    max_pairs_per_prompt: int,
    scores: SelectorScores | None = None,
    swapped_fixes: Sequence[FixRow] = (),
    regimes: Sequence[str] = tuple(Regime),
) -> PoolDiagnosis:
    """Diagnose a pool.

    ``swapped_fixes`` are fixes of its plans under complaints about wrong SQL of *other* questions, if drawn.
    ``regimes`` are those that label it, all built-in ones among them; ``scores`` are the selector's of the pool, where
    the policy leaves it a choice between a plan and its fix.

    Raises :class:`StageInputError` when the pool has no critiques or no fixes.
    """
    if not pool.critiques or not pool.fixes:
        raise StageInputError("a diagnosis needs a pool with critiques and fixes, but one is empty; run rollout first")
    labels = {validator: _labels(pool, validator, regimes, policy, scores) for validator in Validator}
    flows = _greedy_flows(pool, policy, scores)
    return PoolDiagnosis(
        questions=len({plan.question_id for plan in pool.plans}),
        plans=len(pool.reviews()),
        k=pool.drawn,
        yields=pair_yields(
            pool, policy=policy, max_pairs_per_prompt=max_pairs_per_prompt, scores=scores, regimes=regimes
        ),
        agreements=tuple(item for validator in Validator for item in _agreements(validator, labels[validator])),
        sensitivity=fixer_sensitivity(pool, swapped_fixes),
        always_fixed=Effect.of((flow.plan_correct, flow.fix_correct) for flow in flows),
        gated=Effect.of((flow.plan_correct, flow.end_correct) for flow in flows),
        gate_open=Proportion.of(flow.gate_open for flow in flows),
        flow_disagreement=_flow_disagreement(labels.values()),
        headrooms=headrooms(pool, policy, scores),
        confusions={validator: _confusion(labels[validator][Regime.INDEP]) for validator in Validator},
    )


def pair_yields(
    pool: Pool,
    *,
    policy: Policy,
    max_pairs_per_prompt: int,
    scores: SelectorScores | None = None,
    regimes: Sequence[str] = tuple(Regime),
) -> tuple[PairYield, ...]:
    """Return the pairs of every regime, validator and prefix K from 2 on."""
    return tuple(
        _pair_yield(
            label_critiques(pool.prefix(k), validator, regime, policy, scores),
            validator,
            regime,
            k=k,
            questions=len({plan.question_id for plan in pool.prefix(k).plans}),
            max_pairs_per_prompt=max_pairs_per_prompt,
        )
        for regime in regimes
        for validator in Validator
        for k in range(2, pool.drawn + 1)
    )


def _labels(
    pool: Pool, validator: Validator, regimes: Sequence[str], policy: Policy, scores: SelectorScores | None
) -> dict[str, list[LabelledCritique]]:
    return {regime: label_critiques(pool, validator, regime, policy, scores) for regime in regimes}


def _pair_yield(
    labelled: Sequence[LabelledCritique],
    validator: Validator,
    regime: str,
    *,
    k: int,
    questions: int,
    max_pairs_per_prompt: int,
) -> PairYield:
    pairs = pair_answers(
        (_answer(item) for item in labelled),
        agent=validator.value,
        regime=str(regime),
        max_pairs_per_prompt=max_pairs_per_prompt,
    )
    buckets = {item.critique.critique_id: item.critique.review_id for item in labelled}
    return PairYield(
        regime,
        validator,
        k,
        len(pairs),
        Proportion(len({pair.question_id for pair in pairs}), questions),
        Proportion(len({buckets[pair.chosen_source] for pair in pairs}), len(set(buckets.values()))),
    )


def _answer(item: LabelledCritique) -> LabelledAnswer:
    critique = item.critique  # within a bucket the prompt is the same, so counting needs no text of it
    return LabelledAnswer(critique.review_id, critique.question_id, (), critique.text, critique.critique_id, item.worth)


def _agreements(validator: Validator, labels: Labels) -> list[LabelAgreement]:
    chosen = {regime: {item.critique.critique_id: item.chosen for item in items} for regime, items in labels.items()}
    found = []
    for first, second in combinations(labels, 2):
        counts: dict[tuple[bool, bool], int] = defaultdict(int)
        for identity, label in chosen[first].items():
            counts[label, chosen[second][identity]] += 1
        found.append(LabelAgreement(validator, first, second, dict(counts)))
    return found


def _greedy_flows(pool: Pool, policy: Policy, scores: SelectorScores | None) -> list[GreedyFlow]:
    """Return, per reviewed SQL, whether it and its greedy fix are correct, and what the policy makes of both."""
    greedy = (case for case in cases(pool, Validator.SELECT, scores) if case.critique.sample_index == 0)
    return [
        GreedyFlow(
            case.plan.correct,
            case.fix.correct,
            any(row.gate_open for row in case.candidates(policy)),
            case.ends_correct(policy),
        )
        for case in greedy
    ]


def _flow_disagreement(labels: Iterable[Labels]) -> Proportion:
    """COLLAB chooses by the fix, COLLAB_V2 by the inference flow: given a verdict, they differ where the flows do."""
    return Proportion.of(
        fixed.chosen != flowed.chosen
        for own in labels
        for fixed, flowed in zip(own[Regime.COLLAB], own[Regime.COLLAB_V2], strict=True)
        if fixed.critique.verdict is not Verdict.MISSING
    )


def _confusion(labelled: Iterable[LabelledCritique]) -> Confusion:
    return Counter((item.plan.correct, item.critique.verdict) for item in labelled)
