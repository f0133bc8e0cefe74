"""What may be named as a regime: a built-in one, or a function of the user's own, ``package.module:function``.

A function is found when the experiment is read, so that a wrong name is one line before any work begins. The folder
that the command runs in is searched last, as a rule usually stands beside its config.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from mats_sql.choices import Regime
from mats_sql.digests import digest_file
from mats_sql.errors import ConfigError, one_line

_ADDRESS = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class OwnRule:
    """A user's function of (case, policy), and the digest of the file that it stands in."""

    function: Callable[..., object]
    digest: str


def own_rule(name: str) -> OwnRule:
    """Return the user's rule of that name.

    Raises :class:`ConfigError` when it cannot be imported, is no Python function or cannot be called with two
    arguments. The digest is that of one file: what the rule imports from other files is not in it.
    """
    address = _ADDRESS.fullmatch(name)
    if address is None:
        known = ", ".join(Regime)
        raise ConfigError(f"a regime must be one of {known} or package.module:function, but got {name!r}; name one")
    function = getattr(_imported(name, address["module"]), address["function"], None)
    if not inspect.isfunction(function):
        raise _refused(name, f"{address['module']} has no such function; define it there")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise _refused(name, f"it cannot be called with two arguments ({one_line(error)}); take both") from None
    return OwnRule(function, digest_file(Path(inspect.getfile(inspect.unwrap(function)))))


def is_own(regime: str) -> bool:
    """Return whether a regime is the user's own."""
    return ":" in regime


def regime_label(regime: str) -> str:
    """Return a regime's name in tables and run names: of a user's own the function's name."""
    return str(regime).rpartition(":")[2]


def regime_name(key: str) -> str:
    """Return how runs and tables spell a regime or control: ``INDEP (matched to COLLAB_V2)``."""
    head, bracket, remark = key.partition(" (")
    words, matched, target = remark.partition("matched to ")
    return head.upper() + bracket + words + matched + (regime_name(target) if target else "")


def known_regime(name: str) -> str:
    """Return the name of a regime that there is; raises :class:`ConfigError` otherwise."""
    if name not in tuple(Regime):
        own_rule(name)
    return str(name)


def _validated(name: str) -> str:
    try:
        return known_regime(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None


RegimeName = Annotated[
    str,
    AfterValidator(_validated),
    WithJsonSchema({"anyOf": [{"enum": [str(regime) for regime in Regime]}, {"type": "string", "pattern": ":"}]}),
]


def _imported(name: str, module: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 (the module is the user's: whatever it raises is why it cannot be used)
        raise _refused(name, f"importing {module} failed ({one_line(error)}); mend the name or the module") from None


def _refused(name: str, problem: str) -> ConfigError:
    return ConfigError(f"a regime of one's own must be a function of (case, policy), but of {name!r} {problem}")
