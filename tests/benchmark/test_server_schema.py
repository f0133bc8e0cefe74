"""The schema of a live server reads like that of the same tables in a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text

from mats_sql.benchmark.schema import ForeignKey
from mats_sql.benchmark.server_schema import schema_from_server
from mats_sql.config import SqlLimits
from mats_sql.errors import ConfigError, DatabaseError
from tests.postgres import postgres_server
from tests.sql.mariadb import mariadb_server

TABLES = """
CREATE TABLE league (id INTEGER PRIMARY KEY, name VARCHAR(20), founded DATE);
CREATE TABLE club (id INTEGER PRIMARY KEY, name VARCHAR(80), budget DOUBLE PRECISION, opened TIMESTAMP NULL,
    league_id INTEGER, FOREIGN KEY (league_id) REFERENCES league (id));
INSERT INTO league VALUES (1, 'North', '1901-01-01');
INSERT INTO club VALUES (1, 'Rovers', 1.5, NULL, 1), (2, 'City United', 2.5, NULL, 1)
"""


@pytest.fixture(scope="module", params=[postgres_server, mariadb_server], ids=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    with request.param() as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in TABLES.split(";"):
                connection.execute(text(statement))
        engine.dispose()
        yield url


def test_the_schema_of_a_server_has_its_tables_types_keys_and_nulls(server: str) -> None:
    schema, _ = schema_from_server(server, SqlLimits())
    assert schema.db_id == "hero"
    assert {
        table.name: [(c.name, c.type, c.primary_key, c.has_null) for c in table.columns] for table in schema.tables
    } == {
        "club": [
            ("id", "integer", True, False),
            ("name", "text", False, False),
            ("budget", "real", False, False),
            ("opened", "datetime", False, True),
            ("league_id", "integer", False, False),
        ],
        "league": [("id", "integer", True, False), ("name", "text", False, False), ("founded", "date", False, False)],
    }
    assert schema.foreign_keys == (ForeignKey("club", "league_id", "league", "id"),)


def test_the_values_that_a_question_mentions_are_found_on_the_server(server: str) -> None:
    _, values = schema_from_server(server, SqlLimits())
    found = values.retrieve("What is the budget of City United in the league North?", 2)
    assert found == {("club", "name"): ("City United",), ("league", "name"): ("North",)}


def test_an_unreachable_server_is_one_line_without_its_password() -> None:
    with pytest.raises(DatabaseError) as error:
        schema_from_server("postgresql://reader:open-sesame@127.0.0.1:9/hero", SqlLimits())
    assert "\n" not in str(error.value)
    assert "open-sesame" not in str(error.value)
    with pytest.raises(ConfigError, match="must be PostgreSQL"):
        schema_from_server("oracle://host/hero", SqlLimits())
