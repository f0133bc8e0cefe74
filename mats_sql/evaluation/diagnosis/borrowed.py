"""True critiques of other questions' wrong plans: the control that tells whether a fixer reads what a critique says."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mats_sql.agents import Critique, Verdict
from mats_sql.seeds import derive_random

PlanKey = tuple[int, str]
"""(question id, SQL)"""


def borrowed_critiques(
    true: Mapping[PlanKey, tuple[Critique, ...]], wrong: Collection[PlanKey], seed: int
) -> dict[PlanKey, tuple[Critique, ...]]:
    """Return, for each plan, the true critiques of a wrong plan of another question, at least one of them a complaint.

    Which one depends on the seed, the plan and the wrong plans there are. A plan for which no other question has one is
    left out.
    """
    donors = sorted(key for key in wrong if any(critique.verdict is Verdict.INCORRECT for critique in true[key]))
    questions = {question_id for question_id, _ in donors}
    found = {}
    for key in true:
        if questions - {key[0]}:
            chance = derive_random(seed, "borrowed-critique", *key)
            donor = chance.choice(donors)
            while donor[0] == key[0]:
                donor = chance.choice(donors)
            found[key] = true[donor]
    return found
