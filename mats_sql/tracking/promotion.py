"""The alias ``champion`` moves to a team that passes the gates, and to no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mats_sql.config import PromoteSettings
from mats_sql.errors import PromotionRefused, StageInputError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.registry import Version, aliased, tag_version, versions_of_content
from mats_sql.tracking.stage import read_records
from mats_sql.tracking.store import Store

SELECTOR_EX = "selector_ex"
HARM_RATE = "fixer_harm_rate"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A champion and the one before it, if any."""

    champion: Version
    before: Version | None


def team_of_run(store: Store, run_id: str) -> Version:
    """Return the registered team that a run made or evaluated.

    Raises :class:`TrackingError` for an unknown run and :class:`StageInputError` for one without a registered team.
    """
    run = store.run(run_id)
    for file in (names.OUTPUTS_FILE, names.INPUTS_FILE):
        try:
            records = read_records(run, file)
        except StageInputError:
            continue
        for record in records.values():
            versions = versions_of_content(store, record.digest) if record.kind is ArtifactKind.TEAM else []
            if versions:
                return versions[0]
    raise StageInputError(
        f"a run must have made or evaluated a registered team, but {run_id} has not; give an evaluate run's id"
    )


def record_metrics(store: Store, version: Version, metrics: Mapping[str, float]) -> None:
    """Write metrics on a version as tags ``metric.<name>``: the registry shows them, and promotion compares them."""
    tag_version(store, version, {f"{names.METRIC}.{name}": f"{value:.6f}" for name, value in metrics.items()})


def promote(store: Store, version: Version, metrics: Mapping[str, float], gates: PromoteSettings) -> Promotion:
    """Move the alias ``champion`` of the version's name to it; ``metrics`` are those of its evaluation, as fractions.

    Raises :class:`PromotionRefused` with every gate that it fails. Promoting the champion again changes nothing.
    """
    with tracking_failures("the model registry must be readable", "check the tracking server and start again"):
        champion = aliased(store, version.name, names.CHAMPION)
        if champion is not None and champion.number == version.number:
            return Promotion(version, champion)
        reasons = refusals(metrics, _metrics_of(champion), gates)
        if reasons:
            raise PromotionRefused(f"{version} must pass the gates of promote, but {'; '.join(reasons)}")
        record_metrics(store, version, {key: metrics[key] for key in (SELECTOR_EX, HARM_RATE) if key in metrics})
        store.client.set_registered_model_alias(version.name, names.CHAMPION, str(version.number))
    return Promotion(version, champion)


def refusals(metrics: Mapping[str, float], champion: Mapping[str, float] | None, gates: PromoteSettings) -> list[str]:
    """Return a reason per gate that fails. A metric that is not there fails its gate."""
    reasons = []
    selector_ex, harm_rate = metrics.get(SELECTOR_EX), metrics.get(HARM_RATE)
    if selector_ex is None:
        reasons.append(f"its evaluation has no {SELECTOR_EX}")
    elif selector_ex < gates.min_selector_ex:
        reasons.append(f"{SELECTOR_EX} {selector_ex:.4f} < min_selector_ex {gates.min_selector_ex:.4f}")
    if gates.max_harm_rate < 1 and harm_rate is None:
        reasons.append(f"its evaluation has no {HARM_RATE}")
    elif harm_rate is not None and harm_rate > gates.max_harm_rate:
        reasons.append(f"{HARM_RATE} {harm_rate:.4f} > max_harm_rate {gates.max_harm_rate:.4f}")
    reached = None if champion is None else champion.get(SELECTOR_EX)
    if reached is not None and selector_ex is not None and selector_ex - reached < gates.min_gain_over_champion:
        reasons.append(
            f"gain over the champion {selector_ex - reached:+.4f} "
            f"< min_gain_over_champion {gates.min_gain_over_champion:+.4f}"
        )
    return reasons


def _metrics_of(champion: Version | None) -> dict[str, float] | None:
    if champion is None:
        return None
    prefix = f"{names.METRIC}."
    return {key.removeprefix(prefix): float(value) for key, value in champion.tags.items() if key.startswith(prefix)}
