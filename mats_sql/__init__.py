"""mats-sql: train and compare teams of small language models for Text2SQL.

The package is read from the bottom up: ``sql`` and ``benchmark`` know no model, ``agents`` and ``generation`` know
no gold, ``team`` joins agents to an inference flow, ``teaching`` writes from gold what agents first learn, ``rollout``,
``preference`` and ``training`` turn execution feedback into new agents, ``evaluation`` measures them, ``tracking``
talks to MLflow and ``pipeline`` has the order of it all.
"""

__version__ = "0.1.0"
