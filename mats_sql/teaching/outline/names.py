"""Write every column of a syntax tree as ``table.column`` in the schema's own spelling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from mats_sql.benchmark import Schema

_PLAIN_NAME = re.compile(r"[^\W\d]\w*\Z")

NEVER_NULL = "never_null"
"""Key of a resolved column's ``meta``: whether it is a primary key without NULL."""

Tables = Mapping[str, "Relation"]
"""Lower-case table name -> the table; schema tables and, inside a ``WITH``, its queries."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Something after ``FROM``. ``columns`` maps lower-case names to their spelling; ``None`` when not known."""

    name: str
    columns: Mapping[str, str] | None
    never_null: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """Where a column is: the table it is shown with (empty when two tables could be meant) and its spelling."""

    table: str
    column: str
    never_null: bool = False


class Scope:
    """The sources of one ``SELECT`` by lower-case alias, and the scope around it."""

    __slots__ = ("merged", "outer", "shown", "sources")

    def __init__(self, outer: Scope | None) -> None:
        self.outer = outer
        self.sources: dict[str, Relation] = {}
        self.shown: set[str] = set()
        self.merged: set[str] = set()
        """Columns that ``USING`` makes one of, so that they are not ambiguous."""

    def add(self, alias: str, source: Relation) -> str:
        """Enter a source and return the name it is shown by: its own, numbered from its second use on."""
        shown, number = source.name, 1
        while shown.lower() in self.shown:
            number += 1
            shown = f"{source.name}_{number}"
        self.shown.add(shown.lower())
        self.sources[alias.lower()] = replace(source, name=shown)
        return shown

    def find(self, column: str, qualifier: str) -> Found | None:
        """Return where a column is, looking outwards, or ``None``."""
        scope: Scope | None = self
        while scope is not None:
            found = scope._find_here(column, qualifier.lower())
            if found is not None:
                hidden = scope is not self and found.table.lower() in self.shown
                return replace(found, table=f"outer_{found.table}") if hidden else found
            scope = scope.outer
        return None

    def _find_here(self, column: str, qualifier: str) -> Found | None:
        name = column.lower()
        if qualifier:
            source = self.sources.get(qualifier)
            return None if source is None else _found(source, column)
        known = [source for source in self.sources.values() if source.columns is not None and name in source.columns]
        if not known:
            return None
        return _found(known[0], column) if len(known) == 1 or name in self.merged else Found("", column)

    def shows(self, name: str) -> bool:
        """Whether a source here or outwards is shown by this name."""
        return name.lower() in self.shown or (self.outer is not None and self.outer.shows(name))

    def knows_every_column(self) -> bool:
        """Whether no source here or outwards has columns that are not known."""
        known = all(source.columns is not None for source in self.sources.values())
        return known and (self.outer is None or self.outer.knows_every_column())


def _found(source: Relation, column: str) -> Found:
    name = column.lower()
    return Found(source.name, (source.columns or {}).get(name, column), name in source.never_null)


def schema_tables(schema: Schema) -> Tables:
    """Return a schema's tables in the shape that name resolution takes."""
    return {
        table.name.lower(): Relation(
            table.name,
            {column.name.lower(): column.name for column in table.columns},
            frozenset(column.name.lower() for column in table.columns if column.primary_key and not column.has_null),
        )
        for table in schema.tables
    }


def resolve_names(query: exp.Expression, tables: Tables, outer: Scope | None = None, *, keep: bool = False) -> None:
    """Rewrite a query in place: table aliases, column aliases and ordinals go, columns get their table.

    ``keep`` keeps the output names, for a query that others refer to by them. Names that are not found stay as they
    are, and so are those that two tables have, which SQLite refuses; an unknown quoted name is the text literal that
    SQLite takes it for.
    """
    tables = _resolve_with(query, tables, outer)
    if isinstance(query, exp.SetOperation | exp.Subquery):
        for part in (query.this, query.args.get("expression")):
            if isinstance(part, exp.Query):
                resolve_names(part, tables, outer, keep=keep)
    elif isinstance(query, exp.Select):
        _resolve_select(query, tables, outer, keep)


def _resolve_with(query: exp.Expression, tables: Tables, outer: Scope | None) -> Tables:
    clause = query.args.get("with_")
    if not isinstance(clause, exp.With):
        return tables
    known = dict(tables)
    for part in clause.expressions:
        known[part.alias.lower()] = Relation(part.alias, None)  # a recursive query reads itself
        resolve_names(part.this, known, outer, keep=True)
        names = [column.name for column in part.args["alias"].columns] or _output_names(part.this)
        known[part.alias.lower()] = Relation(part.alias, _spelling(names))
    return known


def _output_names(query: exp.Expression) -> list[str] | None:
    while isinstance(query, exp.SetOperation | exp.Subquery):
        query = query.this
    if not isinstance(query, exp.Select) or query.is_star:
        return None
    return [projection.alias_or_name for projection in query.expressions]


