"""A regime of the user's own: found by its name, told from a wrong one in one line, and the same as a built-in one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator
from mats_sql.choices import PoolRule
from mats_sql.config import Experiment, Policy, load_experiment, own_rule
from mats_sql.errors import ConfigError
from mats_sql.preference.regimes import label_critiques, replays_selector
from mats_sql.rollout.pool import Pool
from tests.evaluation.synthetic_pool import PoolShape, synthetic_pool
from tests.pools import pools

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
MODULE = """\
def as_strict(case, policy):
    return case.critique.verdict is not None and strict(case, policy)

def weigh(case, policy):
    return 2.5 * indep(case, policy)

def talk(case, policy):
    return "chosen"

def alone(case):
    return True

def three(case, policy, more):
    return True

def with_default(case, policy, more=1):
    return True

NUMBER = 3
from mats_sql.preference.regimes import indep, strict
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the command runs in, with a module of rules."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rules.py").write_text(MODULE)
    (tmp_path / "mine" / "broken.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("mine", "my_rules")]:
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pools(), st.sampled_from(list(Validator)))
def test_a_rule_that_does_what_a_built_in_one_does_labels_as_it_does(pool: Pool, validator: Validator) -> None:
    mine = label_critiques(pool, validator, "mine.rules:as_strict", Policy())
    assert mine == label_critiques(pool, validator, "strict", Policy())


def test_a_rule_may_weigh() -> None:
    pool = synthetic_pool(1, PoolShape(questions=5))
    mine = label_critiques(pool, Validator.SELECT, "mine.rules:weigh", Policy())
    indep = label_critiques(pool, Validator.SELECT, "indep", Policy())
    assert [item.worth for item in mine] == [2.5 * item.worth for item in indep]


def test_a_rule_that_answers_with_no_number_is_refused_with_what_it_said() -> None:
    with pytest.raises(ConfigError, match=r"mine\.rules:talk says 'chosen' of the critique .*; mend the rule"):
        label_critiques(synthetic_pool(1, PoolShape(questions=2)), Validator.SELECT, "mine.rules:talk", Policy())


def test_a_rule_of_ones_own_may_replay_the_policy_so_it_is_given_the_selectors_scores() -> None:
    assert replays_selector("mine.rules:weigh", Policy(pool=PoolRule.KEEP_BOTH))
    assert not replays_selector("mine.rules:weigh", Policy())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.rules:f", "importing nowhere.rules failed (No module named 'nowhere'); mend the name or the module"),
        ("mine.broken:f", "importing mine.broken failed (No module named 'nothing_of_that_name'); mend"),
        ("mine.rules:missing", "mine.rules has no such function; define it there"),
        ("mine.rules:NUMBER", "mine.rules has no such function; define it there"),
        ("mine.rules:alone", "it cannot be called with two arguments (too many positional arguments); take both"),
        ("mine.rules:three", "it cannot be called with two arguments (missing a required argument: 'more'); take both"),
        ("mine.rules", "or package.module:function, but got 'mine.rules'; name one"),
        ("../mine:f", "or package.module:function, but got '../mine:f'; name one"),
    ],
)
def test_a_wrong_name_is_one_line_when_the_config_is_read(name: str, said: str, folder: Path) -> None:
    path = folder / "e.yaml"
    path.write_text(f"regimes: [indep, '{name}']\n")
    with pytest.raises(ConfigError) as refused:
        load_experiment(path)
    assert said in str(refused.value)
    assert repr(name) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_function_that_can_be_called_with_two_arguments_is_a_rule() -> None:
    assert own_rule("mine.rules:with_default").function(None, None) is True


def test_the_digest_is_that_of_the_functions_own_file(folder: Path) -> None:
    (folder / "mine" / "face.py").write_text("from mine.rules import weigh\n")
    before = own_rule("mine.face:weigh").digest
    assert before == own_rule("mine.rules:weigh").digest
    (folder / "mine" / "rules.py").write_text(MODULE + "# changed\n")
    assert own_rule("mine.face:weigh").digest != before


def test_two_rules_of_one_name_are_refused(folder: Path) -> None:
    (folder / "mine" / "other.py").write_text("def weigh(case, policy):\n    return 1\n")
    with pytest.raises(ValueError, match="regimes must differ in their names, but weigh is there twice"):
        Experiment.model_validate({"regimes": ["mine.rules:weigh", "mine.other:weigh"]})


def test_the_rule_of_the_training_page_works_as_it_stands_there(folder: Path) -> None:
    [code] = re.findall(r"```python\n# my_rules\.py\n(.*?)```", PAGE, re.DOTALL)
    [config] = re.findall(r"```yaml\n(regimes:.*?)```", PAGE, re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
    (folder / "my_rules.py").write_text(code)
    (folder / "e.yaml").write_text(config)
    experiment = load_experiment(folder / "e.yaml")
    [own] = [regime for regime in experiment.regimes if ":" in regime]
    pool = synthetic_pool(3, PoolShape(questions=40))
    labels = [item for validator in Validator for item in label_critiques(pool, validator, own, experiment.policy)]
    assert {item.chosen for item in labels} == {True, False}
