"""`mats-sql sft`, as a script."""

from mats_sql.cli import sft

if __name__ == "__main__":
    sft()
