from __future__ import annotations

import csv
import io
import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest
from rich.console import Console

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.choices import Gate
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.evaluation.comparison.statistics import compare_all
from mats_sql.evaluation.diagnosis.page import causal_effects, pairs_by_k
from mats_sql.evaluation.diagnosis.pool import diagnose_pool
from mats_sql.evaluation.metrics import team_metrics
from mats_sql.evaluation.question_results import answers, question_results
from mats_sql.evaluation.report.plots import gap_forest, pass_at_k, selector_by_seed, team_bars, verdict_confusion
from mats_sql.evaluation.report.result_tables import (
    EvaluatedTeam,
    RewardAccuracy,
    comparison_table,
    measure,
    question_sets,
    result_tables,
    reward_table,
    stage_table,
    verdict_table,
)
from mats_sql.evaluation.report.tables import ResultTable, print_tables
from mats_sql.search.plots import search_scatter
from mats_sql.search.trials import TrialRow, TrialSettings, TrialState
from tests.evaluation.synthetic import TeamShape, synthetic_team
from tests.evaluation.synthetic_pool import PoolShape, synthetic_pool

SFT = synthetic_team(1, TeamShape(0.6), questions=110)
PLANNER = tuple(
    replace(row, in_pool=True, gate_open=False, selected=row.sample_index == 0, selector_score=None)
    for row in SFT
    if row.origin == "plan"
)
TEAMS = [
    EvaluatedTeam("PLANNER-only", PLANNER),
    EvaluatedTeam("SFT-VF", SFT),
    EvaluatedTeam("ORPO INDEP", synthetic_team(2, TeamShape(0.75), questions=110)),
    EvaluatedTeam("ORPO COLLAB", synthetic_team(3, TeamShape(0.8, 0.2, 0.1), questions=110)),
]
RUNS = {team.name: answers(question_results(team.candidates)) for team in TEAMS}
COMPARISONS = compare_all(RUNS["ORPO INDEP"], {"ORPO COLLAB": RUNS["ORPO COLLAB"]}, baseline_name="ORPO INDEP")


def test_the_result_table_has_the_handoffs_columns_on_both_question_sets():
    both = result_tables(TEAMS, range(30))
    assert [table.title for table in both] == [
        "Result on all usable dev questions (110)",
        "Result on outside the validation split (80)",
    ]
    wanted = ("team", "planner@1", "pipeline@1", "oracle pass@8", "majority@8", "selector EX", "pick-rate")
    assert both[0].columns == both[1].columns == wanted


def test_the_second_set_leaves_the_validation_questions_out():
    rest = result_tables(TEAMS, range(30))[1]
    expected = team_metrics([row for row in SFT if row.question_id >= 30])
    assert rest.rows[1][5] == expected.scores.selector_ex


def test_without_a_validation_split_there_is_one_set():
    assert len(question_sets(TEAMS[0], ())) == 1


def test_a_team_without_a_trained_selector_has_a_dash():
    assert "| PLANNER-only |" in result_tables(TEAMS, ())[0].to_markdown()
    assert result_tables(TEAMS, ())[0].to_markdown().splitlines()[4].endswith("| – | – |")


def test_teams_on_different_questions_do_not_share_a_table():
    with pytest.raises(StageInputError, match="same questions"):
        result_tables([TEAMS[0], EvaluatedTeam("short", SFT[:-16])], ())


def test_markdown_shows_percent_and_csv_keeps_fractions():
    table = ResultTable("t", ("a", "b", "c", "d"), (("x | y", Proportion(1, 3), None, 0.5),), "note")
    assert "| x \\| y | 33.33 | – | 0.500 |" in table.to_markdown()
    assert next(csv.reader(io.StringIO(table.to_csv().splitlines()[1]))) == ["x | y", repr(1 / 3), "", "0.5"]


@pytest.mark.parametrize(
    "table",
    [
        *result_tables(TEAMS, range(30)),
        stage_table(measure(TEAMS, question_sets(TEAMS[0], ())[0])),
        verdict_table(measure(TEAMS, question_sets(TEAMS[0], ())[0])),
        reward_table([RewardAccuracy("collab", Validator.SELECT, 0.174, 0.697, 120)]),
        comparison_table(COMPARISONS, "all"),
    ],
    ids=lambda table: table.title,
)
def test_every_table_prints_to_terminal_markdown_and_csv_with_all_its_rows(table):
    console = Console(file=io.StringIO(), width=200)
    console.print(table.to_rich())
    printed = console.file.getvalue()
    assert all(str(row[0]) in printed and str(row[0]) in table.to_markdown() for row in table.rows)
    assert len(list(csv.reader(io.StringIO(table.to_csv())))) == 1 + len(table.rows)
    assert {len(row) for row in table.rows} == {len(table.columns)}


