"""Each regime's best setting: what its search found, where there was one, and else the experiment's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mats_sql.config import Experiment, TunedSettings, regime_label
from mats_sql.errors import ConfigError
from mats_sql.evaluation.report import Cell, ResultTable
from mats_sql.pipeline.shown import preference_settings
from mats_sql.tracking import ArtifactKind, Store, Version, registered_name, version_with_alias

ALIAS = "best-of-search-"
"""With a regime's label behind it: the alias that a search gives its winner's team."""


@dataclass(frozen=True, slots=True)
class BestSettings:
    """An experiment with each regime's best setting in ``tuned``; ``found`` are the teams that searches left."""

    experiment: Experiment
    found: Mapping[str, Version]

    def lines(self) -> list[str]:
        """Return a line for every regime whose setting a search found."""
        return [
            f"  {label}: the setting of {version.name}@{ALIAS}{label} (version {version.number}): "
            f"beta {version.tags['beta']}, K {version.tags['k']}, learning rate {version.tags['learning_rate']}"
            for label, version in self.found.items()
        ]

    def table(self) -> ResultTable:
        """Return what every regime is trained with, and whence."""
        rows: list[tuple[Cell, ...]] = []
        for regime in self.experiment.regimes:
            own = {name: repr(value) for name, value in preference_settings(self.experiment.tuned_to(regime)).items()}
            source = self._source(regime_label(regime))
            rows.append((regime_label(regime).upper(), own["beta"], own["k"], own["learning_rate"], source))
        note = "Balanced INDEP has INDEP's setting; INDEP matched to a regime has that regime's."
        columns = ("regime", "beta", "K", "learning rate", "from")
        return ResultTable("The setting of each regime", columns, tuple(rows), note)

    def _source(self, label: str) -> str:
        if label not in self.found:
            return "the config, tuned" if label in self.experiment.tuned else "the config"
        version = self.found[label]
        trial = f"trial {version.tags['trial']} of its search" if "trial" in version.tags else "best of its search"
        return f"{version}, {trial}"


def best_settings(experiment: Experiment, store: Store) -> BestSettings:
    """Return the experiment with the setting that a search found for each regime that ``tuned`` does not name.

    Raises :class:`ConfigError` when the alias is on a team that no search left, or on one trained on more of the pool
    than the experiment draws.
    """
    name = registered_name(experiment.name, ArtifactKind.TEAM, "team")
    open_labels = [label for regime in experiment.regimes if (label := regime_label(regime)) not in experiment.tuned]
    winners = {label: version_with_alias(store, name, f"{ALIAS}{label}") for label in open_labels}
    found = {label: version for label, version in winners.items() if version is not None}
    tuned = {label: _settings(experiment, label, version) for label, version in found.items()}
    return BestSettings(experiment.model_copy(update={"tuned": {**experiment.tuned, **tuned}}), found)


def _settings(experiment: Experiment, label: str, version: Version) -> TunedSettings:
    tags, remedy = version.tags, f"search again, or keep the config's own: --set tuned.{label}={{}}"
    lacking = [name for name in ("beta", "k", "learning_rate") if name not in tags]
    if lacking:
        raise ConfigError(
            f"{version.name}@{ALIAS}{label} must be the team of a search, but version {version.number} has no tag "
            f"{', '.join(lacking)}; {remedy}"
        )
    settings = TunedSettings(beta=float(tags["beta"]), learning_rate=float(tags["learning_rate"]), k=int(tags["k"]))
    drawn = min(experiment.rollout.plans, experiment.rollout.critiques)
    if settings.k is not None and settings.k > drawn:
        raise ConfigError(
            f"the K of {version.name}@{ALIAS}{label} must be at most min(rollout.plans, rollout.critiques), but it is "
            f"{settings.k} and the pool has {drawn}; {remedy}"
        )
    return settings
