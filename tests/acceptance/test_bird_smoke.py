"""BIRD's own way, whole, on real files: ``configs/bird-smoke.yaml`` with fewer questions of dev."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.acceptance.conftest import ROOT, Place

TEAMS = ["PLANNER-only", "VALIDATORS-no-fixer", "SFT-VF", "INDEP", "COLLAB_V2", "INDEP (balanced)", "PERFECT-GATE"]


@pytest.mark.slow
def test_the_smoke_config_goes_from_bird_files_to_every_teams_row_and_trains_on_real_pairs(
    shared: Path, tmp_path: Path
) -> None:
    config = yaml.safe_load((ROOT / "configs" / "bird-smoke.yaml").read_text())
    config["benchmark"] |= {"root": str(shared / "data" / "bird"), "dev_questions": 12, "validation_questions": 4}
    place = Place(tmp_path)
    place.write(config)
    done = place.run("main")
    assert done.returncode == 0, done.stderr
    assert [team for team in TEAMS if team not in done.stdout] == []
    assert "INDEP select-validator, seed 0 · orpo" in done.stderr
