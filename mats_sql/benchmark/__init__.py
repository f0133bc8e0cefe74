"""Questions, gold and schemas: reads BIRD and Spider, turns a schema into prompt text, filters, splits, guards leaks.

A :class:`~mats_sql.benchmark.benchmark.Benchmark` is read by :func:`~mats_sql.benchmark.bird.read_bird` or
:func:`~mats_sql.benchmark.spider.read_spider`. :class:`~mats_sql.benchmark.prompts.SchemaTexts` gives a question's
schema text; it keeps no gold, so no prompt can depend on one.
"""
