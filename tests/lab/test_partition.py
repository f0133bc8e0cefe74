"""No text that a lab benchmark asks is ever pretrained on, whatever the seeds."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.leaks import normalized_text
from mats_sql.benchmark.question import Question
from mats_sql.config import LabSettings
from mats_sql.errors import LeakError
from mats_sql.lab.examples import draw_examples
from mats_sql.lab.generator import write_lab
from mats_sql.lab.partition import Part, check_reserved, part_of

SMALL = LabSettings(train_databases=3, train_questions=150, dev_databases=3, dev_questions=150)

PARTS = {
    "How many jazz albums are there?": Part.PRETRAINING,
    "Count the jazz albums.": Part.PRETRAINING,
    "List the name of every singer.": Part.PRETRAINING,
    "Which singer has the highest age?": Part.BENCHMARK,
    "Show the title of all books.": Part.BENCHMARK,
    "What is the average age of all singers?": Part.BENCHMARK,
    "Return the different genre values of albums.": Part.PRETRAINING,
    "What is the number of veteran singers?": Part.PRETRAINING,
}
"""Fixed for good: the packaged base model was pretrained on the texts of one part."""


@cache
def asked(seed: int, shard: int) -> set[str]:
    """Return the normalised texts that a part of the pretraining asks."""
    return {_question(example.messages[0].content) for example in draw_examples(seed, shard, 400)}


@pytest.mark.parametrize("seed", [1, 2, 7, 11])
def test_no_question_of_a_lab_is_asked_in_pretraining(tmp_path: Path, seed: int) -> None:
    write_lab(tmp_path, SMALL.model_copy(update={"seed": seed}))
    for split in ("train", "dev"):
        texts = {normalized_text(item["question"]) for item in json.loads((tmp_path / f"{split}.json").read_text())}
        assert len(texts) == 150
        assert {part_of(text) for text in texts} == {Part.BENCHMARK}
        assert texts.isdisjoint(asked(0, 0) | asked(0, 1))


@pytest.mark.parametrize(("seed", "shard"), [(0, 0), (0, 40), (1, 3), (9, 0)])
def test_pretraining_asks_no_text_that_any_lab_could_ask(seed: int, shard: int) -> None:
    texts = asked(seed, shard)
    assert len(texts) > 300
    assert [text for text in texts if part_of(text) is Part.BENCHMARK] == []


def test_the_tokenizer_is_trained_on_no_text_that_any_lab_could_ask(corpus_texts: list[str]) -> None:
    texts = [_question(text) for text in corpus_texts if "Question: " in text]
    assert len(texts) > 1500
    assert [text for text in texts if part_of(text) is Part.BENCHMARK] == []


def test_the_packaged_base_model_s_partition_stays() -> None:
    assert {text: part_of(text) for text in PARTS} == PARTS


def test_about_a_quarter_of_all_texts_is_kept_for_benchmarks() -> None:
    kept = sum(part_of(f"List the title of book {number}.") is Part.BENCHMARK for number in range(4000))
    assert kept / 4000 == pytest.approx(0.25, abs=0.03)


@given(st.text(alphabet=st.characters(codec="ascii")), st.sampled_from(["?", ".", " ", "...", "\n"]))
def test_case_punctuation_and_spacing_do_not_move_a_text_to_the_other_part(text: str, end: str) -> None:
    assert part_of(f" {text.upper()}{end}") is part_of(text)


def test_a_lab_s_questions_pass_the_guard(tmp_path: Path) -> None:
    write_lab(tmp_path, SMALL)
    for split in ("train", "dev"):
        check_reserved(read_bird(tmp_path, split).questions)


def test_a_question_of_the_other_part_is_refused_in_one_line() -> None:
    texts = sorted(PARTS, key=lambda text: PARTS[text] is Part.PRETRAINING)
    questions = [Question(number, "music_amber", text, "", "simple") for number, text in enumerate(texts)]
    first = next(question for question in questions if PARTS[question.text] is Part.PRETRAINING)
    with pytest.raises(LeakError) as caught:
        check_reserved(questions)
    assert str(caught.value).startswith(
        f"a lab benchmark must ask only texts kept from pretraining, but question {first.question_id} of 'music_amber' "
        f"reads {first.text!r}; "
    )


def _question(prompt: str) -> str:
    return normalized_text(next(line for line in prompt.splitlines() if line.startswith("Question: "))[10:])
