"""`diagnose`: tables, plots and one page of plain words that names where a collaborative signal is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from mats_sql.agents.critique import Validator
from mats_sql.choices import Regime
from mats_sql.evaluation.comparison.comparisons import Comparisons
from mats_sql.evaluation.diagnosis.page import causal_effects, diagnosis_page, pairs_by_k
from mats_sql.evaluation.diagnosis.pool import PoolDiagnosis, diagnose_pool
from mats_sql.evaluation.diagnosis.signal import Diagnosis, RegimeOutcome, TrainedRegimes
from mats_sql.evaluation.diagnosis.signal import diagnose as diagnose_regime
from mats_sql.evaluation.metrics import team_metrics
from mats_sql.evaluation.question_sets import ALL
from mats_sql.evaluation.report.plots import confusion_figure
from mats_sql.pipeline.compare import Side, comparisons
from mats_sql.pipeline.evaluate import evaluate, read_candidates
from mats_sql.pipeline.iterations import Line, fixer_of, orpo, pool_of
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.rollout_plans import rollout_settings, sampler
from mats_sql.pipeline.teams import orpo_team
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout.pool import FixRow, read_pool
from mats_sql.rollout.sample import reviews_of
from mats_sql.rollout.swapped import draw_swapped_fixes
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("diagnose", 1)


def diagnose(workspace: Workspace, line: Line) -> StageResult:
    """Return the diagnosis of the pool and the trained teams of one fixer (`report`), and print its page."""
    experiment = workspace.experiment
    regimes = experiment.regimes
    inputs = {
        "questions": prepare(workspace).outputs["questions"],
        "pool": pool_of(workspace, line),
        "fixer": fixer_of(workspace, line),
        **{f"candidates_{regime.value}": _evaluation(workspace, regime, line) for regime in regimes},
    }
    result = workspace.run(
        KEY,
        title=f"diagnose {line.label}",
        settings={
            **rollout_settings(workspace),
            "gate": experiment.policy.gate.value,
            "max_pairs_per_prompt": experiment.pairs.max_pairs_per_prompt,
            "questions": experiment.rollout.questions,
        },
        inputs=inputs,
        compute=lambda run: _compute(workspace, run, line, inputs),
        tags=line.tags(),
    )
    page = result.outputs["report"].path.read_text(encoding="utf-8")
    Console(highlight=False).print(page, markup=False)
    return result


def _evaluation(workspace: Workspace, regime: Regime, line: Line) -> Artifact:
    seed = workspace.experiment.seeds[0]
    return evaluate(workspace, orpo_team(workspace, regime, line, seed)).outputs["candidates"]


def _compute(workspace: Workspace, run: StageRun, line: Line, inputs: Mapping[str, Artifact]) -> None:
    experiment = workspace.experiment
    pool = read_pool(inputs["pool"].path)
    found = diagnose_pool(
        pool,
        gate=experiment.policy.gate,
        max_pairs_per_prompt=experiment.pairs.max_pairs_per_prompt,
        swapped_fixes=_swapped(workspace, inputs),
    )
    outcomes = {regime: _outcome(workspace, regime, line, inputs) for regime in experiment.regimes}
    gaps = _gaps(experiment.regimes, inputs)
    diagnoses = [
        _diagnosis(found, regime, outcomes, gaps) for regime in experiment.regimes if regime is not Regime.INDEP
    ]
    page = diagnosis_page(diagnoses, list(outcomes.values()))
    report = run.work / "diagnosis.md"
    report.write_text(page, encoding="utf-8")
    run.output("report", ArtifactKind.REPORT, report)
    run.log_text("diagnosis.md", page)
    run.log_figure("pairs_by_k", pairs_by_k(found))
    run.log_figure("causal_effects", causal_effects(found))
    run.log_figure("verdicts", confusion_figure("Sampled verdicts against the judge", found.confusions))
    run.log_metrics(
        {
            "fixer/changed": found.sensitivity.changed.value,
            "fixer/right_minus_wrong": found.sensitivity.right_wrong.difference,
            "flow_disagreement": found.flow_disagreement.value,
            **{f"pairs_per_question/{regime.value}": found.yield_of(regime) for regime in Regime},
        }
    )
    for item in diagnoses:
        run.tag({f"lost_at.{item.regime.value}": item.lost_at.value if item.lost_at else "nowhere"})


def _swapped(workspace: Workspace, inputs: Mapping[str, Artifact]) -> list[FixRow]:
    experiment = workspace.experiment
    source = train_source(experiment, inputs["questions"], experiment.rollout.questions)
    pool = read_pool(inputs["pool"].path)
    with workspace.engine(inputs["fixer"].path) as engine:
        return draw_swapped_fixes(pool, source, reviews_of(source, pool.plans), sampler(workspace), engine)


def _outcome(workspace: Workspace, regime: Regime, line: Line, inputs: Mapping[str, Artifact]) -> RegimeOutcome:
    rewards = {
        validator: orpo(workspace, validator, regime, line, workspace.experiment.seeds[0]).metrics
        for validator in Validator
    }
    return RegimeOutcome(
        regime,
        team_metrics(read_candidates(inputs[f"candidates_{regime.value}"])),
        {validator: metrics.get("eval_rewards/accuracies", float("nan")) for validator, metrics in rewards.items()},
    )


def _diagnosis(
    found: PoolDiagnosis, regime: Regime, outcomes: Mapping[Regime, RegimeOutcome], gaps: Comparisons | None
) -> Diagnosis:
    if gaps is None:
        return diagnose_regime(found, regime)
    trained = TrainedRegimes(outcomes[Regime.INDEP], outcomes[regime], gaps.of(ALL, regime.value))
    return diagnose_regime(found, regime, trained)


def _gaps(regimes: Sequence[Regime], inputs: Mapping[str, Artifact]) -> Comparisons | None:
    others = [regime for regime in regimes if regime is not Regime.INDEP]
    if Regime.INDEP not in regimes or not others:
        return None
    baseline, *treatments = (
        Side(regime.value, [inputs[f"candidates_{regime.value}"]]) for regime in (Regime.INDEP, *others)
    )
    return comparisons(baseline, treatments, frozenset())
