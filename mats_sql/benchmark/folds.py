"""Cross-fitting: the plans that other agents learn from come from planners that never saw their questions.

A planner writes better SQL for the questions it was trained on than for new ones, so agents that learn from those
plans meet fewer and other errors than they will in a team. With ``rollout.folds`` of 2 or more, the train questions
are parted by database; the plans of each part are drawn by a planner trained on all other parts, which is used for
nothing else. Parting by database keeps what dev asks for: questions over a schema never trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mats_sql.errors import ConfigError
from mats_sql.seeds import derive_seed


def folds_of(database_of: Mapping[int, str], folds: int, seed: int) -> list[frozenset[int]]:
    """Return the question ids of each fold: whole databases, the folds as equal in questions as these allow.

    What fold a database falls into depends on the databases, their sizes and the seed, never on any order. Raises
    :class:`ConfigError` when there are fewer databases than folds.
    """
    sizes = Counter(database_of.values())
    if len(sizes) < folds:
        raise ConfigError(
            f"rollout.folds must not exceed the train databases, but it is {folds} with {len(sizes)} of them; lower it"
        )
    filled = [0] * folds
    fold_of: dict[str, int] = {}
    for database in sorted(sizes, key=lambda name: (-sizes[name], derive_seed(seed, "fold", name))):
        fold_of[database] = filled.index(min(filled))
        filled[fold_of[database]] += sizes[database]
    return [
        frozenset(question for question, database in database_of.items() if fold_of[database] == fold)
        for fold in range(folds)
    ]
