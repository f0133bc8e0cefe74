"""What perfect parts would give a team at selector EX: gate and critiques, each its own or perfect, and the fixer.

Everything is decided by the team's own rules on answers in which every plan was fixed (:func:`mats_sql.team.regate`).
A perfect gate reads gold, and so do perfect critiques and a perfect fixer: these are bounds, not teams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mats_sql.config import Policy
from mats_sql.evaluation.comparison.clustered import Gain, Share, clustered_gain, clustered_share
from mats_sql.team import Candidate, TeamAnswer, regate, wants_fix

Correctness = Mapping[tuple[int, str], bool]
"""(question id, SQL) -> whether the judge calls it correct."""


class Maker(StrEnum):
    """Whose a part is: the team's own, or a perfect one's."""

    OWN = "own"
    PERFECT = "perfect"


class PerfectPart(StrEnum):
    """What is made perfect, all else being the team's own."""

    CHOICE = "the selector"
    GATE = "the gate"
    CRITIQUES = "the critiques"
    GATE_AND_CRITIQUES = "gate and critiques"
    FIXER = "the fixer"


@dataclass(frozen=True, slots=True)
class FixedAnswers:
    """A team's answers with every plan fixed and kept, scored: under its own critiques, the teacher's, and by gold.

    ``ideal`` has the team's critiques and a fixer that gives gold for a wrong plan and the plan itself for a right one.
    A team without a fixer has no fixes in any.
    """

    own: Sequence[TeamAnswer]
    true: Sequence[TeamAnswer]
    ideal: Sequence[TeamAnswer]


@dataclass(frozen=True, slots=True)
class GateCell:
    """Selector EX (over questions) with a gate and critiques of these makers."""

    gate: Maker
    critiques: Maker
    ex: Share


@dataclass(frozen=True, slots=True)
class PartGain:
    """What a perfect part gives: selector EX with it, and the gain over the team as it is."""

    part: PerfectPart
    ex: Share
    gain: Gain


@dataclass(frozen=True, slots=True)
class Gates:
    """The 2×2 of gate and critiques, and what each perfect part would gain."""

    cells: tuple[GateCell, ...]
    gains: tuple[PartGain, ...]

    def ex(self, gate: Maker, critiques: Maker) -> Share:
        """Return one cell's selector EX."""
        return next(cell.ex for cell in self.cells if (cell.gate, cell.critiques) == (gate, critiques))


def gated(policy: Policy, answers: Sequence[TeamAnswer], correct: Correctness, gate: Maker) -> list[TeamAnswer]:
    """Return what the answers would be under the policy with its own gate, or with one that fixes the wrong alone."""
    return [
        TeamAnswer(answer.task, regate(policy, answer.candidates, _opens(policy, answer, correct, gate)))
        for answer in answers
    ]


def gates_of(policy: Policy, answers: FixedAnswers, correct: Correctness) -> Gates:
    """Return the 2×2 and the gains."""
    makers = {Maker.OWN: answers.own, Maker.PERFECT: answers.true}
    ends = {
        (gate, critiques): _selected(gated(policy, made, correct, gate), correct)
        for gate in Maker
        for critiques, made in makers.items()
    }
    own = ends[Maker.OWN, Maker.OWN]
    parts = {
        PerfectPart.CHOICE: _reachable(gated(policy, answers.own, correct, Maker.OWN), correct),
        PerfectPart.GATE: ends[Maker.PERFECT, Maker.OWN],
        PerfectPart.CRITIQUES: ends[Maker.OWN, Maker.PERFECT],
        PerfectPart.GATE_AND_CRITIQUES: ends[Maker.PERFECT, Maker.PERFECT],
        PerfectPart.FIXER: _selected(gated(policy, answers.ideal, correct, Maker.OWN), correct),
    }
    return Gates(
        tuple(GateCell(*makers, clustered_share(flags)) for makers, flags in ends.items()),
        tuple(PartGain(part, clustered_share(flags), _gain(own, flags)) for part, flags in parts.items()),
    )


def _opens(policy: Policy, answer: TeamAnswer, correct: Correctness, gate: Maker) -> Callable[[Candidate], bool]:
    asks_fixer = any(row.gate_open for row in answer.candidates)  # every plan was sent to the fixer, if there is one
    if gate is Maker.OWN:
        return lambda plan: asks_fixer and wants_fix(policy, plan)
    return lambda plan: asks_fixer and plan.sql is not None and not _right(answer, plan, correct)


def _selected(answers: Sequence[TeamAnswer], correct: Correctness) -> list[tuple[str, bool]]:
    return [(answer.task.question.db_id, _right(answer, answer.selected, correct)) for answer in answers]


def _reachable(answers: Sequence[TeamAnswer], correct: Correctness) -> list[tuple[str, bool]]:
    return [
        (answer.task.question.db_id, any(row.eligible and _right(answer, row, correct) for row in answer.candidates))
        for answer in answers
    ]


def _right(answer: TeamAnswer, row: Candidate, correct: Correctness) -> bool:
    return row.sql is not None and correct[answer.task.question.question_id, row.sql]


def _gain(before: Sequence[tuple[str, bool]], after: Sequence[tuple[str, bool]]) -> Gain:
    return clustered_gain((name, first, second) for (name, first), (_, second) in zip(before, after, strict=True))
