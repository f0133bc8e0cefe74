"""Read an experiment from its file and the command line, and say what is wrong with it in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from mats_sql.config.environment import with_environment
from mats_sql.config.experiment import Experiment
from mats_sql.config.regimes import regime_label
from mats_sql.errors import ConfigError

TUNED = {("orpo", "beta"), ("orpo", "learning_rate"), ("pairs", "k")}
"""Settings that a regime may have of its own, as section and name."""


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment and apply ``key.sub=value`` overrides (values are YAML).

    ``${NAME}`` and ``${NAME:-default}`` in a text, of the file or of an override, are environment variables. Raises
    :class:`ConfigError` for a missing file, bad YAML, an unknown key, a value out of range or an unset variable.
    """
    document = _read_yaml(path)
    for override in overrides:
        _apply(document, override)
    try:
        experiment = Experiment.model_validate(with_environment(document))
    except ValidationError as error:
        raise ConfigError(_first_problem(path, error)) from None
    _refuse_without_effect(experiment, overrides)
    return experiment


def _read_yaml(path: Path) -> dict[str, object]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the config file must be readable, but {path}: {error.strerror}; give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"the config file must be YAML, but {path}: {problem}; mend the file") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"the config must be a mapping of keys, but {path} holds a {type(document).__name__}")
    return document


def _apply(document: dict[str, object], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"an override must read key=value, but got {override!r}; e.g. orpo.beta=0.1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"an override's value must be YAML, but got {text!r} for {key!r}; quote it") from None
    *parents, leaf = key.strip().split(".")
    node = document
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"an override's key must name a setting, but {key!r}: {parent!r} is not a section")
        node = child
    node[leaf] = value


def _refuse_without_effect(experiment: Experiment, overrides: Sequence[str]) -> None:
    """Raise :class:`ConfigError` for an override of what every regime has a ``tuned`` setting of its own for."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        section, _, name = key.partition(".")
        own = [experiment.tuned.get(regime_label(regime)) for regime in experiment.regimes]
        if (section, name) in TUNED and own and all(tuned and getattr(tuned, name) is not None for tuned in own):
            raise ConfigError(
                f"an override must have an effect, but {key} yields to tuned.REGIME.{name}, which every regime has; "
                f"set that, e.g. tuned.{regime_label(experiment.regimes[0])}.{name}"
            )


def _first_problem(path: Path, error: ValidationError) -> str:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]) or "experiment"
    if problem["type"] == "extra_forbidden":
        return f"every key must be known, but {path} has {key!r}; remove it or see docs/config.md"
    if problem["type"] == "value_error":  # a validator of ours, which says rule, value and remedy itself
        return f"{problem['msg'].removeprefix('Value error, ')} ({path})"
    return f"{key}: {problem['msg']}, but got {problem['input']!r}; change it in {path} or with --set {key}=…"
