"""A stage runs once per fingerprint: an equal one that is finished and intact is reused, a killed one continues."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
from mlflow.entities import Run

from mats_sql.digests import digest_json, digest_tree
from mats_sql.errors import MatsError, PromotionRefused, StageInputError, StageStopped, TrackingError, TrainingError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import Artifact, ArtifactRecord, parse_records, records_text
from mats_sql.tracking.commit import code_commit
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.inputs import log_inputs
from mats_sql.tracking.lock import exclusive, first_free
from mats_sql.tracking.model_metrics import show_on_models
from mats_sql.tracking.models import publish_model
from mats_sql.tracking.publish import fetch, keep_copy, local_folder, publish
from mats_sql.tracking.runs import close_run, drop_if_empty, open_run
from mats_sql.tracking.stage_run import Output, StageRun
from mats_sql.tracking.store import Store

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageKey:
    """A stage's name, as its entry point, and the version of its meaning: raise it when the outputs would change."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Stage:
    """One piece of work. ``settings`` are those that decide its outputs, ``inputs`` go by the role they play in it.

    ``parameters`` are shown beside the settings, and in the place of one of the same name; they decide nothing.
    ``title`` is the run's name. ``reusable`` is false for a stage that only calls others (``main``): it always runs,
    and the others are reused one by one. ``concurrent`` is true for one that several processes do at once, each in a
    run of its own (``search``): it waits for no other, while the stages that it calls still run once.
    """

    key: StageKey
    title: str
    settings: Mapping[str, object] = field(default_factory=dict)
    inputs: Mapping[str, Artifact] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    reusable: bool = True
    concurrent: bool = False

    @property
    def fingerprint(self) -> str:
        """The digest of everything that decides the outputs."""
        return digest_json(
            {
                "stage": self.key.name,
                "version": self.key.version,
                "settings": dict(self.settings),
                "inputs": {role: artifact.digest for role, artifact in self.inputs.items()},
            }
        )

    @property
    def folder_name(self) -> str:
        """The name of the stage's work folder and lock."""
        return f"{self.key.name}-{self.fingerprint[:16]}"


@dataclass(frozen=True, slots=True)
class StageResult:
    """A finished run, its verified outputs and its last metrics. ``reused`` says that nothing was computed."""

    run_id: str
    outputs: Mapping[str, Artifact]
    metrics: Mapping[str, float]
    reused: bool


def run_stage(
    store: Store, stage: Stage, compute: Callable[[StageRun], None], *, parent: str | None = None
) -> StageResult:
    """Return the result of a finished run with this fingerprint, computing it when there is none.

    The run is nested under the run ``parent``; without one it is the run that ``mlflow run`` made, if any. It is
    FINISHED only after all outputs are stored; an exception makes it FAILED and passes on, an interrupt or
    :class:`~mats_sql.errors.StageStopped` KILLED. What
    ``compute`` leaves in ``run.work`` outlives a kill, and the next start of the same stage finds it there.
    """
    remedy = "check the tracking server and start again; finished stages are reused"
    with (
        _held(store, stage) as folder,
        tracking_failures(f"stage {stage.title!r} must be able to write to its store", remedy),
    ):
        found = finished_result(store, stage) if stage.reusable else None
        if found is None:
            return _computed(store, stage, compute, parent, store.work_dir / "stages" / folder)
        launched = None if parent else store.take_launched_run()
        caller = parent or launched
        if caller is not None:
            store.reused[caller][stage.title] = found.run_id
        if launched is not None:
            store.client.update_run(launched, name=stage.title)
            store.describe(launched)
        return found


@contextmanager
def _held(store: Store, stage: Stage) -> Iterator[str]:
    """Hold a stage's lock, or the first free one of a stage that several do at once; yield its work folder's name."""
    locks = store.work_dir / "locks"
    if stage.concurrent:
        with first_free(locks, stage.folder_name) as name:
            yield name
    else:
        with exclusive(locks / f"{stage.folder_name}.lock", f"stage {stage.title!r}"):
            yield stage.folder_name


def finished_result(store: Store, stage: Stage) -> StageResult | None:
    """Return the result of the finished and intact run that a stage would reuse, if there is one."""
    return _finished(store, stage.fingerprint)


def load_result(store: Store, run_id: str) -> StageResult:
    """Return a finished run's verified outputs and metrics.

    Raises :class:`TrackingError` for an unknown run, :class:`StageInputError` when it is not finished or damaged.
    """
    run = store.run(run_id)
    if run.info.status != "FINISHED":
        raise StageInputError(f"a run must be FINISHED, but {run_id} is {run.info.status}; run its stage again")
    return _result(store, run)


