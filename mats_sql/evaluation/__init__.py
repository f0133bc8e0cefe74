"""What a team is worth and whether two teams differ: metrics, statistics, diagnosis, result tables and plots.

``metrics`` counts, ``statistics`` compares, ``diagnosis`` says where a training signal is lost, ``report`` and
``plots`` show. Everything here is a pure function of judged records; nothing runs SQL, a model or MLflow.
"""
