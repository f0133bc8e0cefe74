"""Walk from a version, or a run, back to every dataset and model it came from and the code that made them."""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.errors import StageInputError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import label
from mats_sql.tracking.registry import resolve, versions_of_content
from mats_sql.tracking.stage import read_records
from mats_sql.tracking.store import Store


@dataclass(frozen=True, slots=True)
class LineageNode:
    """One dataset, model or team: its registered versions (``name/3``), the run and code that made it, its sources.

    ``role`` is what it was to the node below it (empty at the root).
    """

    role: str
    name: str
    kind: str
    digest: str
    versions: tuple[str, ...]
    run_id: str
    stage: str
    commit: str
    sources: tuple[LineageNode, ...]


def lineage(store: Store, reference: str) -> LineageNode:
    """Return the tree of a registered version such as ``quickstart.team/2`` or ``quickstart.team@champion``.

    Raises :class:`TrackingError` when the version is unknown.
    """
    version = resolve(store, reference)
    kind = version.tags.get(names.KIND, "model")
    return _Walk(store).node("", version.name, kind, version.digest, version.run_id)


def lineage_text(root: LineageNode) -> str:
    """Return a tree as indented lines; what was already shown is not repeated."""
    lines: list[str] = []
    seen: set[str] = set()

    def show(node: LineageNode, depth: int) -> None:
        title = ", ".join(node.versions) or node.name
        role = f"{node.role}: " if node.role else ""
        head = f"{'  ' * depth}{role}{title} [{node.kind} {node.digest[:12]}]"
        if node.digest in seen:
            lines.append(f"{head} (above)")
            return
        seen.add(node.digest)
        maker = f" by {node.stage} run {node.run_id}, code {node.commit[:12] or 'unknown'}" if node.run_id else ""
        lines.append(head + maker)
        for source in node.sources:
            show(source, depth + 1)

    show(root, 0)
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Maker:
    """The run that made something: its stage, its code and what it read."""

    stage: str
    commit: str
    sources: tuple[LineageNode, ...]


class _Walk:
    """Reads each run once, however many paths lead to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._makers: dict[str, _Maker] = {}
        self._versions: dict[str, tuple[str, ...]] = {}

    def node(self, role: str, name: str, kind: str, digest: str, run_id: str) -> LineageNode:
        made = self._made_by(run_id)
        versions = self._versions_of(digest)
        return LineageNode(role, name, kind, digest, versions, run_id, made.stage, made.commit, made.sources)

    def _made_by(self, run_id: str) -> _Maker:
        """Return what is known of a run; a base model, which no run made, has none."""
        if not run_id:
            return _Maker("", "", ())
        if run_id not in self._makers:
            run = self._store.run(run_id)
            try:
                records = read_records(run, names.INPUTS_FILE)
            except StageInputError:
                records = {}
            sources = tuple(
                self.node(r.role, label(r.name, r.kind, r.metadata), r.kind.value, r.digest, r.run_id)
                for r in records.values()
            )
            tags = run.data.tags
            self._makers[run_id] = _Maker(tags.get(names.STAGE, ""), tags.get(names.COMMIT, ""), sources)
        return self._makers[run_id]

    def _versions_of(self, digest: str) -> tuple[str, ...]:
        if digest not in self._versions:
            self._versions[digest] = tuple(str(version) for version in versions_of_content(self._store, digest))
        return self._versions[digest]
