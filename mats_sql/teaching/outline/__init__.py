"""What a SQL selects and what it keeps, as short text and as comparable keys, read off its syntax tree.

``names`` resolves aliases, ``parts`` takes a query apart, ``text`` renders the parts and ``keys`` compares them.
"""
