"""What `promote` knows of a team: its evaluation, the questions that this was on, and the gold receipt behind it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mats_sql.errors import PromotionRefused, StageInputError
from mats_sql.evaluation import JudgedCandidate
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.questions import DEV, question_set_digest, validation_ids
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import (
    Artifact,
    ArtifactKind,
    Store,
    Version,
    evaluation_of,
    find_run,
    input_of,
    is_version,
    load_result,
    registered_name,
    resolve,
    team_of_run,
)

_TEAM = "team"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the gold receipt says of the dev questions: what verdicts rest on, and which golds are not to be trusted."""

    databases: Mapping[str, str]
    limits: Mapping[str, float]
    evaluator_version: int
    untrusted: frozenset[int]


@dataclass(frozen=True, slots=True)
class Measured:
    """A registered team with one evaluation of it.

    ``questions`` is the table behind it, ``question_set`` the digest of those that were asked.
    """

    version: Version
    run_id: str
    questions: Artifact
    candidates: tuple[JudgedCandidate, ...]
    question_set: str
    validation: frozenset[int]
    receipt: Receipt

    @property
    def asked(self) -> frozenset[int]:
        """The ids of the questions that were asked."""
        return frozenset(row.question_id for row in self.candidates)

    @property
    def db_ids(self) -> frozenset[str]:
        """The databases that were asked about."""
        return frozenset(row.db_id for row in self.candidates)


def measured_at(workspace: Workspace, address: str) -> Measured:
    """Return the team that an address names, with its evaluation.

    The address is that of an evaluate run (its id or the beginning of it) or of a registered team
    (``models:/quickstart.team/3``, ``quickstart.team@candidate``), which stands for its last evaluation on all usable
    dev questions. Raises :class:`TrackingError` for an unknown address and :class:`StageInputError` for what is no team
    or was never evaluated.
    """
    store = workspace.store
    if is_version(address):
        version = resolve(store, address)
        _require_team(version)
        return measured(store, version, evaluation_of(version))
    run_id = find_run(store, address)
    version = team_of_run(store, run_id, registered_name(workspace.experiment.name, ArtifactKind.TEAM, _TEAM))
    made = run_id == version.run_id  # the run that assembled it: take its evaluation
    return measured(store, version, evaluation_of(version) if made else run_id)


def measured(store: Store, version: Version, run_id: str) -> Measured:
    """Return what a run measured of a version; raises :class:`StageInputError` when it evaluated no team."""
    outputs = load_result(store, run_id).outputs
    if "candidates" not in outputs:
        raise StageInputError(
            f"a team is promoted by a run of evaluate, but {run_id} is none; see the runs named evaluate"
        )
    candidates = read_candidates(outputs["candidates"])
    questions = input_of(store, run_id, "questions")
    return Measured(
        version,
        run_id,
        questions,
        candidates,
        question_set_digest(questions, {row.question_id for row in candidates}),
        validation_ids(questions),
        _receipt(store, questions),
    )


def require_comparable(challenger: Measured, champion: Measured) -> None:
    """Raise :class:`PromotionRefused` when two evaluations were not on the same questions with the same gold."""
    if challenger.question_set != champion.question_set:
        raise PromotionRefused(
            f"teams must be measured on the same questions, but {challenger.version} was on question set "
            f"{challenger.question_set[:16]} and the champion {champion.version} on {champion.question_set[:16]}; "
            "evaluate the champion's team on the new questions, or the new team on the champion's"
        )
    for name in ("databases", "limits", "evaluator_version"):
        one, other = (_part(side.receipt, name, challenger.db_ids) for side in (challenger, champion))
        if one != other:
            raise PromotionRefused(
                f"teams must be judged by the same gold receipt, but the receipts of {challenger.version} and "
                f"{champion.version} differ in {name}; evaluate both on the same files, with the same sql.limits"
            )


def _part(receipt: Receipt, name: str, db_ids: Collection[str]) -> object:
    if name == "databases":
        return {db_id: digest for db_id, digest in receipt.databases.items() if db_id in db_ids}
    return getattr(receipt, name)


def _require_team(version: Version) -> None:
    kind = version.kind
    if kind != _TEAM:
        raise StageInputError(
            f"what is promoted must be a team, but {version} is {kind or 'not of this project'}; name a team"
        )


def _receipt(store: Store, questions: Artifact) -> Receipt:
    """Return the dev part of the receipt that `prepare` wrote beside a questions table, its digest checked."""
    outputs = load_result(store, questions.run_id).outputs
    try:
        dev = json.loads(outputs["gold_receipt"].path.read_bytes())[DEV]
        notes = (*dev["failed"], *dev["unstable"])
        untrusted = frozenset(int(note["question_id"]) for note in notes)
        return Receipt(dev["databases"], dev["limits"], dev["evaluator_version"], untrusted)
    except (KeyError, TypeError, ValueError) as error:
        raise StageInputError(
            f"an evaluation must rest on a gold receipt of its dev questions, but run {questions.run_id} has none that "
            f"can be read ({error!r}); run mats-sql prepare again"
        ) from None
