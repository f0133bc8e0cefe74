"""Whether a critique says the right thing: its content, beside that of the teacher's true critique of the same SQL.

A verdict alone helps no fixer: "incorrect" with the wrong clause asks for another wrong SQL. So a critique is right
when what it asks for is right:

* an approval, when the teacher approves;
* a complaint, when the teacher complains and the text after "The question asks for:" means the same in both.

Two texts mean the same when their keys are equal. They are read back as SQL and compared as the teacher compares two
SQLs (``outline``): letter case of names and words, space, quotes of names, parentheses, the order of ``AND``, ``OR``,
``=``, ``IN`` and ``GROUP BY`` operands and of inner joined sources, ``x > 1`` and ``1 < x`` make no difference. The
order of selected columns and of ``ORDER BY``, ``DISTINCT``, and the letters inside a text literal do. Texts that are
no SQL mean the same when they are equal but for letter case (outside literals), space and quotes of names.

Not covered: what needs the schema, the joins or the data. A column without its table differs from one with it, the side
a joined column is taken from counts, and so does a join along the only foreign key that is told where the teacher, to
whom it goes without saying, leaves it out.
"""

from __future__ import annotations

import re

from mats_sql.agents import Critique, Validator, Verdict
from mats_sql.teaching.outline.shown import shown_condition_key, shown_select_key

_ASKED = re.compile(r"the question asks for\s*:\s*(?P<asked>.*?)\s*(?:\bconclude\s*:|\Z)", re.IGNORECASE | re.DOTALL)


def right_content(critique: Critique, truth: Critique) -> bool:
    """Return whether a critique has the content of the teacher's critique of the same SQL by the same validator.

    A critique without a verdict has not.
    """
    if Verdict.CORRECT in (critique.verdict, truth.verdict):
        return critique.verdict is truth.verdict
    if critique.verdict is Verdict.MISSING:
        return False
    asked, wanted = asked_for(critique.text), asked_for(truth.text)
    return asked is not None and wanted is not None and same_content(critique.validator, asked, wanted)


def asked_for(text: str) -> str | None:
    """Return what a critique says the question asks for, or ``None`` where it does not say."""
    found = _ASKED.search(text)
    return (found["asked"] or None) if found else None


def same_content(validator: Validator, one: str, other: str) -> bool:
    """Return whether two texts, each what the question asks for in one validator's words, mean the same."""
    key = shown_select_key if validator is Validator.SELECT else shown_condition_key
    return key(one) == key(other)
