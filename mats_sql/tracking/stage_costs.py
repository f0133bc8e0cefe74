"""What the last finished run of a stage took: the rate from which a dry run says what the next would cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlflow.entities import FileInfo

from mats_sql.tracking import names
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.stage import Stage
from mats_sql.tracking.store import Store

_Listing = Callable[[str | None], list[FileInfo]]

_ALIKE = ("agent", "part")
"""Tags that decide what a stage costs: whom it trains, how many questions it asks."""


@dataclass(frozen=True, slots=True)
class MeasuredCost:
    """What a finished run took: wall seconds, the tokens that it logged (``None``: none), bytes in the store."""

    run_id: str
    seconds: float
    tokens: float | None
    bytes: int


def latest_cost(store: Store, stage: Stage) -> MeasuredCost | None:
    """Return the cost of the last finished run of the same stage, agent and part in the store; ``None`` without one.

    Its settings may be others: nothing is scaled.
    """
    alike = {names.STAGE: stage.key.name} | {name: stage.tags[name] for name in _ALIKE if name in stage.tags}
    wanted = " AND ".join(f"tags.`{name}` = '{value}'" for name, value in alike.items())
    with tracking_failures("finished runs must be readable", "check the tracking server and start again"):
        found = store.client.search_runs(
            store.experiment_ids,
            f"{wanted} AND attributes.status = 'FINISHED' AND metrics.`{names.SECONDS}` >= 0",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        if not found:
            return None
        (run,) = found
        models = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
        size = sum(_sizes(lambda path: store.client.list_artifacts(run.info.run_id, path)))
        size += sum(sum(_sizes(_listing(store, model))) for model in dict.fromkeys(models))
    metrics = run.data.metrics
    return MeasuredCost(run.info.run_id, metrics[names.SECONDS], metrics.get("tokens"), size)


def _listing(store: Store, model_id: str) -> _Listing:
    return lambda path: store.client.list_logged_model_artifacts(model_id, path)


def _sizes(listed: _Listing, path: str | None = None) -> Iterator[int]:
    """Yield the size of every file below a path."""
    for entry in listed(path):
        if entry.is_dir:
            yield from _sizes(listed, entry.path)
        else:
            yield entry.file_size or 0
