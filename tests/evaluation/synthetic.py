"""Judged candidates as an experiment would give them, drawn from a small model of planner, validators and fixer."""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.agents.critique import Verdict
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.seeds import derive_random
from mats_sql.sql.execution import Outcome
from mats_sql.sql.verdict import VerdictClass


def candidate(
    question_id: int = 1,
    sample_index: int = 0,
    origin: str = "plan",
    *,
    correct: bool = False,
    selected: bool = False,
    in_pool: bool = True,
    gate_open: bool = False,
    digest: str | None = None,
    outcome: Outcome = Outcome.ROWS,
    verdict: VerdictClass | None = None,
    select: Verdict = Verdict.MISSING,
    condition: Verdict = Verdict.MISSING,
    db_id: str = "shop",
    difficulty: str = "simple",
    score: float | None = None,
) -> JudgedCandidate:
    """Return one row; what is not given is the plainest choice."""
    judged = verdict or (VerdictClass.CORRECT if correct else VerdictClass.WRONG)
    return JudgedCandidate(
        question_id=question_id,
        db_id=db_id,
        difficulty=difficulty,
        sample_index=sample_index,
        origin=origin,
        sql=f"select {sample_index}",
        outcome=outcome,
        result_digest=("gold" if correct else "other") if digest is None else digest,
        verdict=judged,
        gate_open=gate_open,
        in_pool=in_pool,
        selected=selected,
        select_verdict=select,
        condition_verdict=condition,
        selector_score=score,
        group_size=1,
    )


@dataclass(frozen=True, slots=True)
class TeamShape:
    """How good a synthetic team is; all probabilities."""

    validator_skill: float = 0.7
    rescue: float = 0.15
    harm: float = 0.15
    selector_skill: float = 0.8
    keep_both: bool = False


def synthetic_team(seed: int, shape: TeamShape, *, questions: int = 400, k: int = 8) -> tuple[JudgedCandidate, ...]:
    """Return a whole evaluation. The plans depend on the question alone: teams share them, as real ones do."""
    return tuple(row for item in range(questions) for row in _question(seed, item, shape, k))


def _question(seed: int, question_id: int, shape: TeamShape, k: int) -> list[JudgedCandidate]:
    shared, own = derive_random(7, "plans", question_id), derive_random(seed, "team", question_id)
    ease = shared.betavariate(0.35, 0.3)
    place = {
        "db_id": f"database_{question_id % 11:02d}",
        "difficulty": ["simple", "moderate", "challenging"][min(2, int((1 - ease) * 3))],
    }
    drafts: list[dict[str, object]] = []
    for index in range(k):
        right = shared.random() < ease
        fails = not right and shared.random() < 0.2
        verdicts = {name: _verdict(own, right, shape.validator_skill) for name in ("select", "condition")}
        opened = fails or Verdict.INCORRECT in verdicts.values()
        plan = {"sample_index": index, "correct": right, "gate_open": opened, **verdicts}
        plan |= {"outcome": Outcome.ERROR if fails else Outcome.ROWS, "digest": "" if fails else None}
        plan |= {"verdict": VerdictClass.ERROR} if fails else {}
        drafts.append(plan | {"origin": "plan", "in_pool": not opened or shape.keep_both})
        if opened:
            fixed = own.random() > shape.harm if right else own.random() < shape.rescue * ease
            drafts.append({"sample_index": index, "origin": "fix", "correct": fixed, "gate_open": True, **verdicts})
    pool = [draft for draft in drafts if draft.get("in_pool", True)]
    scores = [own.gauss(shape.selector_skill if draft["correct"] else 0.0, 0.4) for draft in pool]
    for draft, score in zip(pool, scores, strict=True):
        draft |= {"score": score, "selected": score == max(scores)}
    return [candidate(question_id, **place, **draft) for draft in drafts]  # type: ignore[arg-type]


def _verdict(random, right: bool, skill: float) -> Verdict:  # type: ignore[no-untyped-def]
    if random.random() < 0.03:
        return Verdict.MISSING
    return Verdict.CORRECT if right == (random.random() < skill) else Verdict.INCORRECT
