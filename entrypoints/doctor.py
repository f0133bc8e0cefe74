"""`mats-sql doctor`, as a script."""

from mats_sql.cli import doctor

doctor()
