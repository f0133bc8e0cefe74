"""How often anybody has looked at the final set: each look makes a later "improvement" on it less believable."""

from __future__ import annotations

from mats_sql.tracking import names
from mats_sql.tracking.lock import exclusive
from mats_sql.tracking.store import Store


def count_look(store: Store, run_id: str) -> int:
    """Count a run's look at the final set on the experiment, and return which look it was, from 1.

    A run looks once: counting it again, after a kill or a reuse, returns the same number.
    """
    with exclusive(store.work_dir / "locks" / f"looks-{store.experiment_id}.lock", "the count of looks"):
        known = store.run(run_id).data.tags.get(names.FINAL_SET_LOOK)
        if known is not None:
            return int(known)
        look = looks_so_far(store) + 1
        store.client.set_experiment_tag(store.experiment_id, names.FINAL_SET_LOOKS, str(look))
        note_look(store, run_id, look)
        return look


def note_look(store: Store, run_id: str, look: int) -> None:
    """Write on a run in which look it was made."""
    store.client.set_tag(run_id, names.FINAL_SET_LOOK, str(look))


def looks_so_far(store: Store) -> int:
    """Return how many looks at the final set the experiment has had."""
    return int(store.client.get_experiment(store.experiment_id).tags.get(names.FINAL_SET_LOOKS, "0"))
