"""`balance`: drop pairs of a regime until as many choose a complaint as do not, or until they match another regime's.

Reads both validators' training pairs, and for a match those of the other regime. Drops. Writes the training pairs that
are kept; held-out pairs stay as they are, so that a control is measured on what its regime is measured on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mats_sql.agents import Validator
from mats_sql.parquet import read_records, write_records
from mats_sql.pipeline.pairs import mix_metrics
from mats_sql.pipeline.shown import run_title
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import Labelling, PreferencePair, VerdictMix, balance_verdicts, match_mix, verdict_mix
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("balance", 1)
NOTED_SHARE = 0.01
"""A verdict mix further off than this from the wanted one is told on the terminal, not in the metrics alone."""


def balance_pairs(
    workspace: Workspace,
    labelling: Labelling,
    built: Mapping[str, Artifact],
    target: Mapping[str, Artifact] | None = None,
) -> StageResult:
    """Return the kept training pairs of both validators (`select`, `condition`); ``target`` has those to match.

    What could not be reached is in the metrics: ``missing_pairs`` of the wanted number, and ``mix_off``, how far the
    share of chosen complaints is from the wanted one.
    """
    seed = workspace.experiment.seed
    names = [validator.value for validator in Validator]
    matched = {} if target is None else {f"{name} of the match": target[name] for name in names}

    def compute(run: StageRun) -> None:
        for validator in Validator:
            pairs = _read(built[validator.value])
            if target is None:
                wanted, kept = None, balance_verdicts(pairs, seed=seed)
            else:
                wanted = verdict_mix(_read(target[validator.value]))
                kept = match_mix(pairs, wanted, seed=seed)
            path = run.work / f"{validator.value}.parquet"
            write_records(kept, PreferencePair, path)
            run.output(validator.value, ArtifactKind.DATASET, path)
            _tell(workspace, run, labelling, validator, pairs, kept, wanted)

    return workspace.run(
        KEY,
        title=run_title(labelling.name, "balance"),
        settings={"labelling": labelling.key, "balance": labelling.balance.value, "seed": seed},
        inputs={**{name: built[name] for name in names}, **matched},
        compute=compute,
        tags={"regime": labelling.key},
    )


def _tell(
    workspace: Workspace,
    run: StageRun,
    labelling: Labelling,
    validator: Validator,
    pairs: Sequence[PreferencePair],
    kept: Sequence[PreferencePair],
    wanted: VerdictMix | None,
) -> None:
    mix, share = verdict_mix(kept), 0.5 if wanted is None else wanted.share
    missing = 0 if wanted is None else wanted.total - mix.total
    run.log_metrics(
        {
            **mix_metrics(validator, kept),
            f"{validator.value}/dropped_pairs": len(pairs) - len(kept),
            f"{validator.value}/missing_pairs": missing,
            f"{validator.value}/mix_off": abs(mix.share - share),
        }
    )
    if missing or abs(mix.share - share) > NOTED_SHARE:
        workspace.progress.note(
            f"  {labelling.key}, {validator.value}: {mix.total} pairs kept, {missing} fewer than wanted; "
            f"{100 * mix.share:.1f}% choose a complaint, wanted {100 * share:.1f}%"
        )


def _read(pairs: Artifact) -> list[PreferencePair]:
    return read_records(PreferencePair, pairs.path)