LONG = [
    EvaluatedTeam(f"ORPO COLLAB_V2, aware fixer, seed {number}", team.candidates) for number, team in enumerate(TEAMS)
]
PRINTED = (
    result_tables(LONG, ())[0],
    stage_table(measure(LONG, question_sets(LONG[0], ())[0])),
    verdict_table(measure(LONG, question_sets(LONG[0], ())[0])),
    comparison_table(
        [
            replace(item, treatment=f"{item.treatment} (aware fixer)", baseline=f"{item.baseline} (aware fixer)")
            for item in COMPARISONS
        ]
    ),
)


@pytest.mark.parametrize("width", [80, 100, 120, 160])
@pytest.mark.parametrize("table", PRINTED, ids=lambda table: table.title)
def test_on_a_terminal_of_any_width_no_cell_is_cut_or_wrapped_and_what_counts_is_there(table, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_tables(console, [table])
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    body = [line for line in lines if line.startswith("│")]
    assert len(body) == len(table.rows)
    for line, row in zip(body, table.rows, strict=True):
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        assert cells[0] == row[0]
        essential = [i for i, column in enumerate(table.columns) if column not in table.optional]
        shown = next(csv.reader([ResultTable("", table.columns, (row,)).to_markdown().splitlines()[-1]], delimiter="|"))
        assert {shown[1 + i].strip() for i in essential} <= set(cells)
    assert ("more column" in console.file.getvalue()) == (len(cells) < len(table.columns))


def test_into_a_file_every_column_is_written_whatever_the_width():
    console = Console(file=io.StringIO(), width=80)
    print_tables(console, PRINTED)
    printed = console.file.getvalue()
    assert [column for table in PRINTED for column in table.columns if column not in printed] == []


def test_a_team_without_validators_is_not_in_the_verdict_table():
    rows = [replace(row, select_verdict=Verdict.MISSING, condition_verdict=Verdict.MISSING) for row in PLANNER]
    named = [("PLANNER-only", team_metrics(rows)), ("SFT-VF", team_metrics(SFT))]
    assert [row[0] for row in verdict_table(named).rows] == ["SFT-VF", "SFT-VF"]


@cache
def small_pool():
    return diagnose_pool(synthetic_pool(1, PoolShape(questions=30)), gate=Gate.ON_COMPLAINT, max_pairs_per_prompt=2)


def trials():
    settings = [TrialSettings(0.1 * (i + 1), (2, 4)[i % 2], 1e-4 * (i + 1)) for i in range(4)]
    finished = [TrialRow(i, one, TrialState.FINISHED, 0.5 + i / 100, "", {}) for i, one in enumerate(settings)]
    return [*finished, TrialRow(4, settings[0], TrialState.FAILED, None, "loss is NaN", {})]


NAMED = [(team.name, team.candidates) for team in TEAMS]
FIGURES = {
    "team_bars": lambda: team_bars(NAMED),
    "pass_at_k": lambda: pass_at_k(NAMED),
    "selector_by_seed": lambda: selector_by_seed({"PLANNER-only": [0.4], "ORPO INDEP": [0.35, 0.36, 0.35]}),
    "gap_forest": lambda: gap_forest(COMPARISONS[0]),
    "verdict_confusion": lambda: verdict_confusion("SFT-VF", SFT),
    "pairs_by_k": lambda: pairs_by_k(small_pool()),
    "causal_effects": lambda: causal_effects(small_pool()),
    "search_scatter": lambda: search_scatter(trials()),
    "search_without_a_finished_trial": lambda: search_scatter(trials()[4:]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_plot_is_written_as_png_and_equal_data_give_equal_bytes(name, tmp_path):
    for side in "ab":
        FIGURES[name]().savefig(tmp_path / f"{side}.png", metadata={"Software": None})
    first, second = ((tmp_path / f"{side}.png").read_bytes() for side in "ab")
    assert first.startswith(b"\x89PNG")
    assert first == second


def test_importing_the_packages_pulls_in_no_heavy_library():
    heavy = "{'torch', 'mlflow', 'optuna', 'matplotlib', 'pandas', 'scipy'}"
    code = f"import sys, mats_sql.evaluation, mats_sql.search; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_evaluation_and_search_do_not_import_mlflow_or_torch():
    packages = "comparison, diagnosis, report"
    code = f"import sys; from mats_sql.evaluation import {packages}; from mats_sql.search import study, plots;"
    code += "print(sorted({'torch', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
