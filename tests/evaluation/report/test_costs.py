"""What stages and points cost, and the stations between planner and selector."""

from __future__ import annotations

from mats_sql.evaluation.report.costs import PointCost, StageCost, cost_table, point_table
from mats_sql.evaluation.report.waterfall import Step, Waterfall, waterfall_table


def test_costs_are_added_by_stage_and_in_all_and_unlogged_tokens_are_unknown():
    costs = [StageCost("sft", 60.0), StageCost("rollout-pool", 30.0, 1000.0), StageCost("sft", 1200.0)]
    assert cost_table(costs).rows == (
        ("sft", 2, "1,260.0", None),
        ("rollout-pool", 1, "30.0", 1000),
        ("all", 3, "1,290.0", 1000),
    )


def test_a_point_has_a_price_only_where_one_was_gained():
    table = point_table([PointCost("NEW", "SFT-VF", 50.0, 0.02), PointCost("INDEP", "SFT-VF", 50.0, -0.01)])
    assert [row[-1] for row in table.rows] == ["25.0", None]


def test_regimes_start_from_the_last_station():
    fall = Waterfall("aware fixer", (Step("planner@1", 0.5), Step("fixer", 0.7)), (Step("A", 0.75), Step("B", 0.65)))
    assert fall.changes() == [("fixer", 0.5, 0.7), ("A", 0.7, 0.75), ("B", 0.7, 0.65)]
    assert [row[-1] for row in waterfall_table(fall).rows] == [None, "+20.00", "+5.00", "-5.00"]
