"""The page that `compare` writes: every gap with its intervals, tests and verdict."""

from __future__ import annotations

from mats_sql.evaluation.comparison.comparisons import Comparisons
from mats_sql.evaluation.report.controls import control_table
from mats_sql.evaluation.report.results import comparison_table


def comparison_page(comparisons: Comparisons, *, notice: str, looks: int) -> str:
    """Return the Markdown page; ``notice`` says what could be seen, ``looks`` how often the final set was looked at."""
    parts = ["# Paired comparison at selector EX", notice]
    for name in comparisons.question_sets:
        for control in ("", *comparisons.controls):
            found = comparisons.on(name, control)
            over = f"{name}, over {control}" if control else name
            parts += [comparison_table(found, over).to_markdown(), *(comparison.verdict for comparison in found)]
        if comparisons.controls:
            survivals = comparisons.survivals(name)
            parts += [control_table(comparisons, name).to_markdown(), *(survival.sentence for survival in survivals)]
    parts.append(f"Look number {looks} at the final set in this experiment.")
    return "\n\n".join(parts) + "\n"
