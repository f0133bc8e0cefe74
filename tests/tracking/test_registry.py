"""Versions by content, lineage, promotion and looks, on a small experiment with a real registry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from mats_sql.errors import PromotionRefused, StageInputError, TrackingError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.lineage_tree import LineageNode, lineage, lineage_text
from mats_sql.tracking.looks import count_look, looks_so_far
from mats_sql.tracking.measurement import Measurement, evaluation_at, evaluation_of, record_measurement
from mats_sql.tracking.promotion import champion_of, promote, roll_back, team_of_run
from mats_sql.tracking.registry import Version, find_version, register, registered_name, resolve
from mats_sql.tracking.runs import find_beginning, find_run
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


def test_a_registered_name_says_what_it_is_unless_somebody_says_it(store: Store, experiment: Experiment) -> None:
    assert "lab.team@champion" in store.client.get_registered_model("lab.team").description
    assert "models:/lab.fixer/1" in store.client.get_registered_model("lab.fixer").description
    store.client.update_registered_model("lab.team", "ours")
    other = made(store, "team", ArtifactKind.TEAM, "another team", {"pool": experiment.pool}).outputs["team"]
    register(store, other, "lab.team", {})
    assert store.client.get_registered_model("lab.team").description == "ours"


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


@pytest.fixture
def teams(store: Store, experiment: Experiment) -> list[Version]:
    """Three versions of one team."""
    others = [made(store, "team", ArtifactKind.TEAM, f"team {number}").outputs["team"] for number in (2, 3)]
    later = [register(store, other, "lab.team", {}) for other in others]
    return [resolve(store, str(team_of_run(store, experiment.team.run_id))), *later]


def champion(store: Store) -> str:
    return str(champion_of(store, "lab.team"))


def records(tags: Mapping[str, str]) -> list[Mapping[str, str]]:
    """Return the records of moves among tags, in order."""
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith("promotion.")]


def test_a_promotion_leaves_who_when_why_and_what_before_on_version_and_runs(
    store: Store, experiment: Experiment, teams: list[Version]
) -> None:
    promote(store, teams[0], "the first")
    store.client.set_tag(experiment.fixer.run_id, "mlflow.user", "ada")
    move = promote(store, teams[1], "it is better", [experiment.fixer.run_id, experiment.team.run_id])
    assert (move.version, move.before, move.who) == ("lab.team/2", "lab.team/1", "ada")
    assert datetime.fromisoformat(move.when).utcoffset() == timedelta(0)
    expected = [
        {
            "action": "promote",
            "why": "it is better",
            **{k: getattr(move, k) for k in ("version", "before", "who", "when")},
        }
    ]
    assert records(resolve(store, "lab.team@champion").tags) == expected
    for run_id in (experiment.fixer.run_id, experiment.team.run_id):
        assert records(store.run(run_id).data.tags) == expected


def test_a_rollback_goes_to_the_champion_before_and_then_to_the_one_before_that(
    store: Store, teams: list[Version]
) -> None:
    for team in (*teams, teams[0], teams[0]):  # the last is champion already
        promote(store, team, "")
    assert champion(store) == "lab.team/1"
    before = []
    for _ in range(3):
        roll_back(store, "lab.team", "worse in use")
        before.append(champion(store))
    assert before == ["lab.team/3", "lab.team/2", "lab.team/1"]
    with pytest.raises(PromotionRefused, match=r"a champion before lab\.team/1, but there was none"):
        roll_back(store, "lab.team", "")
    assert champion(store) == "lab.team/1"
    last = records(resolve(store, "lab.team/2").tags)[-1]
    assert (last["action"], last["version"], last["before"]) == ("rollback", "lab.team/1", "lab.team/2")


def test_a_promotion_after_a_rollback_is_gone_back_from_too(store: Store, teams: list[Version]) -> None:
    for team in teams[:2]:
        promote(store, team, "")
    roll_back(store, "lab.team", "")
    promote(store, teams[2], "")
    roll_back(store, "lab.team", "")
    assert champion(store) == "lab.team/1"


def test_a_rollback_passes_over_a_deleted_version_and_knows_a_champion_that_was_set_by_hand(
    store: Store, teams: list[Version]
) -> None:
    for team in teams[:2]:
        promote(store, team, "")
    store.client.set_registered_model_alias("lab.team", "champion", "3")
    store.client.delete_model_version("lab.team", "2")
    roll_back(store, "lab.team", "")
    assert champion(store) == "lab.team/1"


@pytest.mark.parametrize("name", ["lab.team", "nothing"])
@pytest.mark.usefixtures("experiment")
def test_without_a_champion_there_is_nothing_to_go_back_from(store: Store, name: str) -> None:
    with pytest.raises(PromotionRefused, match="has none"):
        roll_back(store, name, "")


def measurement(run_id: str, part: str, value: float) -> Measurement:
    return Measurement(run_id, part, f"{part} questions".ljust(64, "x"), {"selector_ex": value}, {"beta": "0.25"})


def test_a_version_says_what_it_was_measured_on_and_all_dev_questions_go_before_a_part(
    store: Store, experiment: Experiment
) -> None:
    team = experiment.team_output
    for run_id, part, value in (("a", "validation", 0.5), ("b", "dev", 0.6), ("c", "validation", 0.7)):
        record_measurement(store, "lab.team", team, measurement(run_id, part, value))
    version = resolve(store, "lab.team/1")
    shown = {key: version.tags[key] for key in ("metric.selector_ex", "measured.part", "measured.run", "beta")}
    assert shown == {"metric.selector_ex": "0.6", "measured.part": "dev", "measured.run": "b", "beta": "0.25"}
    sets = {part: f"{part} questions".ljust(64, "x") for part in ("dev", "validation")}
    assert version.tags["measured.question_set"] == sets["dev"]
    assert {part: evaluation_of(version, digest) for part, digest in sets.items()} == {"dev": "b", "validation": "c"}
    assert evaluation_of(version, "another set") == "b"


@pytest.mark.usefixtures("experiment")
def test_a_team_that_was_never_evaluated_has_no_evaluation(store: Store) -> None:
    with pytest.raises(StageInputError, match=r"no evaluation is recorded on lab.team/1; run mats-sql evaluate"):
        evaluation_at(store, "models:/lab.team/1")


def test_a_run_goes_by_the_beginning_of_its_id(store: Store, experiment: Experiment) -> None:
    run_id = experiment.team.run_id
    assert find_run(store, run_id[:12]) == find_run(store, run_id) == run_id
    with pytest.raises(TrackingError, match="none does"):
        find_run(store, ("0" if run_id[0] != "0" else "1") * 12)


def test_a_beginning_that_several_runs_share_is_refused_with_their_ids(store: Store) -> None:
    ids: dict[str, str] = {}
    while True:  # 17 runs at most: the first digit of an id has 16 values
        run_id = store.client.create_run(store.experiment_id).info.run_id
        if run_id[0] in ids:
            break
        ids[run_id[0]] = run_id
    with pytest.raises(TrackingError, match="several do") as error:
        find_beginning(store, run_id[0])
    assert all(one in str(error.value) for one in (run_id, ids[run_id[0]]))


def test_the_team_of_a_run_is_what_it_made_or_evaluated(store: Store, experiment: Experiment) -> None:
    evaluated = made(store, "report", ArtifactKind.REPORT, "report", {"team": experiment.team_output})
    assert str(team_of_run(store, experiment.team.run_id)) == "lab.team/1"
    assert str(team_of_run(store, evaluated.run_id)) == "lab.team/1"
    with pytest.raises(StageInputError, match="registered team"):
        team_of_run(store, experiment.pool.run_id)


def test_every_run_looks_at_the_final_set_once(store: Store, experiment: Experiment) -> None:
    assert looks_so_far(store) == 0
    assert [count_look(store, experiment.pool.run_id) for _ in range(2)] == [1, 1]
    assert count_look(store, experiment.team.run_id) == 2
    assert looks_so_far(store) == 2
    assert store.client.get_experiment(store.experiment_id).tags[names.FINAL_SET_LOOKS] == "2"
