"""`mats-sql main`, as a script."""

from mats_sql.cli import main

main()
