"""The Optuna study over ORPO's beta, K and learning rate: resumable, shared by processes, the same for every regime.

``study`` runs it, ``trials`` holds its records, ``ledger`` says which trial stands for which number of the budget.
Optuna's storage is the truth; mirroring trials into MLflow is the search stage's work.
"""
