"""`mats-sql doctor`, as a script."""

from mats_sql.cli import doctor

if __name__ == "__main__":
    doctor()
