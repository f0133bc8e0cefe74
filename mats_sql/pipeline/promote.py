"""`promote`: move the alias `champion` to a team that passes the gates, or back to the champion before.

Every gate is read outside the validation split, where no search chose anything, and not on questions whose gold the
receipt doubts. Against a champion counts the paired interval of the gain, not the gain: it must not reach below
``promote.min_gain_over_champion``. A team of the config's own experiment is promoted under its protocol. The champion,
promoted again, must pass the gates that are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mats_sql.config import PromoteSettings
from mats_sql.errors import PromotionRefused
from mats_sql.evaluation import REST, QuestionSet, restrict, team_metrics
from mats_sql.evaluation.comparison import ComparedTeam, Comparison, compare_question_sets
from mats_sql.pipeline.measured import Measured, measured, measured_at, require_comparable
from mats_sql.pipeline.protocol import require_protocol
from mats_sql.pipeline.shown import described
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import (
    ArtifactKind,
    Move,
    champion_of,
    evaluation_of,
    lineage,
    lineage_text,
    promote,
    registered_name,
    roll_back,
)

SELECTOR_EX = "selector_ex"
HARM_RATE = "fixer_harm_rate"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gates are read from: a team's metrics on the gated questions and its gap to the champion, if any."""

    questions: int
    metrics: Mapping[str, float]
    gap: Comparison | None

    @property
    def why(self) -> str:
        """The evidence in one sentence."""
        score = f"{SELECTOR_EX} {self.metrics[SELECTOR_EX]:.4f} on {self.questions} questions {REST}"
        return score if self.gap is None else f"{score}; {self.gap.verdict}"


def promote_team(workspace: Workspace, address: str) -> None:
    """Promote the team of an evaluate run or of a registered version, and say what it was made from.

    Raises :class:`~mats_sql.errors.PromotionRefused` with every gate that it fails, and
    :class:`~mats_sql.errors.ConfigError` under another protocol than the experiment's.
    """
    store, gates = workspace.store, workspace.experiment.promote
    challenger = measured_at(workspace, address)
    _require_protocol(workspace, challenger)
    champion = _champion(workspace, challenger)
    found = evidence(challenger, champion)
    if champion is not None and workspace.command is not None:
        workspace.look(workspace.command)
    reasons = refusals(found, gates)
    if reasons:
        raise PromotionRefused(f"{challenger.version} must pass the gates of promote, but {'; '.join(reasons)}")
    move = promote(store, challenger.version, found.why, _runs(workspace, challenger.run_id))
    if workspace.command is not None:
        workspace.command.description = described(
            [_told(move), move.why], "", f"mats-sql lineage {challenger.version.uri}"
        )
    workspace.progress.note(f"{_told(move)} {move.why}\nIt was made from:")
    workspace.progress.note(lineage_text(lineage(store, challenger.version.uri)))


def roll_back_champion(workspace: Workspace) -> None:
    """Move the alias back to the champion before; raises :class:`~mats_sql.errors.PromotionRefused` without one."""
    name = registered_name(workspace.experiment.name, ArtifactKind.TEAM, "team")
    workspace.progress.note(_told(roll_back(workspace.store, name, "rolled back by hand", _runs(workspace))))


def evidence(challenger: Measured, champion: Measured | None) -> Evidence:
    """Return what the gates are read from.

    Left out are the validation questions of either side and those whose gold does not agree with itself. Raises
    :class:`~mats_sql.errors.PromotionRefused` when nothing is left, or the sides are not comparable.
    """
    if champion is not None:
        require_comparable(challenger, champion)
    sides = [challenger, *([champion] if champion else [])]
    left_out = frozenset[int]().union(*(side.validation | side.receipt.untrusted for side in sides))
    rest = QuestionSet(REST, challenger.asked - left_out)
    if not rest.question_ids:
        raise PromotionRefused(
            f"a team is promoted by what it does {REST}, but the evaluation {challenger.run_id[:8]} of "
            f"{challenger.version} has no such question; run mats-sql evaluate on it"
        )
    metrics = team_metrics(restrict(challenger.candidates, rest.question_ids)).as_mlflow()
    return Evidence(len(rest.question_ids), metrics, None if champion is None else _gap(challenger, champion, rest))


def refusals(found: Evidence, gates: PromoteSettings) -> list[str]:
    """Return a reason per gate that fails. A metric that is not there fails its gate."""
    reasons = []
    selector_ex, harm_rate, gap = found.metrics.get(SELECTOR_EX), found.metrics.get(HARM_RATE), found.gap
    if selector_ex is None:
        reasons.append(f"its evaluation has no {SELECTOR_EX}")
    elif selector_ex < gates.min_selector_ex:
        reasons.append(f"{SELECTOR_EX} {selector_ex:.4f} < min_selector_ex {gates.min_selector_ex:.4f}")
    if gates.max_harm_rate < 1 and harm_rate is None:
        reasons.append(f"its evaluation has no {HARM_RATE}")
    elif harm_rate is not None and harm_rate > gates.max_harm_rate:
        reasons.append(f"{HARM_RATE} {harm_rate:.4f} > max_harm_rate {gates.max_harm_rate:.4f}")
    if gap is not None and gap.at_least < gates.min_gain_over_champion:
        reasons.append(
            f"the gain over the champion may be as low as {gap.at_least:+.4f} < min_gain_over_champion "
            f"{gates.min_gain_over_champion:+.4f} ({gap.verdict.rstrip('.')})"
        )
    return reasons


def _require_protocol(workspace: Workspace, challenger: Measured) -> None:
    """Raise :class:`ConfigError` when the config's protocol is not that of its experiment, whose team is promoted.

    Of another experiment's team the config says nothing.
    """
    if challenger.version.name == registered_name(workspace.experiment.name, ArtifactKind.TEAM, "team"):
        require_protocol(workspace.store, workspace.experiment, challenger.questions)


def _champion(workspace: Workspace, challenger: Measured) -> Measured | None:
    """Return the champion's evaluation on the challenger's questions; None when there is none but the challenger."""
    champion = champion_of(workspace.store, challenger.version.name)
    if champion is None or champion.number == challenger.version.number:
        return None
    return measured(workspace.store, champion, evaluation_of(champion, challenger.question_set))


def _gap(challenger: Measured, champion: Measured, rest: QuestionSet) -> Comparison:
    before, after = (ComparedTeam(str(side.version), [side.candidates]) for side in (champion, challenger))
    return compare_question_sets([rest], before, [after]).of(REST, after.name)


def _runs(workspace: Workspace, *evaluated: str) -> list[str]:
    return [*([workspace.command.run_id] if workspace.command else []), *evaluated]


def _told(move: Move) -> str:
    return f"{move.version} is champion (before: {move.before or 'none'}), by {move.who}, {move.when}."
