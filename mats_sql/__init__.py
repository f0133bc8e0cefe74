"""mats-sql: train and compare teams of small language models for Text2SQL.

The package is read from the bottom up: ``benchmark`` and ``sql`` know no model, ``agents`` and ``generation`` know
no gold, ``team`` joins agents to an inference flow, ``rollout``, ``preference`` and ``training`` turn execution
feedback into new agents, ``evaluation`` measures them, ``tracking`` talks to MLflow and ``stages`` ties it together.
"""

__version__ = "0.1.0"
