"""Runs and their reuse, datasets, models, the registry and lineage: the only package that imports mlflow.

``store`` connects to a tracking server, ``stage`` runs a stage once per fingerprint, ``artifact`` and ``publish`` move
its outputs, ``registry`` gives new content a new version, ``lineage`` walks back from a version to everything it came
from, ``promotion`` moves the alias ``champion``, and ``team_model`` is the team as an MLflow model. Nothing is imported
here: importing mlflow takes a second, and ``--help`` must not wait for it. See docs/tracking.md.
"""
