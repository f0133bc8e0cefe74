"""`mats-sql pairs`, as a script."""

from mats_sql.cli import pairs

pairs()
