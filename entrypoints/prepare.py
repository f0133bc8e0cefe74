"""`mats-sql prepare`, as a script."""

from mats_sql.cli import prepare

prepare()
