"""The processes that run untrusted SQL."""
