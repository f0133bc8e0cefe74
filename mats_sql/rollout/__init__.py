"""Sampling, once: plans, critiques and fixes of a split with the largest K, executed and judged, as three tables."""
