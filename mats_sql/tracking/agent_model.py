"""One agent as an MLflow model: a prompt in, the greedy answer out, for trying a fixer or validator by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mats_sql.agents import user
from mats_sql.config import GenerationSettings
from mats_sql.generation import Request, Sampling, open_engine

MAX_NEW_TOKENS = 256


class AgentModel:
    """A checkpoint that answers prompts."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the greedy answer (column ``text``) to each ``prompt``, a user turn of the agent's chat."""
        engine = open_engine(GenerationSettings(), self._checkpoint)
        try:
            requests = [Request("greedy", user(str(prompt))) for prompt in table["prompt"]]
            drawn = engine.generate(requests, Sampling(n=1, temperature=0.0, max_new_tokens=MAX_NEW_TOKENS))
        finally:
            engine.close()
        return pd.DataFrame({"text": [completion.text for (completion,) in drawn]}, index=table.index)


def _load_pyfunc(path: str) -> AgentModel:
    return AgentModel(Path(path))
