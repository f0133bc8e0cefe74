"""Walk from a version, or a run, back to every dataset and model it came from and the code that made them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mats_sql.errors import StageInputError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import ArtifactRecord
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

    def walk(self) -> Iterator[LineageNode]:
        """Yield this node and everything it came from, each content once."""
        seen: set[str] = set()
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.digest not in seen:
                seen.add(node.digest)
                yield node
                waiting += reversed(node.sources)


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
        lines.append(f"{head} by {node.stage} run {node.run_id}, code {node.commit[:12] or 'unknown'}")
        for source in node.sources:
            show(source, depth + 1)

    show(root, 0)
    return "\n".join(lines)


class _Walk:
    """Reads each run once, however many paths lead to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sources: dict[str, tuple[LineageNode, ...]] = {}
        self._versions: dict[str, tuple[str, ...]] = {}

    def node(self, role: str, name: str, kind: str, digest: str, run_id: str) -> LineageNode:
        run = self._store.run(run_id)
        tags = run.data.tags
        if run_id not in self._sources:
            try:
                records = read_records(run, names.INPUTS_FILE)
            except StageInputError:
                records = {}
            self._sources[run_id] = tuple(self._source(record) for record in records.values())
        return LineageNode(
            role=role,
            name=name,
            kind=kind,
            digest=digest,
            versions=self._versions_of(digest),
            run_id=run_id,
            stage=tags.get(names.STAGE, ""),
            commit=tags.get(names.COMMIT, ""),
            sources=self._sources[run_id],
        )

    def _source(self, record: ArtifactRecord) -> LineageNode:
        return self.node(record.role, record.name, record.kind.value, record.digest, record.run_id)

    def _versions_of(self, digest: str) -> tuple[str, ...]:
        if digest not in self._versions:
            self._versions[digest] = tuple(str(version) for version in versions_of_content(self._store, digest))
        return self._versions[digest]
