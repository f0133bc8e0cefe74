"""The face of a room: its public names, each fetched from its module when it is first asked for.

Importing one small thing from a room then does not import all of it (PEP 562), so that ``--help`` stays quick and the
processes that run untrusted SQL stay free of everything but the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def face(package: str, offers: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package that offers names (name -> the module of the package that has it)."""

    def fetch(name: str) -> object:
        if name not in offers:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{offers[name]}"), name)

    return fetch
