"""A training as files and settings say it, so that this process can do it or another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mats_sql.config import OrpoSettings, SftSettings
from mats_sql.parquet import read_records
from mats_sql.training.report import OnMetrics, TrainingReport
from mats_sql.training.sharing import ALONE, Group


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What one training reads and writes. Its settings say which it is.

    ``data`` is a table of SFT examples, or of preference pairs with ``evaluation``, the table of held-out ones. The
    model goes to the folder ``out``, checkpoints that a killed training goes on from to ``checkpoints``.
    """

    base: Path
    out: Path
    settings: SftSettings | OrpoSettings
    seed: int
    data: Path
    evaluation: Path | None
    checkpoints: Path

    def as_json(self) -> dict[str, object]:
        """Return the job as JSON values; :meth:`from_json` reads them."""
        kind = "sft" if isinstance(self.settings, SftSettings) else "orpo"
        paths = {name: str(getattr(self, name)) for name in ("base", "out", "data", "checkpoints")}
        evaluation = None if self.evaluation is None else str(self.evaluation)
        settings = self.settings.model_dump(mode="json")
        return {**paths, "evaluation": evaluation, "kind": kind, "settings": settings, "seed": self.seed}

    @staticmethod
    def from_json(document: Mapping[str, object]) -> TrainingJob:
        """Return the job that :meth:`as_json` wrote."""
        kinds: dict[object, type[SftSettings | OrpoSettings]] = {"sft": SftSettings, "orpo": OrpoSettings}
        base, out, data, checkpoints = (Path(str(document[name])) for name in ("base", "out", "data", "checkpoints"))
        evaluation = None if document["evaluation"] is None else Path(str(document["evaluation"]))
        settings = kinds[document["kind"]].model_validate(document["settings"])
        return TrainingJob(base, out, settings, int(str(document["seed"])), data, evaluation, checkpoints)


def do_job(job: TrainingJob, on_metrics: OnMetrics, group: Group = ALONE) -> TrainingReport:
    """Do a training in this process, one of the ``group`` that shares it.

    Raises what :func:`~mats_sql.training.sft.train_sft` and :func:`~mats_sql.training.orpo.train_orpo` raise.
    """
    if isinstance(job.settings, SftSettings):
        from mats_sql.teaching import SftExample
        from mats_sql.training.sft import train_sft

        return train_sft(
            read_records(SftExample, job.data),
            base=job.base,
            out=job.out,
            settings=job.settings,
            seed=job.seed,
            on_metrics=on_metrics,
            checkpoints=job.checkpoints,
            group=group,
        )
    from mats_sql.preference import PreferencePair
    from mats_sql.training.orpo import train_orpo

    return train_orpo(
        read_records(PreferencePair, job.data),
        [] if job.evaluation is None else read_records(PreferencePair, job.evaluation),
        base=job.base,
        out=job.out,
        settings=job.settings,
        seed=job.seed,
        on_metrics=on_metrics,
        checkpoints=job.checkpoints,
        group=group,
    )
