"""`mats-sql diagnose`, as a script."""

from mats_sql.cli import diagnose

if __name__ == "__main__":
    diagnose()
