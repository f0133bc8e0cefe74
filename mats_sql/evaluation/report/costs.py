"""What an experiment's stages cost, and what a point of EX costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mats_sql.evaluation.report.tables import Cell, ResultTable


@dataclass(frozen=True, slots=True)
class StageCost:
    """One run of a stage: how long it took, the tokens that it logged (None: none were), and whose it is."""

    stage: str
    seconds: float
    tokens: float | None = None
    regime: str = ""


@dataclass(frozen=True, slots=True)
class PointCost:
    """What a team gained over another (fraction of EX) in so many seconds of its own stages."""

    name: str
    over: str
    seconds: float
    gain: float


def cost_table(costs: Sequence[StageCost]) -> ResultTable:
    """Return seconds and tokens by stage, in the order in which stages come first, and in all."""
    rows = [
        _row(stage, [cost for cost in costs if cost.stage == stage]) for stage in dict.fromkeys(c.stage for c in costs)
    ]
    note = "Wall time of the finished runs, reused ones as they were then; –: the stage logs no tokens."
    return ResultTable("Cost per stage", ("stage", "runs", "seconds", "tokens"), (*rows, _row("all", costs)), note)


def point_table(costs: Sequence[PointCost]) -> ResultTable:
    """Return seconds per point of EX gained; a dash where nothing was gained."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            cost.name,
            cost.over,
            f"{cost.seconds:,.1f}",
            f"{100 * cost.gain:+.2f}",
            f"{cost.seconds / (100 * cost.gain):,.1f}" if cost.gain > 0 else None,
        )
        for cost in costs
    )
    note = "A regime's seconds are those of its pairs and ORPO, all seeds; points are means over seeds, untested."
    columns = ("team", "over", "seconds", "points", "seconds per point")
    return ResultTable("Cost per point of EX", columns, rows, note)


def _row(name: str, costs: Sequence[StageCost]) -> tuple[Cell, ...]:
    known = [cost.tokens for cost in costs if cost.tokens is not None]
    return name, len(costs), f"{sum(cost.seconds for cost in costs):,.1f}", int(sum(known)) if known else None
