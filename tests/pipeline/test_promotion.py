"""Who becomes champion: on a real store, with evaluations that are written instead of computed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import pytest
from click.testing import CliRunner

from mats_sql.cli import commands
from mats_sql.config import Experiment
from mats_sql.errors import ConfigError, MatsError, PromotionRefused, StageInputError, TrackingError
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.parquet import write_records
from mats_sql.pipeline.assemble import TeamModels
from mats_sql.pipeline.commands import compare_named
from mats_sql.pipeline.evaluate import record_evaluation
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.promote import promote_team, roll_back_champion
from mats_sql.pipeline.protocol import protocol_of
from mats_sql.pipeline.questions import QuestionRow
from mats_sql.pipeline.shown import preference_tags
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.looks import looks_so_far
from mats_sql.tracking.promotion import champion_of
from mats_sql.tracking.registry import Version, register, resolve
from mats_sql.tracking.stage import Stage, StageKey, StageResult, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import Store, connect
from tests.evaluation.synthetic import candidate

QUESTIONS = 120
VALIDATION = 20
DATABASES = 8
NUMBERS = count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("promotion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.chdir(folder)
        yield connect("promotion", folder / "work")


def place(question_id: int) -> str:
    return f"db{question_id % DATABASES}"


def prepared(store: Store, *, questions: int = QUESTIONS, receipt: Mapping[str, object] | None = None) -> Artifact:
    """Write what `prepare` writes: the first ``VALIDATION`` questions are validation."""
    rows = [
        QuestionRow("dev", item, place(item), "simple", f"question {item}", "", True, "", item < VALIDATION)
        for item in range(questions)
    ]
    dev: dict[str, object] = {
        "databases": {place(item): f"digest {item}" for item in range(DATABASES)},
        "limits": {"timeout_s": 30.0},
        "evaluator_version": 1,
        "failed": [],
        "unstable": [],
        **(receipt or {}),
    }

    def compute(run: StageRun) -> None:
        write_records(rows, QuestionRow, run.work / "questions.parquet")
        (run.work / "gold_receipt.json").write_text(json.dumps({"dev": dev}))
        run.output("questions", ArtifactKind.DATASET, run.work / "questions.parquet")
        run.output("gold_receipt", ArtifactKind.REPORT, run.work / "gold_receipt.json")

    return run_stage(store, Stage(StageKey("prepare", 1), "prepare", {"dev": dev, "n": questions}), compute).outputs[
        "questions"
    ]


@pytest.fixture(scope="module")
def questions(store: Store) -> Artifact:
    return prepared(store)


def answers(right: Sequence[int], asked: int = QUESTIONS) -> list[JudgedCandidate]:
    """Return an evaluation in which exactly the questions ``right`` are answered rightly."""
    return [candidate(item, correct=item in right, selected=True, db_id=place(item)) for item in range(asked)]


@dataclass(frozen=True)
class Trained:
    """A registered team and its evaluation."""

    version: Version
    run_id: str


@dataclass(frozen=True)
class Lab:
    """An experiment of its own name."""

    workspace: Workspace
    questions: Artifact

    @property
    def name(self) -> str:
        return f"{self.workspace.experiment.name}.team"

    def team(self) -> tuple[StageResult, Version]:
        """Assemble and register a team of its own content."""
        number = str(next(NUMBERS))

        def compute(run: StageRun) -> None:
            (run.work / "team").mkdir()
            (run.work / "team" / "number").write_text(number)
            run.output("team", ArtifactKind.TEAM, run.work / "team", {"team": "ORPO COLLAB"})

        made = run_stage(self.workspace.store, Stage(StageKey("assemble", 1), number, {"number": number}), compute)
        return made, register(self.workspace.store, made.outputs["team"], self.name, {"regime": "collab"})

    def evaluated(
        self, rows: Sequence[JudgedCandidate], questions: Artifact | None = None, part: str = "dev"
    ) -> Trained:
        """Return a new team with its evaluation, recorded as `evaluate` records it."""
        made, version = self.team()
        team, asked = made.outputs["team"], questions or self.questions

        def compute(run: StageRun) -> None:
            write_records(rows, JudgedCandidate, run.work / "candidates.parquet")
            run.output("candidates", ArtifactKind.DATASET, run.work / "candidates.parquet")

        tags = {"part": part, "seeds_vary": "orpo", "team": team.metadata["team"]}
        stage = Stage(StageKey("evaluate", 1), "evaluate", {"part": part}, {"questions": asked, "team": team}, tags)
        result = run_stage(self.workspace.store, stage, compute)
        trained = replace(team, name="validator", metadata={"agent": "select-validator", "regime": "collab"})
        how = preference_tags(self.workspace.experiment)
        models = TeamModels("ORPO COLLAB", trained, None, {}, None, "collab", preference=how)
        record_evaluation(self.workspace, result, asked, team, models)
        return Trained(resolve(self.workspace.store, str(version)), result.run_id)

    def champion(self) -> str:
        return str(champion_of(self.workspace.store, self.name))


@pytest.fixture
def lab(store: Store, questions: Artifact) -> Iterator[Lab]:
    experiment = Experiment.model_validate({"name": f"lab{next(NUMBERS)}", "work_dir": store.work_dir})
    with Workspace(experiment, store, Progress()) as workspace:
        yield Lab(workspace, questions)


def gated(lab: Lab, **gates: float) -> Lab:
    lab.workspace.experiment = Experiment.model_validate({**lab.workspace.experiment.model_dump(), "promote": gates})
    return lab


GOOD, BETTER = range(20, 70), range(20, 100)


def test_every_evaluated_version_says_what_it_was_measured_on(lab: Lab) -> None:
    tags = lab.evaluated(answers(GOOD)).version.tags
    assert float(tags["metric.selector_ex"]) == pytest.approx(50 / 120, abs=1e-6)
    assert float(tags["metric.selector_ex_low"]) < 50 / 120 < float(tags["metric.selector_ex_high"])
    assert (tags["metric.questions"], tags["measured.part"], len(tags["measured.question_set"])) == ("120", "dev", 64)
    orpo = lab.workspace.experiment.orpo
    assert (tags["beta"], tags["learning_rate"]) == (str(orpo.beta), str(orpo.learning_rate))
    assert {"k", "regime", "root_seed", "seeds_vary"} <= set(tags)


def test_a_trials_team_carries_the_number_of_its_trial(lab: Lab) -> None:
    def compute(run: StageRun) -> None:
        lab.workspace.command = run
        assert lab.evaluated(answers(GOOD)).version.tags["trial"] == "3"

    run_stage(lab.workspace.store, Stage(StageKey("trial", 1), "trial", tags={"trial": "3"}, reusable=False), compute)


def test_a_champion_falls_to_a_team_whose_whole_interval_is_above_it(lab: Lab) -> None:
    first, second = lab.evaluated(answers(GOOD)), lab.evaluated(answers(BETTER))
    promote_team(lab.workspace, first.run_id)
    promote_team(lab.workspace, second.run_id[:12])
    assert lab.champion() == str(second.version)
    records = [value for key, value in resolve(lab.workspace.store, lab.champion()).tags.items() if "promotion." in key]
    (record,) = map(json.loads, records)
    assert record["before"] == str(first.version)
    assert "on 100 questions outside the validation split" in record["why"]
    assert "+30.00 pp" in record["why"]


def test_a_gain_that_the_interval_does_not_hold_up_is_refused(lab: Lab) -> None:
    first, second = lab.evaluated(answers(GOOD)), lab.evaluated(answers(range(20, 72)))
    promote_team(lab.workspace, first.run_id)
    with pytest.raises(PromotionRefused, match=r"may be as low as -0\.\d+ < min_gain_over_champion \+0.0000"):
        promote_team(lab.workspace, second.run_id)
    assert lab.champion() == str(first.version)
    promote_team(gated(lab, min_gain_over_champion=-0.1).workspace, second.run_id)
    assert lab.champion() == str(second.version)


def test_what_was_gained_on_the_validation_split_does_not_count(lab: Lab) -> None:
    first, second = lab.evaluated(answers(GOOD)), lab.evaluated(answers(range(70)))
    promote_team(lab.workspace, first.run_id)
    with pytest.raises(PromotionRefused, match=r"= \+0\.00 pp"):
        promote_team(lab.workspace, second.run_id)
    with pytest.raises(PromotionRefused, match=r"selector_ex 0\.5000 < min_selector_ex 0\.5500"):
        promote_team(gated(lab, min_selector_ex=0.55).workspace, second.run_id)


def test_teams_measured_on_different_questions_are_not_compared(lab: Lab, store: Store) -> None:
    other = prepared(store, questions=119)
    first, second = lab.evaluated(answers(GOOD)), lab.evaluated(answers(BETTER, 119), other)
    promote_team(lab.workspace, first.run_id)
    with pytest.raises(PromotionRefused) as error:
        promote_team(lab.workspace, second.run_id)
    digests = [team.version.tags["measured.question_set"][:16] for team in (first, second)]
    assert digests[0] != digests[1]
    assert all(digest in str(error.value) for digest in digests)
    assert "evaluate" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_evaluation_on_the_validation_split_alone_promotes_nobody(lab: Lab) -> None:
    trial = lab.evaluated(answers(range(15), VALIDATION), part="validation")
    with pytest.raises(PromotionRefused, match="has no such question; run mats-sql evaluate"):
        promote_team(lab.workspace, trial.run_id)


@pytest.mark.parametrize(
    ("receipt", "named"),
    [
        ({"databases": {place(item): "another digest" for item in range(DATABASES)}}, "databases"),
        ({"limits": {"timeout_s": 1.0}}, "limits"),
        ({"evaluator_version": 2}, "evaluator_version"),
    ],
)
def test_teams_judged_by_different_gold_are_not_compared(
    lab: Lab, store: Store, receipt: Mapping[str, object], named: str
) -> None:
    first = lab.evaluated(answers(GOOD))
    second = lab.evaluated(answers(BETTER), prepared(store, receipt=receipt))
    promote_team(lab.workspace, first.run_id)
    with pytest.raises(PromotionRefused, match=f"differ in {named}"):
        promote_team(lab.workspace, second.run_id)


def test_questions_whose_gold_is_doubtful_do_not_count(lab: Lab, store: Store) -> None:
    doubted = [{"question_id": item} for item in range(20, 60)]
    team = lab.evaluated(answers(GOOD), prepared(store, receipt={"unstable": doubted}))
    with pytest.raises(PromotionRefused, match=r"selector_ex 0\.1667"):  # 10 of 60 are left
        promote_team(gated(lab, min_selector_ex=0.5).workspace, team.run_id)


def test_an_unreadable_receipt_is_refused(lab: Lab, store: Store) -> None:
    team = lab.evaluated(answers(GOOD), prepared(store, receipt={"failed": None}))
    with pytest.raises(StageInputError, match="gold receipt"):
        promote_team(lab.workspace, team.run_id)


def test_a_version_stands_for_its_evaluation(lab: Lab) -> None:
    first, second = lab.evaluated(answers(GOOD)), lab.evaluated(answers(BETTER))
    promote_team(lab.workspace, first.version.uri)
    lab.workspace.store.client.set_registered_model_alias(lab.name, "candidate", str(second.version.number))
    promote_team(lab.workspace, f"models:/{lab.name}@candidate")
    assert lab.champion() == str(second.version)
    roll_back_champion(lab.workspace)
    assert lab.champion() == str(first.version)


def test_what_is_no_team_or_was_never_evaluated_is_refused(lab: Lab) -> None:
    register(lab.workspace.store, lab.questions, f"{lab.name}.data", {})
    with pytest.raises(StageInputError, match=r"must be a team, but .* is dataset"):
        promote_team(lab.workspace, f"{lab.name}.data/1")
    _, bare = lab.team()
    for address in (str(bare), bare.run_id):
        with pytest.raises(StageInputError, match="no evaluation is recorded"):
            promote_team(lab.workspace, address)


def test_the_champion_must_pass_its_gates_again(lab: Lab) -> None:
    team = lab.evaluated(answers(GOOD))
    promote_team(lab.workspace, team.run_id)
    promote_team(lab.workspace, team.run_id)
    with pytest.raises(PromotionRefused, match="min_selector_ex"):
        promote_team(gated(lab, min_selector_ex=0.9).workspace, team.run_id)


def test_a_frozen_protocol_is_required_of_a_promotion_too(lab: Lab) -> None:
    team = lab.evaluated(answers(GOOD))
    protocol = protocol_of(lab.workspace.experiment, lab.questions)
    lab.workspace.experiment = frozen(lab.workspace.experiment, "0" * 64)
    with pytest.raises(ConfigError, match=r"must be protocol\.digest 0000"):
        promote_team(lab.workspace, team.run_id)
    lab.workspace.experiment = frozen(lab.workspace.experiment, protocol.digest)
    promote_team(lab.workspace, team.run_id)
    assert lab.champion() == str(team.version)


def frozen(experiment: Experiment, digest: str) -> Experiment:
    protocol = {**experiment.protocol.model_dump(), "digest": digest}
    return Experiment.model_validate({**experiment.model_dump(), "protocol": protocol})


def as_command(lab: Lab, act: str, team: Trained) -> None:
    def compute(run: StageRun) -> None:
        lab.workspace.command = run
        promote_team(lab.workspace, team.run_id)

    run_stage(lab.workspace.store, Stage(StageKey(act, 1), act, reusable=False), compute)


def test_a_promotion_over_a_champion_is_a_look_at_the_final_set(lab: Lab) -> None:
    first, second = lab.evaluated(answers(GOOD)), lab.evaluated(answers(BETTER))
    before = looks_so_far(lab.workspace.store)
    as_command(lab, "promote", first)
    assert looks_so_far(lab.workspace.store) == before
    as_command(lab, "promote", second)
    assert looks_so_far(lab.workspace.store) == before + 1


@pytest.mark.parametrize("baseline", ["sft", "indep"])
def test_a_team_is_not_compared_with_itself_and_nothing_is_computed(lab: Lab, baseline: str) -> None:
    assert_refused(lab, ConfigError, baseline, baseline, "share an evaluation")


def test_a_run_is_not_compared_with_its_own_version(lab: Lab) -> None:
    team, other = lab.evaluated(answers(GOOD)), lab.evaluated(answers(BETTER))
    assert_refused(lab, ConfigError, team.run_id[:12], str(team.version), "share an evaluation")
    assert_refused(lab, ConfigError, f"{team.run_id},{other.run_id}", other.version.uri, "share an evaluation")


@pytest.mark.parametrize("sides", [("indep", "nobody"), ("nobody", "indep"), ("indep", "models:/nothing.team/1")])
def test_an_unknown_side_is_refused_before_anything_is_computed(lab: Lab, sides: tuple[str, str]) -> None:
    assert_refused(lab, TrackingError, *sides, "a side must be a team")


def test_a_side_that_is_no_evaluation_is_refused_before_anything_is_computed(lab: Lab) -> None:
    assert_refused(lab, StageInputError, "indep", lab.questions.run_id, "runs of evaluate")


def assert_refused(lab: Lab, kind: type[MatsError], baseline: str, treatment: str, saying: str) -> None:
    """Assert that a comparison is refused without a new run."""
    client, ids = lab.workspace.store.client, lab.workspace.store.experiment_ids
    before = len(client.search_runs(ids))
    with pytest.raises(kind, match=saying):
        compare_named(lab.workspace, baseline, treatment)
    assert len(client.search_runs(ids)) == before


def test_two_versions_of_one_team_are_compared_by_their_addresses(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mats_sql.pipeline.results.questions", lambda _workspace: lab.questions)
    first, second = lab.evaluated(answers(GOOD)), lab.evaluated(answers(BETTER))
    compare_named(lab.workspace, str(first.version), second.version.uri)
    assert f"{second.version.uri} − {first.version} = +25.00 pp" in capsys.readouterr().out


@pytest.mark.parametrize("options", [(), ("--run-id", "abcd", "--rollback")])
def test_promote_takes_a_team_or_a_rollback_and_not_both(options: tuple[str, ...]) -> None:
    done = CliRunner().invoke(commands, ["promote", *options])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "one of --run-id and --rollback" in done.stderr
