"""`mats-sql judge`, as a script."""

from mats_sql.cli import judge

judge()
