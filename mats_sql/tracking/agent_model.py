"""One agent as an MLflow model: a prompt in, the greedy answer out, for trying a fixer or validator by hand."""

from __future__ import annotations

import weakref
from pathlib import Path

import pandas as pd

from mats_sql.agents import user
from mats_sql.config import GenerationSettings
from mats_sql.generation import Request, Sampling, open_engine
from mats_sql.tracking.bases import complete

MAX_NEW_TOKENS = 256


class AgentModel:
    """A checkpoint that answers prompts. It is loaded at the first prompt and then stays loaded."""

    def __init__(self, checkpoint: Path) -> None:
        self._engine = open_engine(GenerationSettings(), checkpoint)
        weakref.finalize(self, self._engine.close)

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the greedy answer (column ``text``) to each ``prompt``, a user turn of the agent's chat."""
        requests = [Request("greedy", user(str(prompt))) for prompt in table["prompt"]]
        drawn = self._engine.generate(requests, Sampling(n=1, temperature=0.0, max_new_tokens=MAX_NEW_TOKENS))
        return pd.DataFrame({"text": [completion.text for (completion,) in drawn]}, index=table.index)


def _load_pyfunc(path: str) -> AgentModel:
    return AgentModel(complete(Path(path)))
