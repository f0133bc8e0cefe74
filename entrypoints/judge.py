"""`mats-sql judge`, as a script."""

from mats_sql.cli import judge

if __name__ == "__main__":
    judge()
