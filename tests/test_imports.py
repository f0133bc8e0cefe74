"""Imports go downwards only, between rooms they name the room, and what builds model input never sees gold."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mats_sql.faces import Face

ROOT = Path(__file__).parent.parent / "mats_sql"
FLOORS = (
    ("cli",),
    ("command", "doctor", "release"),
    ("pipeline",),
    ("search", "tracking"),
    ("evaluation", "lab", "training"),
    ("preference",),
    ("rollout",),
    ("teaching", "team"),
    ("generation",),
    ("agents",),
    ("benchmark",),
    ("sql",),
    ("cluster", "config", "file_digests", "layers", "parquet", "threads"),
    ("choices", "digests", "links", "seeds", "shapes"),
    ("errors", "faces"),
)
"""The rooms from the top down. Rooms of one floor do not import each other."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every import of a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute, so that this test can read them"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def crossings() -> Iterator[tuple[str, str, str, str]]:
    """Yield (file, its room, module, name) of every import from another room."""
    for path in FILES:
        for module, name in imports(path):
            if module == "mats_sql" and name in ("", "__version__"):
                continue
            whole = f"{module}.{name}" if module == "mats_sql" else module
            if whole.startswith("mats_sql.") and whole.split(".")[1] != room(path):
                yield str(path.relative_to(ROOT)), room(path), whole, name


def test_every_room_has_its_floor() -> None:
    rooms = {room(path) for path in FILES} - {"__init__"}
    assert rooms == set(FLOOR)


def test_every_import_between_rooms_goes_down() -> None:
    sideways = [(file, module) for file, own, module, _ in crossings() if FLOOR[module.split(".")[1]] <= FLOOR[own]]
    assert sideways == []


def test_every_import_between_rooms_names_the_room_and_what_it_offers() -> None:
    inner = [
        (file, module, name)
        for file, _, module, name in crossings()
        if name not in getattr(importlib.import_module(module), "__all__", (name,)) or not _is_face(module)
    ]
    assert inner == []


@pytest.mark.parametrize("package", [path.parent for path in FILES if path.name == "__init__.py"][1:], ids=str)
def test_a_room_can_give_everything_it_offers(package: Path) -> None:
    module = importlib.import_module(".".join(("mats_sql", *package.relative_to(ROOT).parts)))
    offered = getattr(module, "__all__", [])
    assert [name for name in offered if getattr(module, name, None) is None] == []
    if isinstance(fetch := getattr(module, "__getattr__", None), Face):
        assert fetch.names == set(offered)


def test_only_tracking_imports_mlflow() -> None:
    importers = {room(path) for path in FILES if any(module.split(".")[0] == "mlflow" for module, _ in imports(path))}
    assert importers == {"tracking"}


def test_agents_and_teams_see_no_gold_no_teacher_and_no_judge() -> None:
    below = {room for room, floor in FLOOR.items() if floor > FLOOR["team"]}
    files = [*(ROOT / "agents").rglob("*.py"), *(ROOT / "team").rglob("*.py")]
    for path in files:
        for module, name in imports(path):
            if module.startswith("mats_sql."):
                assert module.split(".")[1] in below | {"team"}, (path.name, module)
                assert not {"Gold", "Judge", "Judgement", "VerdictClass", "Benchmark"} & {name}, (path.name, name)


@pytest.mark.parametrize("module", ["mats_sql", *(f"mats_sql.{rooms}" for floor in FLOORS for rooms in floor)])
def test_importing_a_room_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print(sorted({'torch', 'mlflow', 'transformers', 'vllm', 'ray', 'trl', 'optuna'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert shown.stdout == "[]\n"


def _is_face(module: str) -> bool:
    """Return whether a module is a package's face or one of the few modules that stand beside the packages."""
    path = ROOT.joinpath(*module.split(".")[1:])
    return path.is_dir() or path.parent == ROOT
