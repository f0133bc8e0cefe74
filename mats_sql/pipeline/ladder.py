"""`ladder`: what a team's plans come to under better and better critiques, and what perfect parts would gain.

Reads the questions table and a team. Answers as `evaluate` does (what that drew is in the cache), has every distinct
plan fixed under no critique, the team's own, the teacher's and another question's, and judges. Writes the ``ladder``,
its ``report`` and its three tables, and the candidates of the team with a ``perfect_gate``: a bound that reads gold, so
none of this is registered. A ladder on all usable dev questions is a look at the final set and counts as one.

The teacher is the one of rules, whoever taught the team: content is compared clause by clause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from mats_sql.agents import Critique, Validator, feedback_text, response_text
from mats_sql.evaluation import JudgedCandidate, judge_items, judged_candidates
from mats_sql.evaluation.diagnosis import (
    CritiqueKind,
    FixedAnswers,
    Ladder,
    LadderCritique,
    LadderFix,
    LadderPlan,
    LadderRows,
    Maker,
    PlanKey,
    borrowed_critiques,
    error_sign,
    gated,
    gates_of,
    ladder_of,
    ladder_page,
    write_ladder,
)
from mats_sql.parquet import read_records, write_records
from mats_sql.pipeline.assemble import TeamModels
from mats_sql.pipeline.questions import DEV, dev_source, read_split, validation_ids
from mats_sql.pipeline.shown import run_title, team_parameters
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout import Source, review_id
from mats_sql.sql import Execution, JudgeItem, VerdictClass
from mats_sql.teaching import TEACHER_VERSIONS, CritiqueTask, RuleTeacher, right_content
from mats_sql.team import Candidate, Fixes, FixKey, Task, Team, TeamAnswer, agents_of
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("ladder", 1)

Plans = Sequence[Sequence[Candidate]]
Critiques = Mapping[PlanKey, tuple[Critique, ...]]


def ladder(
    workspace: Workspace, questions: Artifact, team: Artifact, models: TeamModels, *, validation_only: bool = False
) -> StageResult:
    """Return a team's `ladder` on all usable dev questions, or on the validation split."""
    experiment = workspace.experiment
    part = "validation" if validation_only else DEV
    return workspace.run(
        KEY,
        title=run_title(models.label, "ladder" + (" on validation" if validation_only else "")),
        settings={
            "part": part,
            "limits": experiment.sql.limits,
            "seed": experiment.seed,
            "teacher": TEACHER_VERSIONS["rules"],
        },
        inputs={"questions": questions, "team": team},
        compute=lambda run: _compute(workspace, run, questions, team, models, part),
        tags={**models.tags(), "part": part},
        parameters=team_parameters(experiment, models),
    )


def read_perfect_gate(result: StageResult) -> tuple[JudgedCandidate, ...]:
    """Return the judged candidates of a ladder's team with a perfect gate and its own critiques."""
    return tuple(read_records(JudgedCandidate, result.outputs["perfect_gate"].path))


