"""Draw the rooms of the package and who imports whom, from the code: `python docs/draw_rooms.py` writes `rooms.svg`.

A room is a sub-package, or a module beside them. Rooms stand on floors: each is one floor above the highest room it
imports, so every arrow points down. An arrow that a longer way down already implies is left out.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "mats_sql"
PICTURE = Path(__file__).resolve().parent / "rooms.svg"
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 150, 44, 26, 54, 24

Imports = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Edge:
    """One import that crosses from one room to another: the importing file and the module it names."""

    source: str
    target: str
    file: str
    module: str


def room_of(path: Path) -> str:
    """Return the room of a file of the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def edges() -> list[Edge]:
    """Return every import between rooms, those under ``TYPE_CHECKING`` and inside functions too, sorted."""
    found = {
        Edge(room_of(path), module.split(".")[1], path.relative_to(PACKAGE).as_posix(), module)
        for path in PACKAGE.rglob("*.py")
        for module in _imported(path)
        if module.startswith("mats_sql.") and module.split(".")[1] != room_of(path)
    }
    return sorted(found, key=lambda edge: (edge.source, edge.target, edge.file, edge.module))


def room_imports(found: list[Edge]) -> Imports:
    """Return, per room, the rooms it imports."""
    imports: dict[str, set[str]] = {room_of(path): set() for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE}
    for edge in found:
        imports.setdefault(edge.source, set()).add(edge.target)
        imports.setdefault(edge.target, set())
    return {room: frozenset(below) for room, below in imports.items()}


def floors(imports: Imports) -> list[list[str]]:
    """Return the rooms by floor, the lowest first; raises :class:`RecursionError` when imports go in a circle."""
    height: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in height:
            height[room] = 1 + max((floor(below) for below in imports[room]), default=-1)
        return height[room]

    stacked: dict[int, list[str]] = defaultdict(list)
    for room in sorted(imports):
        stacked[floor(room)].append(room)
    return [stacked[number] for number in sorted(stacked)]


def direct(imports: Imports) -> Imports:
    """Return the imports without those that a longer way down implies."""
    reach = {room: _below(imports, room) for room in imports}
    return {
        room: frozenset(low for low in below if not any(low in reach[other] for other in below if other != low))
        for room, below in imports.items()
    }


def draw() -> str:
    """Return the picture as SVG text, the same for the same imports."""
    imports = room_imports(edges())
    stacked = floors(imports)
    widest = max(len(rooms) for rooms in stacked)
    width = 2 * MARGIN + widest * WIDTH + (widest - 1) * GAP_X
    height = 2 * MARGIN + len(stacked) * HEIGHT + (len(stacked) - 1) * GAP_Y
    place = _places(stacked, width, height)
    arrows = [_arrow(place[room], place[low]) for room, below in direct(imports).items() for low in sorted(below)]
    boxes = [_box(room, *place[room]) for room in place]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 10 5 0 10z" fill="#6b7a8f"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *arrows,
            *boxes,
            "</svg>\n",
        ]
    )


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "mats_sql":
                yield from (f"mats_sql.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _below(imports: Imports, room: str) -> frozenset[str]:
    return frozenset().union(*(imports[low] | _below(imports, low) for low in imports[room]))


def _places(stacked: list[list[str]], width: int, height: int) -> dict[str, tuple[float, float]]:
    """Return each room's upper left corner, every floor centred."""
    place = {}
    for number, rooms in enumerate(stacked):
        top = height - MARGIN - HEIGHT - number * (HEIGHT + GAP_Y)
        left = (width - len(rooms) * WIDTH - (len(rooms) - 1) * GAP_X) / 2
        for position, room in enumerate(rooms):
            place[room] = (left + position * (WIDTH + GAP_X), top)
    return place


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1, x2, y2 = start[0] + WIDTH / 2, start[1] + HEIGHT, end[0] + WIDTH / 2, end[1]
    bend = (y1 + y2) / 2
    return (
        f'<path d="M{x1:g} {y1:g}C{x1:g} {bend:g} {x2:g} {bend:g} {x2:g} {y2:g}" fill="none" stroke="#6b7a8f" '
        'stroke-width="1.4" marker-end="url(#tip)"/>'
    )


def _box(room: str, x: float, y: float) -> str:
    modules = len(list((PACKAGE / room).rglob("*.py"))) if (PACKAGE / room).is_dir() else 1
    size = f"{modules} modules" if modules > 1 else "1 module"
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef3fa" stroke="#33475b"/>'
        f'<text x="{x + WIDTH / 2:g}" y="{y + 19:g}" text-anchor="middle" font-size="15" fill="#16222e">{room}</text>'
        f'<text x="{x + WIDTH / 2:g}" y="{y + 35:g}" text-anchor="middle" font-size="11" fill="#56697d">{size}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"wrote {PICTURE}")
