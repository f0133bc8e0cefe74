"""How long a call to a tracking server may take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

PROBE_TIMEOUT_S = 4


@contextmanager
def impatient() -> Iterator[None]:
    """First contact fails fast; later calls keep MLflow's patient retries."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(PROBE_TIMEOUT_S)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
