"""What counts as a result: the part of the protocol that nothing else in the config says, and the whole's digest."""

from __future__ import annotations

from pydantic import Field

from mats_sql.config.section import Section


class ProtocolSettings(Section):
    """The claim, fixed beforehand. The rest of the protocol is said elsewhere: the metric is selector EX; seeds, K and
    policy are the experiment's; the validation split is what prepare drew (docs/report.md).
    """

    margin: float = Field(
        0.01,
        gt=0.0,
        le=0.5,
        description="The least gap in selector EX that is worth claiming, as a fraction; the report says how likely it "
        "and twice as much are among resamples (docs/report.md).",
    )
    digest: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{8,64}$",
        description="The protocol's digest, or its first 8 digits or more, as a report prints it: main and report are "
        "refused under any other protocol. none: it is fixed by the experiment's first report.",
    )
