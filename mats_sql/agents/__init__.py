"""The agents of a team: planner, select validator, condition validator, fixer, selector.

One module per agent turns typed inputs into chat messages and a completion into a typed answer; ``names`` has what the
agents are called, ``validators`` picks a validator's module by name, ``versions`` lists every prompt's version. Nothing
here sees gold, and no module of this package has a name for it.
"""
