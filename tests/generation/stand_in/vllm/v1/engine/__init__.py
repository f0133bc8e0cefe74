"""Packages, as vLLM has them."""
