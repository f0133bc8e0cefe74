"""How vLLM's process ends."""


class EngineDeadError(Exception):
    """vLLM's process is gone."""
