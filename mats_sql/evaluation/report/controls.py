"""What keeps a regime's gap honest, as tables: what its controls leave of it, and what pairs each team learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mats_sql.agents import Validator
from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.comparison.comparisons import Comparisons
from mats_sql.evaluation.report.tables import Cell, ResultTable


@dataclass(frozen=True, slots=True)
class PairSet:
    """What one validator learned from: its pairs, the share that chooses a complaint, and what a match did not reach.

    ``missing`` pairs and ``mix_off`` (how far the share is from the wanted one, a fraction) are None where nothing is
    wanted.
    """

    labelling: str
    validator: Validator
    pairs: int
    chosen_incorrect: float
    missing: int | None = None
    mix_off: float | None = None


def control_table(gaps: Comparisons, chosen: str) -> ResultTable:
    """Return every regime's gap over the baseline and over each kind of control, and whether it survives them."""
    survivals = gaps.survivals(chosen)
    baselines = {gap.baseline for survival in survivals for gap in survival.gaps if not gap.control}
    columns = ("regime", *(f"over {name}" for name in baselines), *(f"over {name}" for name in gaps.controls))
    rows = tuple(
        (
            survival.treatment,
            *(_gap(survival.gaps, control) for control in ("", *gaps.controls)),
            survival.adjusted_p,
            "yes" if survival.survives else "no",
        )
        for survival in survivals
    )
    note = (
        "Points at selector EX with the 95% interval over questions. Balanced: as many chosen complaints as approvals; "
        "matched: the regime's own number of pairs and verdict mix. A gain is one only when it is above all of them."
    )
    title = f"What the controls leave, {chosen}"
    return ResultTable(title, (*columns, "p of all", "survives"), rows, note, droppable=(("p of all",),))


def pair_table(sets: Sequence[PairSet]) -> ResultTable:
    """Return the training pairs per team and validator, and how many of the chosen critiques are complaints."""
    columns = ("validator", "training pairs", "chosen incorrect", "too few by", "mix off by")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            f"{item.validator.value} {item.labelling}",
            item.pairs,
            f"{100 * item.chosen_incorrect:.1f}",
            item.missing,
            None if item.mix_off is None else f"{100 * item.mix_off:.1f}",
        )
        for item in sets
    )
    note = (
        "Percent of pairs whose chosen critique concludes incorrect. Of a control: what its pairs lack of the wanted "
        "number, and how far their share is from the wanted one (points)."
    )
    return ResultTable(
        "What the validators learned from",
        columns,
        rows,
        note,
        droppable=(("mix off by",), ("too few by",)),
        short={"training pairs": "pairs"},
    )


def _gap(gaps: Sequence[Comparison], control: str) -> str | None:
    for gap in gaps:
        if gap.control == control:
            span = gap.intervals.question
            return f"{100 * gap.difference:+.2f} [{100 * span.low:+.2f}, {100 * span.high:+.2f}]"
    return None
