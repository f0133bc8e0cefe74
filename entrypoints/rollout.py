"""`mats-sql rollout`, as a script."""

from mats_sql.cli import rollout

if __name__ == "__main__":
    rollout()
