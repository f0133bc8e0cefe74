"""The OpenMP library's own word on how its threads wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND = "from mats_sql.threads import let_threads_sleep; let_threads_sleep(); import torch"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "GOMP_SPINCOUNT = '1000'"),
        ({"OMP_WAIT_POLICY": "active"}, "OMP_WAIT_POLICY = 'ACTIVE'"),
        ({"GOMP_SPINCOUNT": "77"}, "GOMP_SPINCOUNT = '77'"),
    ],
    ids=["ours", "users_policy", "users_spin_count"],
)
def test_waiting_threads_sleep_unless_the_user_says_otherwise(environment: dict[str, str], expected: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_WAIT", "GOMP_SPIN"))}
    shown = subprocess.run(
        [sys.executable, "-c", COMMAND],
        env=inherited | environment | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert expected in shown
