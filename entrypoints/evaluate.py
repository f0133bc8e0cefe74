"""`mats-sql evaluate`, as a script."""

from mats_sql.cli import evaluate

if __name__ == "__main__":
    evaluate()
