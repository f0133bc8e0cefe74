"""`mats-sql evaluate`, as a script."""

from mats_sql.cli import evaluate

evaluate()
