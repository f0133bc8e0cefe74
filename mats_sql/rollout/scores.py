"""The selector's scores of a pool's candidates: what ``collab_v2`` needs where plan and fix both stay candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mats_sql.agents import Validator
from mats_sql.config import Policy
from mats_sql.generation import Engine
from mats_sql.rollout.pool import Pool, ScoreRow
from mats_sql.rollout.replay import ScoreKey, SelectorScores, cases
from mats_sql.team import Candidate, Task, selector_request, selector_scores


def score_pool(pool: Pool, tasks: Mapping[int, Task], policy: Policy, selector: Engine) -> list[ScoreRow]:
    """Return a score for every candidate that the policy's selector has to choose among, sorted by identity.

    The prompts are the team's own. Empty for a policy whose selector has no choice within one plan.
    """
    wanted: dict[ScoreKey, tuple[int, str, Candidate]] = {
        case.score_key(candidate): (case.plan.question_id, case.row(candidate).response, candidate)
        for validator in Validator
        for drawn in cases(pool, validator)
        for case in drawn.under_each_fix()
        for candidate in case.undecided(policy)
    }
    keys = sorted(wanted)
    requests = [
        selector_request(tasks[question_id].review(candidate.sql, response), candidate)
        for question_id, response, candidate in map(wanted.__getitem__, keys)
    ]
    return [
        ScoreRow(identity, wanted[identity, verdicts][0], verdicts, score)
        for (identity, verdicts), score in zip(keys, selector_scores(selector, requests), strict=True)
    ]


def scores_of(rows: Iterable[ScoreRow]) -> SelectorScores:
    """Return the scores by candidate, as labels look them up."""
    return {(row.review_id, row.verdicts): row.score for row in rows}