@dataclass(frozen=True, slots=True)
class Climb:
    """One team at work on one part of the questions: its plans, and what is known of each distinct SQL."""

    workspace: Workspace
    source: Source
    team: Team
    tasks: Sequence[Task]
    plans: Plans
    verdicts: dict[PlanKey, VerdictClass]

    def distinct(self) -> dict[PlanKey, Candidate]:
        """Return the distinct plan SQL of the questions."""
        return {
            (task.question.question_id, row.sql): row
            for task, group in zip(self.tasks, self.plans, strict=True)
            for row in group
            if row.sql is not None
        }

    def correct(self) -> dict[PlanKey, bool]:
        """Return whether each judged SQL is correct."""
        return {key: verdict is VerdictClass.CORRECT for key, verdict in self.verdicts.items()}

    def judge(self, keys: Iterable[PlanKey]) -> None:
        """Judge the SQL that is not judged yet."""
        new = [key for key in dict.fromkeys(keys) if key not in self.verdicts]
        items = [JudgeItem(self.source.tasks[own].database, self.source.golds[own], sql) for own, sql in new]
        judgements = self.workspace.judge().judge_many(items)
        self.verdicts.update((key, found.official) for key, found in zip(new, judgements, strict=True))

    def told(self, critiques: Critiques) -> list[list[Candidate]]:
        """Return the plans as if these critiques had been written about them; those without any are left out."""
        return [
            [
                replace(row, critiques=critiques[task.question.question_id, row.sql])
                for row in group
                if row.sql is not None and (task.question.question_id, row.sql) in critiques
            ]
            for task, group in zip(self.tasks, self.plans, strict=True)
        ]

    def judged_fixes(self, plans: Plans) -> Fixes:
        """Return the fix of every plan under the critiques that it carries, judged."""
        fixes = self.team.fixes(self.tasks, plans)
        self.judge((self._id(position), fix.sql) for (position, _), fix in fixes.items() if fix.sql is not None)
        return fixes

    def ideal_fixes(self) -> Fixes:
        """Return gold for every wrong plan and the plan itself for every right one; nothing without a fixer."""
        if self.team.agents.fixer is None:
            return {}
        correct = self.correct()
        ideal: dict[FixKey, str] = {
            (position, row.sql): row.sql if correct[self._id(position), row.sql] else self._gold(position)
            for position, group in enumerate(self.plans)
            for row in group
            if row.sql is not None
        }
        self.judge((self._id(position), sql) for (position, _), sql in ideal.items())
        return self.team.executed_fixes(self.tasks, ideal)

    def golds(self) -> dict[int, Execution]:
        """Return each question's gold, executed."""
        items = [JudgeItem(task.database, self.source.golds[own], None) for own, task in self.source.tasks.items()]
        return dict(zip(self.source.tasks, self.workspace.judge().execute_gold(items), strict=True))

    def _id(self, position: int) -> int:
        return self.tasks[position].question.question_id

    def _gold(self, position: int) -> str:
        return self.source.golds[self._id(position)]


def _compute(
    workspace: Workspace, run: StageRun, questions: Artifact, team: Artifact, models: TeamModels, part: str
) -> None:
    experiment = workspace.experiment
    everything = dev_source(experiment, questions)
    source = everything if part == DEV else everything.part(validation_ids(questions))
    with ExitStack() as resources:
        agents = agents_of(team.path, lambda *agent: resources.enter_context(workspace.engine(*agent)))
        flow = Team(agents, experiment.policy, experiment.generation, workspace.executor(), experiment.seed)
        every, tasks = flow.fixing_every_plan(), list(source.tasks.values())
        climb = Climb(workspace, source, every, tasks, every.plans(tasks), {})
        rows, answers = _climbed(climb)
    correct = climb.correct()
    found = ladder_of(models.label, part, rows, gates_of(experiment.policy, answers, correct))
    bound = gated(experiment.policy, answers.own, correct, Maker.PERFECT)
    _publish(run, found, rows, _judged(workspace, source, bound))
    if part == DEV:
        workspace.look(run)


def _climbed(climb: Climb) -> tuple[LadderRows, FixedAnswers]:
    """Ask, judge and answer under each kind of critiques."""
    distinct = climb.distinct()
    climb.judge(distinct)
    correct = climb.correct()
    true = _true_critiques(climb, distinct, correct)
    told: dict[CritiqueKind, Critiques] = {
        CritiqueKind.NONE: dict.fromkeys(distinct, ()),
        CritiqueKind.OWN: {key: row.critiques for key, row in distinct.items()},
        CritiqueKind.TRUE: true,
        CritiqueKind.OTHER: borrowed_critiques(true, [key for key in true if not correct[key]], climb.team.seed),
    }
    fixes = {kind: climb.judged_fixes(climb.told(critiques)) for kind, critiques in told.items()}
    conclude = partial(climb.team.conclude, climb.tasks)
    taught = [
        [replace(row, critiques=true.get((task.question.question_id, row.sql or ""), row.critiques)) for row in group]
        for task, group in zip(climb.tasks, climb.plans, strict=True)
    ]
    answers = FixedAnswers(
        own=conclude(climb.plans, fixes[CritiqueKind.OWN]),
        true=conclude(taught, fixes[CritiqueKind.TRUE]),
        ideal=conclude(climb.plans, climb.ideal_fixes()),
    )
    rows = LadderRows(
        tuple(_plan_rows(climb, distinct)),
        tuple(_critique_rows(distinct, true)),
        tuple(row for kind in told for row in _fix_rows(climb, kind, told[kind], fixes[kind])),
    )
    return rows, answers


