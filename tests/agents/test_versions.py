"""A prompt or an answer format that changes must get a new version: models were trained on the exact text."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mats_sql.agents import fixer, planner, selector
from mats_sql.agents.critique import Critique, Validator, Verdict, critique_answer
from mats_sql.agents.messages import as_dicts
from mats_sql.agents.review import Review, response_text
from mats_sql.agents.validators import VALIDATOR_MESSAGES
from mats_sql.agents.versions import PROMPT_VERSIONS
from mats_sql.benchmark.question import Question
from mats_sql.digests import digest_json
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.sandbox.nearest import Nearest

NEAREST = (Nearest("singer", "name", "ann", ("Ann", "Anna")),)
RESPONSES = (
    response_text(Execution(Outcome.ROWS, ("name",), (("Ann",),), 1, nearest=NEAREST)),
    response_text(Execution(Outcome.ERROR, error="no such column: x", nearest=NEAREST)),
    response_text(
        Execution(Outcome.ERROR, error="no such column: x", retried=Execution(Outcome.EMPTY), tried="SELECT 1")
    ),
)
REVIEW = Review(
    Question(1, "music", "Who?", "Ann is a singer"), "table singer", "SELECT name FROM singer", " ".join(RESPONSES)
)
CRITIQUES = [Critique(validator, "text", Verdict.INCORRECT) for validator in Validator]
TEXTS = {
    "planner": [
        as_dicts(planner.planner_messages(REVIEW.question, REVIEW.schema_text)),
        planner.planner_answer("goal", "condition", "tables", "SELECT 1"),
    ],
    **{
        validator.value: [
            as_dicts(VALIDATOR_MESSAGES[validator](REVIEW)),
            critique_answer(validator, "found", "wanted", correct=True),
            critique_answer(validator, "found", "wanted", correct=False),
        ]
        for validator in Validator
    },
    "fixer": [
        as_dicts(fixer.fixer_messages(REVIEW, fixer.feedback_text(CRITIQUES))),
        fixer.feedback_text([]),
        fixer.FIXED_CRITIQUE,
    ],
    "selector": [as_dicts(selector.selector_messages(REVIEW, CRITIQUES)), selector.YES, selector.NO],
}
DIGESTS = {
    "planner-1": "b55747d1180f5c5c",
    "select-validator-5": "e0eede457e551873",
    "condition-validator-5": "b7f536a7a573b89f",
    "fixer-5": "c6b011805e3a0b5b",
    "selector-5": "3e71373c7a7b4d15",
}


@pytest.mark.parametrize("agent", TEXTS)
def test_a_prompt_version_stands_for_one_exact_text(agent: str) -> None:
    found = digest_json(TEXTS[agent])[:16]
    assert DIGESTS[PROMPT_VERSIONS[agent]] == found, f"the {agent}'s text changed: raise its PROMPT_VERSION"


def test_every_agent_has_a_version_and_no_two_share_one() -> None:
    assert set(PROMPT_VERSIONS) == set(TEXTS)
    assert len(set(PROMPT_VERSIONS.values())) == len(PROMPT_VERSIONS)


def test_versions_are_read_without_importing_anything_heavy() -> None:
    heavy = "{'torch', 'transformers', 'mlflow', 'sqlglot', 'datasets'}"
    check = f"import sys, mats_sql.agents.versions; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"
