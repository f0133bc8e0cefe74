"""`mats-sql diagnose`, as a script."""

from mats_sql.cli import diagnose

diagnose()
