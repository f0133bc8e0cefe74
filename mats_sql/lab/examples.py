"""Pretraining examples: every agent's task, in the agents' own formats, over a fresh random database each time."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from mats_sql.agents import (
    NO,
    NO_COMPLAINT,
    YES,
    Critique,
    Messages,
    Review,
    Validator,
    Verdict,
    condition_validator_messages,
    feedback_text,
    fixer_messages,
    planner_messages,
    response_text,
    select_validator_messages,
    selector_messages,
)
from mats_sql.benchmark import Question, Schema, SchemaStyle, schema_text
from mats_sql.config import SqlLimits
from mats_sql.lab import words
from mats_sql.lab.corruption import corrupt
from mats_sql.lab.databases import (
    PRETRAINING_WORDS,
    REVIEW_WORDS,
    LabDatabase,
    Vocabulary,
    build_database,
    create_tables,
    schema_of,
)
from mats_sql.lab.oversights import MORE_SHARE
from mats_sql.lab.partition import Part
from mats_sql.lab.questions import LabQuestion, draw_question
from mats_sql.lab.values import mentioned_values
from mats_sql.seeds import derive_random
from mats_sql.sql import Execution, Outcome, StoredValues, nearest_values
from mats_sql.teaching import write_critique, write_plan

ROWS = (8, 15)
"""Rows per table: executions are real, but small."""

RETRIES = SqlLimits().nearest_retries
"""How often a failing SQL is run with the nearest name in place: as often as a team's is by default."""

_QUESTIONS_PER_DATABASE = 3
_TRIES = 3


class ExampleKind(StrEnum):
    """What an example teaches."""

    PLAN = "plan"
    SELECT = "select"
    CONDITION = "condition"
    FIX = "fix"
    CHOOSE = "choose"


@dataclass(frozen=True, slots=True)
class Course:
    """What a phase of the pretraining teaches: on which random stream, how much of each kind, over whose names.

    ``hints`` says whether the response of SQL that does not run names what is nearest to what it misses, and goes on
    with it; ``more_share``, how often a SQL that overlooks something overlooks more; ``crossed_share``, how often a
    miswritten table's name is a cross of two.
    """

    stream: str
    shares: Mapping[ExampleKind, float]
    hints: bool
    more_share: float
    crossed_share: float
    vocabulary: Vocabulary


TASKS = Course(
    "pretrain",
    {
        ExampleKind.PLAN: 0.30,
        ExampleKind.SELECT: 0.14,
        ExampleKind.CONDITION: 0.24,
        ExampleKind.FIX: 0.24,
        ExampleKind.CHOOSE: 0.08,
    },
    hints=False,
    more_share=MORE_SHARE,
    crossed_share=0,
    vocabulary=PRETRAINING_WORDS,
)
"""Plans get a third: a critique has to find what the planner overlooked, and most lies in the conditions."""

REVIEWS = Course(
    "review",
    {
        ExampleKind.PLAN: 0.20,
        ExampleKind.SELECT: 0.22,
        ExampleKind.CONDITION: 0.32,
        ExampleKind.FIX: 0.20,
        ExampleKind.CHOOSE: 0.06,
    },
    hints=True,
    more_share=0.5,
    crossed_share=0.4,
    vocabulary=REVIEW_WORDS,
)
"""Right complaints come last in the learning curve, so they get more; plans enough not to be forgotten."""


class _FixCase(Enum):
    """What a fixer may be asked with: the SQL's true critiques, none, or wrong ones."""

    TOLD = "wrong SQL, just complaints"
    MISLED = "wrong SQL, misleading complaints"
    UNTOLD = "wrong SQL, no complaint"
    ALARMED = "right SQL, false alarm"
    KEPT = "right SQL, no complaint"


_FIX_CASES = {
    _FixCase.TOLD: 66,
    _FixCase.MISLED: 8,
    _FixCase.UNTOLD: 6,
    _FixCase.ALARMED: 8,
    _FixCase.KEPT: 12,
}

DIFFICULTY_SHARES = {"simple": 0.5, "moderate": 0.3, "challenging": 0.2}
"""More that is hard than a benchmark has: there is more to learn about it."""


@dataclass(frozen=True, slots=True)
class PretrainExample:
    """A prompt and the answer that an agent should give."""

    kind: ExampleKind
    messages: Messages
    answer: str


@dataclass(frozen=True, slots=True)
class _Scene:
    """One question over one open in-memory database."""

    rng: random.Random
    course: Course
    database: LabDatabase
    schema: Schema
    connection: sqlite3.Connection
    asked: LabQuestion
    question: Question
    schema_text: str

    def review(self, sql: str) -> Review:
        execution, _ = run_sql(self.connection, sql, hints=self.course.hints)
        return Review(self.question, self.schema_text, sql, response_text(execution))

    def corrupted(self) -> str:
        shares = (self.course.more_share, self.course.crossed_share)
        return corrupt(self.rng, self.asked.query, self.database, *shares)

    def critiques(self, sql: str, gold: str) -> tuple[Critique, Critique]:
        return (
            write_critique(Validator.SELECT, sql, gold, self.schema),
            write_critique(Validator.CONDITION, sql, gold, self.schema),
        )


def draw_examples(seed: int, shard: int, count: int, course: Course = TASKS) -> list[PretrainExample]:
    """Return the examples of a shard: a pure function of its arguments, on no benchmark's random stream.

    None asks a text that a lab benchmark may ask (partition).
    """
    rng = derive_random(seed, "lab", course.stream, shard)
    examples: list[PretrainExample] = []
    while len(examples) < count:
        database = build_database(rng, "pretrain", rng.choice(words.open_themes()), ROWS, course.vocabulary)
        with closing(sqlite3.connect(":memory:")) as connection:
            create_tables(connection, database)
            examples += _examples_of(rng, course, database, connection)
    rng.shuffle(examples)
    return examples[:count]


