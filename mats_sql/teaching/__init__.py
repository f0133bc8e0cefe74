"""What is shown gold, and the answers that supervised training learns from.

``teacher`` says what a teacher is and has the one of rules, which compares the ``outline`` of two SQLs; ``large_model``
has the one that asks a large model; ``sft_examples`` makes supervised examples (``example``) of their answers;
``versions`` lists every teacher's version. Gold comes here as text and leaves as an answer to learn. It enters no
prompt of an agent: those are made in ``agents``, which imports nothing from here.
"""
