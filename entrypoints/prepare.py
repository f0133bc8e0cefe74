"""`mats-sql prepare`, as a script."""

from mats_sql.cli import prepare

if __name__ == "__main__":
    prepare()
