"""Versions by content, lineage, promotion and looks, on a small experiment with a real registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from mats_sql.config import PromoteSettings
from mats_sql.errors import PromotionRefused, StageInputError, TrackingError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.lineage_tree import LineageNode, lineage, lineage_text
from mats_sql.tracking.looks import count_look, looks
from mats_sql.tracking.promotion import promote, refusals, team_of_run
from mats_sql.tracking.registry import find_version, register, registered_name, resolve
from mats_sql.tracking.stage import Stage, StageKey, StageResult, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import Store


def made(
    store: Store, name: str, kind: ArtifactKind, content: str, inputs: Mapping[str, Artifact] | None = None
) -> StageResult:
    """Run a stage whose one output is a folder with ``content``."""

    def compute(run: StageRun) -> None:
        folder = run.work / name
        folder.mkdir(exist_ok=True)
        (folder / "content.txt").write_text(content)
        run.output(name, kind, folder, {"regime": "collab"} if kind is ArtifactKind.TEAM else {})

    return run_stage(
        store, Stage(StageKey(f"make-{name}", 1), f"make {name}", {"content": content}, inputs or {}), compute
    )


@dataclass(frozen=True)
class Experiment:
    pool: Artifact
    fixer: Artifact
    team: StageResult

    @property
    def team_output(self) -> Artifact:
        return self.team.outputs["team"]


@pytest.fixture
def experiment(store: Store) -> Experiment:
    """Pool -> fixer -> team, each registered."""
    pool = made(store, "pool", ArtifactKind.DATASET, "pool").outputs["pool"]
    fixer = made(store, "fixer", ArtifactKind.MODEL, "fixer", {"pool": pool}).outputs["fixer"]
    team = made(store, "team", ArtifactKind.TEAM, "team", {"fixer": fixer, "pool": pool})
    for artifact in (pool, fixer, team.outputs["team"]):
        register(store, artifact, registered_name("lab", artifact.kind, artifact.name), {"stage": "test", "seed": 0})
    return Experiment(pool, fixer, team)


def test_models_and_datasets_have_names_of_their_own() -> None:
    assert registered_name("lab", ArtifactKind.MODEL, "fixer") == "lab.fixer"
    assert registered_name("lab", ArtifactKind.DATASET, "pool") == "lab.dataset.pool"


def test_the_same_content_gets_no_new_version(store: Store, experiment: Experiment) -> None:
    again = register(store, experiment.fixer, "lab.fixer", {"seed": 1})
    assert not again.is_new
    assert again.number == 1
    assert again.tags["seed"] == "0"
    assert len(store.client.search_model_versions("name='lab.fixer'")) == 1


def test_new_content_gets_a_new_version(store: Store, experiment: Experiment) -> None:
    other = made(store, "fixer", ArtifactKind.MODEL, "another fixer").outputs["fixer"]
    version = register(store, other, "lab.fixer", {"beta": 0.25})
    assert (version.number, version.is_new) == (2, True)
    assert version.tags["beta"] == "0.25"
    assert find_version(store, "lab.fixer", experiment.fixer.digest) == resolve(store, "lab.fixer/1")


def test_a_version_says_what_it_was_made_from_and_by_which_code(store: Store, experiment: Experiment) -> None:
    version = resolve(store, "models:/lab.team/1")
    assert version.tags["input.fixer"] == "lab.fixer/1"
    assert version.tags["input.pool"] == "lab.dataset.pool/1"
    assert version.tags["regime"] == "collab"
    assert version.tags[names.COMMIT]
    assert version.run_id == experiment.team.run_id
    assert "#/models/lab.fixer/versions/1" in store.client.get_model_version("lab.team", "1").description


def test_a_registered_dataset_can_be_downloaded_by_its_version(store: Store, experiment: Experiment) -> None:
    assert store.client.get_model_version_download_uri("lab.dataset.pool", "1") == experiment.pool.uri


def nodes(root: LineageNode) -> Iterator[LineageNode]:
    yield root
    for source in root.sources:
        yield from nodes(source)


def test_lineage_reaches_every_source_and_its_run(store: Store, experiment: Experiment) -> None:
    root = lineage(store, "lab.team/1")
    found = {node.name: node for node in nodes(root)}
    assert {name: node.versions for name, node in found.items()} == {
        "lab.team": ("lab.team/1",),
        "fixer": ("lab.fixer/1",),
        "pool": ("lab.dataset.pool/1",),
    }
    assert found["pool"].run_id == experiment.pool.run_id
    assert found["pool"].stage == "make-pool"
    assert all(node.commit for node in found.values())


@pytest.mark.usefixtures("experiment")
def test_lineage_text_shows_shared_sources_once_in_full(store: Store) -> None:
    lines = lineage_text(lineage(store, "lab.team/1")).splitlines()
    assert [line.split(" [")[0] for line in lines] == [
        "lab.team/1",
        "  fixer: lab.fixer/1",
        "    pool: lab.dataset.pool/1",
        "  pool: lab.dataset.pool/1",
    ]
    assert lines[-1].endswith("(above)")


def test_lineage_knows_a_source_that_no_run_made(store: Store, experiment: Experiment) -> None:
    base = Artifact("base", ArtifactKind.MODEL, experiment.pool.path, "b" * 64, "", metadata={"base": "lab"})
    model = made(store, "planner", ArtifactKind.MODEL, "planner", {"base": base}).outputs["planner"]
    version = register(store, model, "lab.planner", {})
    assert version.tags["input.base"].startswith("lab bbbb")
    assert [node.name for node in nodes(lineage(store, "lab.planner/1"))] == ["lab.planner", "base"]


@pytest.mark.parametrize("reference", ["lab.team/9", "lab.team@champion", "nothing/1", "lab.team", "@", ""])
@pytest.mark.usefixtures("experiment")
def test_an_unknown_version_is_one_line(store: Store, reference: str) -> None:
    with pytest.raises(TrackingError) as error:
        resolve(store, reference)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("experiment")
def test_the_champion_moves_when_the_gates_pass(store: Store) -> None:
    team = resolve(store, "lab.team/1")
    promotion = promote(
        store, team, {"selector_ex": 0.61, "fixer_harm_rate": 0.02}, PromoteSettings(min_selector_ex=0.6)
    )
    assert promotion.before is None
    champion = resolve(store, "lab.team@champion")
    assert champion.number == 1
    assert champion.tags["metric.selector_ex"] == "0.610000"


@pytest.mark.usefixtures("experiment")
def test_a_challenger_must_beat_the_champion_by_the_configured_gain(store: Store) -> None:
    promote(store, resolve(store, "lab.team/1"), {"selector_ex": 0.61}, PromoteSettings())
    other = made(store, "team", ArtifactKind.TEAM, "another team").outputs["team"]
    challenger = register(store, other, "lab.team", {})
    gates = PromoteSettings(min_gain_over_champion=0.01)
    with pytest.raises(PromotionRefused, match=r"gain over the champion \+0.0050 < min_gain_over_champion \+0.0100"):
        promote(store, challenger, {"selector_ex": 0.615}, gates)
    assert resolve(store, "lab.team@champion").number == 1
    promotion = promote(store, challenger, {"selector_ex": 0.63}, gates)
    assert promotion.before is not None
    assert (promotion.before.number, resolve(store, "lab.team@champion").number) == (1, 2)


@pytest.mark.usefixtures("experiment")
def test_promoting_the_champion_again_changes_nothing(store: Store) -> None:
    team = resolve(store, "lab.team/1")
    promote(store, team, {"selector_ex": 0.61}, PromoteSettings())
    promote(store, team, {"selector_ex": 0.0}, PromoteSettings(min_selector_ex=0.5, min_gain_over_champion=0.5))
    assert resolve(store, "lab.team@champion").tags["metric.selector_ex"] == "0.610000"


def test_a_refusal_names_every_failed_gate_and_a_missing_metric_fails_its_gate() -> None:
    gates = PromoteSettings(min_selector_ex=0.6, max_harm_rate=0.05)
    assert len(refusals({"selector_ex": 0.5, "fixer_harm_rate": 0.1}, None, gates)) == 2
    assert len(refusals({}, None, gates)) == 2
    assert refusals({"selector_ex": 0.6, "fixer_harm_rate": 0.05}, None, gates) == []


def test_the_team_of_a_run_is_what_it_made_or_evaluated(store: Store, experiment: Experiment) -> None:
    evaluated = made(store, "report", ArtifactKind.REPORT, "report", {"team": experiment.team_output})
    assert str(team_of_run(store, experiment.team.run_id)) == "lab.team/1"
    assert str(team_of_run(store, evaluated.run_id)) == "lab.team/1"
    with pytest.raises(StageInputError, match="registered team"):
        team_of_run(store, experiment.pool.run_id)


def test_every_run_looks_at_the_final_set_once(store: Store, experiment: Experiment) -> None:
    assert looks(store) == 0
    assert [count_look(store, experiment.pool.run_id) for _ in range(2)] == [1, 1]
    assert count_look(store, experiment.team.run_id) == 2
    assert looks(store) == 2
    assert store.client.get_experiment(store.experiment_id).tags[names.FINAL_SET_LOOKS] == "2"
