"""The version of every teacher: like a prompt's, it decides whether what was trained on its answers is used again."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TEACHER_VERSIONS: Mapping[str, str] = MappingProxyType(
    {"rules": "rule-teacher-2", "large_model": "large-model-teacher-1"}
)
"""Kind (``teacher.kind``) -> version. A teacher that writes, asks or takes anything else gets a new version (a test
holds their digests). Which examples are made of its answers is the stage's version."""
