"""The experiment's teacher: the one place where gold SQL becomes training answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mats_sql.config import GenerationSettings
from mats_sql.pipeline.workspace import Workspace
from mats_sql.teaching.teacher import RuleTeacher, Teacher


@contextmanager
def teacher(workspace: Workspace) -> Iterator[Teacher]:
    """Open the experiment's teacher; a large model's unusable answers are counted and told at the end.

    Raises :class:`~mats_sql.errors.EngineError` when the large model's server cannot be reached.
    """
    settings = workspace.experiment.teacher
    if settings.kind == "rules":
        yield RuleTeacher()
        return
    from mats_sql.generation.open import open_engine
    from mats_sql.teaching.large_model import LargeModelTeacher

    server = GenerationSettings(engine="openai", base_url=settings.base_url, api_key_variable=settings.api_key_variable)
    cache, counter = workspace.cache / "teacher.sqlite", workspace.progress.counter("taught")
    engine = open_engine(server, settings.model, cache=cache, on_drawn=counter)
    try:
        large = LargeModelTeacher(engine, max_new_tokens=settings.max_new_tokens)
        yield large
        if large.unusable:
            workspace.progress.note(f"  {large.unusable} of the teacher's answers were unusable and left out")
    finally:
        engine.close()
