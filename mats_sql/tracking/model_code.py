"""What a registered model carries so that it runs without this package installed: its code and its requirements.

Both are read from the imports of the code that answers, those inside functions too. So a model holds neither the
stages nor the lab, and its environment no trainer.
"""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path

import mats_sql
from mats_sql.faces import Face

ENTRANCES = ("mats_sql.tracking.team_model", "mats_sql.tracking.agent_model", "mats_sql.sql.sandbox.worker")
"""What MLflow loads, and the program of the SQL workers, which is started by its name and imported by nobody."""

UNSEEN = ("mlflow", "peft")
"""What no import of ours shows: MLflow loads the model, and transformers a checkpoint that is a PEFT adapter."""

OPTIONAL = ("vllm", "ray")
"""What only some teams use and many machines cannot install or lack; who has such a team installs it besides."""

_ROOT = Path(mats_sql.__file__).parents[1]


def copy_code(folder: Path) -> None:
    """Copy the code that answers into ``folder``, which then serves as an entry of ``sys.path``."""
    for path in _code().values():
        target = folder / path.relative_to(_ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


@cache
def requirements() -> tuple[str, ...]:
    """Return what the code that answers needs, as installed here: ``name==version``, sorted.

    A version loses its local part (``2.13.0+cpu``): no index has it.
    """
    distributions = packages_distributions()
    imported = {name.partition(".")[0] for path in _code().values() for name in _imports(path)}
    foreign = imported - sys.stdlib_module_names - {mats_sql.__name__, *OPTIONAL}
    needed = {distributions[module][0] for module in foreign} | set(UNSEEN)
    return tuple(f"{name}=={version(name).partition('+')[0]}" for name in sorted(needed, key=str.lower))


@cache
def _code() -> dict[str, Path]:
    """Return the file of every module of this package that the entrances reach, by the module's name."""
    found: dict[str, Path] = {}
    waiting = list(ENTRANCES)
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is not None and module not in found:
            found[module] = path
            waiting += [module.rpartition(".")[0], *_imports(path)]
    return found


def _file(module: str) -> Path | None:
    """Return a module's file; ``None`` for what is no module of this package."""
    if module.partition(".")[0] != mats_sql.__name__:
        return None
    place = _ROOT.joinpath(*module.split("."))
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    """Yield every name that a file may import as a module: of ``from a import b`` both ``a`` and ``a.b``.

    What a room of this package offers is named by the module that the room's face fetches it from.
    """
    for node in _running(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports are absolute"
            yield node.module
            yield from (_home(node.module, alias.name) for alias in node.names)


def _home(module: str, name: str) -> str:
    path = _file(module)
    face = getattr(import_module(module), "__getattr__", None) if path and path.name == "__init__.py" else None
    return face.home(name) if isinstance(face, Face) and face.offers(name) else f"{module}.{name}"


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield a tree's nodes without what stands under ``if TYPE_CHECKING``, which never runs."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        checking = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        waiting += node.orelse if isinstance(node, ast.If) and checking else ast.iter_child_nodes(node)
