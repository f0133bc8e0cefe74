"""A team's inference flow and its folder."""