def _spelling(names: list[str] | None) -> dict[str, str] | None:
    return None if names is None else {name.lower(): name for name in names}


def _resolve_select(select: exp.Select, tables: Tables, outer: Scope | None, keep: bool) -> None:
    scope = Scope(outer)
    for source in _sources(select):
        _enter(source, scope, tables)
    for join in select.args.get("joins") or ():
        scope.merged |= {column.name.lower() for column in join.args.get("using") or ()}
    for projection in list(select.expressions):
        _resolve_node(projection, scope, tables, {}, aliases_first=False)
    aliases = {item.alias.lower(): item.this for item in select.expressions if isinstance(item, exp.Alias)}
    for join in select.args.get("joins") or ():
        if join.args.get("on") is not None:
            _resolve_node(join.args["on"], scope, tables, {}, aliases_first=False)
        _spell_out_using(join, scope)
    for clause in ("where", "group", "having", "order", "windows", "limit", "offset"):
        node = select.args.get(clause)
        if isinstance(node, exp.Expression):
            _resolve_node(node, scope, tables, aliases, aliases_first=clause == "order")
            _replace_ordinals(node, select.expressions)
    if not keep:
        select.set("expressions", [item.unalias() for item in select.expressions])


def _sources(select: exp.Select) -> Iterator[exp.Expression]:
    first = select.args.get("from_")
    if first is not None:
        yield first.this
    for join in select.args.get("joins") or ():
        yield join.this


def _enter(source: exp.Expression, scope: Scope, tables: Tables) -> None:
    if isinstance(source, exp.Table):
        found = tables.get(source.name.lower(), Relation(source.name, None))
        shown = scope.add(source.alias_or_name, found)
        renamed = exp.TableAlias(this=_identifier(shown)) if shown != found.name else None
        source.set("this", _identifier(found.name))
        source.set("db", None)
        source.set("alias", renamed)
    elif isinstance(source, exp.Subquery):
        resolve_names(source.this, tables, None, keep=True)
        shown = scope.add(source.alias or "q", Relation("q", _spelling(_output_names(source.this))))
        source.set("alias", exp.TableAlias(this=_identifier(shown)))


def _spell_out_using(join: exp.Join, scope: Scope) -> None:
    shown = join.this.alias_or_name
    for column in join.args.get("using") or ():
        left = scope.find(column.name, "")
        pair = exp.EQ(
            this=_column(left.table, left.column) if left else exp.column(column.name),
            expression=_column(shown, left.column if left else column.name),
        )
        on = join.args.get("on")
        join.set("on", pair if on is None else exp.And(this=on, expression=pair))
    join.set("using", None)


def _replace_ordinals(clause: exp.Expression, projections: list[exp.Expression]) -> None:
    if not isinstance(clause, exp.Group | exp.Order):
        return
    for item in clause.expressions:
        number = item.this if isinstance(item, exp.Ordered) else item
        if isinstance(number, exp.Literal) and not number.is_string and number.name.isdigit():
            position = int(number.name) - 1
            if 0 <= position < len(projections):
                number.replace(projections[position].unalias().copy())


def _resolve_node(
    node: exp.Expression, scope: Scope, tables: Tables, aliases: Mapping[str, exp.Expression], *, aliases_first: bool
) -> None:
    if isinstance(node, exp.Query):
        resolve_names(node, tables, scope)
    elif isinstance(node, exp.Column):
        _resolve_column(node, scope, aliases, aliases_first)
    else:
        for child in list(node.iter_expressions()):
            _resolve_node(child, scope, tables, aliases, aliases_first=aliases_first)


def _resolve_column(
    column: exp.Column, scope: Scope, aliases: Mapping[str, exp.Expression], aliases_first: bool
) -> None:
    name, qualifier = column.name, column.table
    alias = None if qualifier else aliases.get(name.lower())
    if alias is not None and aliases_first:
        column.replace(alias.copy())
        return
    found = scope.find(name, qualifier)
    if found is not None and found.table:
        column.set("table", _identifier(found.table))
        if not isinstance(column.this, exp.Star):
            column.set("this", _identifier(found.column))
        column.meta[NEVER_NULL] = found.never_null
    elif alias is not None:
        column.replace(alias.copy())
    elif qualifier and scope.shows(qualifier):  # a table behind an alias cannot be named: SQLite refuses the query
        column.set("table", _identifier("unknown"))
    elif found is None and not qualifier and column.this.args.get("quoted") and scope.knows_every_column():
        column.replace(exp.Literal.string(name))


def _column(table: str, name: str) -> exp.Column:
    return exp.Column(this=_identifier(name), table=_identifier(table))


def _identifier(name: str) -> exp.Identifier:
    return exp.Identifier(this=name, quoted=_PLAIN_NAME.match(name) is None)
