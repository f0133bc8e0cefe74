"""`evaluate`: run a team on dev questions and judge every candidate.

Reads the questions table and a team. Answers, judges, measures. Writes the judged ``candidates``. An evaluation on all
usable dev questions also writes the ``transcript``, what every agent said; it is a look at the final set and counts as
one. The team's registered version says what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from mats_sql.agents import PLANNER, Verdict
from mats_sql.choices import SeedsVary
from mats_sql.errors import StageStopped
from mats_sql.evaluation import (
    JudgedCandidate,
    answers_frame,
    judge_items,
    judged_candidates,
    outcomes_frame,
    team_metrics,
)
from mats_sql.evaluation.report import ResultTable, seed_table, verdict_confusion
from mats_sql.parquet import read_records, write_records
from mats_sql.pipeline.ahead import Part, draw_ahead
from mats_sql.pipeline.assemble import TeamModels
from mats_sql.pipeline.questions import dev_source, question_set_digest, validation_ids
from mats_sql.pipeline.shown import run_title, team_parameters
from mats_sql.pipeline.traced import TRANSCRIPT, trace_evaluation
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout import Source
from mats_sql.sql import VerdictClass
from mats_sql.team import Spoken, Task, Team, agents_of, spoken
from mats_sql.tracking import (
    Artifact,
    ArtifactKind,
    Measurement,
    StageKey,
    StageResult,
    StageRun,
    measure_model,
    record_measurement,
    registered_name,
)

KEY = StageKey("evaluate", 1)

Evaluated = Sequence[tuple[TeamModels, StageResult]]


@dataclass(frozen=True, slots=True)
class Blocks:
    """How an evaluation goes on block by block while somebody watches it: the answers are those of one go.

    ``order`` are the question ids in the order of asking. ``watch`` gets each block's selector EX by question (0 or 1)
    and says whether to go on.
    """

    order: Sequence[int]
    size: int
    watch: Callable[[Mapping[int, float]], bool]

    def of(self, tasks: Mapping[int, Task]) -> Iterator[list[Task]]:
        """Yield the tasks block by block."""
        ordered = [tasks[question_id] for question_id in self.order if question_id in tasks]
        for start in range(0, len(ordered), self.size):
            yield ordered[start : start + self.size]


def evaluate(
    workspace: Workspace,
    questions: Artifact,
    team: Artifact,
    models: TeamModels,
    *,
    validation_only: bool = False,
    blocks: Blocks | None = None,
) -> StageResult:
    """Return a team's judged candidates (`candidates`) on all usable dev questions, or on the validation split.

    With ``blocks`` it may be ended early: then it raises :class:`StageStopped`, and its run is KILLED.
    """
    experiment = workspace.experiment
    part = "validation" if validation_only else "dev"
    result = workspace.run(
        KEY,
        title=run_title(models.label, "evaluate" + (" on validation" if validation_only else "")),
        settings={"part": part, "limits": experiment.sql.limits, "seed": experiment.seed},
        inputs={"questions": questions, "team": team},
        compute=lambda run: _compute(workspace, run, team, models, questions, blocks, validation_only=validation_only),
        tags={**models.tags(), "part": part, "seeds_vary": experiment.seeds_vary.value},
        parameters=team_parameters(experiment, models),
    )
    if workspace.writes:
        record_evaluation(workspace, result, questions, team, models)
    return result


def read_candidates(evaluation: Artifact) -> tuple[JudgedCandidate, ...]:
    """Return the judged candidates that an evaluation wrote."""
    return tuple(read_records(JudgedCandidate, evaluation.path))


def selected_correct(candidates: Sequence[JudgedCandidate]) -> dict[int, float]:
    """Return, by question id, whether the SQL that the selector picked is correct: 1 or 0."""
    return {row.question_id: float(row.verdict is VerdictClass.CORRECT) for row in candidates if row.selected}


def by_family(evaluated: Evaluated) -> dict[str, list[tuple[TeamModels, StageResult]]]:
    """Return evaluated teams by what those that differ in their seed alone have in common, in order."""
    families: dict[str, list[tuple[TeamModels, StageResult]]] = {}
    for team, result in evaluated:
        families.setdefault(team.family, []).append((team, result))
    return families


def seed_tables(evaluated: Evaluated, seeds_vary: SeedsVary) -> list[ResultTable]:
    """Return the table of how teams vary between seeds, or none where each has one."""
    scores = selector_scores(evaluated)
    return [seed_table(scores, seeds_vary)] if any(len(values) > 1 for values in scores.values()) else []


def selector_scores(evaluated: Evaluated) -> dict[str, list[float]]:
    """Return the selector EX (fractions) of every seed by family."""
    families = by_family(evaluated)
    return {name: [result.metrics["selector_ex"] for _, result in members] for name, members in families.items()}


def record_evaluation(
    workspace: Workspace, result: StageResult, questions: Artifact, team: Artifact, models: TeamModels
) -> None:
    """Write on the team's version what it was measured on, whether the evaluation is new or reused."""
    candidates = read_candidates(result.outputs["candidates"])
    scores = team_metrics(candidates)
    low, high = scores.scores.selector_ex.wilson_interval()
    metrics = {
        "selector_ex": scores.scores.selector_ex.value,
        "selector_ex_low": low,
        "selector_ex_high": high,
        "questions": scores.scores.questions,
        "fixer_harm_rate": scores.fixer_all_samples.harms.value,
    }
    question_set = question_set_digest(questions, {row.question_id for row in candidates})
    part = workspace.store.run(result.run_id).data.tags["part"]
    measurement = Measurement(result.run_id, part, question_set, metrics, measured_settings(workspace, models))
    name = registered_name(workspace.experiment.name, team.kind, team.name)
    record_measurement(workspace.store, name, team, measurement)


