from __future__ import annotations

import pytest

from mats_sql.benchmark.leaks import check_no_leak, drop_shared_texts
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.spider import read_spider
from mats_sql.errors import LeakError

EVALUATION = [Question(1, "dev_db", "How many singers, in total?"), Question(2, "other", "Straße № 5")]


def test_disjoint_sets_pass():
    check_no_leak([Question(1, "train_db", "How many singers?")], EVALUATION)
    check_no_leak([], EVALUATION)
    check_no_leak(EVALUATION, [])


@pytest.mark.parametrize("db_id", ["dev_db", "DEV_DB"])
def test_a_shared_database_fails(db_id):
    with pytest.raises(LeakError, match=rf"question 9 \(train\) and 1 \(evaluation\) both ask about '{db_id}'"):
        check_no_leak([Question(9, db_id, "new")], EVALUATION)


@pytest.mark.parametrize("text", ["how many  singers in total", "How many singers - in total!?", "STRASSE No 5"])
def test_a_shared_text_fails_whatever_its_case_spacing_and_punctuation(text):
    with pytest.raises(LeakError, match=r"must not share a question, but 9 \(train\)"):
        check_no_leak([Question(8, "train_db", "fine"), Question(9, "train_db", text)], EVALUATION)


def test_spiders_own_train_and_dev_files_share_six_texts_which_can_be_dropped(shared_data):
    train = read_spider(shared_data / "spider", "train").questions
    dev = read_spider(shared_data / "spider", "dev").questions
    with pytest.raises(LeakError, match="must not share a question"):
        check_no_leak(train, dev)
    kept, dropped = drop_shared_texts(train, dev)
    check_no_leak(kept, dev)
    assert len(dropped) == 6
    assert set(kept) | set(dropped) == set(train)


def test_a_shared_database_is_never_dropped():
    train = [Question(9, "dev_db", "new"), Question(10, "train_db", EVALUATION[0].text)]
    assert drop_shared_texts(train, EVALUATION) == ((train[0],), (train[1],))
