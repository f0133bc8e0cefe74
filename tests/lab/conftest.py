"""What several files of the lab's tests read, drawn once: two thousand examples take ten seconds."""

from __future__ import annotations

import pytest

from mats_sql.lab.shards import corpus


@pytest.fixture(scope="session")
def corpus_texts() -> list[str]:
    """The texts that a tokenizer is trained on."""
    return list(corpus(0))
