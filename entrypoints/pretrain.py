"""`mats-sql pretrain`, as a script."""

from mats_sql.cli import pretrain

pretrain()
