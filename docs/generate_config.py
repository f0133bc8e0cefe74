"""Write docs/config.md and configs/schema.json from the settings' own descriptions.

    python docs/generate_config.py

A test compares both with what this script would write.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic.fields import FieldInfo

from mats_sql.config import Experiment, SftAgents
from mats_sql.config.section import Section

ROOT = Path(__file__).parent.parent
PAGE, SCHEMA = ROOT / "docs" / "config.md", ROOT / "configs" / "schema.json"

_INTRO = """\
# Settings

One YAML file is one experiment. Unknown keys are errors; `--set key=value` overrides a key, its value is YAML. The
defaults are those of the code; `configs/` has experiments to start from. Their first line names `configs/schema.json`:
editors that speak YAML's language server complete and check a config with it.

A text may refer to environment variables: `root: ${MATS_SHARED:-../shared}/data/bird` is the variable's value, or what
stands after `:-` where it is unset or empty. Without a default an unset variable is an error. In `--set` use single
quotes, so that the shell leaves it alone, and in YAML's `{key: value}` form double ones. Where a benchmark lies is in
no fingerprint: the same files below another root are the same benchmark.

This page is written by `python docs/generate_config.py`.
"""
_AGENTS = "`agent` is planner, validator (both), fixer or selector."
_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
_PLURAL = {int: "whole numbers", float: "numbers"}


def page() -> str:
    """Return the settings page: one table per section."""
    return "\n".join([_INTRO, *(_section(*section) for section in _sections(Experiment, ""))])


def schema() -> str:
    """Return the JSON schema of an experiment's file."""
    return json.dumps(Experiment.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def _sections(model: type[Section], prefix: str) -> Iterator[tuple[type[Section], str]]:
    """Yield every section with its dotted name, outer ones first; the agents' equal ones once."""
    if model is SftAgents:
        yield from _sections(type(SftAgents().planner), f"{prefix}.agent")
        return
    yield model, prefix
    for name, field in model.model_fields.items():
        if inner := _inner(field):
            named = ".NAME" if get_origin(field.annotation) is Mapping else ""
            yield from _sections(inner, f"{prefix}.{name}{named}".removeprefix("."))


def _section(model: type[Section], prefix: str) -> str:
    heading, intro = prefix or "The experiment", _prose(model.__doc__ or "")
    if prefix == "sft.agent":
        intro += f"\n\n{_AGENTS}"
    rows = [_row(f"{prefix}.{name}".removeprefix("."), field) for name, field in model.model_fields.items()]
    table = ["| key | what it does | value | default |", "|---|---|---|---|", *(row for row in rows if row)]
    return "\n".join([f"## {heading}", "", intro, "", *table, ""])


def _row(key: str, field: FieldInfo) -> str:
    if _inner(field):
        return ""
    default = field.get_default()
    shown = yaml.safe_dump(_plain(default), default_flow_style=True, allow_unicode=True).removesuffix("...\n").strip()
    return f"| `{key}` | {field.description} | {_value(field)} | {'none' if default is None else shown} |"


def _inner(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, once or by any names."""
    by_name = get_origin(field.annotation) is Mapping
    kind = get_args(field.annotation)[1] if by_name else field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _value(field: FieldInfo) -> str:
    """Return what may be written, in words: the type and its bounds."""
    bounds = ", ".join(bound for constraint in field.metadata if (bound := _bound(constraint)))
    filled = any(isinstance(constraint, annotated_types.MinLen) for constraint in field.metadata)
    return f"{_kind(field.annotation)} {bounds}".strip() + (", not empty" if filled else "")


def _kind(annotation: object) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(argument) for argument in arguments if argument is not type(None))
    if origin is Literal:
        return " or ".join(str(argument) for argument in arguments)
    if origin is tuple:
        if arguments[-1] is not Ellipsis:
            return f"{len(arguments)} {_PLURAL[arguments[0]]}"
        return _PLURAL.get(arguments[0]) or f"a list of {_kind(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(str(member.value) for member in annotation)
    assert isinstance(annotation, type)
    return _PLAIN[annotation]


def _bound(constraint: object) -> str:
    match constraint:
        case annotated_types.Ge(bound):
            return f"≥ {bound:g}"
        case annotated_types.Gt(bound):
            return f"> {bound:g}"
        case annotated_types.Le(bound):
            return f"≤ {bound:g}"
    return ""


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, (Enum, Path)) else value


def _prose(docstring: str) -> str:
    """Return a docstring as Markdown: one line per paragraph, single back-ticks."""
    paragraphs = cleandoc(docstring).replace("``", "`").split("\n\n")
    return "\n\n".join(re.sub(r"\s+", " ", paragraph) for paragraph in paragraphs)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
