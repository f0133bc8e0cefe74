"""One module per stage, named as its entry point: versioned inputs, the logic of the packages below, versioned outputs.

A stage function takes a :class:`~mats_sql.pipeline.workspace.Workspace` and asks the stages it depends on for their
outputs; what is finished is reused, what is not is computed, so every entry point works alone.
"""
