"""Pretraining examples: every agent's task, as a pure function of seed and shard, on no benchmark's databases."""

from __future__ import annotations

import random
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.prompts import SchemaTexts
from mats_sql.benchmark.schema_prompt import SchemaStyle, schema_text
from mats_sql.config import BenchmarkSettings, LabSettings
from mats_sql.lab import words
from mats_sql.lab.databases import ALL_WORDS, PRETRAINING_WORDS, REVIEW_WORDS, Vocabulary, build_database, schema_of
from mats_sql.lab.examples import REVIEWS, TASKS, ExampleKind, PretrainExample, draw_examples
from mats_sql.lab.generator import ROWS, write_lab
from mats_sql.lab.values import mentioned_values
from mats_sql.seeds import derive_random


@cache
def drawn() -> list[PretrainExample]:
    return draw_examples(0, 0, 600)


def _of(kind: ExampleKind) -> list[PretrainExample]:
    return [example for example in drawn() if example.kind is kind]


def test_a_shard_is_a_pure_function_of_seed_and_number() -> None:
    assert draw_examples(0, 0, 600) == drawn()
    assert draw_examples(0, 1, 50) != drawn()[:50]


def test_reserved_themes_and_words_are_never_seen() -> None:
    kept = {entity.name for theme in words.RESERVED_THEMES for entity in words.THEMES[theme]}
    open_names = {entity.name for theme in words.open_themes() for entity in words.THEMES[theme]}
    values = {value for attribute in words.ATTRIBUTES.values() for value in attribute.values}
    kept |= {value for value in values if words.is_reserved(value)}
    seen = {word for example in drawn() for word in re.findall(r"[A-Za-z]+", example.messages[0].content)}
    assert len(kept) > 30
    assert seen & (kept - open_names - {word for word in kept if word in words.pretraining_words()}) == set()


def test_names_are_sometimes_invented_so_that_they_must_be_copied() -> None:
    known = set(words.pretraining_words())
    tables = [table for e in drawn() for table in re.findall(r"table (\w+) ,", e.messages[0].content)]
    assert 0.05 < sum(table not in known for table in tables) / len(tables) < 0.3


def test_reviews_invent_more_tables_than_tasks_and_benchmarks_none() -> None:
    def invented(vocabulary: Vocabulary) -> list[list[str]]:
        drawn = [build_database(random.Random(seed), "d", "music", ROWS, vocabulary) for seed in range(300)]
        known = set(words.pretraining_words())
        return [[table.name for table in database.tables if table.name not in known] for database in drawn]

    tasks, reviews = invented(PRETRAINING_WORDS), invented(REVIEW_WORDS)
    assert sum(map(len, reviews)) > 1.4 * sum(map(len, tasks))
    assert not any(invented(ALL_WORDS))


def test_the_response_often_shows_what_is_wrong() -> None:
    complained = [e for e in _of(ExampleKind.CONDITION) if e.answer.endswith("Conclude: incorrect.")]
    shown = [
        e
        for e in complained
        if re.search(r"response: (error|no rows|1 rows : (NULL|0)\b)|nearest", e.messages[0].content)
    ]
    assert len(shown) / len(complained) > 0.3


def test_reviews_name_what_is_nearest_to_what_failing_sql_misses_and_tasks_do_not() -> None:
    def hints(examples: list[PretrainExample]) -> int:
        return sum("no such column" in e.messages[0].content and ", nearest" in e.messages[0].content for e in examples)

    assert hints(drawn()) == 0
    assert hints(draw_examples(0, 0, 600, REVIEWS)) > 60


def test_reviews_show_every_number_twice_about_equally_often_and_tasks_those_that_many_tables_have() -> None:
    def shares(examples: list[PretrainExample]) -> dict[str, float]:
        shown = Counter(name for e in examples for name in set(re.findall(r"\.(\w+[12]) \|", e.messages[0].content)))
        return {name: shown[name] / len(examples) for name in words.twin_names()}

    tasks, reviews = shares(drawn()), shares(draw_examples(0, 0, 600, REVIEWS))
    assert min(reviews.values()) > 0.02
    assert max(reviews.values()) < 6 * min(reviews.values())
    assert min(tasks.values()) * 20 < max(tasks.values())


def test_reviews_show_the_sql_that_was_tried_wherever_one_was() -> None:
    prompts = [example.messages[0].content for example in draw_examples(0, 0, 600, REVIEWS)]
    tried = [prompt for prompt in prompts if " , with it " in prompt]
    assert len(tried) > 60
    assert all(re.search(r" , with it .* ; query : SELECT ", prompt) for prompt in tried)


def test_every_task_has_about_its_share() -> None:
    counts = Counter(example.kind for example in drawn())
    for kind, share in TASKS.shares.items():
        assert counts[kind] / len(drawn()) == pytest.approx(share, abs=0.06)


def test_critiques_conclude_both_ways() -> None:
    for kind in (ExampleKind.SELECT, ExampleKind.CONDITION):
        ends = Counter(example.answer.splitlines()[-1] for example in _of(kind))
        assert min(ends["Conclude: correct."], ends["Conclude: incorrect."]) > len(_of(kind)) / 5, ends


def test_the_selector_sees_right_and_wrong_sql_and_sometimes_a_wrong_verdict() -> None:
    chosen = _of(ExampleKind.CHOOSE)
    assert {example.answer for example in chosen} == {"yes", "no"}
    approved = [e for e in chosen if "select : correct\ncondition : correct" in e.messages[0].content]
    assert {example.answer for example in approved} == {"yes", "no"}


def test_the_fixer_sees_complaints_and_answers_with_bare_sql() -> None:
    fixes = _of(ExampleKind.FIX)
    assert all(example.answer.startswith("SELECT ") for example in fixes)
    complained = [example for example in fixes if "Conclude: incorrect." in example.messages[0].content]
    assert len(complained) > len(fixes) / 2


def test_schema_texts_are_those_of_a_written_benchmark(tmp_path: Path) -> None:
    settings = LabSettings(seed=2, train_databases=1, train_questions=5, dev_databases=2, dev_questions=40)
    write_lab(tmp_path, settings)
    dev = read_bird(tmp_path, "dev")
    texts = SchemaTexts(dev, BenchmarkSettings())
    for number, db_id in enumerate(dict.fromkeys(question.db_id for question in dev.questions)):
        rng = derive_random(settings.seed, "lab", "dev", number)
        database = build_database(rng, db_id, db_id.split("_")[0], ROWS)
        asked = [question for question in dev.questions if question.db_id == db_id]
        for question in random.Random(0).sample(asked, 10):
            made = schema_text(schema_of(database), mentioned_values(database, question.text), SchemaStyle())
            assert made == texts.text_for(question)
