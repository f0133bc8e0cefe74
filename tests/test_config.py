"""The experiment's settings: every shipped config loads, and what is wrong is said in one line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.choices import Regime
from mats_sql.config import Experiment, load_experiment
from mats_sql.errors import ConfigError

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_loads_and_is_named_as_its_file(path: Path) -> None:
    assert load_experiment(path).name == path.stem


def test_an_empty_file_is_the_default_experiment(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert load_experiment(path) == Experiment()


def test_overrides_reach_nested_settings_and_are_yaml(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("orpo: {beta: 0.5}\n")
    loaded = load_experiment(path, ["orpo.beta=0.1", "regimes=[strict]", "policy.gate=always", "pairs.k=null"])
    assert (loaded.orpo.beta, loaded.regimes, loaded.policy.gate) == (0.1, (Regime.STRICT,), "always")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("orpo: {betta: 1}", "orpo.betta"),
        ("orpo: {beta: -1}", "greater than 0"),
        ("policy: {k: two}", "policy.k"),
        ("regimes: [both]", "regimes.0"),
        ("name: 'a b'", "name"),
        ("benchmark: {kind: bird}", "benchmark.root must be set"),
        ("- a list", "a mapping"),
        ("a: [", "YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=20))
def test_no_override_escapes_as_another_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        load_experiment(CONFIGS[0], [text])
