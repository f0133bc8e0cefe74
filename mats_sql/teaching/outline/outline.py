"""The outline of a SQL: what it selects and what it keeps, with every column written ``table.column``.

Two SQLs that differ in alias names, qualification, letter case, parentheses, the side a joined column is taken from, or
the order of ``AND``, ``OR``, ``=`` and ``IN`` operands have equal keys (docs/agents.md has the whole list).

Not covered: equivalences that need the data or arithmetic (a join that changes no row, ``DISTINCT`` over distinct rows,
``x > 4`` against ``x >= 5``). Such SQLs count as different here; the judge knows better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mats_sql.benchmark import Schema
from mats_sql.teaching.outline.dialect import parse_query
from mats_sql.teaching.outline.keys import condition_key, select_key
from mats_sql.teaching.outline.names import resolve_names, schema_tables
from mats_sql.teaching.outline.parts import QueryParts, query_parts
from mats_sql.teaching.outline.text import conditions_text, joins_astray, keeps_text, selects_text, tables_of

MAX_SQL_CHARACTERS = 8000

_OPENING = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Outline:
    """``selects`` and ``keeps`` are for critiques, ``condition`` and ``tables`` (with ``selects``) for plans.

    ``keeps`` leaves a join along the only foreign key unsaid, ``keeps_with_joins`` says every join.
    ``select_key`` is equal for two SQLs that select the same, ``condition_key`` for two that read, keep, group, order
    and limit the same.
    """

    selects: str
    keeps: str
    keeps_with_joins: str
    joins_astray: bool
    condition: str
    tables: tuple[str, ...]
    select_key: str
    condition_key: str
    query: QueryParts


@lru_cache(maxsize=8192)
def outline(sql: str, schema: Schema) -> Outline | None:
    """Return the outline of one ``SELECT`` statement; ``None`` for anything that cannot be read as one."""
    if len(sql) > MAX_SQL_CHARACTERS or not _OPENING.match(sql):
        return None
    tree = parse_query(sql)
    if tree is None:
        return None
    try:
        resolve_names(tree, schema_tables(schema))
        query = query_parts(tree)
        if not query.selects or not all(select.projections for select in query.selects):
            return None
        return Outline(
            selects=selects_text(query),
            keeps=keeps_text(query, schema.foreign_keys),
            keeps_with_joins=keeps_text(query, ()),
            joins_astray=joins_astray(query, schema.foreign_keys),
            condition=conditions_text(query),
            tables=tables_of(tree),
            select_key=select_key(query),
            condition_key=condition_key(query),
            query=query,
        )
    except RecursionError:  # a tree can be just shallow enough to be parsed
        return None
