"""The agents of a team: planner, select validator, condition validator, fixer, selector.

One module per agent turns typed inputs into chat messages and a completion into a typed answer; ``names`` has what the
agents are called, ``validators`` picks a validator's module by name, ``versions`` lists every prompt's version. Nothing
here sees gold, and no module of this package has a name for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.agents.condition_validator import condition_validator_messages
    from mats_sql.agents.critique import Critique, Validator, Verdict, critique_answer, parse_critique
    from mats_sql.agents.fixer import FIXED_CRITIQUE, NO_COMPLAINT, feedback_text, fixer_messages, parse_fix
    from mats_sql.agents.messages import Messages, as_dicts, user
    from mats_sql.agents.names import AGENTS, FIXER, PLANNER, SELECTOR, validator_name
    from mats_sql.agents.planner import Plan, parse_plan, planner_answer, planner_messages
    from mats_sql.agents.review import Review, question_lines, response_text, review_lines
    from mats_sql.agents.select_validator import select_validator_messages
    from mats_sql.agents.selector import NO, YES, selector_messages
    from mats_sql.agents.validators import VALIDATOR_MESSAGES
    from mats_sql.agents.versions import PROMPT_VERSIONS

__all__ = [
    "AGENTS",
    "FIXED_CRITIQUE",
    "FIXER",
    "NO",
    "NO_COMPLAINT",
    "PLANNER",
    "PROMPT_VERSIONS",
    "SELECTOR",
    "VALIDATOR_MESSAGES",
    "YES",
    "Critique",
    "Messages",
    "Plan",
    "Review",
    "Validator",
    "Verdict",
    "as_dicts",
    "condition_validator_messages",
    "critique_answer",
    "feedback_text",
    "fixer_messages",
    "parse_critique",
    "parse_fix",
    "parse_plan",
    "planner_answer",
    "planner_messages",
    "question_lines",
    "response_text",
    "review_lines",
    "select_validator_messages",
    "selector_messages",
    "user",
    "validator_name",
]

__getattr__ = Face(
    __name__,
    {
        "condition_validator": ("condition_validator_messages",),
        "critique": ("Critique", "Validator", "Verdict", "critique_answer", "parse_critique"),
        "fixer": ("FIXED_CRITIQUE", "NO_COMPLAINT", "feedback_text", "fixer_messages", "parse_fix"),
        "messages": ("Messages", "as_dicts", "user"),
        "names": ("AGENTS", "FIXER", "PLANNER", "SELECTOR", "validator_name"),
        "planner": ("Plan", "parse_plan", "planner_answer", "planner_messages"),
        "review": ("Review", "question_lines", "response_text", "review_lines"),
        "select_validator": ("select_validator_messages",),
        "selector": ("NO", "YES", "selector_messages"),
        "validators": ("VALIDATOR_MESSAGES",),
        "versions": ("PROMPT_VERSIONS",),
    },
)
