"""`diagnose`: tables, plots and one page of plain words that names where a collaborative signal is lost.

Reads the questions table, a pool, its fixer, the SFT team's ladder, the teams trained on the pool and their comparison.
Draws fixes under another question's critiques as a control. Writes the ``report``. It computes no gap: the comparison
has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mats_sql.agents import FIXER, Validator
from mats_sql.choices import Regime
from mats_sql.config import is_own, own_rule, regime_label
from mats_sql.evaluation import ALL, team_metrics
from mats_sql.evaluation.comparison import Comparisons, read_comparisons
from mats_sql.evaluation.diagnosis import (
    Diagnosis,
    PoolDiagnosis,
    RegimeOutcome,
    Signal,
    TrainedRegimes,
    causal_effects,
    diagnose_pool,
    diagnosis_page,
    pairs_by_k,
    read_ladder,
)
from mats_sql.evaluation.diagnosis import diagnose as diagnose_regime
from mats_sql.evaluation.report import confusion_figure
from mats_sql.parquet import read_records
from mats_sql.pipeline.assemble import Line
from mats_sql.pipeline.compare import Side
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.rollout import rollout_settings, sampler
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout import FixRow, Pool, ScoreRow, draw_swapped_fixes, read_pool, reviews_of, scores_of
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("diagnose", 4)


@dataclass(frozen=True, slots=True)
class RegimeRuns:
    """What a regime came to: its teams of every seed, and the ORPO runs of the first seed's validators."""

    side: Side
    trained: Mapping[Validator, StageResult]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is diagnosed: a line's pool, its fixer, the regimes trained on it; the comparison is None without INDEP."""

    line: Line
    questions: Artifact
    pool: Artifact
    fixer: Artifact
    scores: Artifact | None
    regimes: Mapping[str, RegimeRuns]
    comparisons: Artifact | None
    ladder: Artifact

    def inputs(self) -> dict[str, Artifact]:
        """Return everything it rests on, by role."""
        optional = {"scores": self.scores, "comparisons": self.comparisons}
        given = {role: artifact for role, artifact in optional.items() if artifact is not None}
        first = {
            f"candidates_{regime_label(regime)}": runs.side.evaluations[0] for regime, runs in self.regimes.items()
        }
        always = {"questions": self.questions, "pool": self.pool, "fixer": self.fixer, "ladder": self.ladder}
        return {**always, **first, **given}


def diagnose(workspace: Workspace, subject: Subject) -> StageResult:
    """Return the diagnosis of the pool and the trained teams of one line (`report`)."""
    experiment = workspace.experiment
    return workspace.run(
        KEY,
        title=f"diagnose {subject.line.label}",
        settings={
            **rollout_settings(workspace),
            "policy": experiment.policy,
            "max_pairs_per_prompt": experiment.pairs.max_pairs_per_prompt,
            "questions": experiment.rollout.questions,
            "rules": {regime: own_rule(regime).digest for regime in subject.regimes if is_own(regime)},
        },
        inputs=subject.inputs(),
        compute=lambda run: _compute(workspace, run, subject),
        tags=subject.line.tags(),
    )


def _compute(workspace: Workspace, run: StageRun, subject: Subject) -> None:
    experiment = workspace.experiment
    pool = read_pool(subject.pool.path)
    found = diagnose_pool(
        pool,
        policy=experiment.policy,
        max_pairs_per_prompt=experiment.pairs.max_pairs_per_prompt,
        scores=None if subject.scores is None else scores_of(read_records(ScoreRow, subject.scores.path)),
        swapped_fixes=_swapped(workspace, subject, pool),
        regimes=tuple(dict.fromkeys([*Regime, *subject.regimes])),
    )
    outcomes = {regime: _outcome(regime, runs) for regime, runs in subject.regimes.items()}
    signal = Signal(found, read_ladder(subject.ladder.path))
    gaps = None if subject.comparisons is None else read_comparisons(subject.comparisons.path)
    diagnoses = [_diagnosis(signal, regime, outcomes, subject, gaps) for regime in outcomes if regime != Regime.INDEP]
    look = workspace.look(run)
    page = f"{diagnosis_page(diagnoses, list(outcomes.values()))}\nLook number {look} at the final set.\n"
    report = run.work / "diagnosis.md"
    report.write_text(page, encoding="utf-8")
    run.output("report", ArtifactKind.REPORT, report)
    run.log_text("diagnosis.md", page)
    _log(run, found, diagnoses)


def _log(run: StageRun, found: PoolDiagnosis, diagnoses: list[Diagnosis]) -> None:
    run.log_figure("pairs_by_k", pairs_by_k(found))
    run.log_figure("causal_effects", causal_effects(found))
    run.log_figure("verdicts", confusion_figure("Sampled verdicts against the judge", found.confusions))
    run.log_metrics(
        {
            "fixer/changed": found.sensitivity.changed.value,
            "fixer/right_minus_wrong_verdict": found.sensitivity.right_wrong.difference,
            "flow_disagreement": found.flow_disagreement.value,
            **_headroom_metrics(found),
            **{f"pairs_per_question/{regime_label(regime)}": found.yield_of(regime) for regime in found.regimes},
        }
    )
    for item in diagnoses:
        run.tag({f"lost_at.{regime_label(item.regime)}": item.lost_at.value if item.lost_at else "nowhere"})


def _headroom_metrics(found: PoolDiagnosis) -> dict[str, float]:
    """Return the share of wrong SQL that the greedy critiques, and the best of all, let end right."""
    wrong = next(item for item in found.headrooms if not item.plan_correct and item.validator is None)
    return {"headroom/greedy": wrong.ends[1].value, "headroom/best": wrong.ends[found.k].value}


def _swapped(workspace: Workspace, subject: Subject, pool: Pool) -> list[FixRow]:
    experiment = workspace.experiment
    source = train_source(experiment, subject.questions, experiment.rollout.questions)
    with workspace.engine(FIXER, subject.fixer.path) as engine:
        return draw_swapped_fixes(pool, source, reviews_of(source, pool.plans), sampler(workspace), engine)


def _outcome(regime: str, runs: RegimeRuns) -> RegimeOutcome:
    return RegimeOutcome(
        regime,
        team_metrics(read_candidates(runs.side.evaluations[0])),
        {
            validator: result.metrics.get("eval_rewards/accuracies", float("nan"))
            for validator, result in runs.trained.items()
        },
    )


def _diagnosis(
    signal: Signal,
    regime: str,
    outcomes: Mapping[str, RegimeOutcome],
    subject: Subject,
    gaps: Comparisons | None,
) -> Diagnosis:
    if gaps is None:
        return diagnose_regime(signal, regime)
    gap = gaps.of(ALL, subject.regimes[regime].side.name)
    return diagnose_regime(signal, regime, TrainedRegimes(outcomes[Regime.INDEP], outcomes[regime], gap))
