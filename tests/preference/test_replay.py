"""The labels' replay ends where the real team ends: its flow, executor and judge on engines that say given texts."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.agents.messages import Messages
from mats_sql.agents.selector import NO, YES
from mats_sql.benchmark.question import Question
from mats_sql.choices import Gate, PoolRule, Regime, SelectorRule
from mats_sql.config import GenerationSettings, Policy, RolloutSettings
from mats_sql.generation.engine import Completion, Request, Sampling
from mats_sql.preference.regimes import LabelledCritique, label_critiques
from mats_sql.rollout.pool import Pool
from mats_sql.rollout.sample import Sampler, Source, reviews_of
from mats_sql.rollout.scores import score_pool, scores_of
from mats_sql.seeds import derive_random
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from mats_sql.team.flow import Agents, Task, Team, TeamAnswer

GOLD = "SELECT name FROM singer WHERE age > 30"
ANSWERS = (
    GOLD,
    "SELECT name FROM singer WHERE 30 < age",
    "SELECT name FROM singer",
    "SELECT name FROM singer WHERE age > 99",
    "SELECT shoe FROM singer",
    "I do not know.",
)
CRITIQUES = tuple(
    f"{start}\nConclude: {verdict}." for start in ("Yes", "No") for verdict in ("correct", "incorrect", "a riddle")
)
GENERATION = GenerationSettings()


@dataclass(frozen=True, slots=True)
class Oracle:
    """An engine whose every answer is a function of its seed, the prompt and the sample's index."""

    seed: int
    texts: Sequence[str] = ()
    asked: list[Messages] = field(default_factory=list)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[tuple[Completion, ...]]:
        return [
            tuple(Completion(self._text(request.messages, index), 3, True) for index in range(sampling.n))
            for request in requests
        ]

    def choice_logprobs(self, requests: Sequence[Request], choices: tuple[str, ...]) -> list[tuple[float, ...]]:
        assert choices == (YES, NO)
        self.asked.extend(request.messages for request in requests)
        shares = [derive_random(self.seed, repr(request.messages)).uniform(0.05, 0.95) for request in requests]
        return [(math.log(share), math.log(1 - share)) for share in shares]

    def close(self) -> None:
        pass

    def _text(self, messages: Messages, index: int) -> str:
        return derive_random(self.seed, repr(messages), index).choice(self.texts)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("music") / "music.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE singer (name TEXT, age INTEGER); INSERT INTO singer VALUES ('Ann', 31), ('Bo', 1), ('Di', 40)"
        )
    return Source({7: Task(Question(7, "music", "Who is over 30?"), "singer(name, age)", path)}, {7: GOLD})


@pytest.fixture(scope="module")
def judge(executor: SqlExecutor) -> Iterator[Judge]:
    with Judge(executor, None) as opened:
        yield opened


def drawn(source: Source, judge: Judge, seed: int) -> Pool:
    """Return a pool of two plans and three critiques each, from engines that know no better."""
    sampler = Sampler(RolloutSettings(plans=2, critiques=3), GENERATION, judge, seed=0)
    plans = sampler.plans(source, Oracle(seed, ANSWERS))
    reviews = reviews_of(source, plans)
    critiques = [
        row for validator in Validator for row in sampler.critiques(reviews, validator, Oracle(seed, CRITIQUES))
    ]
    return Pool(tuple(plans), tuple(critiques), tuple(sampler.fixes(source, reviews, critiques, Oracle(seed, ANSWERS))))


def team_of(pool: Pool, label: LabelledCritique, policy: Policy, executor: SqlExecutor, selector: Oracle) -> Team:
    """Return a team that plans and criticises as the labelled case does; fixer and selector are the pool's own."""
    said = {validator: pool.greedy_critiques(validator)[label.plan.review_id] for validator in Validator}
    said[label.critique.validator] = label.critique
    agents = Agents(
        planner=Oracle(0, (label.plan.text,)),
        validators={validator: Oracle(0, (row.text,)) for validator, row in said.items()},
        fixer=Oracle(selector.seed, ANSWERS),
        selector=selector,
    )
    return Team(agents, policy.model_copy(update={"k": 1}), GENERATION, executor)


def ends_right(answer: TeamAnswer, judge: Judge) -> bool:
    [judgement] = judge.judge_many([JudgeItem(answer.task.database, GOLD, answer.selected.sql)])
    return judgement.correct


policies = st.builds(
    Policy,
    gate=st.sampled_from(Gate),
    pool=st.sampled_from(PoolRule),
    selector=st.sampled_from(SelectorRule),
    agreement_weight=st.sampled_from([0.0, 1.0, 3.0]),
)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), policy=policies)
def test_collab_v2_chooses_exactly_the_critiques_under_which_the_real_team_ends_right(
    seed: int, policy: Policy, source: Source, executor: SqlExecutor, judge: Judge
) -> None:
    pool = drawn(source, judge, seed)
    scoring, selecting = Oracle(seed), Oracle(seed)
    scores = scores_of(score_pool(pool, source.tasks, policy, scoring))
    for validator in Validator:
        for label in label_critiques(pool, validator, Regime.COLLAB_V2, policy, scores):
            answer = team_of(pool, label, policy, executor, selecting).answer(source.tasks[7])
            said = label.critique.verdict is not Verdict.MISSING
            assert label.chosen is (said and ends_right(answer, judge)), (label, answer.candidates)
    assert set(scoring.asked) <= set(selecting.asked), "scores answer the very prompts that a team would show"


def test_the_pools_candidates_are_scored_only_where_a_trained_selector_has_a_choice(
    source: Source, judge: Judge
) -> None:
    pool, selector = drawn(source, judge, 3), Oracle(3)
    for policy in (Policy(), Policy(pool=PoolRule.KEEP_BOTH, selector=SelectorRule.MAJORITY)):
        assert score_pool(pool, source.tasks, policy, selector) == []
    keep_both = Policy(gate=Gate.ALWAYS, pool=PoolRule.KEEP_BOTH)
    rows = score_pool(pool, source.tasks, keep_both, selector)
    assert len(selector.asked) == len(set(selector.asked)) == len(rows) > len(pool.reviews())
    assert {row.verdicts for row in rows} > {""}, "plans are scored with their verdicts, fixes without"


@pytest.mark.parametrize(
    "policy", [Policy(), Policy(gate=Gate.ALWAYS, pool=PoolRule.KEEP_BOTH)], ids=lambda policy: policy.pool.value
)
def test_the_pools_of_this_file_hold_every_end_of_the_flow(policy: Policy, source: Source, judge: Judge) -> None:
    ends = set()
    for seed in range(40):
        pool = drawn(source, judge, seed)
        scores = scores_of(score_pool(pool, source.tasks, policy, Oracle(seed)))
        for label in label_critiques(pool, Validator.SELECT, Regime.COLLAB_V2, policy, scores):
            ends.add((label.plan.correct, label.fix.correct, label.fix.sql is None, label.chosen))
    assert {(True, False, True, True), (True, False, False, False), (False, True, False, True)} <= ends
