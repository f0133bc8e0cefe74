"""Text out of models: one :class:`~mats_sql.generation.engine.Engine` interface with three implementations.

``open_engine`` (:mod:`mats_sql.generation.open`) opens the transformers engine (default), vLLM, or any
OpenAI-compatible server. Draws depend on (seed, item id, sample index) alone, and an on-disk cache keeps every draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.generation.chat_tokens import render_prompt, tokenize
    from mats_sql.generation.checkpoint import SINGLE_FILES, has_chat_template, listed_shards
    from mats_sql.generation.engine import Completion, Engine, Request, Sampling
    from mats_sql.generation.loaded import LOADED
    from mats_sql.generation.open import open_engine
    from mats_sql.generation.openai_engine import served_bases

__all__ = [
    "LOADED",
    "SINGLE_FILES",
    "Completion",
    "Engine",
    "Request",
    "Sampling",
    "has_chat_template",
    "listed_shards",
    "open_engine",
    "render_prompt",
    "served_bases",
    "tokenize",
]

__getattr__ = Face(
    __name__,
    {
        "chat_tokens": ("render_prompt", "tokenize"),
        "checkpoint": ("SINGLE_FILES", "has_chat_template", "listed_shards"),
        "engine": ("Completion", "Engine", "Request", "Sampling"),
        "loaded": ("LOADED",),
        "open": ("open_engine",),
        "openai_engine": ("served_bases",),
    },
)
