"""The pool: every plan, critique and fix drawn for a split, with its execution outcome and verdict.

Three Parquet tables in one folder, one frozen record per row. Rows refer to each other by id, never by position, so
that filtering and reordering cannot shift a label. Samples are exchangeable and ordered: the pool of a smaller K is
:meth:`Pool.prefix` of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mats_sql.agents import Critique, Validator, Verdict
from mats_sql.digests import digest_text
from mats_sql.errors import ConfigError
from mats_sql.parquet import read_records, write_records
from mats_sql.sql import Outcome, VerdictClass


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan. ``review_id`` names its (question, SQL); it is empty when the plan has no SQL."""

    plan_id: str
    question_id: int
    db_id: str
    sample_index: int
    text: str
    sql: str | None
    review_id: str
    outcome: Outcome
    response: str
    verdict: VerdictClass
    token_count: int

    @property
    def correct(self) -> bool:
        """Whether the plan's SQL is correct under the official reading."""
        return self.verdict is VerdictClass.CORRECT


@dataclass(frozen=True, slots=True)
class CritiqueRow:
    """One validator's critique of one reviewed SQL; ``sample_index`` 0 is greedy.

    ``right_content`` is a label, as verdicts are: whether it says what the teacher, who knows gold, says of the SQL.
    """

    critique_id: str
    review_id: str
    question_id: int
    validator: Validator
    sample_index: int
    text: str
    verdict: Verdict
    token_count: int
    right_content: bool = False

    @property
    def critique(self) -> Critique:
        """The critique as agents read it."""
        return Critique(self.validator, self.text, self.verdict)


@dataclass(frozen=True, slots=True)
class FixRow:
    """One fix of one reviewed SQL under one pair of critiques (their sample indices).

    ``sample_index`` 0 is greedy. ``feedback`` is the text that the fixer read; fixes with equal feedback are equal.
    """

    fix_id: str
    review_id: str
    question_id: int
    select_index: int
    condition_index: int
    sample_index: int
    feedback: str
    text: str
    sql: str | None
    outcome: Outcome
    response: str
    verdict: VerdictClass
    token_count: int

    @property
    def correct(self) -> bool:
        """Whether the fix is correct under the official reading."""
        return self.verdict is VerdictClass.CORRECT


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The selector's P(yes) for one candidate of the pool: a SQL and the verdicts that the prompt shows with it.

    ``verdicts`` are those of the validators in their order, joined by commas; empty where none are shown, as for fixes.
    """

    review_id: str
    question_id: int
    verdicts: str
    score: float


@dataclass(frozen=True, slots=True)
class Pool:
    """All plans, critiques and fixes of a split."""

    plans: tuple[PlanRow, ...]
    critiques: tuple[CritiqueRow, ...] = ()
    fixes: tuple[FixRow, ...] = ()

    @property
    def drawn(self) -> int:
        """The K that the pool was drawn with: critiques per SQL and validator, or plans per question without critiques.

        The pairs of a pool with critiques are made within one SQL, so that the number of its plans bounds nothing
        there. ``rollout.fixes``, the fixes per pair of critiques, is a number of its own.
        """
        return max((row.sample_index + 1 for row in self.critiques or self.plans), default=0)

    def prefix(self, k: int) -> Pool:
        """Return the pool that drawing at most ``k`` plans and critiques would have given, with every fix of these.

        Raises :class:`ConfigError` for a ``k`` beyond :attr:`drawn`: the whole pool is no larger draw.
        """
        if k > self.drawn:
            kind = "critiques per SQL" if self.critiques else "plans per question"
            raise ConfigError(
                f"K must be at most the {kind} that the pool was drawn with, but it is {k} of {self.drawn}; "
                "lower pairs.k or search.k, or raise rollout.critiques and rollout.plans"
            )
        plans = tuple(plan for plan in self.plans if plan.sample_index < k)
        reviews = {plan.review_id for plan in plans}
        return Pool(
            plans,
            tuple(row for row in self.critiques if row.review_id in reviews and row.sample_index < k),
            tuple(
                row for row in self.fixes if row.review_id in reviews and max(row.select_index, row.condition_index) < k
            ),
        )

    def reviews(self) -> dict[str, PlanRow]:
        """Return, per review id, the first plan that wrote that SQL."""
        found: dict[str, PlanRow] = {}
        for plan in sorted(self.plans, key=lambda plan: (plan.question_id, plan.sample_index)):
            if plan.review_id:
                found.setdefault(plan.review_id, plan)
        return found

    def greedy_critiques(self, validator: Validator) -> dict[str, CritiqueRow]:
        """Return one validator's greedy critique per review id."""
        return {row.review_id: row for row in self.critiques if row.validator is validator and row.sample_index == 0}

    def feedbacks(self) -> dict[str, tuple[Critique, ...]]:
        """Return the greedy critiques per review id, in the validators' order: what a team would say of that SQL."""
        found: dict[str, tuple[Critique, ...]] = {}
        for validator in Validator:
            for identity, row in self.greedy_critiques(validator).items():
                found[identity] = (*found.get(identity, ()), row.critique)
        return found


def review_id(question_id: int, sql: str) -> str:
    """Return the id of a (question, SQL)."""
    return f"{question_id}-{digest_text(sql)[:16]}"


def write_pool(pool: Pool, folder: Path) -> None:
    """Write a pool as ``plans.parquet``, ``critiques.parquet`` and ``fixes.parquet``."""
    write_records(pool.plans, PlanRow, folder / "plans.parquet")
    write_records(pool.critiques, CritiqueRow, folder / "critiques.parquet")
    write_records(pool.fixes, FixRow, folder / "fixes.parquet")


def read_pool(folder: Path) -> Pool:
    """Read what :func:`write_pool` wrote; raises :class:`StageInputError` when a table is missing or malformed."""
    return Pool(
        tuple(read_records(PlanRow, folder / "plans.parquet")),
        tuple(read_records(CritiqueRow, folder / "critiques.parquet")),
        tuple(read_records(FixRow, folder / "fixes.parquet")),
    )
