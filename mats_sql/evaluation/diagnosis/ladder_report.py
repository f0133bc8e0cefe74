"""A ladder as tables that fit a terminal of 80 columns, and as a page."""

from __future__ import annotations

from mats_sql.evaluation.comparison.clustered import Share
from mats_sql.evaluation.diagnosis.gates import Maker
from mats_sql.evaluation.diagnosis.ladder import Ladder, PlanGroup
from mats_sql.evaluation.diagnosis.ladder_rows import CritiqueKind
from mats_sql.evaluation.report.tables import Cell, ResultTable

_KINDS = {
    CritiqueKind.NONE: "no critique",
    CritiqueKind.OWN: "own",
    CritiqueKind.TRUE: "the teacher's",
    CritiqueKind.OTHER: "another's",
}


def ladder_page(ladder: Ladder) -> str:
    """Return the Markdown page of one ladder."""
    parts = [f"# The ladder of {ladder.team}", *(table.to_markdown().strip() for table in ladder_tables(ladder))]
    return "\n\n".join((*parts, f"**{ladder.sentence}**")) + "\n"


def ladder_tables(ladder: Ladder) -> tuple[ResultTable, ...]:
    """Return a ladder's tables: who repairs what, the validators' words, gate and critiques, what each part gains."""
    repairs = (rung_table(ladder),) if ladder.rungs else ()
    words = (words_table(ladder),) if ladder.validators else ()
    return (*repairs, *words, gate_table(ladder), gain_table(ladder))


def rung_table(ladder: Ladder) -> ResultTable:
    """Return what share of each group's plans ends right under each kind of critiques."""
    kinds = tuple(kind for kind in CritiqueKind if any(rung.kind is kind for rung in ladder.rungs))
    rows: list[tuple[Cell, ...]] = []
    for group in PlanGroup:
        shares = [ladder.rung(group, kind) for kind in kinds]
        rows.append((group.value, shares[0].proportion.total, *map(_cell, shares)))
    note = (
        f"Percent that ends right when the fixer is asked about each of {ladder.plans:,} distinct plan SQL, with its "
        "95% interval, by the critiques that it is told: none, the team's own, the teacher's true one, the teacher's "
        "of another question's wrong plan. Shown: the response tells that the SQL is wrong (docs/metrics.md)."
    )
    return ResultTable(
        f"The ladder of {ladder.team} ({ladder.questions:,} {ladder.part} questions)",
        ("plans", "n", *(_KINDS[kind] for kind in kinds)),
        tuple(rows),
        note,
        short={"no critique": "none", "the teacher's": "teacher's"},
    )


def words_table(ladder: Ladder) -> ResultTable:
    """Return how many complaints ask for the right thing, and the recall of verdicts."""
    contents: tuple[tuple[str, PlanGroup], ...] = (
        ("right content of complaints", PlanGroup.WRONG),
        ("  where the SQL did not run", PlanGroup.FAILED),
        ("  where it ran", PlanGroup.RAN),
        ("  where the error is shown", PlanGroup.SHOWN),
        ("  where it is hidden", PlanGroup.HIDDEN),
    )
    seen = ladder.validators
    rows: list[tuple[Cell, ...]] = [
        (name, *(cell for own in seen for cell in _counted(own.content[group]))) for name, group in contents
    ]
    rows.append(("right verdict, wrong plans", *(cell for own in seen for cell in _counted(own.recall_wrong))))
    rows.append(("right verdict, right plans", *(cell for own in seen for cell in _counted(own.recall_right))))
    note = (
        "Percent of n with its 95% interval. Content is over complaints about wrong plans: right when it asks for what "
        "the teacher's critique of the same SQL asks for. A right verdict says what the judge says."
    )
    columns = ("critiques", *(name for own in seen for name in (own.validator.value, f"n {own.validator.value}")))
    short = {f"n {own.validator.value}": "n" for own in seen}
    return ResultTable(f"What the validators of {ladder.team} say", columns, tuple(rows), note, short=short)


def gate_table(ladder: Ladder) -> ResultTable:
    """Return selector EX with gate and critiques of each maker."""
    rows = tuple(
        (f"{gate.value} gate", *(_cell(ladder.gates.ex(gate, critiques), 2) for critiques in Maker)) for gate in Maker
    )
    note = (
        f"Selector EX in percent of {ladder.questions:,} questions with its 95% interval. A perfect gate fixes exactly "
        "the wrong plans, perfect critiques are the teacher's; the selector sees the verdicts of the critiques used. "
        "All but own/own read gold."
    )
    columns = ("", *(f"{critiques.value} critiques" for critiques in Maker))
    return ResultTable(f"Gate and critiques of {ladder.team}", columns, rows, note)


def gain_table(ladder: Ladder) -> ResultTable:
    """Return what each perfect part would gain."""
    rows = tuple(
        (
            item.part.value,
            item.ex.proportion,
            f"{100 * item.gain.difference:+.2f}",
            f"{100 * item.gain.interval.low:+.2f}, {100 * item.gain.interval.high:+.2f}",
        )
        for item in ladder.gates.gains
    )
    note = (
        "Selector EX in percent and the gain in points, all else being the team's own. A perfect selector picks a "
        "right candidate where there is one; a perfect fixer ends right whenever it is asked."
    )
    return ResultTable(f"What a perfect part would give {ladder.team}", ("perfect", "EX", "gain", "95% CI"), rows, note)


def _counted(share: Share) -> tuple[Cell, Cell]:
    return _cell(share), share.proportion.total


def _cell(share: Share, digits: int = 1) -> str:
    if not share.proportion.total:
        return "–"
    low, high = (f"{100 * end:.{digits - 1}f}" for end in (share.interval.low, share.interval.high))
    return f"{_short(100 * share.proportion.value, digits)} ({low}–{high})"


def _short(percent: float, digits: int) -> str:
    return "100" if percent == 100 else f"{percent:.{digits}f}"