def _true_critiques(
    climb: Climb, distinct: Mapping[PlanKey, Candidate], correct: Mapping[PlanKey, bool]
) -> dict[PlanKey, tuple[Critique, ...]]:
    """Return the teacher's critiques of each plan. A right one is compared with itself, as the validators' SFT does."""
    schemas = read_split(climb.workspace.experiment, DEV).schemas
    tasks = []
    for (question_id, sql), row in distinct.items():
        review = climb.source.tasks[question_id].review(sql, response_text(row.execution))
        reference = sql if correct[question_id, sql] else climb.source.golds[question_id]
        tasks += [CritiqueTask(validator, review, schemas[review.question.db_id], reference) for validator in Validator]
    written = iter(RuleTeacher().critiques(tasks))
    return {key: tuple(critique for critique in (next(written) for _ in Validator) if critique) for key in distinct}


def _plan_rows(climb: Climb, distinct: Mapping[PlanKey, Candidate]) -> Iterable[LadderPlan]:
    golds = climb.golds()
    for (question_id, sql), row in distinct.items():
        verdict = climb.verdicts[question_id, sql]
        yield LadderPlan(
            review_id(question_id, sql),
            question_id,
            climb.source.tasks[question_id].question.db_id,
            sql,
            row.execution.outcome,
            response_text(row.execution),
            verdict,
            None if verdict is VerdictClass.CORRECT else error_sign(row.execution, golds[question_id]),
        )


def _critique_rows(distinct: Mapping[PlanKey, Candidate], true: Critiques) -> Iterable[LadderCritique]:
    for key, row in distinct.items():
        truths = {critique.validator: critique for critique in true[key]}
        for own in row.critiques:
            truth = truths[own.validator]
            right = right_content(own, truth)
            yield LadderCritique(
                review_id(*key), own.validator, own.text, own.verdict, truth.text, truth.verdict, right
            )


def _fix_rows(climb: Climb, kind: CritiqueKind, critiques: Critiques, fixes: Fixes) -> Iterable[LadderFix]:
    correct = climb.correct()
    for (position, sql), fix in fixes.items():
        own = climb.tasks[position].question.question_id
        assert sql is not None
        ends = fix.sql if fix.sql is not None else sql
        yield LadderFix(review_id(own, sql), kind, feedback_text(critiques[own, sql]), fix.sql, correct[own, ends])


def _judged(workspace: Workspace, source: Source, answers: Sequence[TeamAnswer]) -> list[JudgedCandidate]:
    return judged_candidates(answers, workspace.judge().judge_many(judge_items(answers, source.golds)))


def _publish(run: StageRun, found: Ladder, rows: LadderRows, bound: Sequence[JudgedCandidate]) -> None:
    page = ladder_page(found)
    typed, report, tables, candidates = (
        run.work / name for name in ("ladder.json", "ladder.md", "tables", "perfect_gate.parquet")
    )
    write_ladder(typed, found)
    report.write_text(page, encoding="utf-8")
    write_records(rows.plans, LadderPlan, tables / "plans.parquet")
    write_records(rows.critiques, LadderCritique, tables / "critiques.parquet")
    write_records(rows.fixes, LadderFix, tables / "fixes.parquet")
    write_records(bound, JudgedCandidate, candidates)
    for name, path in {"ladder": typed, "report": report, "tables": tables, "perfect_gate": candidates}.items():
        run.output(name, ArtifactKind.REPORT, path)
    run.log_text("ladder.md", page)
    run.log_metrics(found.as_mlflow())
    run.tag({"weakest": found.weakest.part.value if found.weakest else "none"})
