"""Find out what an address holds, and write it in the format that others read."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mats_sql.errors import ConfigError, StageInputError
from mats_sql.evaluation import JudgedCandidate, team_metrics
from mats_sql.layers import ADAPTER_CONFIG, adapters_of, write_joined, write_merged
from mats_sql.parquet import read_records
from mats_sql.pipeline import QuestionRow
from mats_sql.preference import PreferencePair
from mats_sql.release.model_card import LAB, Card, MeasuredTeam, card_text
from mats_sql.release.preference_data import under_one_prompt, write_preference_data
from mats_sql.release.submission import SUBMISSION_FILE, submission_of, write_submission
from mats_sql.shapes import published
from mats_sql.tracking import (
    Artifact,
    ArtifactKind,
    Provenance,
    Store,
    first_base,
    input_of,
    lineage,
    lineage_text,
    outputs_at,
    provenance_of,
    version_of,
)

CARD = "README.md"
_OWN_LICENSE = "apache-2.0"
_SCORES = {
    "planner_at_1": "planner@1",
    "pipeline_at_1": "pipeline@1",
    "oracle_pass_at_k": "oracle pass@K",
    "selector_ex": "selector EX",
}


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """What to release and where to.

    ``address`` is a run's id or a registered version; ``out`` a folder that is not there yet, or empty.
    ``evaluation`` names an evaluate run whose scores go into a model's card; ``license`` (an identifier of the hub)
    stands there instead of the base's; ``adapter`` asks for what LoRA trained, as one adapter, instead of the merged
    weights.
    """

    address: str
    out: Path
    evaluation: str | None = None
    license: str | None = None
    adapter: bool = False


def release(store: Store, request: ReleaseRequest) -> list[str]:
    """Write what an address holds into a folder, complete or not at all; return lines that say what was written.

    Raises :class:`TrackingError` or :class:`StageInputError` for an address that holds nothing to release, and
    :class:`ConfigError` for a folder that holds something.
    """
    outputs = outputs_at(store, request.address)
    models = [output for output in outputs.values() if output.kind is ArtifactKind.MODEL]
    pairs = {name: output for name, output in outputs.items() if _holds_pairs(output)}
    if "candidates" in outputs:
        return _written(request.out, lambda folder: _submission(store, outputs["candidates"], folder))
    if pairs:
        return _written(request.out, lambda folder: _preference_data(pairs, folder))
    if models:
        return _written(request.out, lambda folder: _model(store, models[0], request, folder))
    found = ", ".join(f"{output.name} ({output.kind.value})" for output in outputs.values()) or "nothing"
    raise StageInputError(
        f"a release must be of an evaluation's candidates, of preference pairs or of an agent, but {request.address} "
        f"holds {found}; a team's agents are released one by one"
    )


def _written(out: Path, write: Callable[[Path], list[str]]) -> list[str]:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out must be a folder that is empty or not there yet, but {out} is neither; name another")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        lines = write(draft)
        draft.chmod(0o755)
        if out.exists():
            out.rmdir()
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return [f"{out}: {line}" for line in lines]


def _submission(store: Store, candidates: Artifact, folder: Path) -> list[str]:
    questions = input_of(store, candidates.run_id, "questions")
    rows = read_records(QuestionRow, questions.path)
    made = submission_of(rows, read_records(JudgedCandidate, candidates.path))
    write_submission(made, folder)
    return [f"{SUBMISSION_FILE}, SQL for {made.answered} of {len(made.entries)} questions"]


def _holds_pairs(output: Artifact) -> bool:
    if output.path.suffix != ".parquet":
        return False
    import pyarrow.parquet as pq

    return {"chosen_prompt", "rejected_prompt"} <= set(pq.read_schema(output.path).names)


def _preference_data(outputs: Mapping[str, Artifact], folder: Path) -> list[str]:
    lines = []
    for name, output in outputs.items():
        pairs = read_records(PreferencePair, output.path)
        kept = under_one_prompt(pairs)
        if pairs and not kept:
            raise StageInputError(
                f"TRL's preference format has one prompt for both answers, but each of the {len(pairs)} pairs of "
                f"{name} has two; build them with pairs.fixer=same"
            )
        write_preference_data(kept, folder, name)
        left_out = f", {len(pairs) - len(kept)} with a prompt per answer left out" if len(kept) < len(pairs) else ""
        lines.append(f"{name}.jsonl and {name}.parquet, {len(kept)} pairs{left_out}")
    return lines


def _model(store: Store, model: Artifact, request: ReleaseRequest, folder: Path) -> list[str]:
    adapters = adapters_of(model.path)
    if request.adapter and not adapters:
        raise StageInputError(
            f"--adapter needs a LoRA training, but {request.address} trained full weights; leave it out"
        )
    if request.adapter:
        write_joined(model.path, folder)
    elif adapters:
        write_merged(model.path, folder)
    else:
        shutil.copytree(model.path, folder, dirs_exist_ok=True)
    card = _card(store, model, request, is_adapter=request.adapter)
    if card.is_adapter:
        _name_base(folder / ADAPTER_CONFIG, card.loads_on)
    (folder / CARD).write_text(card_text(card), encoding="utf-8")
    kind = "an adapter" if card.is_adapter else "a transformers checkpoint"
    return [f"{kind} of {card.agent} with its card, {CARD}"]


def _card(store: Store, model: Artifact, request: ReleaseRequest, *, is_adapter: bool) -> Card:
    made = provenance_of(store, model.run_id)
    base = first_base(store, model.run_id)
    known = published(base)
    agent = model.metadata.get("agent", model.name)
    version = version_of(store, model.digest)
    return Card(
        title=version or f"{agent} of run {model.run_id[:8]}",
        agent=agent,
        stage=made.stage,
        regime=model.metadata.get("regime", ""),
        base=base or "an unknown checkpoint",
        base_on_hub=known.name if known else "",
        license=_license(request, base),
        is_adapter=is_adapter,
        loads_on=_below_adapters(store, model.run_id) or (known.name if known else base),
        run_id=model.run_id,
        commit=made.commit,
        settings=made.settings,
        inputs={role: _told(store, made, role) for role in made.inputs},
        metrics=made.metrics,
        measured=_measured(store, model, request.evaluation) if request.evaluation else None,
        lineage=lineage_text(lineage(store, version)) if version else "",
    )


def _below_adapters(store: Store, run_id: str) -> str:
    """Return the name of the agent with full weights that an agent's adapters lie on; empty for the first base."""
    record = provenance_of(store, run_id).inputs.get("base")
    if record is None or not record.run_id:
        return ""
    if adapters_of(input_of(store, run_id, "base").path):
        return _below_adapters(store, record.run_id)
    version = version_of(store, record.digest)
    return f"the released {version}" if version else f"the released agent of run {record.run_id}"


