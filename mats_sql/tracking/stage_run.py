"""What a stage writes about itself while it computes: parameters, metrics, tables, figures and outputs."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param, RunTag

from mats_sql.errors import StageInputError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FLUSH_METRICS = 500
FLUSH_SECONDS = 5.0
MAX_PARAMETERS_PER_CALL = 100
MAX_METRICS_PER_CALL = 1000


@dataclass(frozen=True, slots=True)
class Output:
    """An output that a stage declared: it is stored when the stage ends."""

    name: str
    kind: ArtifactKind
    path: Path
    metadata: Mapping[str, str]


@dataclass(slots=True)
class StageRun:
    """The open run of a stage. ``work`` is its private folder, which outlives a kill; ``description`` is Markdown for
    the top of the run's page, written when the stage ends.

    Metrics are buffered: a call to a tracking server takes a tenth of a second, a training step less. A run that goes
    on after a kill is told its earlier steps again; MLflow would keep both, so each step of a metric is sent once.
    """

    store: Store
    run_id: str
    work: Path
    is_continued: bool = False
    description: str = ""
    outputs: dict[str, Output] = field(default_factory=dict)
    _pending: list[Metric] = field(default_factory=list)
    _steps: dict[str, set[int]] = field(default_factory=dict)
    _flushed_at: float = field(default_factory=time.monotonic)

    def log_params(self, parameters: Mapping[str, object]) -> None:
        """Record parameters; nested mappings get dotted names, long values are cut.

        A parameter that the run already has keeps its value: MLflow refuses to change one, and a continued run has
        logged the same, while a run made by ``mlflow run`` has the launch's own.
        """
        known = self.store.client.get_run(self.run_id).data.params
        params = [
            Param(names.key(key), names.capped(value, names.MAX_PARAMETER_CHARACTERS))
            for key, value in flattened(parameters)
            if names.key(key) not in known
        ]
        for start in range(0, len(params), MAX_PARAMETERS_PER_CALL):
            self.store.client.log_batch(self.run_id, params=params[start : start + MAX_PARAMETERS_PER_CALL])

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics, buffered: at a ``step`` as a point of a curve, which has one value, else as a single value.

        A value that is not finite is left out: charts and databases differ on it.
        """
        now = int(time.time() * 1000)
        finite = {names.key(key): float(value) for key, value in metrics.items() if math.isfinite(value)}
        new = {key: value for key, value in finite.items() if step is None or self._is_new(key, step)}
        self._pending += [Metric(key, value, now, step or 0) for key, value in new.items()]
        if len(self._pending) >= FLUSH_METRICS or time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send the buffered metrics."""
        for start in range(0, len(self._pending), MAX_METRICS_PER_CALL):
            self.store.client.log_batch(self.run_id, metrics=self._pending[start : start + MAX_METRICS_PER_CALL])
        self._pending.clear()
        self._flushed_at = time.monotonic()

    def tag(self, tags: Mapping[str, object]) -> None:
        """Set tags on the run."""
        pairs = [RunTag(names.key(key), names.capped(value, names.MAX_TAG_CHARACTERS)) for key, value in tags.items()]
        self.store.client.log_batch(self.run_id, tags=pairs)

    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """Record a table as ``<name>.json``, in the format that the UI shows and compares between runs."""
        file = f"{name}.json"
        with self._file(file) as path:
            table.to_json(path, orient="split", index=False, date_format="iso")
        tags = self.store.client.get_run(self.run_id).data.tags
        listed = json.loads(tags.get("mlflow.loggedArtifacts", "[]"))
        if {"path": file, "type": "table"} not in listed:
            self.tag({"mlflow.loggedArtifacts": json.dumps([*listed, {"path": file, "type": "table"}])})

    def log_figure(self, name: str, figure: Figure | Path) -> None:
        """Record a matplotlib figure as ``<name>.png``, or an image or HTML file under its own suffix."""
        suffix = figure.suffix if isinstance(figure, Path) else ".png"
        with self._file(f"{name}{suffix}") as path:
            if isinstance(figure, Path):
                path.write_bytes(figure.read_bytes())
            else:
                figure.savefig(str(path), dpi=150, bbox_inches="tight")

    def log_text(self, file: str, text: str) -> None:
        """Record a text file, e.g. ``report.md``."""
        with self._file(file) as path:
            path.write_text(text, "utf-8")

    def log_folder(self, folder: Path) -> None:
        """Record every file of a folder, e.g. a report and its figures, under the same names."""
        self.store.client.log_artifacts(self.run_id, str(folder))

    def output(self, name: str, kind: ArtifactKind, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        """Declare a file or folder as an output; it is stored when the stage ends and must not change after that."""
        if name in self.outputs:
            raise ValueError(f"an output's name must be its own, but {name!r} is declared twice")
        if not path.exists():
            raise StageInputError(f"an output must exist when it is declared, but {path} does not; run the stage again")
        self.outputs[name] = Output(name, ArtifactKind(kind), path, dict(metadata or {}))

    def _is_new(self, key: str, step: int) -> bool:
        """Return whether a metric has no value at a step yet, one from before a kill included."""
        if key not in self._steps:
            earlier = self.store.client.get_metric_history(self.run_id, key) if self.is_continued else []
            self._steps[key] = {metric.step for metric in earlier}
        if step in self._steps[key]:
            return False
        self._steps[key].add(step)
        return True

    @contextmanager
    def _file(self, artifact: str) -> Iterator[Path]:
        folder, _, name = artifact.rpartition("/")
        with tempfile.TemporaryDirectory(dir=self.work) as temporary:
            path = Path(temporary) / name
            yield path
            self.store.client.log_artifact(self.run_id, str(path), folder or None)


def flattened(parameters: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted name, value) for every leaf of nested mappings."""
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
