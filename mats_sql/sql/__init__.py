"""Run untrusted SQL safely, take it out of a model's text, compare results, and judge candidates against gold.

``executor`` executes, ``judge`` judges, ``extract`` extracts, ``candidates`` reads files of candidate SQL. What is
covered and what is not is said in ``executor``. Importing the package imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.sql.address import read_address, shown
    from mats_sql.sql.cache import EVALUATOR_VERSION
    from mats_sql.sql.candidates import BIRD_SEPARATOR
    from mats_sql.sql.database import look_at, open_database
    from mats_sql.sql.execution import Execution, Outcome, Value
    from mats_sql.sql.executor import SqlExecutor, SqlRequest
    from mats_sql.sql.extract import extract_sql
    from mats_sql.sql.judge import Judge, JudgeItem
    from mats_sql.sql.judging import AnswerKey, CandidateJudging, ItemJudge, ReferenceSql, SystemCounts
    from mats_sql.sql.sandbox.nearest import Nearest, StoredValues, nearest_values
    from mats_sql.sql.server_judge import ServerJudge
    from mats_sql.sql.server_reading import open_server
    from mats_sql.sql.servers import ServerExecutor
    from mats_sql.sql.verdict import Judgement, VerdictClass

__all__ = [
    "BIRD_SEPARATOR",
    "EVALUATOR_VERSION",
    "AnswerKey",
    "CandidateJudging",
    "Execution",
    "ItemJudge",
    "Judge",
    "JudgeItem",
    "Judgement",
    "Nearest",
    "Outcome",
    "ReferenceSql",
    "ServerExecutor",
    "ServerJudge",
    "SqlExecutor",
    "SqlRequest",
    "StoredValues",
    "SystemCounts",
    "Value",
    "VerdictClass",
    "extract_sql",
    "look_at",
    "nearest_values",
    "open_database",
    "open_server",
    "read_address",
    "shown",
]

__getattr__ = Face(
    __name__,
    {
        "address": ("read_address", "shown"),
        "cache": ("EVALUATOR_VERSION",),
        "candidates": ("BIRD_SEPARATOR",),
        "database": ("look_at", "open_database"),
        "execution": ("Execution", "Outcome", "Value"),
        "executor": ("SqlExecutor", "SqlRequest"),
        "extract": ("extract_sql",),
        "judge": ("Judge", "JudgeItem"),
        "judging": ("AnswerKey", "CandidateJudging", "ItemJudge", "ReferenceSql", "SystemCounts"),
        "sandbox.nearest": ("Nearest", "StoredValues", "nearest_values"),
        "server_judge": ("ServerJudge",),
        "server_reading": ("open_server",),
        "servers": ("ServerExecutor",),
        "verdict": ("Judgement", "VerdictClass"),
    },
)
