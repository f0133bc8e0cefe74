"""Paired comparisons of teams."""
