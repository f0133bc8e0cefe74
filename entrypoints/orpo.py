"""`mats-sql orpo`, as a script."""

from mats_sql.cli import orpo

if __name__ == "__main__":
    orpo()
