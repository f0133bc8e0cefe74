"""`mats-sql promote`, as a script."""

from mats_sql.cli import promote

if __name__ == "__main__":
    promote()
