"""`mats-sql search`, as a script."""

from mats_sql.cli import search

if __name__ == "__main__":
    search()
