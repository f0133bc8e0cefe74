"""The agents of a team: planner, select validator, condition validator, fixer, selector.

One module per agent turns typed inputs into chat messages and a completion into a typed answer; ``validators`` picks a
validator's module by name, ``versions`` lists every prompt's version. Nothing here sees gold, except the teachers
(``teacher``, ``large_model_teacher``), which are handed it as text to write training targets.
"""
