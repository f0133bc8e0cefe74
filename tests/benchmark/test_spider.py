from __future__ import annotations

import gzip
import json

import pytest

from mats_sql.benchmark.benchmark import unused_databases
from mats_sql.benchmark.spider import read_spider
from mats_sql.errors import BenchmarkError


def test_the_dev_split_has_the_databases_of_its_questions(shared_data):
    benchmark = read_spider(shared_data / "spider", "dev")
    assert len(benchmark.questions) == 1034
    assert len(benchmark.schemas) == 20
    assert unused_databases(benchmark) == ()
    assert benchmark.questions[0].text == "How many singers do we have?"


def test_ids_and_golds_are_those_of_the_published_candidates(shared_data):
    benchmark = read_spider(shared_data / "spider", "dev")
    with gzip.open(shared_data / "candidates" / "spider_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        published = {row["question_id"]: (row["db_id"], row["gold"]) for row in map(json.loads, lines)}
    assert len(published) == 511
    assert published == {i: (benchmark.golds[i].db_id, benchmark.golds[i].sql) for i in published}


def test_the_short_train_file_stands_in_for_the_full_one(shared_data):
    assert len(read_spider(shared_data / "spider", "train").questions) == 7000


def test_the_full_train_file_comes_first(tmp_path):
    (tmp_path / "tables.json").write_text("[]")
    (tmp_path / "train_spider.json").write_text("[]")
    (tmp_path / "train_spider_min.json").write_text("not read")
    assert read_spider(tmp_path, "train").questions == ()


@pytest.mark.parametrize(("split", "message"), [("dev", r"dev\.json: No such"), ("test", "must be train or dev")])
def test_a_missing_split_is_one_line(tmp_path, split, message):
    with pytest.raises(BenchmarkError, match=message):
        read_spider(tmp_path, split)


def test_a_missing_query_names_the_item(tmp_path):
    (tmp_path / "dev.json").write_text(json.dumps([{"db_id": "a", "question": "b"}]))
    with pytest.raises(BenchmarkError, match="'query', but it is missing, in item 0"):
        read_spider(tmp_path, "dev")
