"""What a SQL selects and what it keeps, as short text and as comparable keys, read off its syntax tree.

Public names live in :mod:`mats_sql.agents.outline.outline`; ``names`` resolves aliases, ``parts`` takes a query apart,
``text`` renders the parts and ``keys`` compares them. Only the teacher uses this package.
"""
