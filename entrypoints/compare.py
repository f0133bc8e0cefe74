"""`mats-sql compare`, as a script."""

from mats_sql.cli import compare

compare()
