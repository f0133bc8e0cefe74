"""`mats-sql report`, as a script."""

from mats_sql.cli import report

if __name__ == "__main__":
    report()
