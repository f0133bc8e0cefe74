"""The page that `compare` writes: every gap with its intervals, tests and verdict."""

from __future__ import annotations

from mats_sql.evaluation.comparison.comparisons import Comparisons
from mats_sql.evaluation.report.results import comparison_table


def comparison_page(comparisons: Comparisons, *, notice: str, looks: int) -> str:
    """Return the Markdown page; ``notice`` says what could be seen, ``looks`` how often the final set was looked at."""
    parts = ["# Paired comparison at selector EX", notice]
    for name in comparisons.question_sets:
        found = comparisons.on(name)
        parts += [comparison_table(found, name).to_markdown(), *(comparison.verdict for comparison in found)]
    parts.append(f"Look number {looks} at the final set in this experiment.")
    return "\n\n".join(parts) + "\n"
