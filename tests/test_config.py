"""The experiment's settings: every shipped config loads, all are described, what is wrong is said in one line."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.choices import Regime
from mats_sql.config import Experiment, load_experiment
from mats_sql.config.section import Section
from mats_sql.errors import ConfigError

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
GENERATED = runpy.run_path(str(ROOT / "docs" / "generate_config.py"))


def keys(model: type[Section], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """Yield every key, sections included, with its description."""
    for name, field in model.model_fields.items():
        yield prefix + name, field.description
        by_name = get_origin(field.annotation) is Mapping
        kind = get_args(field.annotation)[1] if by_name else field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from keys(kind, f"{prefix}{name}.{'x.' if by_name else ''}")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_loads_and_is_named_as_its_file(path: Path) -> None:
    assert load_experiment(path).name == path.stem


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_tells_editors_its_schema(path: Path) -> None:
    directive = path.read_text(encoding="utf-8").splitlines()[0]
    assert (path.parent / directive.removeprefix("# yaml-language-server: $schema=")).is_file(), directive


def test_every_setting_says_what_it_does() -> None:
    assert [key for key, description in keys(Experiment) if not description] == []


@pytest.mark.parametrize(("file", "made"), [("docs/config.md", "page"), ("configs/schema.json", "schema")])
def test_the_settings_page_and_schema_are_what_the_settings_say(file: str, made: str) -> None:
    written = (ROOT / file).read_text(encoding="utf-8")
    assert written == GENERATED[made](), f"{file} is not that of the code; run python docs/generate_config.py"


def test_an_empty_file_is_the_default_experiment(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert load_experiment(path) == Experiment()


def test_overrides_reach_nested_settings_and_are_yaml(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("orpo: {beta: 0.5}\npairs: {k: 3}\n")
    loaded = load_experiment(path, ["orpo.beta=0.1", "regimes=[strict]", "policy.gate=always", "pairs.k=null"])
    assert (loaded.orpo.beta, loaded.regimes, loaded.policy.gate, loaded.pairs.k) == (
        0.1,
        (Regime.STRICT,),
        "always",
        None,
    )


def test_a_team_is_named_in_the_file_or_by_an_override_and_its_agents_are_sft_unless_said(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("teams: {no-fixer: {fixer: none}}\n")
    teams = load_experiment(path, ["teams.planner-orpo.planner=orpo"]).teams
    assert {name: (team.planner, team.validators, team.fixer) for name, team in teams.items()} == {
        "no-fixer": ("sft", "sft", "none"),
        "planner-orpo": ("orpo", "sft", "sft"),
    }


def test_of_two_overrides_of_a_key_the_last_holds(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("")
    assert load_experiment(path, ["orpo.beta=0.1", "orpo.beta=0.2"]).orpo.beta == 0.2


SET = {"MATS_PLACE": "/srv/data", "MATS_EMPTY": "", "MATS_NESTED": "${MATS_PLACE}", "MATS_SIZE": "7"}
REFERENCES = [
    ("${MATS_PLACE}/bird", "/srv/data/bird"),
    ("${MATS_PLACE:-../shared}/bird", "/srv/data/bird"),
    ("${MATS_ABSENT:-../shared}/data/bird", "../shared/data/bird"),
    ("${MATS_ABSENT:-}bird", "bird"),
    ("${MATS_EMPTY:-here}", "here"),
    ("${MATS_EMPTY}bird", "bird"),
    ("${MATS_ABSENT:-a}/${MATS_ABSENT:-b}${MATS_SIZE}", "a/b7"),
    ("${MATS_NESTED}/x", "${MATS_PLACE}/x"),
    ("$MATS_PLACE ${} ${a b} $5 {x}", "$MATS_PLACE ${} ${a b} $5 {x}"),
]


@pytest.mark.parametrize(("text", "resolved"), REFERENCES, ids=[text for text, _ in REFERENCES])
def test_a_text_of_a_config_or_override_may_refer_to_environment_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, resolved: str
) -> None:
    monkeypatch.delenv("MATS_ABSENT", raising=False)
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "e.yaml"
    path.write_text(yaml.safe_dump({"benchmark": {"kind": "bird", "root": text}}))
    assert load_experiment(path).benchmark.root == Path(resolved)
    path.write_text("benchmark: {kind: bird}")
    assert load_experiment(path, [f"benchmark.root={json.dumps(text)}"]).benchmark.root == Path(resolved)


def test_a_variable_may_stand_for_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATS_SIZE", "7")
    path = tmp_path / "e.yaml"
    path.write_text("benchmark: {dev_questions: '${MATS_SIZE}'}\nseeds: [1, '${MATS_SIZE}']\n")
    loaded = load_experiment(path)
    assert (loaded.benchmark.dev_questions, loaded.seeds) == (7, (1, 7))


def test_a_variable_without_value_or_default_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MATS_ABSENT", raising=False)
    assert _refusal(tmp_path, "benchmark: {kind: bird, root: '${MATS_ABSENT}/bird'}") == (
        "an environment variable of the config must be set, but ${MATS_ABSENT} is not; export MATS_ABSENT, or write "
        "${MATS_ABSENT:-default}"
    )


TAKEN = ("all", "planner", "sft", "validators", "collab_v2", "SFT-VF")
WRONG = [
    ("orpo: {betta: 1}", "every key must be known, but {path} has 'orpo.betta'; remove it or see docs/config.md"),
    ("orpo: {beta: -1}", "orpo.beta: Input should be greater than 0, but got -1; change it in {path}"),
    ("policy: {k: two}", "policy.k: Input should be a valid integer"),
    (
        "regimes: [both]",
        f"a regime must be one of {', '.join(Regime)} or package.module:function, but got 'both'; name one ({{path}})",
    ),
    ("pairs: {balance: match}", "pairs.matched_to must name a regime exactly when pairs.balance is match"),
    ("name: 'a b'", "name: String should match pattern"),
    (
        "benchmark: {kind: bird}",
        "benchmark.root must be set when benchmark.kind is 'bird'; set it to the folder ({path})",
    ),
    (
        "teacher: {kind: large_model}",
        "teacher.model and teacher.base_url must be set when teacher.kind is 'large_model'",
    ),
    ("seeds: [0, 1, 0]", "seeds must differ from one another, but got [0, 1, 0]; leave out the repeated"),
    (
        "teams: {a: {validators: colab}}",
        f"teams.a.validators must be one of none, base, sft, {', '.join(Regime)}, or package.module:function, but got "
        "'colab'; choose one",
    ),
    (
        "teams: {a: {validators: 'nowhere_at_all:rule'}}",
        "teams.a.validators: a regime of one's own must be a function of (case, policy), but of 'nowhere_at_all:rule'",
    ),
    ("teams: {a: {planner: none}}", "teams.a.planner: Input should be 'base', 'sft' or 'orpo', but got 'none'"),
    (
        "teams: {a: {selector: orpo}}",
        "teams.a.selector: Input should be 'none', 'base', 'sft' or 'own', but got 'orpo'",
    ),
    (
        "teams: {a: {selector: own, fixer: none}}",
        "teams.a.selector must be none, base or sft in a team without validators or fixer, but got own; choose one, or "
        "give the team both",
    ),
    ("teams: {a: {judge: sft}}", "every key must be known, but {path} has 'teams.a.judge'"),
    ("teams: {a b: {}}", "a team's name must be letters, digits, - and _, but got 'a b' in teams; rename it"),
    *((f"teams: {{{name}: {{}}}}", f"a team's name must not be taken, but teams.{name} is") for name in TAKEN),
    ("teams: {one: {}, One: {}}", "a team's name must not be taken, but teams.One is; rename it"),
    ("- a list", "the config must be a mapping of keys, but {path} holds a list"),
    ("a: [", "the config file must be YAML, but {path}: "),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[text for text, _ in WRONG])
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    message = _refusal(tmp_path, text)
    assert message.startswith(said.format(path=tmp_path / "e.yaml"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("rollout: {plans: 8, critiques: 4}\npairs: {k: 5}", "pairs.k", 5),
        ("rollout: {plans: 4, critiques: 8}\npairs: {k: 5}", "pairs.k", 5),
        ("rollout: {plans: 8, critiques: 4}\nsearch: {k: [2, 8]}", "search.k", 8),
        ("rollout: {plans: 4, critiques: 8}\nsearch: {k: [8, 2]}", "search.k", 8),
    ],
)
def test_a_k_beyond_what_the_pool_holds_is_refused(tmp_path: Path, text: str, key: str, value: int) -> None:
    rollout = yaml.safe_load(text)["rollout"]
    assert _refusal(tmp_path, text) == (
        f"{key} must be at most min(rollout.plans, rollout.critiques), the pool's size, but got {value} and "
        f"min({rollout['plans']}, {rollout['critiques']}); lower {key} or draw more ({tmp_path / 'e.yaml'})"
    )


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("search: {beta: [1.0, 0.1]}", "search.beta must be two numbers above 0, the lower first, but got [1.0, 0.1]"),
        ("search: {learning_rate: [0, 1.0e-4]}", "search.learning_rate must be two numbers above 0"),
        ("search: {k: []}", "search.k must name values of pairs.k, each at least 2, but got []"),
        ("search: {k: [1, 2]}", "search.k must name values of pairs.k, each at least 2, but got [1, 2]"),
    ],
)
def test_a_search_space_with_nothing_in_it_is_refused(tmp_path: Path, text: str, start: str) -> None:
    assert _refusal(tmp_path, text).startswith(start)


def test_regimes_are_named_one_by_one_or_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("regimes: [indep, collab]\n")
    experiment = load_experiment(path)
    assert experiment.regimes_named("strict,indep,strict") == ("strict", "indep")
    assert experiment.regimes_named("all") == ("indep", "collab")
    with pytest.raises(ConfigError, match="a regime must be one of"):
        experiment.regimes_named("indep,nonsense")


def test_a_k_of_all_that_the_pool_holds_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("rollout: {plans: 6, critiques: 5}\npairs: {k: 5}\nsearch: {k: [2, 5]}\npolicy: {k: 16}\n")
    assert load_experiment(path).pairs.k == 5


@settings(deadline=None)
@given(
    st.sampled_from([key for key, _ in keys(Experiment)]),
    st.text(max_size=12)
    | st.sampled_from(["null", "-1", "[]", "{}", "1e999", ".nan", "[1, a]", "{x: 1}", "!!set {a}"]),
)
def test_a_key_with_any_value_loads_or_is_refused_in_one_line(key: str, value: str) -> None:
    assert "\n" not in _said(f"{key}={value}")


@settings(deadline=None)
@given(st.text(max_size=20) | st.from_regex(r"[a-z.=:\[{!&*-]{1,12}", fullmatch=True))
def test_no_override_escapes_as_another_error(text: str) -> None:
    assert "\n" not in _said(text)


def _said(override: str) -> str:
    """Return what an override is refused with, nothing when it is not; another error than ours passes through."""
    try:
        load_experiment(CONFIGS[0], [override])
    except ConfigError as refused:
        return str(refused)
    return ""


def _refusal(folder: Path, text: str) -> str:
    path = folder / "e.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    return str(caught.value)


def test_an_override_that_yields_to_every_regimes_own_setting_is_refused(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text("name: own\nregimes: [indep, collab]\ntuned: {collab: {beta: 0.5}}\n")
    assert load_experiment(path, ["orpo.beta=0.1"]).orpo.beta == 0.1, "indep has none of its own"
    path.write_text("name: own\nregimes: [collab]\ntuned: {collab: {beta: 0.5}}\n")
    with pytest.raises(ConfigError, match=r"orpo\.beta yields to tuned\.REGIME\.beta, .*e\.g\. tuned\.collab\.beta"):
        load_experiment(path, ["orpo.beta=0.1"])
    assert load_experiment(path, ["orpo.learning_rate=0.001", "tuned.collab.beta=0.1"]).tuned["collab"].beta == 0.1
