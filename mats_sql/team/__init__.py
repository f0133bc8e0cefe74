"""A team: how its agents work together (``flow``), what decides between their turns (``policy``), and its folder.

Gold-blind: nothing here imports gold, the teacher or the judge.
"""
