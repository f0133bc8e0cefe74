"""Questions about databases that belong to no benchmark: SQLite files, and PostgreSQL, MySQL or MariaDB by their URL.

A database is read, never written (:mod:`mats_sql.sql`). What cannot be read fails the questions about it and no other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from mats_sql.benchmark import (
    Benchmark,
    Question,
    Schema,
    SchemaTexts,
    ValueIndex,
    schema_from_server,
    schema_from_sqlite,
)
from mats_sql.digests import digest_json, digest_text
from mats_sql.errors import ConfigError, DatabaseError
from mats_sql.sql import Execution, ServerExecutor, SqlExecutor, SqlRequest, read_address, shown
from mats_sql.team import Task, Team, TeamAnswer, open_team, read_settings

Unreadable = DatabaseError | ConfigError
"""Why a question has no answer: its database, or the address of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question. ``database`` is the path of a SQLite file or the URL of a database on a server."""

    question: str
    database: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class _Database:
    """A database that was read: its name in messages, its schema, where SQL goes; a server's ``server`` and values."""

    db_id: str
    path: Path
    schema: Schema
    server: ServerExecutor | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A question that its team can be asked, and the server that its SQL goes to."""

    task: Task
    server: ServerExecutor | None


class Asker:
    """A team's folder that answers. Models are loaded at the first question, a server is read once; both stay open.

    ``cache`` keeps the value indexes of files. Use as a context manager, or call :meth:`close`.
    """

    def __init__(self, folder: Path, cache: Path | None) -> None:
        self._folder, self._cache = folder, cache
        self._settings = read_settings(folder)
        self._resources = ExitStack()
        self._team: Team | None = None
        self._servers: dict[str, _Database] = {}
        self._indexes: dict[str, ValueIndex] = {}

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close models, workers and connections."""
        self._resources.close()

    def open(self, database: str) -> _Database:
        """Read a database's schema; raises :class:`DatabaseError` or :class:`ConfigError` for what cannot be read."""
        if is_address(database):
            return self._server(database)
        path = Path(database).expanduser().resolve()
        return _Database(str(path), path, schema_from_sqlite(path))

    def answer_many(self, asked: Sequence[Asked]) -> list[TeamAnswer | Unreadable]:
        """Return an answer per question, in order, or why its database gave none, whatever else is asked."""
        names = dict.fromkeys(one.database for one in asked)
        opened = {name: self._attempted(name) for name in names}
        texts = self._texts([found for found in opened.values() if isinstance(found, _Database)])
        ready = [_ready(one, opened[one.database], texts) for one in asked]
        answers: dict[int, TeamAnswer | Unreadable] = {}
        tasks: defaultdict[ServerExecutor | None, dict[int, Task]] = defaultdict(dict)
        for position, found in enumerate(ready):
            if isinstance(found, _Ready):
                tasks[found.server][position] = found.task
            else:
                answers[position] = found
        for server, own in tasks.items():
            answers |= self._answered(server, own)
        return [answers[position] for position in range(len(asked))]

    def execute(self, database: str, sql: str, rows: int) -> Execution:
        """Run one SQL again, showing up to so many rows."""
        limits = self._settings.sql.limits.model_copy(update={"preview_rows": rows, "nearest_values": 0})
        found = self.open(database)
        executor = ServerExecutor(database, limits, 1) if found.server else SqlExecutor(limits, 1)
        with executor:
            return next(iter(executor.execute_many([SqlRequest(found.path, sql)])))

    def _server(self, address: str) -> _Database:
        if address not in self._servers:
            url, settings = read_address(address), self._settings.sql
            schema, index = schema_from_server(address, settings.limits)
            server = self._resources.enter_context(ServerExecutor(address, settings.limits, settings.workers))
            db_id = f"{shown(url)} {digest_text(address)[:8]}"  # what is not shown tells servers apart too
            self._indexes[db_id] = index
            self._servers[address] = _Database(db_id, Path(str(url.database)), schema, server)
        return self._servers[address]

    def _texts(self, databases: Sequence[_Database]) -> SchemaTexts:
        schemas = {one.db_id: one.schema for one in databases}
        files = {one.db_id: one.path for one in databases if one.server is None}
        benchmark = Benchmark("asked", Path(), (), {}, schemas, files)
        return SchemaTexts(benchmark, self._settings.benchmark_settings(), self._cache, self._indexes)

    def _attempted(self, name: str) -> _Database | Unreadable:
        try:
            return self.open(name)
        except (DatabaseError, ConfigError) as error:
            return error

    def _answered(self, server: ServerExecutor | None, tasks: Mapping[int, Task]) -> dict[int, TeamAnswer | Unreadable]:
        """Return the answers by position; a database that fails only now fails alone."""
        if self._team is None:
            self._team = open_team(self._folder, self._resources)
        team = self._team if server is None else replace(self._team, executor=server)
        try:
            return dict(zip(tasks, team.answer_many(list(tasks.values())), strict=True))
        except DatabaseError as error:
            databases = {task.database for task in tasks.values()}
            if len(databases) == 1:
                return dict.fromkeys(tasks, error)
        answers: dict[int, TeamAnswer | Unreadable] = {}
        for database in databases:
            answers |= self._answered(server, {key: task for key, task in tasks.items() if task.database == database})
        return answers


def is_address(database: str) -> bool:
    """Return whether a database is named by a server's URL and not by a file's path."""
    return "://" in database


def _ready(asked: Asked, database: _Database | Unreadable, texts: SchemaTexts) -> _Ready | Unreadable:
    if not isinstance(database, _Database):
        return database
    # the id names the question for randomness
    question_id = int(digest_json([asked.question, asked.evidence, database.path.name])[:12], 16)
    question = Question(question_id, database.db_id, asked.question, asked.evidence)
    try:
        return _Ready(Task(question, texts.text_for(question), database.path), database.server)
    except DatabaseError as error:
        return error
