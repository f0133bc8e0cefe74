"""What every stage shares: the experiment, the tracking store, the command's run, and what is costly to open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from mats_sql.config import Experiment
from mats_sql.file_digests import DIGESTS_FILE
from mats_sql.generation import Engine
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.questions import cache_folder

if TYPE_CHECKING:
    from mats_sql.sql import Judge, SqlExecutor
    from mats_sql.tracking import Artifact, StageKey, StageResult, StageRun, Store

TRAININGS = ("pretrain", "sft", "orpo")
"""The stages beside whose curves the machine's load is shown."""


@dataclass(frozen=True, slots=True)
class OverlongPrompt:
    """A prompt that an agent's engine refused because it exceeds ``generation.max_prompt_tokens``: it has no answer."""

    agent: str
    item_id: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What a process of the same command has done so far: stages by fingerprint, new versions, reused runs by title.

    ``engine_starts`` are those since it was asked before, for the stage that draws in parts.
    """

    results: Mapping[str, StageResult]
    registered: tuple[str, ...]
    reused: Mapping[str, str]
    engine_starts: int


@dataclass(slots=True)
class Workspace:
    """One process's view of an experiment. Use as a context manager: leaving it ends workers and kept models.

    ``command`` is the run of the entry point, under which the stages' runs are nested; ``protocol`` is the digest that
    they bear, once `prepare` has drawn the validation split.
    """

    experiment: Experiment
    store: Store
    progress: Progress
    command: StageRun | None = None
    registered: list[str] = field(default_factory=list)
    protocol: str = ""
    _results: dict[str, StageResult] = field(default_factory=dict)
    _overlong: list[OverlongPrompt] = field(default_factory=list)
    _engine_starts: list[int] = field(default_factory=list)
    _noted: set[tuple[str, str]] = field(default_factory=set)
    _open: ExitStack = field(default_factory=ExitStack)
    _executor: SqlExecutor | None = None
    _judge: Judge | None = None

    def __enter__(self) -> Workspace:
        from mats_sql.generation import LOADED

        self._open.enter_context(LOADED.keeping())
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def writes(self) -> bool:
        """Whether stages run and the registry is written; a dry run only looks."""
        return True

    @property
    def cache(self) -> Path:
        """The folder of caches that may be deleted at any time."""
        return cache_folder(self.experiment)

    @property
    def asked(self) -> tuple[StageResult, ...]:
        """Every stage that this command asked for, computed or reused, in order."""
        return tuple(self._results.values())

    def note_protocol(self, digest: str) -> None:
        """Write a protocol's digest on the command's run, and on those of the stages that begin after this."""
        from mats_sql.tracking import note_protocol

        self.protocol = digest
        if self.command is not None and (self.command.run_id, digest) not in self._noted:
            note_protocol(self.store, self.command.run_id, digest)
            self._noted.add((self.command.run_id, digest))

    def executor(self) -> SqlExecutor:
        """Return the process's SQL executor, started at first use."""
        if self._executor is None:
            from mats_sql.sql import SqlExecutor

            settings = self.experiment.sql
            self._executor = self._open.enter_context(
                SqlExecutor(settings.limits, settings.workers, cluster=self.experiment.cluster)
            )
        return self._executor

    def judge(self) -> Judge:
        """Return the process's judge."""
        if self._judge is None:
            from mats_sql.sql import Judge

            digests, counter = self.cache / DIGESTS_FILE, self.progress.counter("judged")
            judge = Judge(self.executor(), self.cache / "judge", digests=digests, on_judged=counter)
            self._judge = self._open.enter_context(judge)
        return self._judge

    def within(self, experiment: Experiment, command: StageRun | None) -> Workspace:
        """Return a view with another experiment and parent run that shares workers and finished stages."""
        self.judge()
        return replace(self, experiment=experiment, command=command)

    def finished(self) -> Finished:
        """Return what this process has done, for the command's own process to :meth:`learn`."""
        reused = self.store.reused[self.command.run_id] if self.command else {}
        starts = sum(self._engine_starts)
        self._engine_starts.clear()
        return Finished(dict(self._results), tuple(self.registered), dict(reused), starts)

    def learn(self, other: Finished) -> None:
        """Take over what another process of the same command has done."""
        self._results |= other.results
        self._engine_starts.append(other.engine_starts)
        self.registered += [version for version in other.registered if version not in self.registered]
        if self.command is not None:
            self.store.reused[self.command.run_id] |= other.reused

    def look(self, run: StageRun) -> int:
        """Count a look at the final set and write its number on the run; return it.

        A command looks once, however many of its stages show the final set; what is reused shows nothing new.
        """
        from mats_sql.tracking import count_look, note_look

        look = count_look(self.store, (self.command or run).run_id)
        note_look(self.store, run.run_id, look)
        run.log_metrics({"looks": look})
        return look

    @contextmanager
    def engine(self, agent: str, checkpoint: Path) -> Iterator[Engine]:
        """Open an agent's engine, with the experiment's completion cache.

        It is bound to the checkpoint, or to the agent's server where the settings give it one. A checkpoint is loaded
        at the first draw that the cache does not answer; the stage's metric ``engine_starts`` counts how often.
        """
        from mats_sql.generation import open_engine

        cache = self.cache / "completions.sqlite"
        settings = self.experiment.generation.of_agent(agent)
        engine = open_engine(
            settings,
            checkpoint,
            cache=cache,
            on_drawn=self.progress.counter("drawn"),
            cluster=self.experiment.cluster,
        )
        try:
            yield engine
        finally:
            self._engine_starts.append(engine.starts)
            self._overlong += [OverlongPrompt(agent, item_id) for item_id in engine.overlong]
            engine.close()

    def run(
        self,
        key: StageKey,
        *,
        title: str,
        settings: Mapping[str, object],
        inputs: Mapping[str, Artifact],
        compute: Callable[[StageRun], None],
        tags: Mapping[str, str] | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> StageResult:
        """Run a stage once per process; a FINISHED run of the same fingerprint is reused.

        ``parameters`` are only shown: they are not in the fingerprint.
        """
        from mats_sql.tracking import Stage, protocol_tags, run_stage

        resolved = {name: plain(value) for name, value in settings.items()}
        stage = Stage(key, title, resolved, inputs, {**(tags or {}), **protocol_tags(self.protocol)}, parameters or {})
        if stage.fingerprint not in self._results:
            started = time.monotonic()
            self.progress.started(title)
            parent = self.command.run_id if self.command else None
            try:
                result = run_stage(self.store, stage, lambda run: self._compute(run, key, compute), parent=parent)
            finally:
                self.progress.stopped()
            self.progress.finished(title, result.run_id, time.monotonic() - started, reused=result.reused)
            self._register(key, result, tags or {})
            self._results[stage.fingerprint] = result
        return self._results[stage.fingerprint]

    def _compute(self, run: StageRun, key: StageKey, compute: Callable[[StageRun], None]) -> None:
        """Compute a stage and tell how often its engines started and which prompts were too long for their model."""
        self._overlong.clear()
        self._engine_starts.clear()
        from mats_sql.tracking import system_metrics

        with system_metrics(run, self.experiment.system_metrics_s if key.name in TRAININGS else 0):
            compute(run)
        if self._engine_starts:
            run.log_metrics({"engine_starts": sum(self._engine_starts)})
        if self._overlong:
            self._tell_overlong(run)

    def _tell_overlong(self, run: StageRun) -> None:
        import pandas as pd

        count, limit = len(self._overlong), self.experiment.generation.max_prompt_tokens
        run.log_metrics({"overlong_prompts": count})
        run.log_table("overlong_prompts", pd.DataFrame(self._overlong))
        self.progress.note(
            f"  {count} prompt{'s' if count > 1 else ''} over generation.max_prompt_tokens={limit} had no answer; "
            "the run's table overlong_prompts names them; raise it"
        )

    def _register(self, key: StageKey, result: StageResult, tags: Mapping[str, str]) -> None:
        """Give every model and dataset of a stage its version in the registry: a new one for new content only."""
        from mats_sql.tracking import ArtifactKind, register, registered_name

        for output in result.outputs.values():
            if output.kind is ArtifactKind.REPORT:
                continue
            own_name = (
                output.metadata.get("agent", output.name) if output.kind.is_model else f"{key.name}.{output.name}"
            )
            name = registered_name(self.experiment.name, output.kind, own_name)
            version = register(self.store, output, name, {"stage": key.name, **tags})
            if version.is_new:
                self.registered.append(str(version))


def plain(value: object) -> object:
    """Return a setting as JSON: sections become mappings, paths and enums text."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return dict(value) if isinstance(value, Mapping) else value
