"""Environment variables in a config: ``${NAME}`` and ``${NAME:-default}``, as a shell writes them."""

from __future__ import annotations

import os
import re

from mats_sql.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")


def with_environment(value: object) -> object:
    """Return a document whose texts have every ``${NAME}`` and ``${NAME:-default}`` replaced; keys stay as they are.

    As in a shell, the default also stands for a variable that is set to nothing. The variable's text is put in as it
    is: it is not read as YAML and not searched for further references. All other ``$`` are ordinary characters. Raises
    :class:`ConfigError` for a variable that is not set and has no default.
    """
    if isinstance(value, str):
        return _REFERENCE.sub(_value, value)
    if isinstance(value, dict):
        return {key: with_environment(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_environment(item) for item in value]
    return value


def _value(reference: re.Match[str]) -> str:
    name, default = reference.groups()
    found = os.environ.get(name)
    if found or (found is not None and default is None):
        return found
    if default is None:
        raise ConfigError(
            f"an environment variable of the config must be set, but {reference[0]} is not; export {name}, or write "
            f"${{{name}:-default}}"
        )
    return str(default)
