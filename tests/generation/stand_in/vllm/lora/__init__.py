"""Where vLLM keeps what it knows of adapters."""
