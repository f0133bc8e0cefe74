"""Which agent a flip is laid at: the first part in which the two teams part."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mats_sql.evaluation.report.flips import HARMED, RESCUED, Asked, flips_between, of_effect
from tests.evaluation.synthetic import candidate

ASKED = Asked({1: "How many?"}, {1: "SELECT 1"})


def plan(*, correct, gate_open=False, in_pool=True, selected=False, index=0):
    return candidate(1, index, correct=correct, gate_open=gate_open, in_pool=in_pool, selected=selected)


def fix(*, correct, selected=True, index=0):
    return candidate(1, index, "fix", correct=correct, gate_open=True, selected=selected)


RIGHT_FIX = [plan(correct=False, gate_open=True, in_pool=False), fix(correct=True)]
RIGHT_PLAN = [plan(correct=True, selected=True)]
CASES = {
    "selector": (RIGHT_PLAN, [plan(correct=True), plan(correct=False, selected=True, index=1)]),
    "planner": (
        [plan(correct=False), plan(correct=True, selected=True, index=1)],
        [plan(correct=False, selected=True), replace(plan(correct=False, index=1), sql="another plan")],
    ),
    "fixer: a right plan": (RIGHT_PLAN, [plan(correct=True, gate_open=True, in_pool=False), fix(correct=False)]),
    "validators": (RIGHT_FIX, [plan(correct=False, selected=True)]),
    "fixer: asked": (RIGHT_FIX, [plan(correct=False, gate_open=True, in_pool=False), fix(correct=False)]),
}


@pytest.mark.parametrize("agent", CASES)
def test_a_flip_is_laid_at_the_agent_that_parts_the_two(agent):
    right, wrong = CASES[agent]
    (rescue,) = flips_between(("INDEP", "NEW"), wrong, right, ASKED)
    (harm,) = flips_between(("INDEP", "NEW"), right, wrong, ASKED)
    assert (rescue.effect, harm.effect) == (RESCUED, HARMED)
    assert rescue.agent.startswith(agent)
    assert harm.agent == rescue.agent
    assert (rescue.question, rescue.gold_sql) == ("How many?", "SELECT 1")
    assert (rescue.baseline_verdict, rescue.treatment_verdict) == ("wrong", "correct")


def test_questions_on_which_both_are_right_or_wrong_are_no_flips():
    assert flips_between(("INDEP", "NEW"), RIGHT_PLAN, RIGHT_FIX, ASKED) == ()
    assert flips_between(("INDEP", "NEW"), [plan(correct=False, selected=True)], CASES["validators"][1], ASKED) == ()


def test_flips_are_told_apart_by_their_effect():
    found = flips_between(("INDEP", "NEW"), RIGHT_PLAN, CASES["selector"][1], ASKED)
    assert of_effect(found, RESCUED) == []
    assert of_effect(found, HARMED) == list(found)
