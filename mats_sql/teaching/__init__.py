"""What is shown gold, and the answers that supervised training learns from.

``teacher`` says what a teacher is and has the one of rules, which compares the ``outline`` of two SQLs; ``large_model``
has the one that asks a large model; ``content`` says whether a critique asks for what the teacher's does;
``sft_examples`` makes supervised examples (``example``) of their answers;
``versions`` lists every teacher's version. Gold comes here as text and leaves as an answer to learn. It enters no
prompt of an agent: those are made in ``agents``, which imports nothing from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.teaching.content import right_content
    from mats_sql.teaching.example import SftExample
    from mats_sql.teaching.large_model import LargeModelTeacher
    from mats_sql.teaching.sft_examples import (
        LabelledReview,
        fixer_examples,
        planner_examples,
        selector_examples,
        validator_examples,
    )
    from mats_sql.teaching.teacher import CritiqueTask, RuleTeacher, Teacher, write_critique, write_plan
    from mats_sql.teaching.versions import TEACHER_VERSIONS

__all__ = [
    "TEACHER_VERSIONS",
    "CritiqueTask",
    "LabelledReview",
    "LargeModelTeacher",
    "RuleTeacher",
    "SftExample",
    "Teacher",
    "fixer_examples",
    "planner_examples",
    "right_content",
    "selector_examples",
    "validator_examples",
    "write_critique",
    "write_plan",
]

__getattr__ = Face(
    __name__,
    {
        "content": ("right_content",),
        "example": ("SftExample",),
        "large_model": ("LargeModelTeacher",),
        "sft_examples": (
            "LabelledReview",
            "fixer_examples",
            "planner_examples",
            "selector_examples",
            "validator_examples",
        ),
        "teacher": ("CritiqueTask", "RuleTeacher", "Teacher", "write_critique", "write_plan"),
        "versions": ("TEACHER_VERSIONS",),
    },
)
