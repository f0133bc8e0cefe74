"""The README and the settings page say what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel

from mats_sql.cli import commands
from mats_sql.config import Experiment

ROOT = Path(__file__).parent.parent


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every setting of the experiment, dotted."""
    found = []
    for name, field in model.model_fields.items():
        by_name = get_origin(field.annotation) is Mapping
        kind = get_args(field.annotation)[1] if by_name else field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += keys(kind, f"{prefix}{name}.{'NAME.' if by_name else ''}")
        else:
            found.append(f"{prefix}{name}")
    return found


def test_the_settings_page_names_every_setting_and_no_other() -> None:
    page = (ROOT / "docs" / "config.md").read_text()
    named = set(re.findall(r"^\| `([a-zNAME_.]+)` \|", page, re.MULTILINE))
    # the four agents of sft share one section's settings
    expected = {re.sub(r"^sft\.(planner|validator|fixer|selector)\.", "sft.AGENT.", key) for key in keys(Experiment)}
    assert named == {key.replace("AGENT", "agent") for key in expected}


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"mats-sql ([a-z]+)", text)) == set(commands.commands)
    targets = set(re.findall(r"(?:^ +|`)make (\w+)", text, re.MULTILINE))
    known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets <= known


def test_every_link_of_the_readme_leads_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


def test_the_picture_of_the_rooms_is_drawn_from_the_code() -> None:
    drawn = subprocess.run(
        [sys.executable, "-c", "import draw_rooms; print(draw_rooms.draw(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / "rooms.svg").read_text() == drawn, "run: python docs/draw_rooms.py"


def test_every_file_that_the_architecture_page_names_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    walked = page[page.index("| to add |") : page.index("## Where the design")]
    named = re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.\w+)?)`", walked)
    assert named
    roots = (ROOT, ROOT / "mats_sql")
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_every_test_that_the_reliability_page_names_exists() -> None:
    named = re.findall(r"`(test_\w+|tests/[\w/]+\.py)`", (ROOT / "docs" / "reliability.md").read_text("utf-8"))
    written = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    missing = [name for name in named if name not in written and not (ROOT / name).is_file()]
    assert len(named) > 30
    assert missing == []
