from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.choices import Gate
from mats_sql.config import Policy
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.evaluation.comparison.statistics import compare_teams, corrected
from mats_sql.evaluation.diagnosis.page import causal_effects, pairs_by_k
from mats_sql.evaluation.diagnosis.pool import diagnose_pool
from mats_sql.evaluation.metrics import team_metrics
from mats_sql.evaluation.question_results import question_results, selections
from mats_sql.evaluation.report.controls import PairSet, pair_table
from mats_sql.evaluation.report.plots import gap_forest, pass_at_k, selector_by_seed, team_bars, verdict_confusion
from mats_sql.evaluation.report.results import (
    EvaluatedTeam,
    RewardAccuracy,
    comparison_table,
    measure,
    result_tables,
    reward_table,
    stage_table,
    verdict_table,
)
from mats_sql.evaluation.report.tables import ResultTable
from mats_sql.evaluation.report.terminal import print_tables
from mats_sql.evaluation.sets import question_sets
from mats_sql.search.plots import search_scatter
from mats_sql.search.trials import TrialRow, TrialSettings, TrialState
from tests.evaluation.synthetic import TeamShape, synthetic_team
from tests.evaluation.synthetic_pool import PoolShape, synthetic_pool

ROOT = Path(__file__).parents[2]
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
    EvaluatedTeam("ORPO COLLAB_V2, aware fixer, seed 1", synthetic_team(3, TeamShape(0.8, 0.2, 0.1), questions=110)),
]
RUNS = {team.name: selections(question_results(team.candidates)) for team in TEAMS}
SFT_IDS = frozenset(row.question_id for row in SFT)
LINE = "(aware fixer, iteration 2)"
COMPARISONS = corrected(
    [
        compare_teams(RUNS["ORPO INDEP"], RUNS[team], names=(f"INDEP {LINE}", f"{regime} {LINE}"))
        for regime, team in (("COLLAB_V2", "ORPO COLLAB_V2, aware fixer, seed 1"), ("SFT", "SFT-VF"))
    ]
)


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
    assert len(question_sets(SFT_IDS, ())) == 1


def test_a_team_without_a_trained_selector_has_a_dash():
    assert "| PLANNER-only |" in result_tables(TEAMS, ())[0].to_markdown()
    assert result_tables(TEAMS, ())[0].to_markdown().splitlines()[4].endswith("| – | – |")


def test_teams_on_different_questions_do_not_share_a_table():
    with pytest.raises(StageInputError, match="same questions"):
        result_tables([TEAMS[0], EvaluatedTeam("short", SFT[:-16])], ())


def test_a_bound_stands_below_the_teams_and_is_said_to_read_gold():
    table = result_tables(TEAMS[:2], (), [EvaluatedTeam("PERFECT-GATE (bound)", TEAMS[2].candidates)])[0]
    assert [row[0] for row in table.rows] == ["PLANNER-only", "SFT-VF", "PERFECT-GATE (bound)"]
    assert table.note.endswith("PERFECT-GATE (bound): reads gold, a bound and no team.")
    assert "gold" not in result_tables(TEAMS[:2], ())[0].note


def test_a_bound_on_other_questions_is_refused():
    with pytest.raises(StageInputError, match="same questions"):
        result_tables(TEAMS[:2], (), [EvaluatedTeam("PERFECT-GATE (bound)", SFT[:-16])])


def test_markdown_shows_percent_and_csv_keeps_fractions():
    table = ResultTable("t", ("a", "b", "c", "d"), (("x | y", Proportion(1, 3), None, 0.5),), "note")
    assert "| x \\| y | 33.33 | – | 0.500 |" in table.to_markdown()
    assert next(csv.reader(io.StringIO(table.to_csv().splitlines()[1]))) == ["x | y", repr(1 / 3), "", "0.5"]


TABLES = [
    *result_tables(TEAMS, range(30)),
    stage_table(measure(TEAMS, question_sets(SFT_IDS, ())[0])),
    verdict_table(measure(TEAMS, question_sets(SFT_IDS, ())[0])),
    reward_table([RewardAccuracy("collab_v2, aware fixer, iteration 2", Validator.CONDITION, 0.174, 0.697, 120)]),
    comparison_table(COMPARISONS, "all"),
    pair_table(
        [
            PairSet("COLLAB_V2", Validator.SELECT, 1234, 0.6),
            PairSet("INDEP (matched to COLLAB_V2)", Validator.CONDITION, 1200, 0.59, 34, 0.01),
        ]
    ),
]
each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)


@each_table
def test_every_table_is_markdown_and_csv_with_all_its_cells(table):
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("|")]
    assert [len(line.split(" | ")) for line in lines[2:]] == [len(table.columns)] * len(table.rows)
    assert lines[0] == "| " + " | ".join(table.columns) + " |"
    written = list(csv.reader(io.StringIO(table.to_csv())))
    assert written[0] == list(table.columns)
    assert [row[0] for row in written[1:]] == [row[0] for row in table.rows]
    assert {len(row) for row in written} == {len(table.columns)}


