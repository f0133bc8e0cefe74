"""`mats-sql orpo`, as a script."""

from mats_sql.cli import orpo

orpo()
