"""Sampling, once: plans, critiques and fixes of a split with the largest K, executed and judged, as three tables.

Beside them what the tables tell: the team's flow replayed on them (``replay``), the selector's scores that the replay
may need (``scores``), and labelled SQL for supervised training (``labelled``).
"""