def read_records(run: Run, name: str) -> dict[str, ArtifactRecord]:
    """Return a run's recorded inputs or outputs by role; raises :class:`StageInputError` when it has none."""
    root = run.info.artifact_uri
    local = local_folder(root)
    source = f"{name} of run {run.info.run_id}"
    try:
        with tracking_failures(f"{source} must be readable", "give the run of a stage that finished", OSError):
            text = (local / name).read_text("utf-8") if local else mlflow.artifacts.load_text(f"{root}/{name}")
    except TrackingError as error:
        raise StageInputError(str(error)) from None
    return parse_records(text, source)


def _finished(store: Store, fingerprint: str) -> StageResult | None:
    runs = store.client.search_runs(
        store.experiment_ids,
        f"tags.`{names.FINGERPRINT}` = '{fingerprint}' AND attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=5,
    )
    for run in runs:
        if names.DAMAGED in run.data.tags:
            continue
        try:
            return _result(store, run)
        except StageInputError as error:
            _logger.warning("computing again: %s", error)
            store.client.set_tag(run.info.run_id, names.DAMAGED, names.capped(error, names.MAX_TAG_CHARACTERS))
    return None


def _result(store: Store, run: Run) -> StageResult:
    records = read_records(run, names.OUTPUTS_FILE)
    outputs = {name: fetch(store, record) for name, record in records.items()}
    return StageResult(run.info.run_id, outputs, dict(run.data.metrics), reused=True)


def _computed(
    store: Store, stage: Stage, compute: Callable[[StageRun], None], parent: str | None, folder: Path
) -> StageResult:
    note, is_continued = folder / "run_id", (folder / "work").exists()
    run = StageRun(store, open_run(store, stage.title, _tags(stage), parent, note), folder / "work", is_continued)
    started = time.monotonic()
    try:
        run.work.mkdir(parents=True, exist_ok=True)
        _record_inputs(run, stage)
        compute(run)
        outputs = _publish(run)
        run.log_metrics({names.SECONDS: time.monotonic() - started})
        run.flush()
        show_on_models(run, outputs.values())
        metrics = dict(run.store.client.get_run(run.run_id).data.metrics)
        store.describe(run.run_id, run.description)
    except BaseException as error:
        if _is_mistake(stage, error) and drop_if_empty(store, run.run_id):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            close_run(store, run.run_id, error)
        raise
    close_run(store, run.run_id, None)
    shutil.rmtree(folder, ignore_errors=True)
    return StageResult(run.run_id, outputs, metrics, reused=False)


def _is_mistake(stage: Stage, error: BaseException) -> bool:
    """Return whether a command, which computes nothing itself, was refused for what its user asked of it.

    What it found on the way (a gate, data that train nothing) is a result, and its run the record of it.
    """
    found = PromotionRefused | StageStopped | TrainingError
    return not stage.reusable and isinstance(error, MatsError) and not isinstance(error, found)


def _tags(stage: Stage) -> dict[str, str]:
    tags = {names.STAGE: stage.key.name, names.STAGE_VERSION: str(stage.key.version), names.COMMIT: code_commit()}
    if stage.reusable:
        tags[names.FINGERPRINT] = stage.fingerprint
    return tags | dict(stage.tags)


def _record_inputs(run: StageRun, stage: Stage) -> None:
    run.log_params({**stage.settings, **stage.parameters})
    records = {role: ArtifactRecord.of(artifact, role) for role, artifact in stage.inputs.items()}
    run.log_text(names.INPUTS_FILE, records_text(records))
    log_inputs(run.store, run.run_id, stage.inputs.items())


def _publish(run: StageRun) -> dict[str, Artifact]:
    """Store every declared output, then the list of them: a run with a list has all it lists."""
    root = run.store.client.get_run(run.run_id).info.artifact_uri
    records = {output.name: _publish_one(run, output, root) for output in run.outputs.values()}
    run.log_text(names.OUTPUTS_FILE, records_text(records))
    return {
        name: keep_copy(run.store, record, run.outputs[name].path, owned=_is_owned(run, run.outputs[name]))
        for name, record in records.items()
    }


def _is_owned(run: StageRun, output: Output) -> bool:
    """Return whether nobody will write to an output any more: it lies in the run's own work folder."""
    return output.path.resolve().is_relative_to(run.work.resolve())


def _publish_one(run: StageRun, output: Output, root: str) -> ArtifactRecord:
    digest = digest_tree(output.path)
    record = ArtifactRecord(output.name, output.name, output.kind, digest, run.run_id, "", "", output.metadata)
    owned = _is_owned(run, output)
    if output.kind.is_model:
        return publish_model(run.store, record, output.path, owned=owned)
    uri = publish(output.path, root, f"{names.OUTPUTS_FOLDER}/{output.name}", owned=owned)
    return ArtifactRecord(output.name, output.name, output.kind, digest, run.run_id, uri, "", output.metadata)
