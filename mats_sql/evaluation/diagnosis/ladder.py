"""The ladder: what share of a team's plans ends right under better and better critiques, and which station is weakest.

Content before verdict: a critique is right when what it asks for is right (:mod:`mats_sql.teaching.content`). Pure
functions of the ladder's tables and of :class:`~mats_sql.evaluation.diagnosis.gates.Gates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mats_sql.agents import Validator, Verdict
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.clustered import Share, clustered_share
from mats_sql.evaluation.diagnosis.error_signs import ErrorSign
from mats_sql.evaluation.diagnosis.gates import Gates, Maker, PartGain, PerfectPart
from mats_sql.evaluation.diagnosis.ladder_rows import CritiqueKind, LadderCritique, LadderPlan, LadderRows


class PlanGroup(StrEnum):
    """Groups of distinct plan SQL; the wrong ones are parted twice: by whether they ran, and by what is shown."""

    WRONG = "wrong"
    FAILED = "wrong: did not run"
    RAN = "wrong: ran"
    SHOWN = "wrong: shown"
    HIDDEN = "wrong: hidden"
    RIGHT = "right"

    def holds(self, plan: LadderPlan) -> bool:
        """Whether a plan belongs to the group."""
        return _GROUPS[self](plan)


_GROUPS: Mapping[PlanGroup, Callable[[LadderPlan], bool]] = {
    PlanGroup.WRONG: lambda plan: not plan.correct,
    PlanGroup.FAILED: lambda plan: plan.sign is ErrorSign.FAILED,
    PlanGroup.RAN: lambda plan: plan.sign not in (None, ErrorSign.FAILED),
    PlanGroup.SHOWN: lambda plan: plan.sign not in (None, ErrorSign.HIDDEN),
    PlanGroup.HIDDEN: lambda plan: plan.sign is ErrorSign.HIDDEN,
    PlanGroup.RIGHT: lambda plan: plan.correct,
}


@dataclass(frozen=True, slots=True)
class Rung:
    """Of one group's plans, the share that ends right when the fixer is asked under one kind of critiques."""

    group: PlanGroup
    kind: CritiqueKind
    ends_correct: Share


@dataclass(frozen=True, slots=True)
class ValidatorRung:
    """A validator's words and verdicts.

    ``content`` are shares of its complaints about a group's wrong plans that ask for the right thing. ``recall_wrong``
    and ``recall_right`` are shares of wrong and right plans whose verdict says so.
    """

    validator: Validator
    content: Mapping[PlanGroup, Share]
    recall_wrong: Share
    recall_right: Share


@dataclass(frozen=True, slots=True)
class Ladder:
    """One team's ladder on one part of the questions. ``rungs`` are empty without a fixer."""

    team: str
    part: str
    questions: int
    plans: int
    rungs: tuple[Rung, ...]
    validators: tuple[ValidatorRung, ...]
    gates: Gates

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    def rung(self, group: PlanGroup, kind: CritiqueKind) -> Share:
        """Return one share of plans that end right; raises :class:`StageInputError` for a team without a fixer."""
        for rung in self.rungs:
            if (rung.group, rung.kind) == (group, kind):
                return rung.ends_correct
        raise StageInputError(f"a rung needs a fixer, but {self.team} has none; ask for a team that has one")

    @property
    def weakest(self) -> PartGain | None:
        """The one part whose perfection would gain most; None when none would gain. Two parts together are not one."""
        single = [item for item in self.gates.gains if item.part is not PerfectPart.GATE_AND_CRITIQUES]
        best = max(single, key=lambda item: item.gain.difference)
        return best if best.gain.difference > 0 else None

    @property
    def sentence(self) -> str:
        """What is weakest, in a sentence."""
        ex = f"selector EX is {self.gates.ex(Maker.OWN, Maker.OWN).proportion.percent}"
        weakest = self.weakest
        if weakest is None:
            return f"{self.team}: no single perfect part would gain anything ({ex})."
        low, high = 100 * weakest.gain.interval.low, 100 * weakest.gain.interval.high
        return (
            f"{self.team}: the weakest station is {weakest.part}: a perfect one would gain "
            f"{100 * weakest.gain.difference:+.2f} pp [95% CI {low:+.2f}, {high:+.2f}] ({ex})."
        )

    def as_mlflow(self) -> dict[str, float]:
        """Return all numbers with evidence as fractions under flat names."""
        named = {f"ends_correct/{_slug(rung.group)}/{rung.kind}": rung.ends_correct for rung in self.rungs}
        for seen in self.validators:
            named |= {f"content/{seen.validator}/{_slug(group)}": share for group, share in seen.content.items()}
            named[f"recall_wrong/{seen.validator}"] = seen.recall_wrong
            named[f"recall_right/{seen.validator}"] = seen.recall_right
        named |= {f"ex/{cell.gate}_gate_{cell.critiques}_critiques": cell.ex for cell in self.gates.cells}
        values = {name: share.proportion.value for name, share in named.items() if share.proportion.total}
        return values | {f"gain/{_slug(item.part)}": item.gain.difference for item in self.gates.gains}


