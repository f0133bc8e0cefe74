"""The alias ``champion``: how it moves forward and back, and the record that each move leaves.

Who may become champion is decided in :mod:`mats_sql.pipeline.promote`. The registered model's tag ``mats.champions``
lists the champions in order, the present one last: a rollback takes the last away. Each move is one JSON record (what,
version, before, why, who, when) in a tag of the version and of the runs behind it.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mats_sql.errors import PromotionRefused, StageInputError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.lock import exclusive
from mats_sql.tracking.registry import Version, aliased, tag_version, version_numbered, versions_of_content
from mats_sql.tracking.stage import read_records
from mats_sql.tracking.store import Store

MOST_CHAMPIONS = 100
"""So many champions can be gone back to; a tag of a registered model holds little more."""

_REMEDY = "check the tracking server and start again"


@dataclass(frozen=True, slots=True)
class Move:
    """One move of the alias: ``action`` is ``promote`` or ``rollback``, ``before`` the champion until then, if any.

    ``who`` is MLflow's user of the run that moved it, ``when`` the time in UTC.
    """

    action: str
    version: str
    before: str
    why: str
    who: str
    when: str


def team_of_run(store: Store, run_id: str, name: str = "") -> Version:
    """Return the registered team that a run made or evaluated; of ``name`` where that has it too.

    Raises :class:`TrackingError` for an unknown run and :class:`StageInputError` for one without a registered team.
    """
    run = store.run(run_id)
    for file in (names.OUTPUTS_FILE, names.INPUTS_FILE):
        try:
            records = read_records(run, file)
        except StageInputError:
            continue
        for record in records.values():
            versions = versions_of_content(store, record.digest) if record.kind is ArtifactKind.TEAM else []
            if versions:
                return next((version for version in versions if version.name == name), versions[0])
    raise StageInputError(
        f"a run must have made or evaluated a registered team, but {run_id} has not; give an evaluate run's id"
    )


def champion_of(store: Store, name: str) -> Version | None:
    """Return the champion of a registered name, if any."""
    with tracking_failures("the model registry must be readable", _REMEDY):
        return aliased(store, name, names.CHAMPION)


def promote(store: Store, version: Version, why: str, runs: Sequence[str] = ()) -> Move:
    """Move the alias ``champion`` of the version's name to it and record it there and on ``runs``.

    The first of ``runs`` is the one that moves it: its user is who did. Promoting the champion again is recorded too.
    """
    with _moving(store, version.name), tracking_failures(f"{version} must become champion", _REMEDY):
        before = aliased(store, version.name, names.CHAMPION)
        champions = _champions(store, version.name, before)
        if before is None or before.number != version.number:
            champions.append(version.number)
            _move(store, version, champions)
        return _recorded(store, "promote", version, before, why, runs)


def roll_back(store: Store, name: str, why: str, runs: Sequence[str] = ()) -> Move:
    """Move the alias back to the champion before the present one, and record it; again: to the one before that.

    Versions that were deleted since are passed over. Raises :class:`PromotionRefused` when there is none before.
    """
    with _moving(store, name), tracking_failures(f"the champion of {name} must be rolled back", _REMEDY):
        before = aliased(store, name, names.CHAMPION)
        if before is None:
            raise PromotionRefused(f"a rollback needs a champion, but {name} has none; promote a team first")
        champions = _champions(store, name, before)[:-1]
        while champions:
            version = version_numbered(store, name, champions[-1])
            if version is not None and version.number != before.number:
                _move(store, version, champions)
                return _recorded(store, "rollback", version, before, why, runs)
            champions.pop()
        raise PromotionRefused(f"a rollback needs a champion before {before}, but there was none; promote another team")


def _moving(store: Store, name: str) -> AbstractContextManager[None]:
    return exclusive(store.work_dir / "locks" / f"champion-{name}.lock", f"the champion of {name!r}")


def _champions(store: Store, name: str, present: Version | None) -> list[int]:
    """Return the numbers of the champions in order, ending in the present one, whoever moved the alias."""
    listed = store.client.get_registered_model(name).tags.get(names.CHAMPIONS, "")
    numbers = [int(number) for number in listed.split() if number.isdigit()]
    if present is not None and numbers[-1:] != [present.number]:
        numbers.append(present.number)
    return numbers


def _move(store: Store, version: Version, champions: Sequence[int]) -> None:
    listed = " ".join(map(str, champions[-MOST_CHAMPIONS:]))
    store.client.set_registered_model_tag(version.name, names.CHAMPIONS, listed)
    store.client.set_registered_model_alias(version.name, names.CHAMPION, str(version.number))


def _recorded(
    store: Store, action: str, version: Version, before: Version | None, why: str, runs: Sequence[str]
) -> Move:
    who = store.run(runs[0]).data.tags.get("mlflow.user", "") if runs else ""
    now = datetime.now(UTC)
    move = Move(
        action, str(version), str(before or ""), why, who or getpass.getuser(), now.isoformat(timespec="seconds")
    )
    record = json.dumps(asdict(move), ensure_ascii=False)
    key = f"{names.PROMOTION}.{now:%Y-%m-%dT%H.%M.%S.%fZ}"
    tag_version(store, version, {key: record})
    if action == "rollback" and before is not None:
        tag_version(store, before, {key: record})
    for run_id in dict.fromkeys(runs):
        store.client.set_tag(run_id, key, names.capped(record, names.MAX_TAG_CHARACTERS))
    return move
