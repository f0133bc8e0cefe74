"""The SFT planner: the first agent, whose plans the others learn from."""

from __future__ import annotations

from collections.abc import Sequence

from mats_sql.config import Experiment
from mats_sql.pipeline.course import Course, train
from mats_sql.pipeline.cross_fitting import train_folds
from mats_sql.pipeline.data import TRAIN, read_split
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.teaching import teacher
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout.sample import Source
from mats_sql.teaching.example import SftExample
from mats_sql.teaching.sft_examples import planner_examples
from mats_sql.tracking.stage import StageResult


def sft_planner(workspace: Workspace, *, without_fold: int | None = None) -> StageResult:
    """Return the SFT planner (`model`), or one that learns from all but a fold of the train questions."""
    experiment = workspace.experiment
    questions = prepare(workspace).outputs["questions"]

    def examples() -> Sequence[SftExample]:
        source = _without(experiment, train_source(experiment, questions), without_fold)
        schemas = read_split(experiment, TRAIN).schemas
        tasks = source.tasks.values()
        texts = {task.question.question_id: task.schema_text for task in tasks}
        with teacher(workspace) as opened:
            return planner_examples(
                [task.question for task in tasks],
                lambda question: texts[question.question_id],
                source.golds,
                schemas,
                opened,
            )

    tags = {} if without_fold is None else {"without_fold": f"{without_fold + 1} of {experiment.rollout.folds}"}
    return train(workspace, Course("planner", experiment.models.planner, {"questions": questions}, examples, tags))


def _without(experiment: Experiment, source: Source, fold: int | None) -> Source:
    if fold is None:
        return source
    return source.part(source.tasks.keys() - train_folds(experiment, source)[fold])
