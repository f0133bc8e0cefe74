"""How many bytes an experiment will write, and whether the disk has room; docs/doctor.md has the arithmetic.

Texts are counted at their settings' full length, at four bytes a token, uncompressed. Not counted: preference pairs
and judged candidates (compressed tables), plots, the tracking database.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mats_sql.agents import FIXER, PLANNER, SELECTOR
from mats_sql.config import Experiment, TrainerSettings
from mats_sql.doctor.finding import Finding, missing, ok, warning
from mats_sql.doctor.memory import FULL, GIB, OPTIMIZER
from mats_sql.doctor.stages import VALIDATOR
from mats_sql.shapes import ModelShape

CHECKPOINTS = 3
"""Resumable checkpoints at a time: the two that are kept and the one that is being written."""
VALIDATORS = 2
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Counts:
    """How many trained models an experiment keeps, by (agent, supervised or preferred), and how many teams."""

    supervised: Mapping[str, int]
    preferred: Mapping[str, int]
    teams: int
    pools: int


def trained_models(experiment: Experiment) -> Counts:
    """Count what an experiment trains: agents over lines (fixer and iteration), seeds, regimes and their controls."""
    from mats_sql.pipeline import seeds_of, supervised_seeds
    from mats_sql.preference import labellings

    fixers, lines = len(experiment.fixers), len(experiment.fixers) * experiment.iterations
    seeds, own_seeds, folds = len(seeds_of(experiment)), len(supervised_seeds(experiment)), experiment.rollout.folds
    members = experiment.teams.values()
    labelled = len(labellings(experiment))
    labelled += len({team.validators for team in members} - {"none", "sft", *experiment.regimes})
    new_fixers = lines if any(team.fixer == "orpo" for team in members) else fixers * (experiment.iterations - 1)
    own_selectors = sum(team.selector == "own" for team in members)
    own_selectors += len(labellings(experiment)) if experiment.selectors == "own" else 0
    return Counts(
        supervised={
            PLANNER: own_seeds * (1 if folds == 1 else 1 + folds),
            VALIDATOR: own_seeds * VALIDATORS,
            FIXER: own_seeds * fixers,
            SELECTOR: own_seeds * lines + own_selectors * lines * seeds,
        },
        preferred={
            PLANNER: seeds if any(team.planner == "orpo" for team in members) else 0,
            VALIDATOR: labelled * VALIDATORS * lines * seeds,
            FIXER: new_fixers * seeds,
        },
        teams=own_seeds * (2 + lines) + (labelled + len(experiment.teams)) * lines * seeds,
        pools=(1 + own_selectors) * lines * seeds,
    )


def model_bytes(shape: ModelShape, settings: TrainerSettings) -> int:
    """Return what a trained model adds to the disk: all weights, or its adapter alone, in the base's number type."""
    return _trained(shape, settings) * shape.file_bytes_per_weight


def checkpoint_bytes(shape: ModelShape, settings: TrainerSettings) -> int:
    """Return the size of a resumable checkpoint: what is trained, in float32, with the optimizer's moments."""
    return (FULL + OPTIMIZER) * _trained(shape, settings)


def _trained(shape: ModelShape, settings: TrainerSettings) -> int:
    lora = settings.lora
    return shape.adapter_parameters(lora.rank, lora.target_modules) if lora.rank else shape.parameters


def text_bytes(experiment: Experiment, train_questions: int) -> int:
    """Return the size of one pool's texts, in the pool and in the cache of completions."""
    generation, drawn = experiment.generation, experiment.rollout
    reviewed = min(drawn.questions or train_questions, train_questions)
    critiques = reviewed * drawn.plans * VALIDATORS * drawn.critiques
    tokens = train_questions * drawn.plans * generation.plan_tokens
    tokens += critiques * (generation.critique_tokens + drawn.fixes * generation.fix_tokens)
    return 2 * BYTES_PER_TOKEN * tokens


def disk_findings(
    experiment: Experiment, shapes: Mapping[str, ModelShape], artifacts: Path | None, train_questions: int
) -> list[Finding]:
    """Return whether the experiment fits on disk, and whether a search would too.

    ``artifacts`` is the store's folder on this machine; without one, outputs are on a server, and the work folder keeps
    them too. Teams are hard links, and so are the bases beneath adapters.
    """
    if any(agent not in shapes for agent in (PLANNER, VALIDATOR, FIXER, SELECTOR)):
        return [warning("disk", "not estimated: a model's shape is not known", "see the model checks above")]
    counts = trained_models(experiment)
    parts = {
        "models": _models(experiment, shapes, counts),
        "checkpoints of a training": CHECKPOINTS * _largest_checkpoint(experiment, shapes),
        "texts": counts.pools * text_bytes(experiment, train_questions),
    }
    folder = artifacts or experiment.work_dir
    free = _free(folder)
    trained = sum(counts.supervised.values()) + sum(counts.preferred.values())
    found = f"{trained} models and {counts.teams} teams: {_told(parts)}; {free / GIB:.1f} GiB free in {folder}"
    remedy = "free space, or put work_dir and the tracking store on a larger disk"
    need = sum(parts.values())
    main = ok("disk: main", found) if need <= free else missing("disk: main", found, remedy)
    return [main, _search(experiment, shapes, free)]


def _search(experiment: Experiment, shapes: Mapping[str, ModelShape], free: int) -> Finding:
    trials = len(experiment.regimes) * experiment.search.trials
    need = trials * VALIDATORS * model_bytes(shapes[VALIDATOR], experiment.orpo)
    found = f"{trials} trials: {need / GIB:.1f} GiB, only where search is run"
    if need <= free:
        return ok("disk: search", found)
    return warning("disk: search", found, "search fewer trials or regimes, or free space before it")


def _models(experiment: Experiment, shapes: Mapping[str, ModelShape], counts: Counts) -> int:
    own = sum(n * model_bytes(shapes[agent], _sft(experiment, agent)) for agent, n in counts.supervised.items())
    return own + sum(n * model_bytes(shapes[agent], experiment.orpo) for agent, n in counts.preferred.items())


def _largest_checkpoint(experiment: Experiment, shapes: Mapping[str, ModelShape]) -> int:
    sizes = [checkpoint_bytes(shape, _sft(experiment, agent)) for agent, shape in shapes.items()]
    return max(*sizes, checkpoint_bytes(shapes[VALIDATOR], experiment.orpo))


def _sft(experiment: Experiment, agent: str) -> TrainerSettings:
    settings: TrainerSettings = getattr(experiment.sft, agent)
    return settings


def _free(folder: Path) -> int:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _told(parts: Mapping[str, int]) -> str:
    counted = ", ".join(f"{name} {count / GIB:.1f}" for name, count in parts.items() if count >= GIB / 20)
    return f"{sum(parts.values()) / GIB:.1f} GiB" + (f" ({counted})" if counted else "")
