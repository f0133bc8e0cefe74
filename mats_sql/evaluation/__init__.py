"""What a team is worth and whether two teams differ: metrics, statistics, diagnosis, result tables and plots.

``records`` holds a judged candidate, ``judged_answers`` makes them from a team's answers, ``question_results`` groups
them by question, ``metrics`` counts them, ``comparison`` compares two teams, ``diagnosis`` says where a training signal
is lost, ``report`` shows. Everything here is a pure function of judged records; nothing runs SQL, a model or MLflow.
"""
