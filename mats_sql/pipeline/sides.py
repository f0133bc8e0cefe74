"""The two sides of `compare` as a user names them: known, and known to differ, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mats_sql.choices import SeedsVary
from mats_sql.config import is_own, known_regime
from mats_sql.errors import ConfigError, StageInputError, TrackingError
from mats_sql.pipeline import results
from mats_sql.pipeline.compare import Side
from mats_sql.pipeline.shown import side_name
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import evaluation_at, is_version, load_result


@dataclass(frozen=True, slots=True)
class Reference:
    """What a user named: a team, whose evaluations may have to be computed, or finished ``runs`` of evaluate."""

    text: str
    runs: tuple[str, ...] = ()


def named_sides(workspace: Workspace, baseline: str, treatment: str) -> tuple[Side, Side]:
    """Return the sides that two texts name: a team, or evaluate runs and registered teams parted by commas.

    Raises :class:`ConfigError` when they are the same, :class:`TrackingError` for what is unknown and
    :class:`StageInputError` for a run that evaluated nothing.
    """
    one, other = (_reference(workspace, text.strip()) for text in (baseline, treatment))
    if one == other or set(one.runs) & set(other.runs):
        raise _same(one, other)
    finished_first = sorted((one, other), key=lambda reference: not reference.runs)
    read = {reference.text: _side(workspace, reference) for reference in finished_first}
    sides = read[one.text], read[other.text]
    evaluated = [{evaluation.run_id for evaluation in side.evaluations} for side in sides]
    if evaluated[0] & evaluated[1]:  # a team's name and a run of that team
        raise _same(one, other)
    if sides[0].name == sides[1].name:  # two versions of one team
        return replace(sides[0], name=one.text), replace(sides[1], name=other.text)
    return sides


def _same(one: Reference, other: Reference) -> ConfigError:
    return ConfigError(
        f"two different teams must be compared, but {one.text!r} and {other.text!r} share an evaluation; name another"
    )


def _reference(workspace: Workspace, text: str) -> Reference:
    if text in results.team_names(workspace.experiment):
        return Reference(text)
    if is_own(text) and not is_version(text):
        return Reference(known_regime(text))
    try:
        return Reference(text, tuple(evaluation_at(workspace.store, part.strip()) for part in text.split(",")))
    except TrackingError as error:
        known = ", ".join(results.team_names(workspace.experiment))
        raise TrackingError(f"a side must be a team ({known}) or runs of evaluate, but got {text!r}: {error}") from None


def _side(workspace: Workspace, reference: Reference) -> Side:
    if not reference.runs:
        built = list(results.teams(workspace, reference.text))
        evaluations = [results.evaluation(workspace, team).outputs["candidates"] for team in built]
        names = {side_name(team) for team in built}  # a team of several lines is called as the user did
        return Side(names.pop() if len(names) == 1 else reference.text, evaluations, workspace.experiment.seeds_vary)
    return _side_of_runs(workspace, reference.text, reference.runs)


def _side_of_runs(workspace: Workspace, text: str, run_ids: Sequence[str]) -> Side:
    runs = [load_result(workspace.store, run_id) for run_id in run_ids]
    if not all("candidates" in result.outputs for result in runs):
        raise StageInputError(f"a side must be runs of evaluate, but got {text!r}; see the runs named evaluate")
    tags = [workspace.store.run(result.run_id).data.tags for result in runs]
    # number 0 is the same work whatever seeds vary, so its run may be tagged by another experiment
    varied = [SeedsVary(one["seeds_vary"]) for one in tags if "seeds_vary" in one and one.get("seed", "0") != "0"]
    evaluations = [result.outputs["candidates"] for result in runs]
    return Side(
        tags[0].get("team", text).removeprefix("ORPO "), evaluations, SeedsVary.narrowest(varied or [SeedsVary.ORPO])
    )
