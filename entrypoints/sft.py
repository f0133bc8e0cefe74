"""`mats-sql sft`, as a script."""

from mats_sql.cli import sft

sft()
