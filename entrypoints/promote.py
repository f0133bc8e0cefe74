"""`mats-sql promote`, as a script."""

from mats_sql.cli import promote

promote()