def printed(width, *tables):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_tables(console, tables)
    return console.file.getvalue()


def shown(table, width):
    """The printed header's names and the printed rows, cells parted by the two spaces between columns."""
    lines = printed(width, table).splitlines()
    rule = next(index for index, line in enumerate(lines) if set(line.strip()) == {"─"})
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines[rule - 1 : rule + 1 + len(table.rows)]]
    return cells[0], cells[2:], lines


@each_table
@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_a_table_fits_the_console_without_a_wrapped_or_cut_cell(table, width):
    header, rows, lines = shown(table, width)
    assert max(map(cell_len, lines)) <= width
    kept = [name for name in table.columns if {name, table.short.get(name, name)} & set(header)]
    assert len(header) == len(kept)
    assert set(table.columns) - set(table.dropped(len(table.droppable))) <= set(kept)
    whole = [line.strip("| ").split(" | ") for line in table.to_markdown().splitlines() if line.startswith("|")][2:]
    places = [table.columns.index(name) for name in kept]
    assert rows == [[row[place] for place in places] for row in whole]


@each_table
@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_what_is_left_out_is_named_with_the_place_where_it_is(table, width):
    header, _, lines = shown(table, width)
    gone = [name for name in table.columns if not {name, table.short.get(name, name)} & set(header)]
    said = " ".join(" ".join(lines).split()).partition("Left out at this width: ")[2]
    names, _, place = said.partition(". ")
    assert sorted(names.split(", ")) == sorted(gone or [""])
    assert place == ("All of it is in report.md of the run." if gone else "")


def test_a_wide_console_shows_every_column_under_its_full_name():
    for table in TABLES:
        assert shown(table, 250)[0] == list(table.columns)


def test_a_narrow_console_drops_columns_in_the_declared_order():
    table = TABLES[0]
    counts = [len(shown(table, width)[0]) for width in range(60, 130, 5)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (3, 7)


def test_the_quickstarts_narrowest_table_still_says_what_was_found():
    header, rows, _ = shown(comparison_table(COMPARISONS), 80)
    assert header[:2] == ["gap", "pp"]
    assert header[-1] == "finding"
    assert rows[0][0] == "COLLAB_V2 − INDEP (aware fixer, iteration 2)"
    assert rows[0][-1] in ("distinguishable", "not distinguishable")


def test_when_even_the_essential_columns_are_too_wide_the_first_one_wraps_and_no_number_does():
    table = ResultTable("t", ("team", "EX"), (("a team with a name of many words", Proportion(1, 3)),))
    text = printed(24, table)
    assert "33.33" in text
    assert "".join(text.split()).count("many") == 1
    assert max(map(cell_len, text.splitlines())) <= 24


def test_only_columns_that_exist_can_be_dropped_and_never_the_first():
    with pytest.raises(ValueError, match="'EX'"):
        ResultTable("t", ("team", "a"), (), droppable=(("EX",),))
    with pytest.raises(ValueError, match="'team'"):
        ResultTable("t", ("team", "a"), (), droppable=(("team",),))


def test_brackets_in_names_are_printed_as_they_are():
    assert "[red] (x)" in printed(80, ResultTable("[b]", ("team", "EX"), (("[red] (x)", 1),), "[note]"))
    assert "[note]" in printed(80, ResultTable("[b]", ("team", "EX"), (("[red] (x)", 1),), "[note]"))


def test_a_team_without_validators_is_not_in_the_verdict_table():
    rows = [replace(row, select_verdict=Verdict.MISSING, condition_verdict=Verdict.MISSING) for row in PLANNER]
    named = [("PLANNER-only", team_metrics(rows)), ("SFT-VF", team_metrics(SFT))]
    assert [row[0] for row in verdict_table(named).rows] == ["SFT-VF", "SFT-VF"]


@cache
def small_pool():
    return diagnose_pool(
        synthetic_pool(1, PoolShape(questions=30)), policy=Policy(gate=Gate.ON_COMPLAINT), max_pairs_per_prompt=2
    )


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


def drawn(figure, path):
    figure.savefig(path, dpi=50)
    return path.read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_every_plot_is_written_as_png_and_equal_data_give_equal_bytes(name, tmp_path):
    first, second = (drawn(FIGURES[name](), tmp_path / f"{side}.png") for side in "ab")
    assert first.startswith(b"\x89PNG")
    assert first == second


def test_importing_the_packages_pulls_in_no_heavy_library():
    heavy = "{'torch', 'mlflow', 'optuna', 'matplotlib', 'pandas', 'scipy', 'statsmodels'}"
    code = f"import sys, mats_sql.evaluation, mats_sql.search; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_evaluation_and_search_do_not_import_mlflow_or_torch():
    files = [path for room in ("evaluation", "search") for path in (ROOT / "mats_sql" / room).rglob("*.py")]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    assert len(modules) > 20
    code = f"import sys, importlib; [importlib.import_module(name) for name in {modules}];"
    code += "print(sorted({'torch', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
