"""`pairs`: join better and worse answers of a pool to preference pairs, for validators, fixer or planner.

Reads the questions table and a pool (for the planner: the plans alone). Labels and joins. Writes one table of training
pairs and one of held-out pairs per agent, parted by question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mats_sql.agents import FIXER, PLANNER, PROMPT_VERSIONS, Validator
from mats_sql.config import is_own, own_rule, regime_label, regime_name
from mats_sql.parquet import read_records, write_records
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.shown import log_previews, run_title
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import PreferencePair, fixer_pairs, hold_out, planner_pairs, validator_pairs, verdict_mix
from mats_sql.rollout import Pool, ScoreRow, Source, read_pool, scores_of
from mats_sql.seeds import derive_random
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("pairs", 3)


def pair_critiques(
    workspace: Workspace, questions: Artifact, pool: Artifact, regime: str, scores: Artifact | None = None
) -> StageResult:
    """Return both validators' pairs under one regime: `select`, `condition` and their `…_evaluation` parts.

    ``scores`` are the selector's of the pool, which a regime that replays a choosing selector needs. A regime of the
    user's own is a setting with the digest of its file, so that a changed rule labels anew.
    """
    experiment = workspace.experiment
    # what of the policy a label can depend on: how many candidates a team draws is not replayed
    replayed = experiment.policy.model_dump(mode="json", exclude={"k", "temperature"})

    def compute(run: StageRun) -> None:
        source, rows = _pool_source(workspace, questions), _prefix(workspace, pool)
        known = None if scores is None else scores_of(read_records(ScoreRow, scores.path))
        for validator in Validator:
            built = validator_pairs(
                rows,
                source.tasks,
                validator=validator,
                regime=regime,
                policy=experiment.policy,
                scores=known,
                max_pairs_per_prompt=experiment.pairs.max_pairs_per_prompt,
            )
            train = _publish(workspace, run, validator.value, built, len(source.tasks))
            run.log_metrics(mix_metrics(validator, train))

    rule = {"rule": own_rule(regime).digest} if is_own(regime) else {}
    return workspace.run(
        KEY,
        title=run_title(regime_name(regime_label(regime)), "pairs"),
        settings={**_settings(workspace), "regime": str(regime), "policy": replayed, **rule},
        inputs={"pool": pool, "questions": questions, **({} if scores is None else {"scores": scores})},
        compute=compute,
        tags={"regime": regime_label(regime)},
    )


def mix_metrics(validator: Validator, pairs: Sequence[PreferencePair]) -> dict[str, float]:
    """Return how many training pairs a validator has, and the share of them that chooses a complaint."""
    mix = verdict_mix(pairs)
    return {f"{validator.value}/training_pairs": mix.total, f"{validator.value}/chosen_incorrect": mix.share}


def pair_fixes(workspace: Workspace, questions: Artifact, pool: Artifact) -> StageResult:
    """Return the fixer's pairs: `fixer` and `fixer_evaluation`."""
    settings = workspace.experiment.pairs

    def compute(run: StageRun) -> None:
        source = _pool_source(workspace, questions)
        built = fixer_pairs(
            _prefix(workspace, pool),
            source.tasks,
            joint=settings.fixer == "joint",
            max_pairs_per_prompt=settings.max_pairs_per_prompt,
        )
        _publish(workspace, run, FIXER, built, len(source.tasks))

    return _pair_agent(workspace, FIXER, f"pairs fixer, {settings.fixer}", {"pool": pool}, questions, compute)


def pair_plans(workspace: Workspace, questions: Artifact, plans: Artifact) -> StageResult:
    """Return the planner's pairs, a correct against a wrong plan: `planner` and `planner_evaluation`."""
    settings = workspace.experiment.pairs

    def compute(run: StageRun) -> None:
        tasks = train_source(workspace.experiment, questions).tasks
        built = planner_pairs(_prefix(workspace, plans), tasks, max_pairs_per_prompt=settings.max_pairs_per_prompt)
        _publish(workspace, run, PLANNER, built, len(tasks))

    return _pair_agent(workspace, PLANNER, "pairs planner", {"plans": plans}, questions, compute)


def _pair_agent(
    workspace: Workspace,
    agent: str,
    title: str,
    drawn: dict[str, Artifact],
    questions: Artifact,
    compute: Callable[[StageRun], None],
) -> StageResult:
    return workspace.run(
        KEY,
        title=title,
        settings={**_settings(workspace), "agent": agent},
        inputs={**drawn, "questions": questions},
        compute=compute,
        tags={"agent": agent},
    )


def _settings(workspace: Workspace) -> dict[str, object]:
    experiment = workspace.experiment
    return {
        # what is dropped of them later (pipeline/balance.py) is not theirs
        "pairs": experiment.pairs.model_dump(mode="json", exclude={"balance", "matched_to"}),
        "benchmark": experiment.benchmark.prompt_settings(),
        "prompts": PROMPT_VERSIONS,
        "seed": experiment.seed,
    }


def _pool_source(workspace: Workspace, questions: Artifact) -> Source:
    return train_source(workspace.experiment, questions, workspace.experiment.rollout.questions)


def _prefix(workspace: Workspace, pool: Artifact) -> Pool:
    whole = read_pool(pool.path)
    k = workspace.experiment.pairs.k
    return whole if k is None else whole.prefix(k)


def _publish(
    workspace: Workspace, run: StageRun, name: str, built: Sequence[PreferencePair], questions: int
) -> list[PreferencePair]:
    """Write the training and the held-out pairs, parted by question, and count them; return the training pairs."""
    experiment = workspace.experiment
    train, evaluation = hold_out(
        built,
        experiment.pairs.evaluation_share,
        lambda question_id: derive_random(experiment.seed, "hold-out", question_id).random(),
    )
    for part, kept in ((name, train), (f"{name}_evaluation", evaluation)):
        path = run.work / f"{part}.parquet"
        write_records(kept, PreferencePair, path)
        run.output(part, ArtifactKind.DATASET, path)
        log_previews(run, path)
    run.log_metrics(
        {
            f"{name}/pairs": len(built),
            f"{name}/pairs_per_question": len(built) / max(1, questions),
            f"{name}/prompts_with_pairs": len({pair.chosen_prompt for pair in built}),
        }
    )
    return train
