"""A real MLflow store per test, as tracking's tests have it."""

from __future__ import annotations

from tests.tracking.conftest import store, store_folder  # noqa: F401