def measured_settings(workspace: Workspace, models: TeamModels) -> dict[str, str]:
    """Return what tells a measured team from its siblings: seeds, and ORPO's settings where an agent had ORPO.

    The regime and the number of the team's seed are on its version already; ``trial`` is that of a search.
    """
    experiment = workspace.experiment
    settings = {"root_seed": str(experiment.seed), "seeds_vary": experiment.seeds_vary.value}
    trained = {name for name, model in models.agents().items() if model.run_id and "regime" in model.metadata}
    if trained:
        settings |= models.preference
    if trained == {PLANNER} and experiment.pairs.k is None:
        settings["k"] = str(experiment.rollout.plans)
    trial = workspace.store.run(workspace.command.run_id).data.tags.get("trial") if workspace.command else None
    return settings if trial is None else {**settings, "trial": trial}


def _compute(
    workspace: Workspace,
    run: StageRun,
    team: Artifact,
    models: TeamModels,
    questions: Artifact,
    blocks: Blocks | None,
    *,
    validation_only: bool,
) -> None:
    validation, source = validation_ids(questions), _asked(workspace, questions, validation_only)
    if blocks is None:
        draw = partial(_part_of_answers, questions=questions, team=team, validation_only=validation_only)
        draw_ahead(workspace, draw, len(source.tasks))
    with _flow(workspace, team) as flow:
        candidates, said = _answered(workspace, flow, source, blocks)
    path = run.work / "candidates.parquet"
    write_records(candidates, JudgedCandidate, path)
    run.output("candidates", ArtifactKind.DATASET, path, {"team": team.metadata["team"]})
    metrics = team_metrics(candidates)
    run.log_metrics(metrics.as_mlflow())
    if not validation_only:  # a model has one value of a metric on the questions: that on all of them
        measure_model(run, team, questions)
        _write_transcript(run, said)
        trace_evaluation(workspace, run, models, team.model_id, source, candidates, said)
    run.log_table("answers", answers_frame(candidates, source.tasks, source.golds))
    run.log_table("outcomes", outcomes_frame(metrics))
    if any(row.select_verdict is not Verdict.MISSING for row in candidates):
        run.log_figure("verdicts", verdict_confusion(team.metadata["team"], candidates))
    if not validation_only:
        workspace.look(run)
        rest = [row for row in candidates if row.question_id not in validation]
        run.log_metrics({f"rest/{name}": value for name, value in team_metrics(rest).as_mlflow().items()})


def _asked(workspace: Workspace, questions: Artifact, validation_only: bool) -> Source:
    source = dev_source(workspace.experiment, questions)
    return source.part(validation_ids(questions)) if validation_only else source


@contextmanager
def _flow(workspace: Workspace, team: Artifact) -> Iterator[Team]:
    experiment = workspace.experiment
    with ExitStack() as resources:
        agents = agents_of(team.path, lambda *agent: resources.enter_context(workspace.engine(*agent)))
        yield Team(agents, experiment.policy, experiment.generation, workspace.executor(), experiment.seed)


def _part_of_answers(
    workspace: Workspace, part: Part, questions: Artifact, team: Artifact, validation_only: bool
) -> None:
    source = _asked(workspace, questions, validation_only)
    with _flow(workspace, team) as flow:
        _answered(workspace, flow, source.part(part.among(source.tasks)), None)


def _write_transcript(run: StageRun, said: Sequence[Spoken]) -> None:
    path = run.work / f"{TRANSCRIPT}.parquet"
    write_records(said, Spoken, path)
    run.output(TRANSCRIPT, ArtifactKind.REPORT, path)


Answered = tuple[tuple[JudgedCandidate, ...], tuple[Spoken, ...]]
"""Judged candidates, and the words that made each."""


def _answered(workspace: Workspace, flow: Team, source: Source, blocks: Blocks | None) -> Answered:
    """Return the candidates of all tasks, in the tasks' order whatever the blocks'."""
    tasks = source.tasks
    if blocks is None:
        return _judged(workspace, flow, list(tasks.values()), source)
    rows: list[JudgedCandidate] = []
    said: list[Spoken] = []
    asked = 0
    for block in blocks.of(tasks):
        found, words = _judged(workspace, flow, block, source)
        rows += found
        said += words
        asked += len(block)
        if not blocks.watch(selected_correct(found)) and asked < len(tasks):
            raise StageStopped(f"evaluated on {asked} of {len(tasks)} questions only: the search gave it no hope")
    position = {question_id: place for place, question_id in enumerate(tasks)}
    return (
        tuple(sorted(rows, key=lambda row: position[row.question_id])),
        tuple(sorted(said, key=lambda row: position[row.question_id])),
    )


def _judged(workspace: Workspace, flow: Team, tasks: Sequence[Task], source: Source) -> Answered:
    answers = flow.answer_many(tasks)
    judgements = workspace.judge().judge_many(judge_items(answers, source.golds))
    judged = judged_candidates(answers, judgements)
    return tuple(judged), tuple(row for answer in answers for row in spoken(answer))
