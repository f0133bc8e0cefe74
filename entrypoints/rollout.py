"""`mats-sql rollout`, as a script."""

from mats_sql.cli import rollout

rollout()
