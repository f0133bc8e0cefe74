"""The face of a room: its public names, each fetched from its module when it is first asked for.

Importing one small thing from a room then does not import all of it (PEP 562), so that ``--help`` stays quick and the
processes that run untrusted SQL stay free of everything but the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module


class Face:
    """The ``__getattr__`` of a package: ``offers`` lists the public names of each of its modules."""

    def __init__(self, package: str, offers: Mapping[str, tuple[str, ...]]) -> None:
        self._package = package
        self._modules = {name: f"{package}.{module}" for module, names in offers.items() for name in names}

    def __call__(self, name: str) -> object:
        """Return what a public name stands for; raises :class:`AttributeError` for any other name."""
        return getattr(import_module(self.home(name)), name)

    @property
    def names(self) -> frozenset[str]:
        """The public names."""
        return frozenset(self._modules)

    def offers(self, name: str) -> bool:
        """Return whether a name is public."""
        return name in self._modules

    def home(self, name: str) -> str:
        """Return the module that a public name comes from; raises :class:`AttributeError` likewise."""
        if name not in self._modules:
            raise AttributeError(f"module {self._package!r} has no attribute {name!r}")
        return self._modules[name]
