"""Where vLLM runs: here on a CPU."""

from types import SimpleNamespace

current_platform = SimpleNamespace(is_cpu=lambda: True)
