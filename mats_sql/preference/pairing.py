"""Join chosen and rejected answers of one prompt to pairs: deduplicated, bounded per prompt, free of row order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from mats_sql.agents import VALIDATOR_MESSAGES, Messages, Validator, fixer_messages, planner_messages
from mats_sql.config import Policy
from mats_sql.preference.pair import PreferencePair
from mats_sql.preference.regimes import LabelledCritique, label_critiques
from mats_sql.rollout import FixRow, Pool, SelectorScores
from mats_sql.team import Task


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One labelled answer under one prompt; ``source`` names the pool row it came from.

    ``worth`` is a label (True: chosen, False: rejected) or a weight. ``kind`` says what sort of answer it is, where
    pairs of every sort shall have their turn.
    """

    group: str
    question_id: int
    prompt: Messages
    text: str
    source: str
    worth: bool | float
    kind: str = ""


def pair_answers(
    answers: Iterable[LabelledAnswer], *, agent: str, regime: str, max_pairs_per_prompt: int
) -> list[PreferencePair]:
    """Return pairs of an answer and one worth less of the same group, sorted by id.

    A text that occurs more than once in a group counts once; a text of different worth there (the same words led to
    different ends) is ambiguous and is left out. The best are paired with the worst first, of equal ones those of low
    sample indices, and each answer is used before any is used twice. Where answers have kinds, the kinds of pairs
    (chosen, rejected) that a group has take turns, so that the bound on pairs leaves none of them out.
    """
    pairs: list[PreferencePair] = []
    for group in _grouped(answers).values():
        for better, worse in _by_turns(_spread(_unambiguous(group)))[:max_pairs_per_prompt]:
            pairs.append(_pair(better, worse, agent, regime))
    return sorted(pairs, key=lambda pair: pair.pair_id)


def validator_pairs(
    pool: Pool,
    tasks: Mapping[int, Task],
    *,
    validator: Validator,
    regime: str,
    policy: Policy,
    max_pairs_per_prompt: int,
    scores: SelectorScores | None = None,
) -> list[PreferencePair]:
    """Return one validator's pairs under one regime.

    ``scores`` are the selector's, needed where :func:`~mats_sql.preference.regimes.replays_selector` holds.
    """
    labelled = label_critiques(pool, validator, regime, policy, scores)
    answers = (_critique_answer(item, tasks, validator) for item in labelled)
    return pair_answers(answers, agent=validator.value, regime=str(regime), max_pairs_per_prompt=max_pairs_per_prompt)


def planner_pairs(pool: Pool, tasks: Mapping[int, Task], *, max_pairs_per_prompt: int) -> list[PreferencePair]:
    """Return pairs of a correct against a wrong plan of the same question."""
    answers = (
        LabelledAnswer(
            group=str(plan.question_id),
            question_id=plan.question_id,
            prompt=planner_messages(tasks[plan.question_id].question, tasks[plan.question_id].schema_text),
            text=plan.text,
            source=plan.plan_id,
            worth=plan.correct,
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
            worth=fix.correct,
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
        worth=labelled.worth,
        # weights compare complaints with complaints too: pairs about the verdict must not crowd them out, or they those
        kind="" if isinstance(labelled.worth, bool) else critique.verdict.value,
    )


def _grouped(answers: Iterable[LabelledAnswer]) -> dict[str, list[LabelledAnswer]]:
    groups: dict[str, list[LabelledAnswer]] = {}
    for answer in sorted(answers, key=lambda answer: answer.source):
        groups.setdefault(answer.group, []).append(answer)
    return groups


def _unambiguous(group: Sequence[LabelledAnswer]) -> list[LabelledAnswer]:
    first: dict[tuple[Messages, str, bool | float], LabelledAnswer] = {}
    for answer in group:
        first.setdefault((answer.prompt, answer.text, answer.worth), answer)
    said = Counter((prompt, text) for prompt, text, _ in first)
    return [answer for (prompt, text, _), answer in first.items() if said[prompt, text] == 1]


def _spread(answers: Sequence[LabelledAnswer]) -> list[tuple[LabelledAnswer, LabelledAnswer]]:
    """Return all (better, worse) of different texts, each answer used once before any is used twice."""
    best = sorted(answers, key=lambda answer: -answer.worth)
    worst = sorted(answers, key=lambda answer: answer.worth)
    ranked = sorted(
        product(range(len(best)), range(len(worst))), key=lambda pair: (abs(pair[0] - pair[1]), pair[0], pair[1])
    )
    pairs = ((best[first], worst[second]) for first, second in ranked)
    return [(better, worse) for better, worse in pairs if better.worth > worse.worth and better.text != worse.text]


def _by_turns(
    pairs: Sequence[tuple[LabelledAnswer, LabelledAnswer]],
) -> list[tuple[LabelledAnswer, LabelledAnswer]]:
    """Return the pairs so that the kinds (better, worse) alternate, in the order in which they come first."""
    seen: Counter[tuple[str, str]] = Counter()
    kinds: dict[tuple[str, str], int] = {}
    turns = []
    for better, worse in pairs:
        kind = better.kind, worse.kind
        kinds.setdefault(kind, len(kinds))
        turns.append((seen[kind], kinds[kind]))
        seen[kind] += 1
    return [pair for _, pair in sorted(zip(turns, pairs, strict=True), key=lambda item: item[0])]


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
