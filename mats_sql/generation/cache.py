"""Completions and choice scores on disk, so that no draw is ever computed twice.

One SQLite file holds the results of many models. An entry's key is a digest of everything that can change the answer,
and of nothing else: the engine's identity (engine, number format, digest of weights, tokenizer and chat template),
the messages, the most new tokens, and, for a sampled draw, the temperature and the draw's seed (a digest of seed, item
id and sample index). A **greedy** entry has neither temperature nor seed: the most likely token is the same at every
temperature and uses no random number, so putting the item's name or the run's seed into the key would only make equal
work look different. Batch size, device, number of samples and the order of requests are absent for the same reason: an
engine's contract says that they change nothing.

Entries wait in memory and are written in groups, and SQLite's write-ahead log makes each group whole or absent: a
killed process loses at most the last group. The file is locked only while a group is written, so that processes which
draw at the same time do not wait for each other's batches. A file that is not a readable database is set aside as
``<name>.damaged`` and begun anew: a cache may always be empty.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mats_sql.agents import Messages, as_dicts
from mats_sql.digests import digest_json
from mats_sql.generation.engine import Completion

DrawKey = tuple[Messages, int | None]

_SCHEMA = """
create table if not exists completion (
    key text primary key, text text not null, token_count integer not null, finished integer not null
) without rowid;
create table if not exists score (key text primary key, logprobs text not null) without rowid;
"""
_COMMIT_ROWS = 512
_COMMIT_S = 2.0
_VARIABLES = 500


class CompletionCache:
    """What one engine has computed, in a file that engines and processes share."""

    def __init__(self, path: Path, identity: str) -> None:
        """Open or create the file. ``identity`` names all that the engine adds to an answer."""
        self._identity = identity
        self._connection = _open(path)
        self._waiting: list[tuple[str, tuple[str | int, ...]]] = []
        self._committed_at = time.monotonic()

    def completions(
        self, draws: Sequence[DrawKey], temperature: float, max_new_tokens: int
    ) -> dict[DrawKey, Completion]:
        """Return the draws that are known, with their completions."""
        by_key = {self._completion_key(draw, temperature, max_new_tokens): draw for draw in draws}
        query = "select key, text, token_count, finished from completion where key in"
        return {
            by_key[key]: Completion(text, token_count, bool(finished))
            for key, text, token_count, finished in self._select(query, list(by_key))
        }

    def add_completion(self, draw: DrawKey, temperature: float, max_new_tokens: int, completion: Completion) -> None:
        """Store one completion; it is on disk after :meth:`commit`, or by itself after some hundreds or two seconds."""
        row = (
            self._completion_key(draw, temperature, max_new_tokens),
            completion.text,
            completion.token_count,
            int(completion.finished),
        )
        self._add("insert or replace into completion values (?, ?, ?, ?)", row)

    def scores(self, prompts: Sequence[Messages], choices: tuple[str, ...]) -> dict[Messages, tuple[float, ...]]:
        """Return the prompts whose choices were scored before, with the log-probabilities."""
        by_key = {self._score_key(messages, choices): messages for messages in prompts}
        rows = self._select("select key, logprobs from score where key in", list(by_key))
        return {by_key[key]: tuple(json.loads(logprobs)) for key, logprobs in rows}

    def add_score(self, messages: Messages, choices: tuple[str, ...], logprobs: tuple[float, ...]) -> None:
        """Store one prompt's choice scores, as :meth:`add_completion` does."""
        row = (self._score_key(messages, choices), json.dumps(logprobs))
        self._add("insert or replace into score values (?, ?)", row)

    def commit(self) -> None:
        """Put everything added so far on disk."""
        with self._connection:
            for statement, row in self._waiting:
                self._connection.execute(statement, row)
        self._waiting.clear()
        self._committed_at = time.monotonic()

    def close(self) -> None:
        """Commit and close the file."""
        self.commit()
        self._connection.close()

    def _completion_key(self, draw: DrawKey, temperature: float, max_new_tokens: int) -> str:
        messages, seed = draw
        drawn = None if seed is None else [seed, float(temperature)]
        return digest_json([self._identity, as_dicts(messages), max_new_tokens, drawn])

    def _score_key(self, messages: Messages, choices: tuple[str, ...]) -> str:
        return digest_json([self._identity, as_dicts(messages), list(choices)])

    def _add(self, statement: str, row: tuple[str | int, ...]) -> None:
        self._waiting.append((statement, row))
        if len(self._waiting) >= _COMMIT_ROWS or time.monotonic() - self._committed_at > _COMMIT_S:
            self.commit()

    def _select(self, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        self.commit()
        for start in range(0, len(keys), _VARIABLES):
            part = keys[start : start + _VARIABLES]
            yield from self._connection.execute(f"{query} ({','.join('?' * len(part))})", part)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        path.replace(path.with_name(path.name + ".damaged"))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60.0, check_same_thread=False)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.executescript(_SCHEMA)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