def run_sql(
    connection: sqlite3.Connection, sql: str, *, hints: bool = False, retries: int = RETRIES
) -> tuple[Execution, frozenset[tuple[object, ...]]]:
    """Execute generated SQL in memory; return what an agent is shown and the set of rows (empty after an error)."""
    try:
        rows = connection.execute(sql).fetchall()
    except sqlite3.Error as error:
        failed = Execution(Outcome.ERROR, error=str(error))
        return _with_hints(connection, sql, failed, retries) if hints else failed, frozenset()
    outcome = Outcome.ROWS if rows else Outcome.EMPTY
    nearest = nearest_values(connection, sql, 1)
    return Execution(outcome, preview=tuple(rows[:5]), row_count=len(rows), nearest=nearest), frozenset(rows)


def _with_hints(connection: sqlite3.Connection, sql: str, failed: Execution, retries: int) -> Execution:
    stored = StoredValues(connection)
    error, again = stored.way_out(sql, failed.error, 1)
    if again is None or not retries:
        return replace(failed, error=error, nearest=stored.nearest(sql, 1, failed=True))
    retried, _ = run_sql(connection, again, hints=True, retries=retries - 1)
    return replace(failed, error=error, retried=retried, tried=again)


def _examples_of(
    rng: random.Random, course: Course, database: LabDatabase, connection: sqlite3.Connection
) -> list[PretrainExample]:
    schema = schema_of(database)
    examples = []
    for _ in range(_QUESTIONS_PER_DATABASE):
        difficulty = rng.choices(list(DIFFICULTY_SHARES), list(DIFFICULTY_SHARES.values()))[0]
        asked = draw_question(rng, database, connection, difficulty, Part.PRETRAINING)
        if asked is not None:
            question = Question(0, database.db_id, asked.text, asked.evidence, asked.difficulty)
            text = schema_text(schema, mentioned_values(database, asked.text), SchemaStyle())
            scene = _Scene(rng, course, database, schema, connection, asked, question, text)
            kind = rng.choices(list(course.shares), list(course.shares.values()))[0]
            examples.append(_MAKERS[kind](scene))
    return examples


def _plan(scene: _Scene) -> PretrainExample:
    messages = planner_messages(scene.question, scene.schema_text)
    return PretrainExample(ExampleKind.PLAN, messages, write_plan(scene.asked.sql, scene.schema))


def _select(scene: _Scene) -> PretrainExample:
    sql, critique = _criticised(scene, Validator.SELECT)
    return PretrainExample(ExampleKind.SELECT, select_validator_messages(scene.review(sql)), critique.text)


def _condition(scene: _Scene) -> PretrainExample:
    sql, critique = _criticised(scene, Validator.CONDITION)
    return PretrainExample(ExampleKind.CONDITION, condition_validator_messages(scene.review(sql)), critique.text)


def _criticised(scene: _Scene, validator: Validator) -> tuple[str, Critique]:
    """Return a SQL and its critique: half complain, as far as a few tries find a mistake of the validator's kind."""
    complains = scene.rng.random() < 0.5
    sql = _sql_to_judge(scene)
    critique = write_critique(validator, sql, scene.asked.sql, scene.schema)
    for _ in range(_TRIES if complains else 0):
        if critique.verdict is Verdict.INCORRECT:
            break
        sql = scene.corrupted()
        critique = write_critique(validator, sql, scene.asked.sql, scene.schema)
    return sql, critique


def _fix(scene: _Scene) -> PretrainExample:
    """Mostly a wrong SQL and just complaints; else no complaint, a false alarm, or a misleading one, as teams have."""
    gold, wrong = scene.asked.sql, scene.corrupted()
    case = scene.rng.choices(list(_FIX_CASES), list(_FIX_CASES.values()))[0]
    sql = gold if case in (_FixCase.ALARMED, _FixCase.KEPT) else wrong
    if case in (_FixCase.UNTOLD, _FixCase.KEPT):
        feedback = NO_COMPLAINT
    else:
        wanted = {_FixCase.TOLD: gold, _FixCase.ALARMED: wrong}.get(case) or scene.corrupted()
        feedback = feedback_text(scene.critiques(sql, wanted))
    return PretrainExample(ExampleKind.FIX, fixer_messages(scene.review(sql), feedback), scene.asked.sql)


def _choose(scene: _Scene) -> PretrainExample:
    """The selector sees verdicts that are as unreliable as its validators will be."""
    sql = _sql_to_judge(scene)
    critiques = [_unreliable(scene.rng, critique) for critique in scene.critiques(sql, scene.asked.sql)]
    wanted, found = run_sql(scene.connection, scene.asked.sql), run_sql(scene.connection, sql)
    correct = found[0].ran and found[1] == wanted[1]
    return PretrainExample(ExampleKind.CHOOSE, selector_messages(scene.review(sql), critiques), YES if correct else NO)


def _sql_to_judge(scene: _Scene) -> str:
    return scene.asked.sql if scene.rng.random() < 0.45 else scene.corrupted()


def _unreliable(rng: random.Random, critique: Critique) -> Critique:
    if rng.random() < 0.8:
        return critique
    flipped = Verdict.INCORRECT if critique.verdict is Verdict.CORRECT else Verdict.CORRECT
    return replace(critique, verdict=flipped)


_MAKERS: dict[ExampleKind, Callable[[_Scene], PretrainExample]] = {
    ExampleKind.PLAN: _plan,
    ExampleKind.SELECT: _select,
    ExampleKind.CONDITION: _condition,
    ExampleKind.FIX: _fix,
    ExampleKind.CHOOSE: _choose,
}
