"""`mats-sql pairs`, as a script."""

from mats_sql.cli import pairs

if __name__ == "__main__":
    pairs()
