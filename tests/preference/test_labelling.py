"""Which pair sets an experiment trains on: every regime, and INDEP's controls beside it."""

from __future__ import annotations

import pytest

from mats_sql.choices import Balance
from mats_sql.config import Experiment
from mats_sql.errors import ConfigError
from mats_sql.preference.labelling import Labelling, labellings, labellings_named


def names(**settings: object) -> list[str]:
    return [one.name for one in labellings(Experiment.model_validate(settings))]


def test_beside_the_regimes_stand_balanced_indep_and_indep_matched_to_each() -> None:
    assert names(regimes=["indep", "collab", "strict"]) == [
        "INDEP",
        "COLLAB",
        "STRICT",
        "INDEP (balanced)",
        "INDEP (matched to COLLAB)",
        "INDEP (matched to STRICT)",
    ]


@pytest.mark.parametrize("regimes", [["indep"], ["collab", "strict"]])
def test_without_a_comparison_with_indep_there_are_no_controls(regimes: list[str]) -> None:
    assert names(regimes=regimes) == [regime.upper() for regime in regimes]


def test_controls_can_be_left_out() -> None:
    assert names(regimes=["indep", "strict"], controls=False) == ["INDEP", "STRICT"]


def test_where_all_pairs_are_balanced_indep_needs_no_balanced_control() -> None:
    assert names(regimes=["indep", "strict"], pairs={"balance": "verdict"}) == [
        "INDEP (balanced)",
        "STRICT (balanced)",
        "INDEP (matched to STRICT (balanced))",
    ]


def test_a_regime_is_not_matched_to_itself_and_a_control_that_is_trained_anyway_is_not_trained_twice() -> None:
    assert names(regimes=["indep", "strict"], pairs={"balance": "match", "matched_to": "strict"}) == [
        "INDEP (matched to STRICT)",
        "STRICT",
        "INDEP (balanced)",
    ]


@pytest.mark.parametrize("pairs", [{"balance": "match"}, {"matched_to": "strict"}])
def test_a_match_without_a_target_and_a_target_without_a_match_are_refused(pairs: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"pairs\.matched_to must name a regime exactly when pairs\.balance is match"):
        Experiment.model_validate({"pairs": pairs})


def test_a_labelling_goes_by_its_key_and_a_regime_by_its_name() -> None:
    experiment = Experiment(regimes=("indep", "strict"))
    assert labellings_named(experiment, "indep (balanced)") == (Labelling("indep", Balance.VERDICT),)
    assert labellings_named(experiment, "collab") == (Labelling("collab"),)
    assert labellings_named(experiment, "all") == labellings(experiment)
    with pytest.raises(ConfigError, match=r"a regime must be one of indep, .* but got 'magic'"):
        labellings_named(experiment, "magic")
