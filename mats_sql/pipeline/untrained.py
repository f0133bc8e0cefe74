"""`untrained`: make the checkpoint with random weights that ``models`` calls ``untrained``.

Reads the questions table and the train prompts (the dev prompts where there is no train split). Trains a tokenizer on
them, draws weights. Writes the ``model``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mats_sql.agents import PLANNER, PROMPT_VERSIONS, planner_messages
from mats_sql.config import Experiment, UntrainedSettings
from mats_sql.pipeline.questions import dev_source, has_train_split, train_source
from mats_sql.pipeline.workspace import Workspace
from mats_sql.seeds import derive_seed
from mats_sql.shapes import ModelShape, write_untrained
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("untrained", 2)


def make_untrained(workspace: Workspace, questions: Artifact) -> StageResult:
    """Return the checkpoint (`model`): Qwen2's layout, random weights, a tokenizer for these questions."""
    experiment = workspace.experiment

    def compute(run: StageRun) -> None:
        shape, folder = untrained_shape(experiment.untrained), run.work / "model"
        seed = derive_seed(experiment.untrained.seed, "untrained")
        write_untrained(folder, shape, _texts(experiment, questions), seed=seed)
        run.log_metrics({"parameters": shape.parameters})
        run.output("model", ArtifactKind.MODEL, folder, {"agent": "untrained"})

    return workspace.run(
        KEY,
        title="make the untrained checkpoint",
        settings={
            "untrained": experiment.untrained,
            "benchmark": experiment.benchmark.prompt_settings(),
            "prompts": PROMPT_VERSIONS[PLANNER],
        },
        inputs={"questions": questions},
        compute=compute,
        tags={"agent": "untrained"},
    )


def untrained_shape(settings: UntrainedSettings) -> ModelShape:
    """Return the shape that the settings ask for, as Qwen2.5's small checkpoints have it: tied, biased, bfloat16."""
    return ModelShape(
        width=settings.width,
        feed_forward=settings.feed_forward,
        layers=settings.layers,
        heads=settings.heads,
        key_heads=settings.key_heads,
        head_size=settings.width // settings.heads,
        vocabulary=settings.vocabulary,
        tied=True,
        qkv_bias=True,
        context=settings.context_tokens,
        file_bytes_per_weight=2,
    )


def _texts(experiment: Experiment, questions: Artifact) -> Iterator[str]:
    """Yield the planner's prompts, and the golds of train questions: what its answers will be made of."""
    trains = has_train_split(experiment)
    source = train_source(experiment, questions) if trains else dev_source(experiment, questions)
    for task in source.tasks.values():
        yield from (message.content for message in planner_messages(task.question, task.schema_text))
    if trains:
        yield from source.golds.values()
