"""What a registered name is, in Markdown for the top of its page."""

from __future__ import annotations

from mats_sql.tracking.artifact import ArtifactKind

_TEAM = """The teams of one experiment: planner, validators, fixer and selector with their policy, one version each.

* `champion` is the team that passed `mats-sql promote`; `best-of-search-<regime>` the winner of a search.
* The tags of a version say what it is (`team`, `regime`, `seed`, `beta`, `k`, `learning_rate`) and what it scored on
  which questions (`metric.selector_ex` with its 95% interval, `measured.part`); *Source run* leads to its making.

Ask it: `mats-sql ask "How many clubs are there?" --database football.sqlite --model models:/{name}@champion`, or
`mlflow.pyfunc.load_model("models:/{name}@champion").predict(table)` with the columns `question` and `database`.
"""

_AGENT = """Versions of one agent: a checkpoint below `model` (after LoRA a base and its adapters).

The tags of a version say what it was trained on and how (`regime`, `beta`, `learning_rate`, `seed`; none of them:
SFT), its description links to every input. What it came from, as a tree: `mats-sql lineage models:/{name}/1`.
"""

_DATASET = """Versions of one dataset that a stage wrote, as Parquet; new content is a new version, equal content none.

The source run has the first rows of pairs and pools under `previews/`. The files:
`mlflow.artifacts.download_artifacts("models:/{name}/1")`.
"""

_TOLD = {ArtifactKind.TEAM: _TEAM, ArtifactKind.MODEL: _AGENT, ArtifactKind.DATASET: _DATASET}


def entry_description(name: str, kind: ArtifactKind) -> str:
    """Return what the page of a registered name begins with."""
    return _TOLD[kind].format(name=name) if kind in _TOLD else ""
