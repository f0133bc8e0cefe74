"""Imports go downwards only, and what builds model input never sees gold (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent / "mats_sql"
LAYERS = [
    {"cli"},
    {"pipeline"},
    {"tracking", "search"},
    {"evaluation", "training", "lab"},
    {"preference"},
    {"rollout"},
    {"teaching", "team"},
    {"generation"},
    {"agents"},
    {"benchmark"},
    {"sql"},
    {"config"},
    {"choices", "errors", "seeds", "digests", "links", "parquet"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Yield the modules that a file imports outside ``if TYPE_CHECKING``."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (item.name for item in node.names)


def names(path: Path) -> set[str]:
    """Return every name that a file's code uses."""
    return {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_imports_go_downwards_only() -> None:
    upwards = [
        (str(path.relative_to(ROOT)), module)
        for path in ROOT.rglob("*.py")
        for module in imports(path)
        if module.startswith("mats_sql.") and room(path) in RANK and RANK[module.split(".")[1]] < RANK[room(path)]
    ]
    assert upwards == []


def test_only_tracking_imports_mlflow() -> None:
    importers = {room(path) for path in ROOT.rglob("*.py") if any(m.split(".")[0] == "mlflow" for m in imports(path))}
    assert importers == {"tracking"}


def test_agents_and_the_team_see_no_gold_and_no_judge() -> None:
    forbidden = {"mats_sql.sql.judge", "mats_sql.sql.verdict"}
    files = [*(ROOT / "agents").rglob("*.py"), *(ROOT / "team").rglob("*.py")]
    assert [(path.name, module) for path in files for module in imports(path) if module in forbidden] == []
    named = [
        path.name
        for path in files
        if "Gold" in {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
    ]
    assert named == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"torch", "mlflow", "transformers", "vllm", "ray", "trl"}
    loaded = [
        (str(path), module)
        for path in ROOT.rglob("__init__.py")
        for module in imports(path, top_level_only=True)
        if module.split(".")[0] in heavy
    ]
    assert loaded == []
