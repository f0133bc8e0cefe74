"""`mats-sql compare`, as a script."""

from mats_sql.cli import compare

if __name__ == "__main__":
    compare()
