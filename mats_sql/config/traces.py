"""Settings of what is shown as MLflow traces."""

from __future__ import annotations

from pydantic import Field

from mats_sql.config.section import Section


class TraceSettings(Section):
    """How many questions become MLflow traces; 0 is none. No result and no fingerprint depends on them."""

    evaluation: int = Field(
        10, ge=0, description="Questions of each evaluation on all usable dev questions, the same ones for every team."
    )
    comparison: int = Field(
        50,
        ge=0,
        description="Questions of each comparison that one side answers right and the other wrong, per treatment; "
        "both sides are traced.",
    )
    ask: bool = Field(True, description="Whether a question that is asked with `ask` becomes a trace.")