def ladder_of(team: str, part: str, rows: LadderRows, gates: Gates) -> Ladder:
    """Count a ladder."""
    return Ladder(
        team,
        part,
        questions=gates.ex(Maker.OWN, Maker.OWN).proportion.total,
        plans=len(rows.plans),
        rungs=tuple(_rungs(rows)),
        validators=tuple(_validator_rungs(rows)),
        gates=gates,
    )


_FILE = TypeAdapter(Ladder)


def write_ladder(path: Path, ladder: Ladder) -> None:
    """Write a ladder as JSON, every number in full; what is unknown is the string ``NaN``."""
    path.write_bytes(_FILE.dump_json(ladder, indent=2) + b"\n")


def read_ladder(path: Path) -> Ladder:
    """Read what :func:`write_ladder` wrote. Raises :class:`StageInputError` for a missing or malformed file."""
    try:
        return _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise StageInputError(f"a ladder must be readable, but {path}: {error.strerror}; run diagnose") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise StageInputError(
            f"a ladder must be well-formed, but {path}: {problem}; delete its run and run diagnose"
        ) from None


def _rungs(rows: LadderRows) -> Iterator[Rung]:
    plans = {plan.plan_id: plan for plan in rows.plans}
    drawn = {fix.kind for fix in rows.fixes}
    for group in PlanGroup:
        for kind in (kind for kind in CritiqueKind if kind in drawn):
            ends = (
                (plans[fix.plan_id].db_id, fix.ends_correct)
                for fix in rows.fixes
                if fix.kind is kind and group.holds(plans[fix.plan_id])
            )
            yield Rung(group, kind, clustered_share(ends))


def _validator_rungs(rows: LadderRows) -> Iterator[ValidatorRung]:
    plans = {plan.plan_id: plan for plan in rows.plans}
    for validator in Validator:
        own = [(plans[row.plan_id], row) for row in rows.critiques if row.validator is validator]
        if own:
            yield _validator_rung(validator, own)


def _validator_rung(validator: Validator, own: list[tuple[LadderPlan, LadderCritique]]) -> ValidatorRung:
    complaints = [
        (plan, row.right_content) for plan, row in own if not plan.correct and row.verdict is Verdict.INCORRECT
    ]
    return ValidatorRung(
        validator,
        {
            group: clustered_share((plan.db_id, right) for plan, right in complaints if group.holds(plan))
            for group in PlanGroup
            if group is not PlanGroup.RIGHT
        },
        clustered_share((plan.db_id, row.verdict is Verdict.INCORRECT) for plan, row in own if not plan.correct),
        clustered_share((plan.db_id, row.verdict is Verdict.CORRECT) for plan, row in own if plan.correct),
    )


def _slug(name: str) -> str:
    return name.removeprefix("the ").replace(":", "").replace(" ", "_")
