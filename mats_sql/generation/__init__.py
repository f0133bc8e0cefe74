"""Text out of models: one :class:`~mats_sql.generation.engine.Engine` interface with three implementations.

``open_engine`` (:mod:`mats_sql.generation.open`) opens the transformers engine (default), vLLM, or any
OpenAI-compatible server. Draws depend on (seed, item id, sample index) alone, and an on-disk cache keeps every draw.
"""
