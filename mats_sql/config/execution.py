"""Settings of how SQL is executed and judged."""

from __future__ import annotations

from pydantic import Field

from mats_sql.config.section import Positive, Section


class SqlLimits(Section):
    """Bounds on one execution of untrusted SQL.

    Steps are SQLite's virtual-machine steps: they come first, so that a verdict does not depend on the machine's speed
    (about 50 million a second). A candidate that is only judged may take ``judge_steps_per_gold_step`` times gold's
    steps, ``judge_steps_per_page`` times the database's pages, or ``judge_min_steps``, whichever is most, and never
    more than ``max_steps``: on a small database an honest query cannot be busy for long.
    """

    timeout_s: float = Field(
        30.0,
        gt=0,
        description="Seconds of CPU time in a SQLite worker (a busy machine changes no verdict), and the statement "
        "timeout of a database server.",
    )
    max_steps: Positive = Field(1_000_000_000, description="Steps after which any execution is a timeout.")
    judge_min_steps: Positive = Field(25_000_000, description="Steps that every judged candidate may take.")
    judge_steps_per_gold_step: Positive = Field(
        1000, description="Steps a judged candidate may take per step of its gold."
    )
    judge_steps_per_page: Positive = Field(
        20_000, description="Steps a judged candidate may take per page of the database."
    )
    max_rows: Positive = Field(2_000_000, description="Rows after which a result is too big.")
    max_result_bytes: Positive = Field(256 * 1024 * 1024, description="Bytes after which a result is too big.")
    max_value_bytes: Positive = Field(
        16 * 1024 * 1024, description="Bytes of the longest text or blob in an execution."
    )
    max_sql_bytes: Positive = Field(1_000_000, description="Bytes of the longest SQL that is executed.")
    memory_mib: int = Field(2048, ge=64, description="Memory of a worker process, in MiB.")
    preview_rows: Positive = Field(5, description="How many rows of a result an agent is shown.")
    nearest_values: int = Field(
        1,
        ge=0,
        description="How many stored values an agent is shown for a literal of its SQL that the column does not hold, "
        "and how many columns for one that there is not, the most similar first (SQLite only); 0 shows none, as the "
        "reference does.",
    )
    nearest_retries: int = Field(
        2,
        ge=0,
        description="How many missing columns or tables, one after the other, are replaced by the nearest one, so that "
        "an agent is shown what the SQL then answers; 0 shows the error alone.",
    )


class SqlSettings(Section):
    """How SQL is executed and judged."""

    workers: Positive = Field(
        2,
        description="Processes that execute SQL, per machine of a cluster; they change how long it takes, not what "
        "comes out.",
    )
    limits: SqlLimits = Field(SqlLimits(), description="Bounds on one execution.")
