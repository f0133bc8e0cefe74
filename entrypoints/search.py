"""`mats-sql search`, as a script."""

from mats_sql.cli import search

search()
