"""Join chosen and rejected answers of one prompt to pairs: deduplicated, bounded per prompt, free of row order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from mats_sql.agents import VALIDATOR_MESSAGES, Messages, Validator, fixer_messages, planner_messages
from mats_sql.choices import Regime
from mats_sql.config import Policy
from mats_sql.preference.pair import PreferencePair
from mats_sql.preference.regimes import LabelledCritique, label_critiques
from mats_sql.rollout import FixRow, Pool, SelectorScores
from mats_sql.team import Task


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One labelled answer under one prompt; ``source`` names the pool row it came from."""

    group: str
    question_id: int
    prompt: Messages
    text: str
    source: str
    chosen: bool


def pair_answers(
    answers: Iterable[LabelledAnswer], *, agent: str, regime: str, max_pairs_per_prompt: int
) -> list[PreferencePair]:
    """Return pairs of a chosen and a rejected answer of the same group, sorted by id.

    A text that occurs more than once in a group counts once; a text that is both chosen and rejected there (the same
    words led to different ends) is ambiguous and is left out. Pairs of low sample indices come first, and each
    answer is used before any is used twice.
    """
    pairs: list[PreferencePair] = []
    for group in _grouped(answers).values():
        chosen, rejected = _unambiguous(group)
        for better, worse in _spread(chosen, rejected)[:max_pairs_per_prompt]:
            pairs.append(_pair(better, worse, agent, regime))
    return sorted(pairs, key=lambda pair: pair.pair_id)


def validator_pairs(
    pool: Pool,
    tasks: Mapping[int, Task],
    *,
    validator: Validator,
    regime: Regime,
    policy: Policy,
    max_pairs_per_prompt: int,
    scores: SelectorScores | None = None,
) -> list[PreferencePair]:
    """Return one validator's pairs under one regime.

    ``scores`` are the selector's, needed where :func:`~mats_sql.preference.regimes.replays_selector` holds.
    """
    labelled = label_critiques(pool, validator, regime, policy, scores)
    answers = (_critique_answer(item, tasks, validator) for item in labelled)
    return pair_answers(answers, agent=validator.value, regime=regime.value, max_pairs_per_prompt=max_pairs_per_prompt)


def planner_pairs(pool: Pool, tasks: Mapping[int, Task], *, max_pairs_per_prompt: int) -> list[PreferencePair]:
    """Return pairs of a correct against a wrong plan of the same question."""
    answers = (
        LabelledAnswer(
            group=str(plan.question_id),
            question_id=plan.question_id,
            prompt=planner_messages(tasks[plan.question_id].question, tasks[plan.question_id].schema_text),
            text=plan.text,
            source=plan.plan_id,
            chosen=plan.correct,
        )
        for plan in pool.plans
    )
    return pair_answers(answers, agent="planner", regime="execution", max_pairs_per_prompt=max_pairs_per_prompt)


def fixer_pairs(
    pool: Pool, tasks: Mapping[int, Task], *, joint: bool, max_pairs_per_prompt: int
) -> list[PreferencePair]:
    """Return the fixer's pairs: a correct against a wrong fix of the same SQL.

    Without ``joint`` both fixes were made under the same feedback. With it, the correct fix keeps its own prompt and
    the wrong fix its own, so that the feedback itself is part of what is preferred. A fix that keeps a correct SQL
    after a false alarm is correct, hence chosen.
    """
    reviews = pool.reviews()

    def answer(fix: FixRow) -> LabelledAnswer:
        plan = reviews[fix.review_id]
        review = tasks[fix.question_id].review(plan.sql, plan.response)
        return LabelledAnswer(
            group=fix.review_id if joint else f"{fix.review_id}|{fix.feedback}",
            question_id=fix.question_id,
            prompt=fixer_messages(review, fix.feedback),
            text=fix.text,
            source=fix.fix_id,
            chosen=fix.correct,
        )

    answers = (answer(fix) for fix in pool.fixes if fix.review_id in reviews)
    return pair_answers(
        answers,
        agent="fixer",
        regime="joint" if joint else "same",
        max_pairs_per_prompt=max_pairs_per_prompt,
    )


def hold_out(
    pairs: Sequence[PreferencePair], share: float, rank: Callable[[int], float]
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Return (training pairs, evaluation pairs), parted by question: no question is on both sides.

    ``rank`` maps a question id to a number in [0, 1); questions ranked below ``share`` are held out.
    """
    train = [pair for pair in pairs if rank(pair.question_id) >= share]
    held_out = [pair for pair in pairs if rank(pair.question_id) < share]
    return train, held_out


def _critique_answer(labelled: LabelledCritique, tasks: Mapping[int, Task], validator: Validator) -> LabelledAnswer:
    plan, critique = labelled.plan, labelled.critique
    review = tasks[critique.question_id].review(plan.sql, plan.response)
    return LabelledAnswer(
        group=critique.review_id,
        question_id=critique.question_id,
        prompt=VALIDATOR_MESSAGES[validator](review),
        text=critique.text,
        source=critique.critique_id,
        chosen=labelled.chosen,
    )


def _grouped(answers: Iterable[LabelledAnswer]) -> dict[str, list[LabelledAnswer]]:
    groups: dict[str, list[LabelledAnswer]] = {}
    for answer in sorted(answers, key=lambda answer: answer.source):
        groups.setdefault(answer.group, []).append(answer)
    return groups


def _unambiguous(group: Sequence[LabelledAnswer]) -> tuple[list[LabelledAnswer], list[LabelledAnswer]]:
    first: dict[tuple[Messages, str, bool], LabelledAnswer] = {}
    for answer in group:
        first.setdefault((answer.prompt, answer.text, answer.chosen), answer)
    kept = [answer for (prompt, text, label), answer in first.items() if (prompt, text, not label) not in first]
    return [answer for answer in kept if answer.chosen], [answer for answer in kept if not answer.chosen]


def _spread(
    chosen: Sequence[LabelledAnswer], rejected: Sequence[LabelledAnswer]
) -> list[tuple[LabelledAnswer, LabelledAnswer]]:
    """Return all (chosen, rejected) of different texts, each answer used once before any is used twice."""
    ranked = sorted(
        product(range(len(chosen)), range(len(rejected))), key=lambda pair: (abs(pair[0] - pair[1]), pair[0], pair[1])
    )
    pairs = ((chosen[first], rejected[second]) for first, second in ranked)
    return [(better, worse) for better, worse in pairs if better.text != worse.text]


def _pair(better: LabelledAnswer, worse: LabelledAnswer, agent: str, regime: str) -> PreferencePair:
    return PreferencePair(
        pair_id=f"{better.source}>{worse.source}",
        agent=agent,
        regime=regime,
        question_id=better.question_id,
        chosen_prompt=better.prompt,
        rejected_prompt=worse.prompt,
        chosen=better.text,
        rejected=worse.text,
        chosen_source=better.source,
        rejected_source=worse.source,
    )