def _license(request: ReleaseRequest, base: str) -> dict[str, str]:
    """Return the front matter's licence: the one asked for, else the base's, since trained weights derive from it."""
    if request.license:
        return {"license": request.license}
    known = published(base)
    if known is None:
        return {"license": _OWN_LICENSE} if base == LAB else {"license": "unknown"}
    return {"license": known.license} if known.license != "other" else {"license": "other", "license_name": known.terms}


def _told(store: Store, made: Provenance, role: str) -> str:
    record = made.inputs[role]
    version = version_of(store, record.digest)
    if version:
        return f"`{version}`, digest `{record.digest[:12]}`"
    maker = f"run `{record.run_id}`" if record.run_id else f"`{record.metadata.get('base', record.name)}`"
    return f"{maker}, digest `{record.digest[:12]}`"


def _measured(store: Store, model: Artifact, run_id: str) -> MeasuredTeam:
    candidates = outputs_at(store, run_id).get("candidates")
    if candidates is None:
        raise StageInputError(f"--evaluation must be a run of evaluate, but {run_id} has no candidates; name another")
    team = input_of(store, run_id, "team")
    members = {record.digest for record in provenance_of(store, team.run_id).inputs.values()}
    if model.digest not in members:
        raise StageInputError(
            f"--evaluation must be of a team with this agent, but the team of {run_id} has another "
            f"{model.metadata.get('agent', model.name)}; name another run"
        )
    measured = team_metrics(read_records(JudgedCandidate, candidates.path))
    scores = []
    for name, title in _SCORES.items():
        share = getattr(measured.scores, name)
        low, high = share.wilson_interval()
        scores.append((title, 100 * share.value, 100 * low, 100 * high))
    return MeasuredTeam(run_id, team.metadata.get("team", team.name), measured.scores.questions, scores)


def _name_base(path: Path, base: str) -> None:
    """Write the base's name into an adapter's config: a stored one names none, so that equal ones are equal bytes."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
